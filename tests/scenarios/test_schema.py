"""The schema: its defaults, what it documents, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from reports.kpis import KPI_NAMES
from scenarios.schema import MAX_REQUESTS, Scenario


def models(kind: Any) -> Iterator[type[BaseModel]]:
    """Every model reachable from ``kind``."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
        for info in kind.model_fields.values():
            yield from models(info.annotation)
    for inner in get_args(kind):
        yield from models(inner)


def refused(**parts: Any) -> str:
    """The message that a scenario with ``parts`` is refused with."""
    with pytest.raises(ValidationError) as caught:
        Scenario.model_validate(parts)
    return str(caught.value)


def test_every_field_is_documented() -> None:
    """The schema is the reference of the scenario file."""
    found = list(models(Scenario))
    assert len(found) > 10
    undocumented = [
        f"{model.__name__}.{name}"
        for model in found
        for name, info in model.model_fields.items()
        if not info.description
    ]
    assert undocumented == []


def test_defaults_are_the_platform_facts() -> None:
    """An empty scenario is valid and requires all seven KPIs."""
    scenario = Scenario()
    assert scenario.kpis.required == KPI_NAMES
    assert scenario.kv.expiration_ttl_s["attribution"] == 3600
    assert scenario.kv.cache_ttl_s == 60
    assert scenario.queue.batch_size == 10
    assert scenario.horizon_s == 35


def test_ttls_not_named_keep_their_default() -> None:
    """Changing one cache type leaves the others."""
    scenario = Scenario.model_validate({"kv": {"expiration_ttl_s": {"attribution": 60}}})
    assert scenario.kv.expiration_ttl_s["attribution"] == 60
    assert scenario.kv.expiration_ttl_s["userJourneys"] == 300


def test_a_dumped_scenario_reads_back() -> None:
    """What a record stores is the scenario that ran."""
    scenario = Scenario.model_validate({"edge": {"nodes": [{"name": "a"}]}, "data": {"seed": 3}})
    assert Scenario.model_validate(scenario.model_dump(mode="json")) == scenario


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"seed": True}, "valid integer"),
        ({"seed": "1"}, "valid integer"),
        ({"name": "No Spaces"}, "pattern"),
        ({"measure": {"window_s": 0}}, "greater than 0"),
        ({"measure": {"window_s": float("nan")}}, "finite"),
        ({"measure": {"warmup_s": -1}}, "greater than or equal to 0"),
        ({"workload": {"tracking": {"rate_per_s": 100_001}}}, "less than or equal to 100000"),
        (
            {"workload": {"tracking": {"rate_per_s": 0}, "attribution": {"rate_per_s": 0}}},
            "one of the two rates",
        ),
        ({"client": {"rtt_ms": {"p50": 5, "p99": 4}}}, "must be at least p50"),
        ({"client": {"rtt_ms": {"p50": 0, "p99": 4}}}, "greater than 0"),
        ({"edge": {"nodes": []}}, "at least one"),
        ({"edge": {"nodes": [{"name": "a", "share": 0.5}]}}, "sum to 1, they sum to 0.5"),
        (
            {"edge": {"nodes": [{"name": "a", "share": 0.5}, {"name": "a", "share": 0.5}]}},
            "'a' is listed twice",
        ),
        ({"measure": {"start": "warm"}}, "'steady' or 'cold'"),
        ({"kv": {"expiration_ttl_s": {"attribution": 59}}}, "greater than or equal to 60"),
        ({"kv": {"negative_ttl_s": 59}}, "greater than or equal to 60"),
        ({"kv": {"cache_ttl_s": 29}}, "greater than or equal to 30"),
        ({"kv": {"ttl_jitter": 0.51}}, "less than or equal to 0.5"),
        ({"kv": {"stale_ttl_s": -1}}, "greater than or equal to 0"),
        ({"l1": {"scope": "global"}}, "'isolate' or 'request'"),
        ({"cache": {"single_flight": 1}}, "valid boolean"),
        ({"d1": {"region": "sam"}}, "'wnam'"),
        ({"d1": {"drop_indexes": ["idx"]}}, "no index of the schema"),
        ({"kpis": {"required": []}}, "at least one"),
        ({"kpis": {"required": ["cache_hit_rate"]}}, "did you mean 'cache_hit_ratio'"),
        ({"kpis": {"cache_types": ["attribution", "attribution"]}}, "listed twice"),
        (
            {"kpis": {"limits": {"cache_hit_ratio": {"target": 0.5, "alert": 0.9}}}},
            "lies before target",
        ),
        (
            {"kpis": {"limits": {"d1_query_p95": {"target": 50, "alert": 40}}}},
            "lies before target",
        ),
    ],
)
def test_what_is_refused(parts: dict[str, Any], message: str) -> None:
    """Each mistake has a message that says what was expected."""
    assert message in refused(**parts)


def test_checks_over_parts_are_reported_together() -> None:
    """Model, metro and size are all told at once, each at its field."""
    with pytest.raises(ValidationError) as caught:
        Scenario.model_validate(
            {
                "attribution_models": ["last_click"],
                "d1": {"metro": "nowhere"},
                "measure": {"window_s": 80_000},
                "workload": {"tracking": {"rate_per_s": 90_000}},
            }
        )
    places = [error["loc"] for error in caught.value.errors()]
    assert places == [
        ("workload", "attribution", "model"),
        ("d1", "metro"),
        ("measure", "window_s"),
    ]


def test_metro_must_stand_where_d1_does() -> None:
    """Two milliseconds to a database on another continent would be a lie."""
    message = refused(
        edge={"nodes": [{"name": "iad", "region": "enam"}]}, d1={"metro": "iad", "region": "weur"}
    )
    assert "stands in enam, D1 in weur" in message


def test_the_largest_plan_is_accepted() -> None:
    """The bound itself is allowed."""
    scenario = Scenario.model_validate(
        {
            "measure": {"warmup_s": 0, "window_s": 500},
            "workload": {"attribution": {"rate_per_s": 50_000}, "tracking": {"rate_per_s": 50_000}},
        }
    )
    assert scenario.workload.rate_per_s * scenario.horizon_s == MAX_REQUESTS


def test_scenarios_cannot_be_changed() -> None:
    """A run cannot alter the question."""
    with pytest.raises(ValidationError, match="frozen"):
        Scenario().seed = 2
