"""What every replication of a scenario starts from, made once: journeys, tables, answers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from reference_impl.adapters.sqlite import Command, SqliteEngine
from reference_impl.attribution.answers import attribution_text
from reference_impl.attribution.markov import NO_HISTORY, RemovalEffects
from reference_impl.attribution.models import Journey, Touch, models
from reference_impl.d1.history import MAX_PAGE, read_history
from reference_impl.isolate.attributor import LEARNS, Credited, learnt_credit
from reference_impl.ports import SqlValue
from scenarios.journeys import Population, load_population
from scenarios.schema import Scenario
from scenarios.stack import stack_config
from sim.bridge import SimRuntime

_ALL_JOURNEYS = (
    "SELECT conversion_id, utm_source, event_timestamp FROM user_journeys "
    "WHERE conversion_id IS NOT NULL ORDER BY conversion_id, event_timestamp, position, id"
)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """The population, the loaded database as bytes, and the answer to each conversion's question.

    ``answers`` are in the order of ``population.conversions``: what caches hold after a long run.
    ``effects`` are what ``data_driven`` has learnt, if that is what the answers are.
    """

    population: Population
    snapshot: bytes
    answers: list[str]
    effects: RemovalEffects

    def clone_engine(self) -> SqliteEngine:
        """A database of one's own with this content."""
        return SqliteEngine.from_snapshot(self.snapshot)


def load_engine(scenario: Scenario, population: Population) -> SqliteEngine:
    """A new database in memory with the scenario's schema and all its journeys."""
    engine = SqliteEngine()
    engine.migrate(frozenset(scenario.d1.drop_indexes))
    engine.insert_journeys(population.rows())
    return engine


def prepare(scenario: Scenario) -> Prepared:
    """Load the journeys and compute every answer; the caches' contents only for a steady start."""
    population = load_population(scenario.data)
    engine = load_engine(scenario, population)
    steady = scenario.measure.start == "steady"
    learns = steady and scenario.workload.attribution.model == LEARNS
    effects = _learn(engine, stack_config(scenario).history_journeys) if learns else NO_HISTORY
    answers = _answers(engine, scenario, population, effects) if steady else []
    return Prepared(population, engine.snapshot(), answers, effects)


def _answers(
    engine: SqliteEngine, scenario: Scenario, population: Population, effects: RemovalEffects
) -> list[str]:
    """The text that each conversion's look-up answers, computed by the stack's own functions."""
    name, direct = scenario.workload.attribution.model, scenario.attribution_direct
    model = models(direct=direct)[name]
    (execution,) = engine.execute([Command(_ALL_JOURNEYS, ())])
    texts = {}
    for conversion_id, rows in groupby(execution.rows, key=lambda row: row[0]):
        journey = Journey.of_latest([Touch(source, at) for _, source, at in rows])
        credited = (
            learnt_credit(journey.touches, effects, direct)
            if name == LEARNS
            else Credited(model(journey.touches))
        )
        texts[conversion_id] = attribution_text(conversion_id, name, journey, *credited)
    return [texts[conversion.conversion_id] for conversion in population.conversions]


def _learn(engine: SqliteEngine, max_journeys: int) -> RemovalEffects:
    """What the stack would learn from the tables, by its own reading of them."""

    async def ask(sql: str, values: tuple[SqlValue, ...]) -> list[dict[str, Any]]:
        (execution,) = engine.execute([Command(sql, values)])
        return execution.result().results

    async def learn() -> None:
        history = await read_history(ask, page_size=MAX_PAGE, max_journeys=max_journeys)
        learnt.append(history.effects())

    learnt: list[RemovalEffects] = []
    runtime = SimRuntime()
    runtime.spawn(learn())
    runtime.run()
    return learnt[0]
