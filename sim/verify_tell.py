"""What ``edgekpi verify`` found, as a table or as JSON, and the exit code that goes with it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from reports.cli import NOT_VALID
from reports.table import make_console, make_table
from sim.verify import FALSE_ALARM, Finding, Verdict

INCONCLUSIVE = 21


def tell(findings: Sequence[Finding], as_json: bool) -> int:
    """Print them; 0 if all agree with theory, else as a run that is inconclusive or not valid."""
    stream = sys.stderr if as_json else sys.stdout
    console = make_console(stream)
    numbers = ["theory", "simulated", "95 % interval", "off by"]
    table = make_table(console, "part", "law", *numbers, "verdict", right=numbers)
    for finding in findings:
        table.add_row(
            finding.part,
            finding.law,
            f"{finding.theory:.4f}",
            f"{finding.found.value:.4f}",
            f"+- {finding.half_width:.2%}",
            f"{finding.deviation:+.2%}",
            finding.verdict,
        )
    console.print(table)
    code, line = _conclude(findings)
    print(
        "\nWaits in ms, shares from 0 to 1; interval and difference relative to theory", file=stream
    )
    print(line, file=stream)
    if as_json:
        print(json.dumps([finding.to_json() for finding in findings]))
    return code


def _conclude(findings: Sequence[Finding]) -> tuple[int, str]:
    """Exit code and last line."""
    if apart := _named(findings, "differs"):
        return NOT_VALID, f"{NOT_VALID} not valid {apart}: differs from theory; find out why first"
    if wide := _named(findings, "too wide"):
        return INCONCLUSIVE, f"{INCONCLUSIVE} inconclusive {wide}: known too badly; try --precise"
    chance = f"correct parts fail this for {FALSE_ALARM:.1%} of all seeds"
    return 0, f"0 pass all {len(findings)} agree with theory; {chance}"


def _named(findings: Sequence[Finding], verdict: Verdict) -> str:
    return ", ".join(f"{f.law} ({f.part})" for f in findings if f.verdict == verdict)
