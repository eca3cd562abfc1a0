"""Selections and stop rules against what the released codes compute, worked by hand or spelled out as plain loops.

search-and-learn: majority (first seen wins ties), largest sum; compute-optimal-tts: majority, best, sum;
AdaptiveConsistency and its_hub: the Beta rule; deepconf: least grouped confidence, top share, votes by weight.
"""

from __future__ import annotations

import math
from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.search.confidence import lowest
from ponder.search.select import Candidate, best, change_of_vote, selector, vote, weighted

answers = st.sampled_from("abcd")
scores = st.integers(0, 100).map(lambda n: n / 100)
rows = st.lists(st.tuples(answers, scores), min_size=1, max_size=12)


def candidates(pairs: list[tuple[str, float]]) -> list[Candidate]:
    return [Candidate(answer, score) for answer, score in pairs]


def chosen(how: str, pairs: list[tuple[str, float]], seed: int = 0) -> str:
    index = selector(how)(candidates(pairs), seed).index
    assert index is not None
    return pairs[index][0]


@given(rows, st.integers(0, 3))
def test_majority_is_theirs_where_it_is_not_tied_and_one_of_the_tied_where_it_is(
    pairs: list[tuple[str, float]], seed: int
) -> None:
    counts: dict[str, int] = defaultdict(int)
    for answer, _ in pairs:
        counts[answer] += 1
    tied = {answer for answer, count in counts.items() if count == max(counts.values())}
    assert chosen("vote", pairs, seed) in tied
    if len(tied) == 1:
        assert {chosen("vote", pairs, seed)} == tied


@given(rows)
def test_the_largest_sum_of_scores_is_theirs(pairs: list[tuple[str, float]]) -> None:
    sums: dict[str, Fraction] = defaultdict(Fraction)
    for answer, score in pairs:
        sums[answer] += Fraction(round(score * 100), 100)
    top = {answer for answer, total in sums.items() if total == max(sums.values())}
    assert chosen("weighted", pairs) in top
    found = weighted(candidates(pairs)).support
    assert {a: pytest.approx(float(total)) for a, total in sums.items()} == found


@given(rows)
def test_the_highest_score_is_theirs(pairs: list[tuple[str, float]]) -> None:
    most = max(score for _, score in pairs)
    assert chosen("best", pairs) in {answer for answer, score in pairs if score == most}


def test_where_the_rules_part() -> None:
    """Three samples say a, two say b with more confidence, one says c with most."""
    pairs = [("a", 0.1), ("a", 0.2), ("a", 0.3), ("b", 0.5), ("b", 0.6), ("c", 0.9)]
    assert [chosen(how, pairs) for how in ("vote", "weighted", "best", "first", "last")] == ["a", "b", "c", "a", "c"]


def test_nothing_to_choose_from() -> None:
    """Theirs answer -1 or fail; ours abstains."""
    for rule in (vote, weighted, best):
        assert rule([], 0).index is None
        assert rule([Candidate(None, 0.9)], 0).index is None


@given(st.integers(0, 25), st.integers(0, 25))
def test_the_beta_rule_is_the_beta_distribution(a: int, b: int) -> None:
    """P(p < 1/2), p ~ Beta(a+1, b+1), from its density p^a (1-p)^b (a+b+1)! / (a! b!) expanded and integrated."""
    area = Fraction(0)
    for j in range(b + 1):
        area += Fraction((-1) ** j * math.comb(b, j), a + j + 1) * Fraction(1, 2) ** (a + j + 1)
    density = math.factorial(a + b + 1) // (math.factorial(a) * math.factorial(b))
    assert change_of_vote(a, b) == pytest.approx(float(area * density), rel=1e-12)


def test_values_of_the_beta_rule() -> None:
    assert change_of_vote(0, 0) == 0.5
    assert change_of_vote(3, 0) == 1 / 16
    assert change_of_vote(4, 0) == 1 / 32
    assert change_of_vote(6, 1) == 9 / 256


def test_least_grouped_confidence_by_hand() -> None:
    """Windows of three over log-probabilities -1 -2 -6 -1 -1: means -3, -3, -8/3; shorter than the window: its mean."""
    logprobs = [-1.0, -2.0, -6.0, -1.0, -1.0]
    assert lowest(logprobs, 3) == pytest.approx(math.exp(-3))
    assert lowest(logprobs, 5) == lowest(logprobs, 99) == pytest.approx(math.exp(-11 / 5))
    assert lowest(logprobs, 1) == pytest.approx(math.exp(-6))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.sampled_from([0.1, 0.5, 0.9]))
def test_the_top_share_is_what_reaches_the_percentile(values: list[float], keep: float) -> None:
    bar = np.percentile(values, 100 - 100 * keep)
    kept = [value for value in values if value >= np.quantile(values, 1 - keep) - 1e-12]
    assert len(kept) == sum(value >= bar - 1e-12 for value in values) >= 1
