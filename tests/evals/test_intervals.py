"""Intervals against printed tables, hand-worked values and simulation."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder import intervals


@pytest.mark.parametrize(
    ("p", "df", "printed"),
    [
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 3, 3.182),
        (0.975, 10, 2.228),
        (0.975, 29, 2.045),
        (0.975, 120, 1.980),
        (0.95, 5, 2.015),
        (0.995, 7, 3.499),
        (0.975, 100000, 1.960),
    ],
)
def test_t_quantile_matches_the_printed_table(p: float, df: int, printed: float) -> None:
    assert intervals.t_quantile(p, df) == pytest.approx(printed, abs=6e-4)
    assert intervals.t_quantile(1 - p, df) == pytest.approx(-printed, abs=6e-4)


def test_t_quantile_has_no_step_where_the_method_changes() -> None:
    for p in (0.9, 0.975, 0.995):
        exact, expansion = intervals.t_quantile(p, 200), intervals._t_expansion(intervals.normal_quantile(p), 200)
        assert exact == pytest.approx(expansion, abs=1e-8)


def test_wilson_hand_worked() -> None:
    got = intervals.wilson(8, 10)  # Wilson 1927 by hand: centre .7168, half-width .2267
    assert (got.low, got.high) == pytest.approx((0.49016, 0.94332), abs=1e-4)
    assert intervals.wilson(0, 10).pair == pytest.approx([0.0, 0.27754], abs=1e-4)


@pytest.mark.parametrize(("c", "n"), [(1, 0), (-1, 3), (4, 3)])
def test_wilson_refuses_impossible_counts(c: int, n: int) -> None:
    with pytest.raises(ValueError, match="wilson"):
        intervals.wilson(c, n)


def test_mean_interval_hand_worked() -> None:
    got = intervals.mean_interval([1.0, 2.0, 3.0])  # se = 1/sqrt(3), t(2) = 4.3027
    assert got.mean == 2.0
    assert got.high - 2.0 == pytest.approx(4.30265 / math.sqrt(3), abs=1e-4)


def test_paired_difference_cancels_problem_difficulty() -> None:
    a = [0.0, 0.25, 0.5, 0.75]
    b = [x + 0.25 for x in a]
    got = intervals.paired_difference(a, b)
    assert (got.mean, got.low, got.high) == pytest.approx((0.25, 0.25, 0.25))
    with pytest.raises(ValueError, match="same problems"):
        intervals.paired_difference([1.0], [1.0, 0.0])


def test_cluster_mean_ignores_repeated_attempts() -> None:
    """16 copies of the same verdict per problem are no more evidence than one."""
    once = intervals.cluster_mean([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    wide = intervals.wilson(4 * 16, 6 * 16)
    assert once.high - once.low > 2 * (wide.high - wide.low)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=60))
def test_cluster_mean_holds_its_mean_and_stays_a_rate(counts: list[int]) -> None:
    got = intervals.cluster_mean([c / 8 for c in counts])
    assert 0.0 <= got.low <= got.mean <= got.high <= 1.0
    assert got.high > got.low


def test_cluster_mean_covers_as_often_as_it_says() -> None:
    """400 simulated evaluations, 30 problems x 4 attempts with problem difficulties drawn from Beta(0.5, 0.5)."""
    rng, hits = random.Random(5), 0
    for _ in range(400):
        skills = [rng.betavariate(0.5, 0.5) for _ in range(30)]
        got = intervals.cluster_mean([sum(rng.random() < s for _ in range(4)) / 4 for s in skills])
        hits += got.low <= 0.5 <= got.high
    assert 0.92 <= hits / 400 <= 0.98


def test_cluster_mean_refuses_what_is_no_rate() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        intervals.cluster_mean([1.5, 0.2])
    with pytest.raises(ValueError, match="no problems"):
        intervals.cluster_mean([])
