"""Estimators against enumeration of every subset."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.evals import stats


def brute(n: int, k: int, verdict) -> float:
    subsets = list(itertools.combinations(range(n), k))
    return sum(verdict(s) for s in subsets) / len(subsets)


@given(st.integers(1, 9), st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_hit(n: int, data) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    want = brute(n, k, lambda s: min(s) < c)
    assert stats.pass_at_k(n=n, c=c, k=k) == pytest.approx(want)


def test_pass_at_k_hand_worked() -> None:
    assert stats.pass_at_k(n=16, c=3, k=4) == pytest.approx(1 - 715 / 1820)
    assert stats.pass_at_k(n=16, c=0, k=16) == 0.0
    assert stats.pass_at_k(n=16, c=1, k=16) == 1.0


@pytest.mark.parametrize(("n", "c", "k"), [(4, 0, 5), (4, 5, 2), (4, -1, 2), (4, 2, 0)])
def test_pass_at_k_refuses(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="pass_at_k"):
        stats.pass_at_k(n=n, c=c, k=k)


scored = st.lists(st.tuples(st.sampled_from([None, -1.5, 0.0, 0.5, 2.0]), st.booleans()), min_size=1, max_size=8)


@given(scored, st.data())
def test_best_of_k_matches_enumeration(items, data) -> None:
    k = data.draw(st.integers(1, len(items)))
    rank = [-math.inf if s is None else s for s, _ in items]

    def verdict(subset) -> float:
        top = max(rank[i] for i in subset)
        tied = [items[i][1] for i in subset if rank[i] == top]
        return sum(tied) / len(tied)

    got = stats.best_of_k([s for s, _ in items], [c for _, c in items], k)
    assert got == pytest.approx(brute(len(items), k, verdict))


def test_best_of_k_refuses_nan_and_large_k() -> None:
    with pytest.raises(ValueError, match="NaN"):
        stats.best_of_k([math.nan, 1.0], [True, False], 1)
    with pytest.raises(ValueError, match="k = 3"):
        stats.best_of_k([0.0, 1.0], [True, False], 3)


voted = st.lists(st.tuples(st.sampled_from([None, "a", "b", "c", "d"]), st.booleans()), min_size=1, max_size=9)


@settings(max_examples=200)
@given(voted, st.booleans(), st.data())
def test_majority_at_k_matches_enumeration(items, mixed: bool, data) -> None:
    k = data.draw(st.integers(1, len(items)))
    answers = [a for a, _ in items]
    correct = [c if mixed else a == "a" for a, c in items]
    value = {a: sum(c for b, c in zip(answers, correct, strict=True) if b == a) / answers.count(a) for a in answers}

    def verdict(subset) -> float:
        votes = Counter(answers[i] for i in subset if answers[i] is not None)
        winners = [a for a, m in votes.items() if m == max(votes.values())]
        return sum(value[a] for a in winners) / len(winners) if winners else 0.0

    assert stats.majority_at_k(answers, correct, k) == pytest.approx(brute(len(items), k, verdict), abs=1e-12)


def test_majority_hand_worked() -> None:
    assert stats.majority_at_k(["x", "x", "y"], [True, True, False], 3) == 1.0
    assert stats.majority_at_k(["x", "y"], [True, False], 2) == 0.5
    assert stats.majority_at_k([None, "y"], [False, True], 2) == 1.0
    assert stats.majority_at_k([None, None], [False, False], 1) == 0.0
    with pytest.raises(ValueError, match="k = 2"):
        stats.majority_at_k(["x"], [True], 2)


def test_majority_at_one_is_the_plain_accuracy() -> None:
    answers, correct = [*"aaabbcd", None], [True] * 3 + [False] * 5
    assert stats.majority_at_k(answers, correct, 1) == pytest.approx(3 / 8)


@pytest.mark.slow
def test_majority_stays_finite_where_binomials_overflow() -> None:
    """1,100 attempts: C(1100, 550) is beyond the largest float; two equal classes share the wins."""
    answers = ["a", "b"] * 550
    got = stats.majority_at_k(answers, [a == "a" for a in answers], 551)
    assert got == pytest.approx(0.5, abs=1e-9)


def test_powers_of_two() -> None:
    assert stats.powers_of_two(16) == [1, 2, 4, 8, 16]
    assert stats.powers_of_two(12) == [1, 2, 4, 8]
