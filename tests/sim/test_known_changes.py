"""Worlds with known changes: what the knobs do, and how far they are turned."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import getitem
from typing import Any

import pytest

from reports.effects import DEFAULTS, parse_min_effects
from reports.kpis import BY_NAME, CATALOGUE
from sim import known_changes
from sim.known_changes import (
    FIRST_SEED,
    PLAIN,
    QUEUED,
    RARER,
    SLOWER,
    WORLDS,
    Knob,
    NothingToCatch,
    World,
    calibrated,
    change_of,
    findings,
    runs,
    scenario_of,
    turned,
    wanted,
)


def test_every_kpi_has_a_knob_in_one_world() -> None:
    """None is left out, none is changed in two."""
    names = [name for world in WORLDS for name in world.knobs]
    assert sorted(names) == sorted(kpi.name for kpi in CATALOGUE)


def test_a_knob_scales_its_settings() -> None:
    """Multiplied or divided, whole numbers stay whole, and the world's own settings stay."""
    plain, queued = scenario_of(PLAIN), scenario_of(turned(QUEUED, {"queue_processing_p95": 1.5}))
    assert queued.kv.write_ms.p50 == pytest.approx(plain.kv.write_ms.p50 * 1.5)
    assert queued.kv.write_ms.p99 == pytest.approx(plain.kv.write_ms.p99 * 1.5)
    assert queued.queue.batch_size == 2
    forgets = scenario_of(turned(RARER, {"cache_hit_ratio": 7.0}))
    before, now = (one.kv.expiration_ttl_s["attribution"] for one in (plain, forgets))
    assert now == round(before / 7)


@pytest.mark.parametrize("world", WORLDS, ids=["rarer", "queued", "slower"])
def test_turned_all_the_way_a_knob_does_more_than_enough(world: World) -> None:
    """So there is something to find between its ends; and not turned it does nothing."""
    seeds = range(FIRST_SEED, FIRST_SEED + 5)
    plain = runs(world.settings, seeds)
    harmful = turned(world, {name: knob.harmful for name, knob in world.knobs.items()})
    for found in findings(runs(harmful, seeds), plain):
        if found.kpi.name in world.knobs:
            change = change_of(found) / wanted(found.kpi, found.old or 0.0, DEFAULTS)
            assert change > 1, found.kpi.name
    untouched = turned(world, dict.fromkeys(world.knobs, 1.0))
    assert all(found.proven for found in findings(runs(untouched, seeds), plain))


def test_knobs_are_turned_as_far_as_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the least change, whatever that is: what scales with its knob is met at once."""
    monkeypatch.setattr(known_changes, "SEEDS", 3)
    world = World({name: SLOWER.knobs[name] for name in ("worker_memory_max", "worker_cpu_p95")})
    for least, change in (("5%", 0.1), ("0.5%", 0.01)):
        found = calibrated(world, parse_min_effects([least]))
        for path in ("edge.cpu_ms.p50", "edge.base_memory_mib"):
            before, now = (_setting(path, settings) for settings in (PLAIN, found))
            assert now / before == pytest.approx(1 + change, rel=0.002)


def _setting(path: str, settings: tuple[str, ...]) -> float:
    found: Any = scenario_of(settings).model_dump()
    return float(reduce(getitem, path.split("."), found))


@pytest.mark.parametrize(
    "moved", [lambda x: x, lambda x: x**4, lambda x: x**0.25], ids=["line", "late", "early"]
)
def test_the_search_finds_the_factor(moved: Callable[[float], float]) -> None:
    """On a line at the second try, and on curves in a few."""
    search = known_changes._Search(Knob((), 9.0, 1.0))
    tries = 0
    while abs(error := moved((search.factor - 1) / 2) - 1) > 0.05:
        search.learn(error)
        tries += 1
    assert search.factor == pytest.approx(3.0, rel=0.2)
    assert tries <= 10


def test_a_knob_that_is_too_weak_stays_turned_all_the_way() -> None:
    """The change that came of it is shown, and is smaller than was wanted."""
    search = known_changes._Search(Knob((), 1.5))
    for _ in range(3):
        search.learn(-0.5)
    assert search.factor == 1.5


def test_no_multiple_of_nothing_is_a_change() -> None:
    """A share of no errors is nothing, and so is a least change of 0."""
    errors, d1 = BY_NAME["error_ratio"], BY_NAME["d1_query_p95"]
    with pytest.raises(NothingToCatch, match=r"error_ratio: 2 times a least change of 5 % is no"):
        wanted(errors, 0.0, parse_min_effects(["error_ratio=5%"]))
    with pytest.raises(NothingToCatch, match="d1_query_p95"):
        wanted(d1, 40.0, parse_min_effects(["d1_query_p95=0"]))
    assert wanted(errors, 0.0, DEFAULTS) == pytest.approx(0.002)
    assert wanted(BY_NAME["cache_hit_ratio"], 1.0, DEFAULTS) == pytest.approx(-0.01)
