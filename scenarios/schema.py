"""What a scenario file may say: the question, the load, the world assumed, the KPIs wanted.

Strict on purpose: unknown fields, numbers in quotes and ``true`` for 1 are refused, since a
scenario that is silently read otherwise than meant answers the wrong question.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import InitErrorDetails

from reference_impl.attribution.models import Direct
from reports.kpis import BY_NAME, KPI_NAMES
from scenarios.parts import NAME, Part, distinct, known, some
from scenarios.problems import problem, refuse
from scenarios.regions import D1Region, between_ms
from scenarios.services import D1, KV, CacheType, Fault, Queue
from scenarios.target import Population, Target
from scenarios.world import L1, Cache, Client, Edge, Ingest, Node

Model = Literal[
    "last_click", "first_click", "linear", "time_decay", "u_shape", "w_shape", "data_driven"
]

MAX_REQUESTS = 50_000_000
"""More planned requests than this is taken for a slip of the pen."""


class Measure(Part):
    """When the measuring starts and how long it lasts."""

    start: Literal["steady", "cold"] = Field(
        default="steady",
        description="steady fills the caches as a long run would have left them; cold is empty",
    )
    warmup_s: float = Field(
        default=5.0, ge=0, le=86_400, description="requests before the window are not judged"
    )
    window_s: float = Field(default=30.0, gt=0, le=86_400, description="requests judged")
    cooldown_s: float = Field(
        default=0.0,
        ge=0,
        le=86_400,
        description="the load goes on after the window, not judged, so that its last requests "
        "meet the same load as all others",
    )


class AttributionLoad(Part):
    """Look-ups: ``GET /api/attribution/{conversion_id}``."""

    rate_per_s: float = Field(
        default=100.0, ge=0, le=100_000, description="Poisson arrivals; 0 leaves it out"
    )
    zipf_s: float = Field(
        default=1.1, ge=0, le=5, description="popularity of rank k is k^-s (assumption); 0 is even"
    )
    model: Model = Field(default="linear", description="the model asked for (assumption)")


class TrackingLoad(Part):
    """Events: ``POST /track``."""

    rate_per_s: float = Field(
        default=100.0, ge=0, le=100_000, description="Poisson arrivals; 0 leaves it out"
    )
    attributed_share: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="part of the events, 0..1, that touch a conversion already attributed, "
        "evenly over all (assumption)",
    )
    visitors: int = Field(
        default=1_000_000,
        ge=1,
        le=1_000_000_000,
        description="the other events are evenly spread over so many visitors who have not "
        "converted (assumption)",
    )


class Workload(Part):
    """Who asks what, how often."""

    attribution: AttributionLoad = Field(default=AttributionLoad(), description="the look-ups")
    tracking: TrackingLoad = Field(default=TrackingLoad(), description="the events")

    @property
    def rate_per_s(self) -> float:
        """Requests a second of both routes."""
        return self.attribution.rate_per_s + self.tracking.rate_per_s

    @model_validator(mode="after")
    def _some(self) -> Workload:
        if self.rate_per_s <= 0:
            raise ValueError("one of the two rates must be above 0")
        return self


class Data(Part):
    """The journeys in D1 and the conversions asked for."""

    null_paths: bool = Field(
        default=False, description="add the journeys that did not end in a conversion"
    )
    max_paths: int | None = Field(
        default=None, ge=1, description="use the first so many of the 10,000 paths; null for all"
    )
    seed: int = Field(default=1, ge=0, le=2**63 - 1, description="of IDs, times and popularity")


class Limits(Part):
    """Own limits for one KPI, in its unit."""

    target: float = Field(ge=0, description="met on this side")
    alert: float = Field(ge=0, description="beyond this, alert")


def _in_order(limits: dict[str, Limits]) -> dict[str, Limits]:
    for name, own in limits.items():
        low, high = own.target, own.alert
        if BY_NAME[name].better == "higher":
            low, high = high, low
        if low > high:
            raise ValueError(f"{name}: alert ({own.alert:g}) lies before target ({own.target:g})")
    return limits


class Kpis(Part):
    """Which KPIs count, and limits other than those of the catalogue."""

    required: Annotated[
        tuple[Annotated[str, known(KPI_NAMES, "KPI")], ...],
        AfterValidator(some),
        AfterValidator(distinct),
    ] = Field(default=tuple(KPI_NAMES), strict=False, description="the KPIs that decide")
    cache_types: Annotated[
        tuple[CacheType, ...], AfterValidator(some), AfterValidator(distinct)
    ] = Field(
        default=("attribution", "channelMetrics", "userJourneys"),
        strict=False,
        description="look-ups that the hit ratio counts; configuration, which every request "
        "reads, would push it to 100 %",
    )
    limits: Annotated[
        dict[Annotated[str, known(BY_NAME, "KPI")], Limits], AfterValidator(_in_order)
    ] = Field(default={}, description="by KPI name, instead of the limits of the catalogue")


class Scenario(Part):
    """One question: this load, on this world, measured so, judged by these KPIs."""

    name: str = Field(default="unnamed", pattern=NAME, max_length=64, description="short name")
    description: str = Field(default="", max_length=2000, description="what it is for")
    seed: int = Field(default=1, ge=0, le=2**63 - 1, description="of the run's random draws")
    measure: Measure = Field(default=Measure(), description="warm-up and window")
    workload: Workload = Field(default=Workload(), description="the load")
    client: Client = Field(default=Client(), description="clients and their network")
    edge: Edge = Field(default=Edge(), description="edge nodes and isolates")
    l1: L1 = Field(default=L1(), description="cache in memory")
    cache: Cache = Field(default=Cache(), description="the cache manager over both layers")
    kv: KV = Field(default=KV(), description="Workers KV")
    d1: D1 = Field(default=D1(), description="the database")
    queue: Queue = Field(default=Queue(), description="the queue")
    ingest: Ingest = Field(default=Ingest(), description="how events are accepted")
    faults: tuple[Fault, ...] = Field(
        default=(), strict=False, max_length=100, description="what breaks, and when"
    )
    data: Data = Field(default=Data(), description="journeys and conversions")
    kpis: Kpis = Field(default=Kpis(), description="what is judged")
    target: Target = Field(
        default=Target(), description="how a deployment that is not ours is asked"
    )
    population: Population = Field(
        default=Population(), description="the IDs that a deployment of its own data knows"
    )
    attribution_models: Annotated[
        tuple[Model, ...], AfterValidator(some), AfterValidator(distinct)
    ] = Field(
        default=("last_click", "first_click", "linear"),
        strict=False,
        description="the models that the consumer recomputes after an event",
    )

    attribution_direct: Direct = Field(
        default="skip",
        description="touches without a source: skip gives them credit only where there are no "
        "others, credit treats them as any other (assumption: skip, as web analytics do)",
    )

    @property
    def horizon_s(self) -> float:
        """Warm-up, window and cool-down together, in seconds."""
        return self.measure.warmup_s + self.measure.window_s + self.measure.cooldown_s

    def d1_round_trip_ms(self, node: Node, region: D1Region | None = None) -> float:
        """The median network round trip from ``node`` to D1 in ms, without jitter: to the
        primary, or to a replica in ``region``."""
        if region is None and node.name == self.d1.metro:
            return self.d1.same_metro_rtt_ms
        place = self.d1.region if region is None else region
        if node.region == place:
            return self.d1.same_region_rtt_ms
        return float(between_ms(node.region, place))

    def nearest_replica(self, node: Node) -> D1Region | None:
        """Where the replica stands that is nearer to ``node`` than the primary; ``None`` when
        there is none, or sessions are not used."""
        if not self.d1.replicas or self.d1.session == "none":
            return None
        others = [region for region in get_args(D1Region) if region != self.d1.region]
        nearest = min(others, key=lambda region: self.d1_round_trip_ms(node, region))
        is_nearer = self.d1_round_trip_ms(node, nearest) < self.d1_round_trip_ms(node)
        return nearest if is_nearer else None

    @model_validator(mode="after")
    def _agree(self) -> Scenario:
        """Checks over several parts, all reported at once and each at its field."""
        problems = [*self._model_problems(), *self._metro_problems(), *self._size_problems()]
        refuse("Scenario", problems)
        return self

    def _model_problems(self) -> list[InitErrorDetails]:
        model = self.workload.attribution.model
        if model in self.attribution_models:
            return []
        known = ", ".join(self.attribution_models)
        text = f"{model!r} must be one of attribution_models ({known})"
        return [problem(("workload", "attribution", "model"), text)]

    def _metro_problems(self) -> list[InitErrorDetails]:
        nodes = {node.name: node for node in self.edge.nodes}
        metro = self.d1.metro
        if metro is None:
            return []
        if metro not in nodes:
            names = ", ".join(nodes)
            return [problem(("d1", "metro"), f"{metro!r} must name an edge node ({names})")]
        if nodes[metro].region != self.d1.region:
            text = f"node {metro!r} stands in {nodes[metro].region}, D1 in {self.d1.region}"
            return [problem(("d1", "metro"), text)]
        return []

    def _size_problems(self) -> list[InitErrorDetails]:
        planned = self.workload.rate_per_s * self.horizon_s
        if planned <= MAX_REQUESTS:
            return []
        text = f"{planned:,.0f} requests planned (rates x seconds), at most {MAX_REQUESTS:,}"
        return [problem(("measure", "window_s"), text)]
