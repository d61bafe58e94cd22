"""Removal effects: hand-computed chains, an exact oracle, and the public paths."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impl.attribution.markov import (
    NO_HISTORY,
    Channel,
    RemovalEffects,
    Transitions,
    removal_effects,
)
from tests.oracles import removal
from tests.oracles.paths import public_paths

Path = tuple[list[Channel], int, int]

NAMES: list[Channel] = ["a", "b", "c", "", "__proto__", None]
paths = st.tuples(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=6), st.integers(0, 5), st.integers(0, 5)
)
histories = st.lists(paths, max_size=8)


def near(expected: dict[Channel, float]) -> object:
    """Equal within 1e-9."""
    return pytest.approx(expected, rel=0, abs=1e-9)


def test_a_published_example() -> None:
    """C1 C2 C3 converts, C1 and C2 C3 do not: effects 0.5, 1 and 1.

    https://analyzecore.com/2016/08/03/attribution-model-r-part-1/
    """
    history: list[Path] = [(["C1", "C2", "C3"], 1, 0), (["C1"], 0, 1), (["C2", "C3"], 0, 1)]
    assert removal_effects(history) == RemovalEffects({"C1": 0.5, "C2": 1.0, "C3": 1.0}, 1)


def test_a_chain_with_a_cycle_by_hand() -> None:
    """Paths a-b-a (2 convert, 1 not) and b (1 converts, 4 do not).

    From a: b 1/2, conversion 1/3, null 1/6. From b: a 3/8, conversion 1/8, null 1/2.
    V(a) = 1/3 + V(b)/2 and V(b) = 1/8 + 3 V(a)/8 give V(a) = 19/39 and V(b) = 4/13.
    Start: a 3/8, b 5/8, so 3/8 * 19/39 + 5/8 * 4/13 = 3/8 convert in all.
    Without a 5/8 * 1/8 = 5/64 do, without b 3/8 * 1/3 = 1/8.
    """
    history: list[Path] = [(["a", "b", "a"], 2, 1), (["b"], 1, 4)]
    expected: dict[Channel, float] = {"a": 1 - (5 / 64) / (3 / 8), "b": 1 - (1 / 8) / (3 / 8)}
    assert removal_effects(history).by_channel == near(expected)


def test_channels_on_separate_paths_lose_their_own_conversions() -> None:
    """Where nobody moves between channels, an effect is the channel's share of conversions."""
    history: list[Path] = [(["a"], 3, 5), (["b", "b"], 1, 0), (["c"], 0, 7)]
    assert removal_effects(history) == RemovalEffects({"a": 0.75, "b": 0.25, "c": 0.0}, 4)


@given(histories)
def test_agrees_with_the_exact_oracle(history: list[Path]) -> None:
    """Within 1e-9 of rational arithmetic that really removes each channel, for any names."""
    effects = removal_effects(history)
    exact = {channel: float(effect) for channel, effect in removal.removal_effects(history).items()}
    assert effects.by_channel == near(exact)
    assert effects.conversions == sum(conversions for _, conversions, _ in history)


def test_the_public_paths_agree_with_the_exact_oracle() -> None:
    """All 10,000 paths with their nulls: 12 channels, each within 1e-9 of exact arithmetic."""
    effects = removal_effects(public_paths())
    exact = {
        channel: float(effect)
        for channel, effect in removal.removal_effects(public_paths()).items()
    }
    assert len(exact) == 12
    assert effects.by_channel == near(exact)
    assert effects.conversions == 19_785


@given(histories)
def test_effects_are_plain_shares(history: list[Path]) -> None:
    """Python floats from 0 to 1, never numpy's, never minus zero."""
    effects = removal_effects(history)
    assert type(effects.conversions) is int
    for effect in effects.by_channel.values():
        assert type(effect) is float
        assert 0 <= effect <= 1
        assert str(effect) != "-0.0"


