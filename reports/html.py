"""The report: one self-contained page, to be read in a browser, mailed, or kept with a build.

No script and nothing from outside: style and plots are inline. Whatever comes from a scenario or
a server is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from reports import gauge, sections, wording
from reports.record import RunRecord, write_atomically
from reports.style import CSS
from reports.verdict import KpiResult, Verdict, Word, worse

SIGNS: dict[Word, str] = {
    "pass": "\N{CHECK MARK}",
    "missed": "!",
    "alert": "\N{MULTIPLICATION X}",
    "inconclusive": "?",
    "no-data": "\N{EN DASH}",
    "not valid": "\N{MULTIPLICATION X}",
    "wrong input": "\N{MULTIPLICATION X}",
}

_COMPARISONS = {">=": "\N{GREATER-THAN OR EQUAL TO}", "<=": "\N{LESS-THAN OR EQUAL TO}"}

WORLDS = {
    "simulated": "ran in virtual time, in a model of clients, network, edge nodes, KV, D1 and"
    " queue. Its delays are assumptions of the scenario; its cache, SQL and queueing are worked"
    " out.",
    "emulated": "ran in real time against our server on one machine, which sleeps the same delays."
    " CPU, event loop and sockets are real, but <em>an emulated run on one machine is not"
    " production</em>.",
    "live": "ran in real time against a named host. What that host does not tell is not judged.",
}


def write_report(
    path: Path | str,
    records: Sequence[RunRecord],
    verdicts: Sequence[Verdict],
    agreement: dict[str, Any] | None = None,
) -> Path:
    """Write the page about one run, or about two runs of the same scenario side by side.

    ``agreement`` is what :func:`reports.samples.agreement` found, if both worlds were paired.
    The file is replaced whole or not at all. Raises ``OSError`` if it cannot be written.
    """
    write_atomically(Path(path), render(records, verdicts, agreement))
    return Path(path)


def render(
    records: Sequence[RunRecord],
    verdicts: Sequence[Verdict],
    agreement: dict[str, Any] | None = None,
) -> str:
    """The page as text; equal runs give equal text. One verdict a record, in the same order."""
    title = escape(records[0].scenario)
    parts = [
        _header(title, records, verdicts),
        f'<section class="verdicts">{"".join(map(_card, verdicts))}</section>',
        _kpi_section(verdicts),
        sections.plots(records),
        sections.agreement(agreement) if agreement else "",
        sections.explanations(records),
        sections.definitions(),
        sections.provenance(records),
    ]
    return _PAGE.format(title=title, word=_overall(verdicts).word, css=CSS, body="\n".join(parts))


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: {word}</title>
<style>{css}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def _overall(verdicts: Sequence[Verdict]) -> Verdict:
    overall = verdicts[0]
    for verdict in verdicts[1:]:
        overall = worse(overall, verdict)
    return overall


def _css_class(word: Word) -> str:
    return word.replace(" ", "-")


def _header(title: str, records: Sequence[RunRecord], verdicts: Sequence[Verdict]) -> str:
    overall = _overall(verdicts)
    worlds = "".join(
        f"<p>{sections.world(record.kind, record.kind.capitalize())} {WORLDS[record.kind]}</p>"
        for record in records
    )
    tone = _css_class(overall.word)
    return (
        '<header><p class="eyebrow">edgekpi report</p>'
        f'<h1>{title} <span class="{tone}"><span class="pill">{overall.word}</span></span></h1>'
        f'<div class="worlds">{worlds}</div></header>'
    )


def _card(verdict: Verdict) -> str:
    """One run's word, large, with the last line that the command line printed."""
    counted = [result for result in verdict.kpis if result.counts]
    passed = sum(result.verdict == "pass" for result in counted)
    score = (
        f"{passed} of {len(counted)} KPIs pass"
        if verdict.word not in ("not valid", "wrong input")
        else "not judged"
    )
    line = verdict.last_line.removeprefix(f"{verdict.code} {verdict.word} ")
    return (
        f'<article class="verdict {_css_class(verdict.word)}">'
        f'<span class="code">exit code {verdict.code}</span>'
        f'<span class="of">{sections.world(verdict.kind)} · {score}</span>'
        f'<p class="word"><span class="sign">{SIGNS[verdict.word]}</span>{verdict.word}</p>'
        f"<p>{_typeset(line)}</p></article>"
    )


def _typeset(text: str) -> str:
    """Escaped, with proper comparison signs that no line break parts from their limits."""
    for plain, sign in _COMPARISONS.items():
        text = text.replace(plain, sign)
    return re.sub(r"(&[lg]t;|[\u2264\u2265]) (?=[\d.])", r"\1&nbsp;", escape(text))


def _kpi_section(verdicts: Sequence[Verdict]) -> str:
    heads = "".join(
        f'<th class="first">{sections.world(verdict.kind)}</th><th>verdict</th>'
        for verdict in verdicts
    )
    rows = "".join(
        _kpi_row(results) for results in zip(*(verdict.kpis for verdict in verdicts), strict=True)
    )
    several = ' class="several"' if len(verdicts) > 1 else ""
    return (
        '<section><h2>KPIs</h2><p class="lead">The value, its 95 % interval in brackets, and where'
        " both lie against target and alert (the two ticks). A KPI passes when its whole interval"
        " is on the good side of the target.</p>"
        f'<div class="scroll"><table{several}><thead><tr><th>KPI</th><th class="wide">target</th>'
        f'<th class="wide">alert</th>{heads}'
        f"</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _kpi_row(results: Sequence[KpiResult]) -> str:
    first = results[0]
    kpi = first.kpi
    target = _typeset(wording.limit(kpi.meets, first.target, kpi.unit))
    alert = _typeset(wording.limit(kpi.beyond, first.alert, kpi.unit))
    cells = "".join(map(_result_cells, results))
    return (
        f'<tr><th scope="row">{escape(kpi.title)}<span class="sub mono wide">{kpi.name}</span>'
        f'<span class="sub narrow">{target}</span></th>'
        f'<td class="wide">{target}</td><td class="wide">{alert}</td>{cells}</tr>'
    )


def _result_cells(result: KpiResult) -> str:
    tone = _css_class(result.verdict)
    return (
        f'<td class="first {tone}">{_value(result)}</td>'
        f'<td class="{tone}"><span class="word-cell"><span class="sign">{SIGNS[result.verdict]}'
        f'</span>{result.verdict}</span><span class="sub">{_aside(result)}</span></td>'
    )


def _aside(result: KpiResult) -> str:
    """What the verdict rests on, small beneath it."""
    parts = [f"{result.samples:,} {result.basis}"] if result.samples else []
    parts += [f"{result.failed:,} failed"] if result.failed else []
    parts += [f"as seen from {result.seen_from}"] if result.samples and result.seen_from else []
    parts += [] if result.counts else ["not required"]
    return escape(", ".join(parts))


def _value(result: KpiResult) -> str:
    if result.verdict == "no-data":
        return f'<span class="sub">{escape(result.method)}</span>'
    value = f'<span class="value">{wording.quantity(result.value, result.unit)}</span>'
    if result.value is None:
        return f'{value}<span class="sub">{escape(result.reason)}</span>'
    if result.basis == "input":
        return f"{value} as assumed{gauge.svg(result)}"
    bounds = wording.interval(result.interval, result.unit).replace("inf", "\N{INFINITY}")
    how = escape(result.method)
    return f'{value} <span class="bounds" title="{how}">{escape(bounds)}</span>{gauge.svg(result)}'
