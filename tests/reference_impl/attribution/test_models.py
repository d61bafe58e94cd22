"""The seven attribution models: what each promises, the errata, and the public paths."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_impl.attribution.markov import NO_HISTORY, RemovalEffects
from reference_impl.attribution.models import (
    HUNDREDTHS,
    MODELS,
    Credit,
    Direct,
    Model,
    Touch,
    data_driven,
    fallback,
    linear,
    models,
    time_decay,
    u_shape,
    w_shape,
)
from reference_impl.times import from_wall_us, parse

NAMES = ("a", "b", "", "__proto__", "constructor", None)
NOON = "2026-01-01T12:00:00.000Z"
DAY_US = 86_400_000_000
YEAR_5000_US = 95_617_584_000 * 1_000_000
"""Far enough on that a touch can be a million days old within the calendar."""

dates = st.one_of(
    st.integers(0, 1_000_000 * DAY_US).map(lambda age_us: from_wall_us(YEAR_5000_US - age_us)),
    st.sampled_from(["9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00.000Z", "", "soon", NOON]),
)
names = st.sampled_from(NAMES) | st.text()
touches = st.builds(Touch, names, dates)
histories = st.builds(
    RemovalEffects, st.dictionaries(names, st.floats(0, 1), max_size=8), st.integers(0, 3)
)


@st.composite
def journeys(draw: st.DrawFn) -> list[Touch]:
    """Up to 10,000 touches, most of them from a few different ones, in any order."""
    few = draw(st.lists(touches, min_size=1, max_size=8))
    length = draw(st.sampled_from([1, 2, 3, 7, 32, 800, 9_999, 10_000]) | st.integers(1, 10_000))
    return Random(draw(st.integers(0, 99))).choices(few, k=length)


def journey(*sources: str | None) -> list[Touch]:
    """Touches of these sources, a day apart."""
    return [Touch(s, from_wall_us(YEAR_5000_US + i * DAY_US)) for i, s in enumerate(sources)]


def touch(at: str, source: str | None = "s") -> Touch:
    """A touch at a time."""
    return Touch(source, at)


def percents(shares: Iterable[Credit]) -> list[float]:
    """The percentages alone."""
    return [credit.percent for credit in shares]


def roles(shares: Iterable[Credit]) -> list[str | None]:
    """The roles alone."""
    return [credit.role for credit in shares]


def hundredths(shares: Iterable[Credit]) -> int:
    """The sum of what is shown; exact, for each percentage is checked to have two decimals."""
    whole = [round(percent * 100) for percent in percents(shares)]
    assert percents(shares) == [part / 100 for part in whole]
    return sum(whole)


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=40, deadline=None)  # 10,000 touches take long on a slow machine
@given(journeys(), histories, st.booleans(), st.sampled_from(["skip", "credit"]))
def test_credits_sum_to_exactly_100(
    name: str, touched: list[Touch], effects: RemovalEffects, known: bool, direct: Direct
) -> None:
    """Any length, age, date, name and history, one that knows every channel too: 100.00 in all,
    none below 0, one a touch, always the same."""
    if known:
        others = {each.utm_source: 1 / (1 + len(each.utm_source or "")) for each in touched}
        effects = RemovalEffects({**others, **effects.by_channel}, 2)
    model = models(effects, direct=direct)[name]
    shares = model(touched)
    assert len(shares) == len(touched)
    assert hundredths(shares) == HUNDREDTHS
    assert min(percents(shares)) >= 0
    assert {type(percent) for percent in percents(shares)} == {float}
    assert model(touched) == shares


@pytest.mark.parametrize("asked", ["", "unknown", "valueOf", "constructor", "__proto__", "Linear"])
def test_a08_a09_there_are_seven_models_and_no_others(asked: str) -> None:
    """No unknown name, and none that an object inherits, is taken for a model."""
    assert list(MODELS) == [
        "last_click", "first_click", "linear", "time_decay", "u_shape", "w_shape", "data_driven",
    ]  # fmt: skip
    assert asked not in MODELS


# Shapes


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (1, [100]),
        (2, [50, 50]),
        (3, [40, 20, 40]),
        (4, [40, 10, 10, 40]),
        (5, [40, 6.67, 6.67, 6.66, 40]),
    ],
)
def test_b01_u_shape_is_40_20_40(length: int, expected: list[float]) -> None:
    """40 to each end and 20 between them, in percent everywhere; one touch 100, two 50 each."""
    assert percents(u_shape(journey(*"s" * length))) == expected


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 10_000))
def test_b01_u_shape_sums_to_100_for_every_length(length: int) -> None:
    """The ends keep exactly 40, and the middle is even to a hundredth."""
    shares = u_shape([touch(NOON)] * length)
    assert hundredths(shares) == HUNDREDTHS
    assert (shares[0], shares[-1]) == (Credit(40.0, "first"), Credit(40.0, "last"))
    assert {credit.role for credit in shares[1:-1]} == {"middle"}
    middle = percents(shares[1:-1])
    assert round((max(middle) - min(middle)) * 100) <= 1


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (1, [100]),
        (2, [50, 50]),
        (3, [30, 40, 30]),
        (4, [30, 20, 20, 30]),
        (5, [30, 20, 20, 0, 30]),
        (6, [30, 0, 20, 20, 0, 30]),
        (7, [30, 0, 20, 20, 0, 0, 30]),
    ],
)
def test_b02_w_shape_is_30_20_20_30(length: int, expected: list[float]) -> None:
    """The assists stand at floor(n/2) and the next, counted from 1; a single one has 40."""
    assert percents(w_shape(journey(*"s" * length))) == expected


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 10_000))
def test_b02_b09_w_shape_names_each_role_once(length: int) -> None:
    """One first, one middle_assist_1 followed by one middle_assist_2, one last; others have
    neither role nor credit."""
    shares = w_shape([touch(NOON)] * length)
    assert hundredths(shares) == HUNDREDTHS
    named = [credit for credit in shares if credit != Credit(0.0)]
    assert named == [
        Credit(30.0, "first"),
        Credit(20.0, "middle_assist_1"),
        Credit(20.0, "middle_assist_2"),
        Credit(30.0, "last"),
    ]


def test_b09_w_shape_of_three_has_one_assist() -> None:
    """The single middle touch is middle_assist_1."""
    assert roles(w_shape(journey(*"abc"))) == ["first", "middle_assist_1", "last"]


@pytest.mark.parametrize("model", [u_shape, w_shape])
def test_short_journeys_name_their_ends(model: Model) -> None:
    """Two touches are first and last, a single one is first."""
    assert roles(model(journey("a", "b"))) == ["first", "last"]
    assert roles(model(journey("a"))) == ["first"]


@pytest.mark.parametrize("length", [3, 7, 32, 800])
def test_b04_linear_carries_the_remainder(length: int) -> None:
    """The lengths at which rounding each share alone missed 100."""
    assert hundredths(linear([touch(NOON)] * length)) == HUNDREDTHS


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_b07_a_percentage_is_a_float_in_every_model(model: Model) -> None:
    """Never a text, whole or not."""
    for length in range(1, 6):
        assert {type(p) for p in percents(model(journey(*"s" * length)))} == {float}


@pytest.mark.parametrize("effects", [NO_HISTORY, RemovalEffects({"a": 0.7}, 2)])
@pytest.mark.parametrize("name", MODELS)
def test_b10_no_touches_no_credits(name: str, effects: RemovalEffects) -> None:
    """An empty journey credits nobody, with a history too."""
    assert models(effects)[name]([]) == []


# Time decay


def test_time_decay_is_0_9_a_day() -> None:
    """Three touches a day apart weigh 0.81, 0.9 and 1 of 2.71."""
    assert percents(time_decay(journey(*"abc"))) == [29.89, 33.21, 36.90]


@given(st.lists(st.integers(0, 90), min_size=1, max_size=12))
def test_time_decay_agrees_with_exact_arithmetic(ages: list[int]) -> None:
    """Whole days in fractions: each share is the exact one, rounded down or up."""
    touched = [touch(from_wall_us(YEAR_5000_US - days * DAY_US)) for days in sorted(ages)[::-1]]
    weights = [Fraction(9, 10) ** days for days in sorted(ages)[::-1]]
    for credit, weight in zip(time_decay(touched), weights, strict=True):
        exact = 100 * weight / sum(weights)
        assert abs(Fraction(credit.percent) - exact) < Fraction(1, 100)


def test_b05_time_decay_reads_the_text_that_the_schema_stores() -> None:
    """The stack's format, another zone, and SQLite's CURRENT_TIMESTAMP, which is UTC."""
    for newest in ("2026-01-02T12:00:00.000Z", "2026-01-02T22:00:00+10:00"):
        stored = [touch("2026-01-01 12:00:00"), touch(newest)]
        assert percents(time_decay(stored)) == [47.37, 52.63]


@pytest.mark.parametrize("days", [0, 353, 7_070, 1_000_000])
def test_b06_touches_of_any_age_share(days: int) -> None:
    """However long before the conversion, a day between touches weighs the same."""
    old = [touch(from_wall_us(YEAR_5000_US - (days + more) * DAY_US)) for more in (1, 0)]
    assert percents(time_decay(old, from_wall_us(YEAR_5000_US))) == [47.37, 52.63]


def test_b06_a_span_of_any_length_leaves_the_newest_everything() -> None:
    """A million days before the conversion a touch weighs nothing, without spoiling the sum."""
    span = [touch(from_wall_us(YEAR_5000_US - days * DAY_US)) for days in (1_000_000, 0)]
    assert percents(time_decay(span)) == [0.0, 100.0]


@pytest.mark.parametrize("unusable", ["", "soon", "2026-02-30T00:00:00.000Z", None, 1_767_225_600])
def test_b12_a_touch_without_a_usable_date_ruins_nothing(unusable: str) -> None:
    """It gets 0; the datable touches keep the shares they have without it."""
    touched = journey(*"abc")
    spoilt = [touched[0], touch(unusable), *touched[1:]]
    assert percents(time_decay(spoilt)) == [29.89, 0.0, 33.21, 36.90]


def test_time_decay_without_any_date_is_linear() -> None:
    """Nothing says which touch is older."""
    assert percents(time_decay([touch("")] * 3)) == [33.34, 33.33, 33.33]


def test_b13_microseconds_for_milliseconds_are_an_error_at_the_door() -> None:
    """The event is refused, so no such time reaches a journey."""
    with pytest.raises(ValueError, match="year 9999"):
        parse(1_767_225_600_000_000)


def test_b13_a_touch_after_the_conversion_counts_as_made_at_it() -> None:
    """A date far in the future weighs no more than the newest touch could."""
    touched = [touch("2026-01-01T12:00:00.000Z"), touch("9999-12-31T23:59:59.999Z")]
    assert percents(time_decay(touched, "2026-01-02T12:00:00.000Z")) == [47.37, 52.63]


def test_time_decay_refuses_a_conversion_time_that_is_none() -> None:
    """The caller's own argument is not guessed."""
    with pytest.raises(ValueError, match="isoformat"):
        time_decay(journey("a"), "soon")


