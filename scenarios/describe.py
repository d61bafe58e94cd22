"""A scenario in plain words, and what it cannot show."""

from __future__ import annotations

from reports.kpis import BY_NAME
from scenarios.schema import Scenario
from scenarios.target import Target

MIN_SAMPLES = 90
"""A P95 needs 90 samples below the limit to be shown at 99 % confidence: 0.95^90 < 0.01."""


def describe(scenario: Scenario) -> str:
    """One paragraph: what is asked, of which world, and what decides."""
    sentences = [_load(scenario), _measure(scenario), _world(scenario), _judged(scenario)]
    if scenario.target != Target():
        sentences.append(_target(scenario.target))
    return f"{scenario.name}: {' '.join(sentences)}"


def warnings(scenario: Scenario) -> list[str]:
    """What this scenario cannot show, one sentence each; empty when there is nothing to say."""
    return [*_cold_warnings(scenario), *_sample_warnings(scenario)]


def expected_samples(scenario: Scenario) -> dict[str, float]:
    """About how many samples of each counted KPI one run gives, where the load alone says it.

    ``d1_query_p95`` counts the events only: how many look-ups reach D1 is a result, not an input.
    """
    load, window_s = scenario.workload, scenario.measure.window_s
    rates_per_s = {
        "cache_hit_ratio": load.attribution.rate_per_s,
        "tracking_latency_p95": load.tracking.rate_per_s,
        "attribution_latency_p95": load.attribution.rate_per_s,
        "queue_processing_p95": _batches_per_s(scenario),
        "worker_cpu_p95": load.rate_per_s,
    }
    if load.tracking.rate_per_s > 0:
        rates_per_s["d1_query_p95"] = load.tracking.rate_per_s
    return {name: rate * window_s for name, rate in rates_per_s.items()}


def _load(scenario: Scenario) -> str:
    attribution, tracking = scenario.workload.attribution, scenario.workload.tracking
    parts = []
    if attribution.rate_per_s > 0:
        parts.append(
            f"{attribution.rate_per_s:g} attribution look-ups a second ({attribution.model}, "
            f"Zipf {attribution.zipf_s:g})"
        )
    if tracking.rate_per_s > 0:
        parts.append(
            f"{tracking.rate_per_s:g} tracking events a second "
            f"({100 * tracking.attributed_share:g} % of them touch a conversion already attributed)"
        )
    return f"Asks {' and '.join(parts)}, as open Poisson arrivals."


def _measure(scenario: Scenario) -> str:
    measure = scenario.measure
    caches = "filled as after a long run" if measure.start == "steady" else "empty"
    after = f", and cools down for {measure.cooldown_s:g} s" if measure.cooldown_s else ""
    return (
        f"Starts with caches {caches}, warms up for {measure.warmup_s:g} s, "
        f"then measures {measure.window_s:g} s{after}."
    )


def _world(scenario: Scenario) -> str:
    nodes = ", ".join(f"{node.name} in {node.region}" for node in scenario.edge.nodes)
    isolates = scenario.edge.isolates_per_node
    dropped = ", ".join(scenario.d1.drop_indexes)
    each = "isolates by load" if isolates is None else f"{isolates} isolate(s) each"
    replicas = " with replicas" if scenario.d1.replicas else ""
    text = f"Edge: {nodes}, {each}; D1 in {scenario.d1.region}{replicas}"
    return f"{text}, without {dropped}." if dropped else f"{text}."


def _target(target: Target) -> str:
    """How a load test of a named host asks; our own emulated server is asked as ours."""
    asked = (
        f"{route.method} {route.host or ''}{route.path}"
        for route in (target.attribution, target.tracking)
    )
    secrets = ", ".join(target.secrets())
    needs = f", with secrets from {secrets}" if secrets else ""
    return f"A named host is asked by {' and '.join(asked)}{needs}."


def _judged(scenario: Scenario) -> str:
    limits = [
        f"{name} {BY_NAME[name].meets} {own.target:g} (alert {own.alert:g})"
        for name, own in scenario.kpis.limits.items()
    ]
    text = f"Judged by {', '.join(scenario.kpis.required)} and error_ratio"
    return f"{text}, with own limits {', '.join(limits)}." if limits else f"{text}."


def _cold_warnings(scenario: Scenario) -> list[str]:
    ttls_s = scenario.kv.expiration_ttl_s
    longest_s = max(scenario.l1.ttl_s, *(ttls_s[kind] for kind in scenario.kpis.cache_types))
    if scenario.measure.start == "steady" or scenario.measure.window_s >= longest_s:
        return []
    return [
        f"the start is cold and the window ({scenario.measure.window_s:g} s) is shorter than the "
        f"longest TTL ({longest_s} s): such a run cannot tell TTLs apart"
    ]


def _sample_warnings(scenario: Scenario) -> list[str]:
    expected = expected_samples(scenario)
    return [
        f"{name}: about {expected[name]:.0f} samples expected in one run, "
        f"fewer than {MIN_SAMPLES} are inconclusive"
        for name in scenario.kpis.required
        if name in expected and expected[name] < MIN_SAMPLES
    ]


def _batches_per_s(scenario: Scenario) -> float:
    """Batches close when full or when their time is up, whichever comes first."""
    rate_per_s, queue = scenario.workload.tracking.rate_per_s, scenario.queue
    if rate_per_s * queue.batch_timeout_s >= queue.batch_size:
        return rate_per_s / queue.batch_size
    return rate_per_s / (1 + rate_per_s * queue.batch_timeout_s)
