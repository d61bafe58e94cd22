"""The parts of the report beneath the KPIs: plots, agreement, explanations, provenance."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from reference_impl.messages import Layer
from reference_impl.profiling.hdr import Histogram
from reports import details, wording
from reports.intervals import Sample
from reports.kpis import BY_NAME
from reports.plot import Line, Panel, points, shared_scale, svg
from reports.readings import US_PER_MS
from reports.record import RunRecord
from reports.stability import unstable

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
PLOTTED = ("tracking_latency_p95", "attribution_latency_p95", "d1_query_p95")

DEFINITIONS = (
    (
        "P95",
        "The sample of rank ceil(0.95 n) among all n samples. With fewer than 90 samples it is"
        " inconclusive: 90 below the limit are what shows a P95 at 99 % confidence.",
    ),
    (
        "Latency",
        "One request, seen from the client: from the intended start in the plan to the last byte."
        " Waiting to be sent counts, and so does setting up the connection where the scenario says"
        " that connections are new. A sample belongs to the window of its intended start.",
    ),
    (
        "Clock",
        "A simulation has its own, in virtual time. A run in real time reads one monotonic clock on"
        " the machine of the generator, at the intended start, the actual start and the end; the"
        " rows “from the actual start” leave out what the generator was late.",
    ),
    (
        "Worst minute",
        "The minute of the window with the highest P95 of its own, and when it began. A rest under"
        " half a minute belongs to the last one.",
    ),
    (
        "Failed",
        "Errors, time-outs, an unexpected status and requests unfinished at the end have no value;"
        " they count as slower than any limit. If over 5 % of the samples failed, the P95 is none.",
    ),
    (
        "Cache hit",
        "One look-up of the types that the KPI counts, answered by L1 or KV; a cached “not there”"
        " is a hit, waiting for another request's fetch is a miss, and a look-up that did not say"
        " which layer answered is no hit.",
    ),
    (
        "D1 query",
        "One statement or batch asked for by a request, from the Worker's call to its result:"
        " round trip, wait for the single thread, execution, commit and retries.",
    ),
    (
        "Queue processing",
        "One batch, from the start of its handler to acknowledgement. Accepted to stored is longer:"
        " the batch timeout dominates it.",
    ),
    (
        "Load",
        "Work asked of a part in the window, in seconds a second; of several alike, the one asked"
        " for most. At 1 or more its queue grows without end: the run is on alert, and latencies"
        " that wait there have no number.",
    ),
    (
        "Stale answer",
        "It was made from a state of the conversion's journey that a later commit, durable before"
        " the question, had superseded. Its age runs from the first such commit to the question. It"
        " is not known of an answer that leaves touches out.",
    ),
    (
        "Worker memory",
        "The largest isolate as accounted: base, L1 and what was in flight. On Cloudflare only"
        " “memory exceeded” can be seen.",
    ),
    (
        "Interval",
        "95 % confidence: Student's t over replications or blocks of at least 90 samples each;"
        " otherwise between two ranks (order statistics), or Clopper-Pearson for a ratio. A run in"
        " real time takes the wider one. Point at an interval to see which it is.",
    ),
    (
        "Judged by the value alone",
        "The error ratio and the memory maximum. An error ratio at or below its target passes:"
        " no short run could show 0.001 with confidence. The brackets of memory are the smallest"
        " and the largest maximum of the replications or blocks.",
    ),
    (
        "Histogram",
        "Times are counted in whole microseconds to three significant digits (HdrHistogram, 1 µs to"
        " 1 h): a percentile is at most 0.1 % too high, never too low. Count, sum, minimum and"
        " maximum are exact.",
    ),
)


def world(kind: str, text: str = "") -> str:
    """A world's name in its colour."""
    return f'<span class="{escape(kind)}"><span class="key">{escape(text or kind)}</span></span>'


