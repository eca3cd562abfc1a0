"""The alarm on verifiers made to be good, gamed, or at the ceiling."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.evals.overoptimisation import Overoptimisation, Scored, best_score_of_k, overoptimisation


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=8), st.data())
def test_expected_best_score_is_the_mean_of_maxima(scores, data) -> None:
    k = data.draw(st.integers(1, len(scores)))
    maxima = [max(subset) for subset in itertools.combinations(scores, k)]
    assert best_score_of_k(scores, k) == pytest.approx(math.fsum(maxima) / len(maxima), abs=1e-12)


def made(kind: str, problems: int, n: int = 32, seed: int = 1) -> Overoptimisation:
    """`good`: right attempts score higher. `gamed`: one wrong attempt in twelve has a trick that tops every score.
    `blind`: the score knows nothing. `solved`: every attempt is right."""
    rng, rows = random.Random(seed), []
    for _ in range(problems):
        correct = [rng.random() < (1.0 if kind == "solved" else 0.4) for _ in range(n)]
        sees = 0.0 if kind == "blind" else 1.2
        scores = [rng.gauss(sees * right, 1.0) for right in correct]
        if kind == "gamed":
            scores = [s + 6 * (not c and rng.random() < 1 / 12) for s, c in zip(scores, correct, strict=True)]
        rows.append(Scored(scores, correct))
    return overoptimisation(rows)


def test_a_good_verifier_raises_no_alarm() -> None:
    found = made("good", 300)
    assert [row.k for row in found.curve] == [1, 2, 4, 8, 16, 32]
    assert found.status == "clear"
    assert (found.doublings[0].verdict, found.whole.verdict) == ("gains", "gains")
    assert found.worse_than is None
    assert all(row.accuracy.mean <= row.reach.mean for row in found.curve)


def test_a_gamed_verifier_raises_the_alarm() -> None:
    """Where every draw holds a trick the accuracy is below its start, and the score rises to the end."""
    found = made("gamed", 300)
    assert found.alarm
    assert found.worse_than is not None
    assert all(step.score.low > 0 for step in found.doublings)
    assert found.doublings[-1].verdict == "falls"
    assert found.curve[-1].accuracy.mean < found.curve[0].accuracy.mean


def test_a_blind_score_is_flat() -> None:
    found = made("blind", 600, 8)
    assert found.whole.verdict == "flat"
    assert found.alarm
    assert (found.since, found.worse_than) == (1, None)


def test_few_problems_leave_it_undecided() -> None:
    found = made("blind", 12, 8, seed=5)
    assert (found.status, found.alarm) == ("undecided", False)


def test_nothing_left_to_gain_is_no_alarm() -> None:
    found = made("solved", 50)
    assert found.curve[-1].accuracy.mean == 1.0
    assert found.status == "clear"


def test_false_alarms_are_rare() -> None:
    """100 good verifiers on 40 problems of 16 attempts each."""
    found = [made("good", 40, 16, seed=s) for s in range(100)]
    assert sum(one.alarm for one in found) <= 5
    assert sum(one.status == "clear" for one in found) >= 90


def test_hand_worked_curve() -> None:
    """Two problems of two attempts: best-of-1 is right half the time; best-of-2 always in one, never in the other."""
    found = overoptimisation([Scored([1.0, 0.0], [True, False]), Scored([3.0, 2.0], [False, True])])
    assert [(row.accuracy.mean, row.score.mean, row.reach.mean) for row in found.curve] == [
        (0.5, 1.5, 0.5),
        (0.5, 2.0, 1.0),
    ]
    assert (found.doublings[0].score.mean, found.doublings[0].accuracy.mean) == (0.5, 0.0)
    assert found.doublings[0] == found.whole
    assert (found.whole.verdict, found.status) == ("unclear", "undecided")


def test_refusals() -> None:
    with pytest.raises(ValueError, match="needs 2"):
        overoptimisation([Scored([1.0, 2.0], [True, False])])
    with pytest.raises(ValueError, match="not finite"):
        overoptimisation([Scored([1.0, math.inf], [True, False])] * 2)
    with pytest.raises(ValueError, match="k = 3"):
        best_score_of_k([1.0, 2.0], 3)
    with pytest.raises(ValueError, match="NaN"):
        best_score_of_k([math.nan], 1)
