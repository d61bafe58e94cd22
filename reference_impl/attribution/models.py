"""Attribution models: pure functions from a journey to credits that sum to 100.

A journey is a list of touches, oldest first. Credits are shares of 100 as whole hundredths of a
percent, so that the two decimals shown sum to exactly 100.00 for any journey length. Hundredths
that do not divide go by largest remainder, among equal ones to the oldest touches.

The functions credit every touch they are given. Which touches count is decided before: see
:func:`models`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal

from reference_impl.attribution.apportion import apportion, integer_weights
from reference_impl.attribution.markov import NO_HISTORY, RemovalEffects

HUNDREDTHS = 10_000
"""Hundredths of a percent in the whole."""

DECAY_PER_DAY = 0.9
"""What a day of age leaves of a touch's weight in ``time_decay``, from the specification."""

MAX_TOUCHES = 1000
"""Touches of a conversion that are read and credited, the latest (assumption). Anybody may post
touches, so there must be a bound. With the longest labels of :mod:`events` an answer of so many
has 3.2 MB of KV's 25 MiB, and the sources of one journey 1.5 MB of the 2 MB that a value has in D1
(https://developers.cloudflare.com/d1/platform/limits/)."""

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Touch:
    """One contact of a journey: where it came from and when (``YYYY-MM-DDTHH:MM:SS.mmmZ``).

    Without a source (None) it is direct. Any text is a name, the empty one too.
    """

    utm_source: str | None
    event_timestamp: str


@dataclass(frozen=True, slots=True)
class Journey:
    """The touches of a conversion that count, oldest first; ``truncated`` if older ones do not."""

    touches: Sequence[Touch]
    truncated: bool = False

    @classmethod
    def of_latest(cls, touches: Sequence[Touch]) -> Journey:
        """The last :data:`MAX_TOUCHES` of touches, oldest first; one more than these is enough to
        know that there are more."""
        return cls(touches[-MAX_TOUCHES:], len(touches) > MAX_TOUCHES)


@dataclass(frozen=True, slots=True)
class Credit:
    """What one touch is credited with: percent with two decimals, and its role if it has one."""

    percent: float
    role: str | None = None


Model = Callable[[Sequence[Touch]], list[Credit]]
Direct = Literal["skip", "credit"]

_SHORT = ((), (Credit(100.0, "first"),), (Credit(50.0, "first"), Credit(50.0, "last")))
"""The credits of both shapes for journeys of no, one and two touches."""


def last_click(journey: Sequence[Touch]) -> list[Credit]:
    """All credit to the newest touch."""
    last = len(journey) - 1
    return [Credit(100.0, "last") if i == last else Credit(0.0) for i in range(len(journey))]


def first_click(journey: Sequence[Touch]) -> list[Credit]:
    """All credit to the oldest touch."""
    return [Credit(0.0) if i else Credit(100.0, "first") for i in range(len(journey))]


def linear(journey: Sequence[Touch]) -> list[Credit]:
    """The same credit to every touch; hundredths that do not divide go to the oldest ones."""
    if not journey:
        return []
    each, left_over = divmod(HUNDREDTHS, len(journey))
    return [Credit((each + (i < left_over)) / 100) for i in range(len(journey))]


def time_decay(journey: Sequence[Touch], converted_at: str | None = None) -> list[Credit]:
    """Credit that shrinks by :data:`DECAY_PER_DAY` for each day between touch and conversion.

    The conversion is at ``converted_at``, or else at the newest touch. A touch after it counts
    as made at it. A touch without a usable date gets 0 and leaves the others' shares as they
    would be without it; with no usable date at all the credit is linear.

    Raises:
        ValueError: when ``converted_at`` is no ISO 8601 time.
    """
    moments = [_moment_or_none(touch.event_timestamp) for touch in journey]
    if converted_at is not None:
        conversion = _moment(converted_at)
        moments = [moment and min(moment, conversion) for moment in moments]
    newest = max((moment for moment in moments if moment is not None), default=None)
    if newest is None:
        return linear(journey)
    # Only differences of age matter, so ages count from the newest touch: that one weighs 1, and
    # neither the oldest touch nor a conversion long after all of them can make every weight 0.
    weights = [
        0.0 if moment is None else DECAY_PER_DAY ** ((newest - moment) / _DAY) for moment in moments
    ]
    return _weighted(weights)