def plots(records: Sequence[RunRecord]) -> str:
    """A panel for each plotted KPI that some run has samples of."""
    panels = [_panel(records, name) for name in PLOTTED]
    panels = [panel for panel in panels if any(points(line.sample) for line in panel.lines)]
    if not panels:
        return ""
    scale = shared_scale(panels)
    figures = "".join(
        f"<figure>{_figure_head(panel)}{svg(panel, scale)}{_figure_table(panel)}</figure>"
        for panel in panels
    )
    return (
        '<section><h2>Percentiles</h2><p class="lead">Read it from the left: half of the samples'
        " are faster than the line at 50, one in a hundred is slower than the line at 99. All"
        f' panels share one scale.</p><div class="plots">{figures}</div></section>'
    )


def agreement(found: Mapping[str, Any]) -> str:
    """How far both worlds agree, request by request (see :mod:`reports.samples`)."""
    if not found.get("requests"):
        return ""
    rows = [
        [
            escape(route),
            f"{numbers['requests']:,}",
            *(_ms(numbers[key]) for key in _AGREEMENT_KEYS),
        ]
        for route, numbers in found["routes"].items()
    ]
    heads = ["route", "requests", "simulated P50", "emulated P50", "simulated P95"]
    heads += ["emulated P95", "paired difference, P50"]
    return (
        '<section><h2>Do both worlds agree?</h2><p class="lead">'
        f"Both answered {found['requests']:,} requests, {wording.share(found['same_layers'], 2)}"
        " of them by the same layers. A request meets the same delays in both, so they can"
        f" be compared one by one.</p>{_table(heads, rows)}</section>"
    )


_AGREEMENT_KEYS = (
    "simulated_p50_us",
    "emulated_p50_us",
    "simulated_p95_us",
    "emulated_p95_us",
    "paired_p50_us",
)


def explanations(records: Sequence[RunRecord]) -> str:
    """Look-ups by type, timings beside the KPIs, failures by reason."""
    kinds = [record.kind for record in records]
    timings = [
        (title, [details.timing(record, title, series) for record in records])
        for title, series in details.TIMINGS
    ]
    rows = [
        [title, *(_ms_or_dash(timing) for timing in row)]
        for title, row in timings
        if any(timing.samples for timing in row)
    ]
    rows += details.load_rows(records)
    rows += [
        [title, *(escape(cell) or DASH for cell in cells)]
        for title, cells in details.worst_minutes(records)
    ]
    rows += [[escape(title), *texts] for title, texts in details.happened(records)]
    rows += _memory_rows(records)
    rows += _failure_rows(records)
    return (
        "<section><h2>Beneath the KPIs</h2>"
        '<p class="lead">Not judged; here to explain what is.</p><div class="pair"><div>'
        f"<h3>Parts and counts; times are P95</h3>{_table(['', *kinds], rows)}</div><div>"
        f"<h3>Cache look-ups by type</h3>{_lookups(records)}</div>{_statements(records)}</div>"
        "</section>"
    )


def definitions() -> str:
    """What each number means, so that nobody has to guess."""
    items = "".join(
        f"<div><dt>{escape(term)}</dt><dd>{escape(text)}</dd></div>" for term, text in DEFINITIONS
    )
    return f'<section class="defs"><h2>How each number is defined</h2><dl>{items}</dl></section>'


def provenance(records: Sequence[RunRecord]) -> str:
    """Where the numbers come from: seed, versions, notes, and the scenario as it was run."""
    columns = "".join(f"<div>{_provenance_of(record)}</div>" for record in records)
    settings = json.dumps(records[0].scenario_settings, indent=2, ensure_ascii=False)
    return (
        f'<section><h2>Provenance</h2><div class="columns">{columns}</div>'
        "<details><summary>The scenario as it was run</summary>"
        f"<pre>{escape(settings)}</pre></details></section>"
    )


def _panel(records: Sequence[RunRecord], name: str) -> Panel:
    kpi = BY_NAME[name]
    lines = [Line(record.kind, _sample(record, kpi.source)) for record in records]
    return Panel(kpi.title.removesuffix(" P95"), lines, records[0].limits[name][0])


def _sample(record: RunRecord, series: str) -> Sample:
    """What a curve is drawn of; nothing where no percentile is told."""
    return Sample(Histogram(), 0) if unstable(record, series) else Sample(*record.pooled(series))