# Data driven


def test_b03_data_driven_is_in_proportion_to_effects() -> None:
    """Effects 0.5, 1 and 1 give 20, 40 and 40."""
    effects = RemovalEffects({"a": 0.5, "b": 1.0, "c": 1.0}, 2)
    assert percents(data_driven(journey(*"abc"), effects)) == [20.0, 40.0, 40.0]


def test_b03_a_channels_share_is_split_over_its_touches() -> None:
    """Repeating a channel earns it nothing more and never lifts the sum over 100."""
    effects = RemovalEffects({"a": 0.5, "b": 0.5}, 2)
    assert percents(data_driven(journey(*"aaba"), effects)) == [16.67, 16.67, 50.0, 16.66]


@pytest.mark.parametrize("name", ["b", "constructor", "toString", "__proto__", ""])
def test_b08_any_channel_name_weighs_alike(name: str) -> None:
    """Names that mean something to a language are names like any other."""
    effects = RemovalEffects({"a": 1.0, name: 0.5}, 2)
    assert percents(data_driven(journey("a", name), effects)) == [66.67, 33.33]


def test_b11_data_driven_uses_the_history() -> None:
    """The same journey under two histories has two answers."""
    alike = models(RemovalEffects({"a": 1.0, "b": 1.0}, 2))
    unlike = models(RemovalEffects({"a": 1.0, "b": 0.25}, 2))
    assert percents(alike["data_driven"](journey("a", "b"))) == [50.0, 50.0]
    assert percents(unlike["data_driven"](journey("a", "b"))) == [80.0, 20.0]