def u_shape(journey: Sequence[Touch]) -> list[Credit]:
    """40 to the first touch, 40 to the last, 20 shared by those between.

    Two touches have 50 each, a single one 100.
    """
    if len(journey) < len(_SHORT):
        return list(_SHORT[len(journey)])
    between = apportion([1] * (len(journey) - 2), HUNDREDTHS // 5)
    middle = [Credit(part / 100, "middle") for part in between]
    return [Credit(40.0, "first"), *middle, Credit(40.0, "last")]


def w_shape(journey: Sequence[Touch]) -> list[Credit]:
    """30 to the first touch, 30 to the last, 20 to each of the two middle assists.

    The assists are at positions floor(n/2) and the next, counted from 1. A single middle touch
    is the only assist, with 40. Two touches have 50 each, a single one 100.
    """
    length = len(journey)
    if length < len(_SHORT):
        return list(_SHORT[length])
    shares = [Credit(0.0)] * length
    shares[0], shares[-1] = Credit(30.0, "first"), Credit(30.0, "last")
    if length == 3:
        shares[1] = Credit(40.0, "middle_assist_1")
    else:
        half = length // 2
        shares[half - 1] = Credit(20.0, "middle_assist_1")
        shares[half] = Credit(20.0, "middle_assist_2")
    return shares


def data_driven(journey: Sequence[Touch], effects: RemovalEffects = NO_HISTORY) -> list[Credit]:
    """Credit in proportion to the removal effects of the journey's channels.

    A channel's share is split equally over its touches. Where the effects do not fit the journey
    the credit is linear; :func:`fallback` says why.
    """
    if _objection(journey, effects) is not None:
        return linear(journey)
    touches = Counter(touch.utm_source for touch in journey)
    weight = {channel: effects.by_channel[channel] / count for channel, count in touches.items()}
    return _weighted([weight[touch.utm_source] for touch in journey])


def models(effects: RemovalEffects = NO_HISTORY, *, direct: Direct = "skip") -> Mapping[str, Model]:
    """The seven models by the names a request may ask for, in the order of the specification.

    ``effects`` are what ``data_driven`` divides by. ``direct`` says what becomes of touches
    without a source: by ``skip`` they get 0 and the others share as if alone, unless all touches
    are direct (the rule of https://support.google.com/analytics/answer/10596866); by ``credit``
    they count like any other touch.
    """
    counting_all: dict[str, Model] = {
        "last_click": last_click,
        "first_click": first_click,
        "linear": linear,
        "time_decay": time_decay,
        "u_shape": u_shape,
        "w_shape": w_shape,
        "data_driven": partial(data_driven, effects=effects),
    }
    if direct == "credit":
        return counting_all
    return {name: partial(_skip_direct, model) for name, model in counting_all.items()}


def fallback(
    journey: Sequence[Touch], effects: RemovalEffects, *, direct: Direct = "skip"
) -> str | None:
    """Why ``data_driven`` answers this journey with linear credit; None when it does not."""
    return _objection(journey if direct == "credit" else _counted(journey), effects)


def _weighted(weights: Sequence[float]) -> list[Credit]:
    parts = apportion(integer_weights(weights), HUNDREDTHS)
    return [Credit(part / 100) for part in parts]


def _skip_direct(model: Model, journey: Sequence[Touch]) -> list[Credit]:
    counted = _counted(journey)
    if len(counted) == len(journey):
        return model(journey)
    shares = iter(model(counted))
    return [Credit(0.0) if touch.utm_source is None else next(shares) for touch in journey]


def _counted(journey: Sequence[Touch]) -> Sequence[Touch]:
    """The touches with a source; all of them when none has one."""
    return [touch for touch in journey if touch.utm_source is not None] or journey


def _objection(journey: Sequence[Touch], effects: RemovalEffects) -> str | None:
    return effects.objection([touch.utm_source for touch in journey])


def _moment(text: str) -> datetime:
    """An ISO 8601 time; without a zone it is UTC, as SQLite's CURRENT_TIMESTAMP writes it."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _moment_or_none(text: str) -> datetime | None:
    try:
        return _moment(text)
    except (TypeError, ValueError):  # a database may hold NULL or a number where text belongs
        return None


MODELS: Mapping[str, Model] = models()
"""The models without a history; a name that is not here is refused."""
