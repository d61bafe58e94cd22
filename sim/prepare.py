"""What every replication of a scenario starts from, made once: journeys, tables, answers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from reference_impl.adapters.sqlite import Command, SqliteEngine
from reference_impl.attribution import MODELS, Touch
from reference_impl.worker import attribution_text
from scenarios.journeys import Population, load_population
from scenarios.schema import Scenario

_ALL_JOURNEYS = (
    "SELECT conversion_id, utm_source, event_timestamp FROM user_journeys "
    "WHERE conversion_id IS NOT NULL ORDER BY conversion_id, event_timestamp, position, id"
)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """The population, the loaded database as bytes, and the answer to each conversion's question.

    ``answers`` are in the order of ``population.conversions``: what caches hold after a long run.
    """

    population: Population
    snapshot: bytes
    answers: list[str]

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
    answers = _answers(engine, scenario, population) if steady else []
    return Prepared(population, engine.snapshot(), answers)


def _answers(engine: SqliteEngine, scenario: Scenario, population: Population) -> list[str]:
    """The text that each conversion's look-up answers, computed by the stack's own functions."""
    name = scenario.workload.attribution.model
    model = MODELS[name]
    (execution,) = engine.execute([Command(_ALL_JOURNEYS, ())])
    texts = {}
    for conversion_id, rows in groupby(execution.rows, key=lambda row: row[0]):
        journey = [Touch(source, at) for _, source, at in rows]
        texts[conversion_id] = attribution_text(conversion_id, name, journey, model(journey))
    return [texts[conversion.conversion_id] for conversion in population.conversions]
