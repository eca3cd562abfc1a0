"""Ratings against hand-worked values, symmetry and simulated contests."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.evals.rating import Solved, chance, rate


def test_chance_hand_worked() -> None:
    assert chance(1500, 1500) == 0.5
    assert chance(1900, 1500) == pytest.approx(10 / 11)
    assert chance(1500, 2300) == pytest.approx(1 / 101)


def test_one_difficulty_has_a_closed_form() -> None:
    """3 of 12 at 1600: odds 1/3, so 1600 + 400 log10(1/3); the interval's ends lose z^2/2 of log-likelihood."""
    found = rate([Solved(1600, 3, 12)])
    assert found.rating == pytest.approx(1600 + 400 * math.log10(1 / 3))

    def loss(rating: float) -> float:
        p = chance(rating, 1600)
        return -(3 * math.log(p) + 9 * math.log(1 - p))

    for end in (found.low, found.high):
        assert loss(end) - loss(found.rating) == pytest.approx(1.959964**2 / 2, abs=1e-5)
    assert found.low < found.rating < found.high
    assert rate([Solved(1600, 0.25, 1)]).rating == pytest.approx(found.rating)


def test_all_or_none_solved_has_one_bound() -> None:
    """One problem of 1500 solved: at the bound it is solved with chance .05, odds 1/19. Two: with chance sqrt(.05) each."""
    found = rate([Solved(1500, 1)])
    assert (found.rating, found.high, found.bounded) == (math.inf, math.inf, False)
    assert found.low == pytest.approx(1500 - 400 * math.log10(19))
    none = rate([Solved(1500, 0)])
    assert (none.rating, none.low) == (-math.inf, -math.inf)
    assert none.high == pytest.approx(1500 + 400 * math.log10(19))
    both = rate([Solved(1500, 1), Solved(1500, 1)])
    assert chance(both.low, 1500) == pytest.approx(math.sqrt(0.05))


results = st.lists(st.tuples(st.integers(800, 3500), st.integers(0, 4)), min_size=1, max_size=20)


@given(results, st.integers(-2000, 2000))
def test_shift_and_mirror(rows, shift: int) -> None:
    """Harder problems by 100 with the same results are a rating higher by 100; failures for successes mirror it."""
    here = rate([Solved(d, s, 4) for d, s in rows])
    there = rate([Solved(d + shift, s, 4) for d, s in rows])
    mirror = rate([Solved(-d, 4 - s, 4) for d, s in rows])
    for name, other in (("rating", "rating"), ("low", "high"), ("high", "low")):
        assert getattr(there, name) == pytest.approx(getattr(here, name) + shift, abs=1e-4)
        assert getattr(mirror, other) == pytest.approx(-getattr(here, name), abs=1e-4)
    assert here.low <= here.rating <= here.high


@given(results)
def test_expected_equals_observed_at_the_maximum(rows) -> None:
    found = rate([Solved(d, s, 4) for d, s in rows])
    if found.bounded:
        assert sum(4 * chance(found.rating, d) for d, _ in rows) == pytest.approx(sum(s for _, s in rows), abs=1e-6)


@pytest.mark.slow
def test_interval_covers() -> None:
    """400 contests of 20 problems from 1000 to 2900, true rating 1800."""
    rng, hits = random.Random(7), 0
    for _ in range(400):
        found = rate([Solved(d, rng.random() < chance(1800, d)) for d in range(1000, 3000, 100)])
        hits += found.low <= 1800 <= found.high
    assert 0.92 <= hits / 400 <= 0.99


@pytest.mark.parametrize(
    "rows", [[], [Solved(1500, 2)], [Solved(1500, -1)], [Solved(math.nan, 1)], [Solved(1500, 0, 0)]]
)
def test_refusals(rows) -> None:
    with pytest.raises(ValueError, match="rate"):
        rate(rows)