@given(histories, st.randoms(use_true_random=False))
def test_a_history_may_be_counted_in_any_order_and_in_parts(
    history: list[Path], random: Random
) -> None:
    """Paths one journey at a time and shuffled count the same as paths with their numbers."""
    single: list[Path] = []
    for channels, conversions, nulls in history:
        single += [(channels, 1, 0)] * conversions + [(channels, 0, 1)] * nulls
    random.shuffle(single)
    effects, again = removal_effects(history), removal_effects(single)
    assert again.by_channel == near(dict(effects.by_channel))
    assert again.conversions == effects.conversions


@given(histories)
def test_staying_on_a_channel_is_counted_and_changes_no_effect(history: list[Path]) -> None:
    """A touch repeated at once is a self-transition; where the walk goes next stays the same."""
    doubled: list[Path] = [
        ([channel for channel in path for _ in (0, 1)], conversions, nulls)
        for path, conversions, nulls in history
    ]
    assert removal_effects(doubled).by_channel == near(dict(removal_effects(history).by_channel))


def test_self_transitions_are_kept() -> None:
    """a-a-b counts one step from a to itself."""
    transitions = Transitions()
    transitions.add(["a", "a", "b"], 2, 1)
    assert transitions.steps == Counter({("a", "a"): 3, ("a", "b"): 3})


def test_channels_alike_have_equal_effects() -> None:
    """Symmetric channels are equal to the last bit, so that rounding noise decides no credit."""
    names = [f"c{number}" for number in range(30)]
    history: list[Path] = [([one, other], 1, 2) for one in names for other in names]
    assert len(set(removal_effects(history).by_channel.values())) == 1


huge = st.sampled_from([0, 1, 10**9, 10**12])
extremes = st.lists(
    st.tuples(st.lists(st.sampled_from(NAMES), min_size=1, max_size=6), huge, huge), max_size=6
)


@given(extremes)
def test_rare_and_common_paths_together_lose_no_digits(history: list[Path]) -> None:
    """One journey beside a million million: still within 1e-9 of the exact oracle."""
    exact = {channel: float(effect) for channel, effect in removal.removal_effects(history).items()}
    assert removal_effects(history).by_channel == near(exact)


def test_a_path_of_10_000_touches_is_solved() -> None:
    """A walk that nearly never leaves its channel is still exact: every conversion passes it."""
    path: list[Channel] = [*["a"] * 9_999, "b"]
    assert removal_effects([(path, 2, 0)]).by_channel == near({"a": 1.0, "b": 1.0})


@pytest.mark.parametrize("history", [[], [(["a"], 0, 0)]])
def test_an_empty_history_knows_nothing(history: list[Path]) -> None:
    """No journeys, no channels: the same as no history at all."""
    assert removal_effects(history) == NO_HISTORY


def test_a_history_without_conversions_has_no_effects() -> None:
    """Channels are known and lose nothing; nothing divides by zero."""
    history: list[Path] = [(["a", "b"], 0, 9)]
    assert removal_effects(history) == RemovalEffects({"a": 0.0, "b": 0.0}, 0)


@pytest.mark.parametrize("path", [([], 1, 0), (["a"], -1, 2), (["a"], 2, -1)])
def test_a_path_that_cannot_be_is_refused(path: Path) -> None:
    """No touches, or fewer than no journeys."""
    with pytest.raises(ValueError, match="a path needs a touch"):
        removal_effects([path])


@pytest.mark.parametrize(
    ("effects", "reason"),
    [
        (NO_HISTORY, "fewer than 2 converting paths in the history"),
        (RemovalEffects({"a": 1.0, "b": 0.0}, 1), "fewer than 2 converting paths in the history"),
        (RemovalEffects({"a": 1.0}, 2), "channel 'b' is not in the history"),
        (RemovalEffects({"a": 0.0, "b": 0.0}, 2), "would lose no conversion"),
    ],
)
def test_effects_say_why_they_do_not_fit(effects: RemovalEffects, reason: str) -> None:
    """Too little history, a channel never seen, and channels that nothing depends on."""
    assert reason in (effects.objection(["a", "b"]) or "")


def test_effects_that_fit_have_no_objection() -> None:
    """Two conversions and every channel known; one of them may be without effect."""
    assert RemovalEffects({"a": 1.0, "b": 0.0}, 2).objection(["a", "b"]) is None
