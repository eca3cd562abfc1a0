"""Calibration against naive loops, identities and scores whose calibration is known."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.evals import calibration

scored = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), st.booleans()), min_size=2, max_size=40
).filter(lambda rows: len({y for _, y in rows}) == 2)


@given(scored)
def test_auc_is_the_share_of_ordered_pairs(rows) -> None:
    right, wrong = [s for s, y in rows if y], [s for s, y in rows if not y]
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in right for b in wrong]
    got = calibration.auc(*zip(*rows, strict=True))
    assert got == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)


def test_auc_takes_any_order() -> None:
    assert calibration.auc([-math.inf, 3.0, 7.0, math.inf], [False, True, False, True]) == 0.75
    for scores, correct in (([1.0, 2.0], [True, True]), ([math.nan, 1.0], [True, False]), ([1.0], [True, False])):
        with pytest.raises(ValueError, match="auc"):
            calibration.auc(scores, correct)


@given(scored, st.integers(1, 6))
def test_brier_parts_add_up(rows, bins: int) -> None:
    p, y = (np.array(side, float) for side in zip(*rows, strict=True))
    found = calibration.brier(p, y, calibration.bin_of(p, bins))
    assert found.score == pytest.approx(sum((a - b) ** 2 for a, b in zip(p, y, strict=True)) / len(p))
    total = found.reliability - found.resolution + found.uncertainty + found.within
    assert total == pytest.approx(found.score, abs=1e-12)


def test_brier_hand_worked() -> None:
    """Two distinct scores: .2 with 1 of 4 right, .8 with 3 of 4: reliability .0025, resolution .0625, uncertainty .25."""
    p, y = np.array([0.2] * 4 + [0.8] * 4), np.array([1, 0, 0, 0, 1, 1, 1, 0.0])
    found = calibration.brier(p, y, calibration.bin_of(p, 2))
    assert (found.reliability, found.resolution, found.uncertainty, found.within) == pytest.approx(
        (0.0025, 0.0625, 0.25, 0)
    )
    assert found.score == pytest.approx(0.19)
    assert calibration.ece(
        [0.2] * 4 + [0.8] * 4, [True, False, False, False, True, True, True, False], 2
    ) == pytest.approx(0.05)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 8))
def test_bins_are_even_ordered_and_never_part_equals(values, bins: int) -> None:
    p = np.array(values, float)
    place = calibration.bin_of(p, bins)
    assert set(place) == set(range(max(place) + 1))
    assert max(place) < bins
    for a, b in zip(p, place, strict=True):
        assert all((b == d) or (a < c) == (b < d) for c, d in zip(p, place, strict=True))
        assert all(b == d for c, d in zip(p, place, strict=True) if c == a)


def test_distinct_scores_fall_into_bins_of_one_size() -> None:
    scores = np.random.default_rng(0).permutation(100) / 100
    assert np.bincount(calibration.bin_of(scores, 10)).tolist() == [10] * 10
    assert np.bincount(calibration.bin_of(scores[:97], 10)).min() >= 9


def drawn(rng: random.Random, n: int, bend: float) -> tuple[list[float], list[bool]]:
    """Scores with P(right | s) = (1 - bend) s + bend/2: bend 0 is calibrated, the true error is bend E|s - 1/2|."""
    scores = [rng.random() for _ in range(n)]
    return scores, [rng.random() < (1 - bend) * s + bend / 2 for s in scores]


@pytest.mark.slow
def test_calibrated_scores_lie_under_the_floor_and_bent_ones_above() -> None:
    rng, under, above = random.Random(3), 0, 0
    for seed in range(40):
        for bend in (0.0, 0.6):
            found = calibration.calibration(*drawn(rng, 400, bend), draws=100, seed=seed)
            under += bend == 0 and found.ece.mean <= found.floor.high
            above += bend > 0 and found.ece.mean > found.floor.high
    assert under >= 34
    assert above == 40


@pytest.mark.slow
def test_the_interval_covers_a_known_error() -> None:
    """bend .6 and uniform scores: the error is .6 * .25 = .15; the plain value is biased up, the interval is not."""
    rng, hits = random.Random(6), 0
    for seed in range(80):
        found = calibration.calibration(*drawn(rng, 300, 0.6), draws=150, seed=seed).ece
        hits += found.low <= 0.15 <= found.high
    assert hits / 80 >= 0.86


def test_everything_hand_worked() -> None:
    found = calibration.calibration([0.75, 0.75, 0.75, 0.75, None], [True, True, True, False, True], draws=50)
    assert (found.items, found.unscored, found.base_rate) == (4, 1, 0.75)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert found.log_loss == pytest.approx(entropy)
    assert found.entropy == pytest.approx(entropy)
    assert found.skill == pytest.approx(0.0)
    assert found.auc is not None
    assert found.auc.mean == 0.5
    assert found.ece.mean == 0.0
    (row,) = found.table
    assert (row.items, row.score, row.right.mean) == (4, 0.75, 0.75)


def test_skill_says_whether_the_base_rate_would_do_better() -> None:
    sure = calibration.calibration([0.99, 0.99, 0.01, 0.01], [True, False, True, False], draws=20)
    good = calibration.calibration([0.9, 0.8, 0.2, 0.1], [True, True, False, False], draws=20)
    assert sure.skill is not None
    assert good.skill is not None
    assert sure.skill < 0 < good.skill
    only = calibration.calibration([0.9, 0.8], [True, True], draws=20)
    assert (only.auc, only.skill, only.entropy) == (None, None, 0.0)
    assert calibration.calibration([0.0], [True], draws=5).log_loss == pytest.approx(-math.log(1e-7), rel=1e-3)


def test_groups_widen_the_intervals() -> None:
    """Eight attempts at each of 40 problems that are all right or all wrong are 40 pieces of evidence, not 320."""
    rng = random.Random(1)
    level = [rng.random() for _ in range(40)]
    rows = [(0.9 * level[p] + 0.1 * rng.random(), p % 2 == 0, p) for p in range(40) for _ in range(8)]
    scores, correct, groups = map(list, zip(*rows, strict=True))
    alone = calibration.calibration(scores, correct, draws=200)
    together = calibration.calibration(scores, correct, groups, draws=200)
    assert alone.auc is not None
    assert together.auc is not None
    assert together.auc.mean == alone.auc.mean
    assert together.auc.high - together.auc.low > 1.5 * (alone.auc.high - alone.auc.low)
    assert together == calibration.calibration(scores, correct, groups, draws=200)


def test_auc_within_problems_is_another_question() -> None:
    """The score knows which problems are easy and nothing else: good over all, a coin within each problem."""
    rows = [(0.9 if p < 2 else 0.1, (i < 3) == (p < 2), p) for p in range(4) for i in range(4)]
    found = calibration.calibration(*map(list, zip(*rows, strict=True)), draws=20)
    assert found.auc is not None
    assert found.auc_within is not None
    assert found.auc.mean > 0.5
    assert found.auc_within.mean == 0.5
    rows = [(0.9 if i == p else 0.1 * p, i == p, p) for p in range(3) for i in range(3)] + [(0.5, True, 9)]
    found = calibration.calibration(*map(list, zip(*rows, strict=True)), draws=20).auc_within
    assert found is not None
    assert found.mean == 1.0
    assert calibration.calibration([0.2, 0.9], [False, True], draws=20).auc_within is None


@pytest.mark.parametrize("scores", [[1.2, 0.1], [math.nan, 0.5], [None, None], [0.5]])
def test_refusals(scores) -> None:
    with pytest.raises(ValueError, match="calibration"):
        calibration.calibration(scores, [True, False])