@pytest.mark.parametrize(
    ("effects", "reason"),
    [
        (NO_HISTORY, "fewer than 2 converting paths in the history"),
        (RemovalEffects({"a": 1.0, "b": 1.0}, 1), "fewer than 2 converting paths in the history"),
        (RemovalEffects({"a": 1.0}, 9), "channel 'b' is not in the history"),
        (
            RemovalEffects({"a": 0.0, "b": 0.0}, 9),
            "removing a channel of this journey would lose no conversion",
        ),
    ],
)
def test_b11_without_a_history_that_fits_it_is_linear_and_says_so(
    effects: RemovalEffects, reason: str
) -> None:
    """Each reason has its sentence; the credit is that of the linear model."""
    touched = journey(*"aba")
    assert models(effects)["data_driven"](touched) == linear(touched)
    assert fallback(touched, effects) == reason


def test_a_history_that_fits_needs_no_fallback() -> None:
    """Nothing to say; a channel without effect gets 0 beside one that has some."""
    effects = RemovalEffects({"a": 1.0, "b": 0.0}, 2)
    assert fallback(journey("a", "b"), effects) is None
    assert percents(data_driven(journey("a", "b"), effects)) == [100.0, 0.0]


# Direct touches


@pytest.mark.parametrize(
    ("name", "skipped", "credited"),
    [
        ("last_click", [0, 0, 100, 0], [0, 0, 0, 100]),
        ("first_click", [0, 100, 0, 0], [100, 0, 0, 0]),
        ("linear", [0, 50, 50, 0], [25, 25, 25, 25]),
        ("time_decay", [0, 47.37, 52.63, 0], [21.20, 23.55, 26.17, 29.08]),
        ("u_shape", [0, 50, 50, 0], [40, 10, 10, 40]),
        ("w_shape", [0, 50, 50, 0], [30, 20, 20, 30]),
        ("data_driven", [0, 75, 25, 0], [5, 67.5, 22.5, 5]),
    ],
)
def test_b14_direct_touches_are_skipped_unless_asked_for(
    name: str, skipped: list[float], credited: list[float]
) -> None:
    """The last click is the last with a source; the option credits every touch."""
    effects = RemovalEffects({"a": 0.75, "b": 0.25, None: 1 / 9}, 2)
    touched = journey(None, "a", "b", None)
    assert percents(models(effects)[name](touched)) == skipped
    assert percents(models(effects, direct="credit")[name](touched)) == credited


@pytest.mark.parametrize("name", MODELS)
def test_b14_a_journey_of_direct_touches_alone_is_credited(name: str) -> None:
    """With nobody else to credit, direct has it: both settings agree."""
    touched = journey(None, None, None)
    assert MODELS[name](touched) == models(direct="credit")[name](touched)


def test_b14_roles_belong_to_touches_that_count() -> None:
    """A skipped touch has no role, and the first and last of the others have theirs."""
    assert roles(MODELS["u_shape"](journey(None, "a", "b", "c", None))) == [
        None, "first", "middle", "last", None,
    ]  # fmt: skip


def test_b14_the_empty_name_is_a_name() -> None:
    """Only a touch without a source is direct."""
    assert percents(MODELS["last_click"](journey("a", ""))) == [0.0, 100.0]


def test_b14_a_skipped_touch_needs_no_history() -> None:
    """Direct visits never seen before do not push a journey back to linear, unless credited."""
    effects = RemovalEffects({"a": 1.0, "b": 1.0}, 2)
    touched = journey("a", None, "b")
    assert fallback(touched, effects) is None
    assert fallback(touched, effects, direct="credit") == "channel None is not in the history"