def _figure_head(panel: Panel) -> str:
    """The panel's title, and beside it what its dashed line is: so it can hide no curve."""
    target = escape(f"P95 target {wording.limit('<', panel.target_ms, 'ms')}")
    dash = '<svg class="dash" viewBox="0 0 22 8"><path class="target" d="M0 4h22"/></svg>'
    title = f"<h3>{escape(panel.title)}</h3>"
    return f'<div class="head">{title}<span class="sub">{dash}{target}</span></div>'


def _figure_table(panel: Panel) -> str:
    rows = [
        [
            world(line.kind),
            *(_percentile(line.sample, p) for p in (0.5, 0.95, 0.99)),
            _maximum(line.sample),
        ]
        for line in panel.lines
    ]
    return _bare_table(["ms", "P50", "P95", "P99", "max"], rows)


def _percentile(sample: Sample, p: float) -> str:
    value = sample.percentile(p)
    return wording.number(None if value is None else value / US_PER_MS, "ms")


def _maximum(sample: Sample) -> str:
    value = sample.histogram.max_us
    return wording.number(None if value is None else value / US_PER_MS, "ms")


def _lookups(records: Sequence[RunRecord]) -> str:
    rows = []
    for record in records:
        for row in details.lookups(record):
            shares = [wording.share(row.by_layer[layer] / row.total) for layer in Layer]
            name = f'{escape(row.title)}<span class="sub">{record.kind}</span>'
            rows.append([name, f"{row.total:,}", wording.number(row.ratio, "ratio"), *shares])
    return _table(["type", "look-ups", "hit ratio", *Layer], rows)


def _statements(records: Sequence[RunRecord]) -> str:
    """The prices that a modelled D1 has charged, warm-up included."""
    rows = [
        [
            f'{escape(row.kind)}<span class="sub">{record.kind}</span>',
            f"{row.statements:,}",
            f"{row.steps:,.0f}",
            f"{row.service_us:,.0f}",
        ]
        for record in records
        for row in details.statements(record)
    ]
    if not rows:
        return ""
    heads = ["kind", "statements", "steps each", "service time each, µs"]
    return f"<div><h3>What D1 charged for</h3>{_table(heads, rows)}</div>"


def _memory_rows(records: Sequence[RunRecord]) -> list[list[str]]:
    values = [details.process_memory_mib(record) for record in records]
    if all(value is None for value in values):
        return []
    cells = [DASH if value is None else wording.quantity(value, "MiB") for value in values]
    return [["Memory of the server's Python process", *cells]]


def _failure_rows(records: Sequence[RunRecord]) -> list[list[str]]:
    failed = [details.failures(record) for record in records]
    reasons = sorted({reason for reasons in failed for reason in reasons})
    return [
        [f"Failed: {escape(reason)}", *(f"{reasons.get(reason, 0):,}" for reasons in failed)]
        for reason in reasons
    ]


def _ms_or_dash(timing: details.Timing) -> str:
    return wording.quantity(timing.p95_ms, "ms") if timing.samples else DASH


def _ms(us: float) -> str:
    return f"{MINUS if us < 0 else ''}{wording.quantity(abs(us) / US_PER_MS, 'ms')}"


def _provenance_of(record: RunRecord) -> str:
    facts = {
        "seed": record.seed,
        "window": f"{record.window.start_us / 1e6:g} s to {record.window.end_us / 1e6:g} s",
        "units": f"{len(record.units)}",
        "scenario SHA-256": record.scenario_sha256,
        **dict(sorted(record.provenance.items())),
    }
    items = "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in facts.items())
    notes = "".join(f"<li>{escape(note)}</li>" for note in [*record.invalid, *record.notes])
    listed = f"<ul>{notes}</ul>" if notes else ""
    return f"<h3>{world(record.kind)}</h3><dl>{items}</dl>{listed}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return f'<div class="scroll">{_bare_table(heads, rows)}</div>'


def _bare_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers; cells are HTML already."""
    head = "".join(
        f"<th{'' if place == 0 else ' class=num'}>{escape(text)}</th>"
        for place, text in enumerate(heads)
    )
    body = "".join(
        f'<tr><th scope="row">{first}</th>'
        + "".join(f'<td class="num">{cell}</td>' for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
