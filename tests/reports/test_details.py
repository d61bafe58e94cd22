"""The rows beneath the KPIs."""

from __future__ import annotations

from collections.abc import Callable

from reference_impl.messages import Layer
from reports import details, sections
from reports.record import RunRecord
from tests.reports.conftest import STABLE, histogram, with_loads

MakeRecord = Callable[..., RunRecord]


def test_lookups_have_a_row_a_type_those_of_the_kpi_first(make_record: MakeRecord) -> None:
    """Totals of the KPI ("cache.unknown" is one) are no types; negatives do not count twice."""
    record = make_record(samples=100, units=1)
    record.units[0].counts.update(
        {
            "cache.aConfig.l1": 5,
            "cache.aConfig.l1.negative": 2,
            "cache.aConfig.l1.stale": 3,
            "cache.unknown": 1,
        }
    )
    rows = details.lookups(record)
    assert [(row.cache_type, row.total, row.hits, row.negative_hits) for row in rows] == [
        ("attribution", 200, 198, 0),
        ("aConfig", 5, 5, 2),
    ]
    assert [row.title for row in rows] == ["attribution", "aConfig (3 hits stale)"]
    assert rows[0].ratio == 0.99
    assert rows[0].by_layer == {
        Layer.L1: 100,
        Layer.KV: 98,
        Layer.MISS: 2,
        Layer.JOINED: 0,
        Layer.UNKNOWN: 0,
    }


def test_a_type_may_be_named_like_a_layer(make_record: MakeRecord) -> None:
    """A cache type with dots or called "miss" gets its own row and breaks nothing."""
    record = make_record(samples=100, units=1)
    record.units[0].counts = {"cache.miss.kv": 3, "cache.a.b.l1": 4}
    assert [(row.cache_type, row.total) for row in details.lookups(record)] == [
        ("a.b", 4),
        ("miss", 3),
    ]


def test_timing_ranks_failed_samples_on_top(make_record: MakeRecord) -> None:
    """P95 of any series in ms; none if over 5 % failed, no samples if it is not there."""
    record = make_record(samples=100, units=1)
    assert details.timing(record, "SQL", "d1.request.sql").samples == 100
    record.units[0].failed["d1.request.sql"] = 20
    assert details.timing(record, "SQL", "d1.request.sql") == ("SQL", None, 120)
    assert details.timing(record, "?", "absent") == ("?", None, 0)


def test_what_waits_for_an_overloaded_part_is_none(make_record: MakeRecord) -> None:
    """And only that; the age of stale answers as well, and a dash if none was."""
    record = with_loads(make_record(units=1), **STABLE | {"consumers": 1.5})
    assert details.stale_age(record) == "-"
    record.units[0].series["staleness.age"] = histogram([5_000.0])
    assert (details.stale_age(record), details.stale_age_s(record)) == ("none", None)
    assert details.happened([record])[:2] == [
        ("Stale answers", ["1"]),
        ("Stale answers, age P99", ["none"]),
    ]
    assert details.timing(record, "stored", "queue.accepted_to_stored").p95_ms is None
    assert details.timing(record, "D1", "d1.consumer").p95_ms is not None
    with_loads(record, consumers=0.5)
    assert details.stale_age(record) == "5.00 s"
    assert details.stale_age_s(record) == 5.0


def test_process_memory_is_what_the_run_noted(make_record: MakeRecord) -> None:
    """In MiB, or None."""
    record = make_record(samples=1, units=1)
    assert details.process_memory_mib(record) is None
    record.provenance[details.PROCESS_MEMORY] = 3 * 2**20
    assert details.process_memory_mib(record) == 3


def test_the_worst_minute_is_told_where_a_run_has_noted_it(make_record: MakeRecord) -> None:
    """Its P95 and its beginning; "none" if it was lost to failures; no row if nobody knows."""
    noted, silent = make_record(), make_record()
    assert details.worst_minutes([silent]) == []
    noted.provenance |= {
        "worst_minute_tracking_start_us": 60_000_000,
        "worst_minute_tracking_p95_us": 83_140,
        "worst_minute_attribution_start_us": 0,
    }
    assert details.worst_minutes([noted, silent]) == [
        ("Tracking, worst minute", ["83.1 ms from 60 s", ""]),
        ("Attribution, worst minute", ["none from 0 s", ""]),
    ]


def test_what_happened_has_a_row_and_what_did_not_has_none(make_record: MakeRecord) -> None:
    """Stale answers with the P99 of their age, then counts; a record side by side with another."""
    quiet, busy = make_record(units=1), make_record(units=2)
    for unit in busy.units:
        unit.counts |= {"kv.writes_refused": 600, "queue.consumers_max": 3}
        unit.series["staleness.age"] = histogram([1_000, 42_000])
    assert details.happened([quiet]) == []
    assert details.happened([quiet, busy]) == [
        ("Stale answers", ["0", "4"]),
        ("Stale answers, age P99", ["-", "42.0 s"]),
        ("KV writes refused (429)", ["0", "1,200"]),
        ("Queue consumers at once, at most", ["0", "3"]),
    ]


def test_statements_are_told_by_what_they_cost(make_record: MakeRecord) -> None:
    """Means over all units, the costliest kind in all first; a run without prices has none."""
    record = make_record(samples=100, units=2)
    assert details.statements(record) == []
    for unit in record.units:
        unit.counts |= {
            "d1.statements.select_x": 2,
            "d1.steps.select_x": 30,
            "d1.service_us.select_x": 500,
            "d1.statements.insert_x": 1,
            "d1.steps.insert_x": 90,
            "d1.service_us.insert_x": 700,
        }
    assert details.statements(record) == [
        details.StatementRow("insert_x", 2, 90.0, 700.0),
        details.StatementRow("select_x", 4, 15.0, 250.0),
    ]


def test_what_d1_charged_is_on_the_page(make_record: MakeRecord) -> None:
    """Where a model priced statements, and nowhere else."""
    record = make_record(samples=100, units=1)
    assert "What D1 charged for" not in sections.explanations([record])
    record.units[0].counts |= {"d1.statements.select_<x>": 2, "d1.service_us.select_<x>": 2468}
    told = sections.explanations([record])
    assert "What D1 charged for" in told
    assert "select_&lt;x&gt;" in told
    assert "1,234" in told
