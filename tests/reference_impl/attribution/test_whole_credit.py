"""Attribution models: pure, and always the whole of the credit."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impl.attribution.models import MODELS, Credit, Model, Touch

models = st.sampled_from(list(MODELS.values()))
JOURNEY = [Touch(f"s{i}", f"2026-01-0{i + 1}T00:00:00.000Z") for i in range(4)]


def total(credited: list[Credit]) -> Decimal:
    """The sum of what is shown, digit by digit as a person would add it."""
    return sum((Decimal(f"{credit.percent:.2f}") for credit in credited), Decimal(0))


@given(models, st.integers(1, 10_000))
def test_b04_g09_credits_sum_to_exactly_100(model: Model, length: int) -> None:
    """For any journey up to 10,000 touches the two decimals shown sum to 100.00, one a touch."""
    journey = [Touch("s", "2026-01-01T00:00:00.000Z")] * length
    credited = model(journey)
    assert len(credited) == length
    assert total(credited) == Decimal("100.00")
    assert all(credit.percent >= 0 for credit in credited)


@given(st.integers(1, 10_000))
def test_linear_is_even_to_a_hundredth(length: int) -> None:
    """No touch gets over 0.01 more than another, and a later one no more than an earlier."""
    shares = [c.percent for c in MODELS["linear"]([JOURNEY[0]] * length)]
    assert shares == sorted(shares, reverse=True)
    assert round((shares[0] - shares[-1]) * 100) in (0, 1)


@given(models, st.integers(1, 10_000))
def test_what_is_shown_has_two_decimals(model: Model, length: int) -> None:
    """Each credit is a whole number of hundredths, so that JSON shows no long tails."""
    for credit in model([JOURNEY[0]] * length):
        assert credit.percent == round(credit.percent, 2)


def test_a04_last_click_is_the_newest_touch() -> None:
    """Journeys come oldest first: the last touch has everything, and its role says so."""
    assert [(c.percent, c.role) for c in MODELS["last_click"](JOURNEY)] == [
        (0.0, None), (0.0, None), (0.0, None), (100.0, "last"),
    ]  # fmt: skip


def test_a04_first_click_is_the_oldest_touch() -> None:
    """The first touch has everything, and its role says so."""
    assert [(c.percent, c.role) for c in MODELS["first_click"](JOURNEY)] == [
        (100.0, "first"), (0.0, None), (0.0, None), (0.0, None),
    ]  # fmt: skip


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_b10_an_empty_journey_credits_nobody(model: Model) -> None:
    """No touches, no credits."""
    assert model([]) == []


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_b07_credit_is_one_type(model: Model) -> None:
    """A percentage is a float in every model and every place."""
    assert {type(credit.percent) for credit in model(JOURNEY)} == {float}
