"""Journeys credited a second by each attribution model, over the conversions of the public paths.

The ratios are to ``linear``, the plainest. The last line is the time to learn the removal effects
that ``data_driven`` divides by, from all paths with their nulls.
Run with ``make bench``, or ``python -m benchmarks.attribution [ROUNDS]`` in the environment.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter

from benchmarks.rounds import compare, table
from reference_impl.attribution.markov import Channel, removal_effects
from reference_impl.attribution.models import Model, Touch, models
from scenarios.journeys import COLUMNS, load_population
from scenarios.schema import Data

Journey = list[Touch]
Path = tuple[list[Channel], int, int]


def main() -> None:
    """Print one row a model, then the time of learning."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    converted, null = _journeys()
    history = [(_channels(journey), 1, 0) for journey in converted]
    history += [(_channels(journey), 0, 1) for journey in null]
    seven = dict(models(removal_effects(history)))
    cases = {name: _crediting(seven[name], converted) for name in ["linear", *seven]}
    print(f"{len(converted)} journeys, {sum(map(len, converted))} touches, {rounds} rounds")
    print(table(compare(cases, rounds), "journeys/s"), end="\n\n")
    rates = compare({"learning": lambda: _learn(history)}, rounds)["learning"]
    times_ms = [1000 / rate for rate in rates]
    print(
        f"removal effects of {len(history)} journeys: median {statistics.median(times_ms):,.0f} ms "
        f"({min(times_ms):,.0f} to {max(times_ms):,.0f})"
    )


def _journeys() -> tuple[list[Journey], list[Journey]]:
    """The public journeys that converted, and those that did not."""
    user, conversion, source, at = map(
        COLUMNS.index, ("user_id", "conversion_id", "utm_source", "event_timestamp")
    )
    converted: list[Journey] = []
    null: list[Journey] = []
    rows = load_population(Data(null_paths=True)).rows()
    for (_, conversion_id), group in groupby(rows, key=itemgetter(user, conversion)):
        journey = [Touch(str(row[source]), str(row[at])) for row in group]
        (null if conversion_id is None else converted).append(journey)
    return converted, null


def _channels(journey: Journey) -> list[Channel]:
    return [touch.utm_source for touch in journey]


def _crediting(model: Model, journeys: list[Journey]) -> Callable[[], float]:
    def credit() -> float:
        for journey in journeys:
            model(journey)
        return len(journeys)

    return credit


def _learn(history: list[Path]) -> float:
    removal_effects(history)
    return 1


if __name__ == "__main__":
    main()
