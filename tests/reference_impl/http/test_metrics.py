"""The numbers as OpenMetrics: read by the client library's own parser, equal to the statistics."""

from __future__ import annotations

import asyncio

import httpx
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from reference_impl.http.metrics import BOUNDS_MS
from reference_impl.profiling.hdr import Histogram
from reference_impl.profiling.profiler import MAX_SERIES
from reports.kpis import CATALOGUE
from tests.reference_impl.site import AUTH, EVENT, PERFORMANCE, Site, is_problem, visit, visit_site


def samples(answer: httpx.Response) -> dict[str, list[Sample]]:
    """By name; a text that is no OpenMetrics is an error."""
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    found: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(answer.text):  # type: ignore[no-untyped-call]
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def test_a_scrape_tells_what_the_statistics_tell() -> None:
    """Counts, sums, hits and the queue agree with the readings of the same moment."""

    async def work(client: httpx.AsyncClient) -> tuple[httpx.Response, httpx.Response]:
        await client.post("/track", json=EVENT)
        for _ in range(3):
            await client.get("/api/attribution/c2?model=linear")
        for _ in range(1_000):  # until nothing goes on behind the answers
            await asyncio.sleep(0)
        scraped = await client.get("/metrics", headers=AUTH)
        return scraped, await client.get(PERFORMANCE + "stats", headers=AUTH)

    scraped, read = visit(work)
    found, data = samples(scraped), read.json()["data"]
    counts = {s.labels["route"]: s.value for s in found["edgekpi_request_seconds_count"]}
    assert counts == {"attribution": 3, "tracking": 1}
    (looked_up,) = [
        s.value for s in found["edgekpi_request_seconds_sum"] if s.labels["route"] == "attribution"
    ]
    whole = Histogram.from_json(data["cumulative"]["request.attribution"])
    assert looked_up == whole.sum_us / 1e6
    layers = {(s.labels["layer"]): s.value for s in found["edgekpi_cache_lookups_total"]}
    assert layers == {"l1": 2, "kv": 0, "miss": 1, "joined": 0, "unknown": 0}
    assert found["edgekpi_queue_undelivered"][0].value == data["queue"]["undelivered"]
    assert found["edgekpi_instance_info"][0].labels["id"] == data["instance"]["id"]
    assert found["process_cpu_seconds_total"][0].value > 0


def test_buckets_are_cumulative_and_end_at_the_limits_of_the_kpis() -> None:
    """Each has all values up to its end; the limits in time of the catalogue are among the ends."""

    async def work(site: Site) -> httpx.Response:
        for number in range(1000):
            site.deployment.profiler.stored(number * 1000)
        return await site.client.get("/metrics", headers=AUTH)

    found = samples(visit_site(work))
    counts = {
        s.labels["le"]: s.value
        for s in found["edgekpi_queue_seconds_bucket"]
        if s.labels["step"] == "accepted_to_stored"
    }
    assert counts.pop("+Inf") == 1000
    assert counts == {str(bound / 1000): min(bound + 1, 1000) for bound in BOUNDS_MS}
    limits = {limit for kpi in CATALOGUE if kpi.unit == "ms" for limit in (kpi.target, kpi.alert)}
    assert limits <= set(BOUNDS_MS)


def test_a_scrape_needs_the_token_and_stays_bounded() -> None:
    """It tells of the deployment; and there are as many series as the profiler keeps."""

    async def work(site: Site) -> tuple[httpx.Response, httpx.Response]:
        for number in range(10 * MAX_SERIES):
            site.deployment.profiler.external(f"api-{number}", 1)
        anonymous = await site.client.get("/metrics")
        return anonymous, await site.client.get("/metrics", headers=AUTH)

    anonymous, scraped = visit_site(work)
    assert is_problem(anonymous, 401)
    found = samples(scraped)
    assert len(found["edgekpi_external_seconds_count"]) <= MAX_SERIES
