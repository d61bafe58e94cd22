"""What has to agree before two runs may be compared: the question asked, and what may change a
number without any change of the system.

Strict on the settings. Of the versions only those count that can move a number: for a simulation
the SQLite whose steps are priced, the generator of the draws and the event kernel; in real time the
interpreter, the load generator, the machine, and the host under test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reports.record import Kind, RunRecord

NOT_ASKED = ("description", "seed", "kpis.limits", "kpis.required")
"""Settings that change no number: a run may be judged by other limits than it was made with."""

EXACT: dict[Kind, tuple[str, ...]] = {
    "simulated": ("sqlite",),
    "emulated": ("platform",),
    "live": ("platform", "host"),
}
"""Entries of the provenance that have to be equal."""

MINOR: dict[Kind, tuple[str, ...]] = {
    "simulated": ("numpy", "simpy"),
    "emulated": ("python", "locust"),
    "live": ("python", "locust"),
}
"""Versions that have to be equal up to the last number, which is for mended defects. (NumPy: a
stream of random numbers may change with a feature release only, NEP 19.)"""

_ABSENT = "nothing"


def setting_differences(new: RunRecord, old: RunRecord) -> list[str]:
    """Each setting in which two runs differ, as ``d1.commit_ms.p50 is 6.0, was 5.0``."""
    now, then = (dict(_flat(record.scenario_settings)) for record in (new, old))
    now |= {"measured window": tuple(new.window)}
    then |= {"measured window": tuple(old.window)}
    return [
        f"{path} is {now.get(path, _ABSENT)}, was {then.get(path, _ABSENT)}"
        for path in sorted({*now, *then})
        if now.get(path, _ABSENT) != then.get(path, _ABSENT)
    ]


def version_differences(new: RunRecord, old: RunRecord) -> list[str]:
    """Each version, machine or host that differs and may move a number."""
    kind = new.kind
    return [
        f"{name} is {new.provenance.get(name, _ABSENT)}, was {old.provenance.get(name, _ABSENT)}"
        for name in (*EXACT[kind], *MINOR[kind])
        if _part(new, name) != _part(old, name)
    ]


def _part(record: RunRecord, name: str) -> str:
    value = str(record.provenance.get(name, _ABSENT))
    return value if name in EXACT[record.kind] else value.rpartition(".")[0]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by their path; lists whole, since their items belong together."""
    for name, value in settings.items():
        path = f"{prefix}{name}"
        if path in NOT_ASKED:
            continue
        if isinstance(value, dict):
            yield from _flat(value, f"{path}.")
        else:
            yield path, value
