"""The end of a command that ran something: the report, the table, the verdict, the last line."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import reduce
from pathlib import Path

from reports.html import write_report
from reports.record import RunRecord
from reports.table import make_console, print_agreement, print_runs
from reports.verdict import Verdict, judge, worse

Run = tuple[RunRecord, Verdict]
"""A record and what it was judged to be."""


def judge_and_save(record: RunRecord, out: Path) -> Run:
    """Write ``run.json`` into ``out`` and judge it."""
    record.save(out)
    return record, judge(record)


def tell(
    runs: Sequence[Run], out: Path, as_json: bool, agree: dict[str, object] | None = None
) -> int:
    """Write the report, print the table, the verdict as JSON if asked, and the last line.

    The worst verdict of all runs is the answer, and its exit code comes back.
    """
    report = out / "report.html"
    write_report(report, [record for record, _ in runs], [verdict for _, verdict in runs], agree)
    stream = sys.stderr if as_json else sys.stdout
    console = make_console(stream)
    print_runs(runs, console)
    if agree is not None:
        print_agreement(agree, console)
    verdict = reduce(worse, (verdict for _, verdict in runs))
    print(f"\nReport: {report}", file=stream)
    print(verdict.last_line, file=stream)
    if as_json:
        answers = [verdict.to_json() for _, verdict in runs]
        print(json.dumps(answers[0] if len(answers) == 1 else answers))
    return verdict.code
