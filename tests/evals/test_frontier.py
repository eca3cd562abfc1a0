"""Frontier, choice of levels and cross-validation against hand-worked values, brute force and simulated luck."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.evals.frontier import (
    LEVEL_NAMES,
    Curve,
    candidates,
    choose,
    cross_validate,
    folds,
    frontier,
    gains,
    levels,
    separation,
)
from ponder.intervals import t_quantile


def flat(accuracy: list[float], tokens: list[float], problems: int = 4) -> Curve:
    """Every problem alike."""
    return Curve(np.tile(np.array(accuracy), (problems, 1)), np.tile(np.array(tokens, dtype=float), (problems, 1)))


def coins(rates: list[float], tokens: list[float], problems: int, seed: int = 0) -> Curve:
    """Verdicts drawn with these rates, the same luck for every point (a problem of difficulty u is solved above u)."""
    luck = np.random.default_rng(seed).random((problems, 1))
    return Curve((luck < np.array(rates)).astype(float), np.tile(np.array(tokens, dtype=float), (problems, 1)))


def test_frontier_by_hand() -> None:
    curve = flat([0.2, 0.5, 0.4, 0.5, 0.7, 0.7], [10, 20, 25, 40, 80, 80])
    assert frontier(curve) == [0, 1, 4]
    assert frontier(flat([0.5, 0.2], [20, 30])) == [0]
    assert frontier(flat([0.2, 0.4], [10, 10])) == [1]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), min_size=1, max_size=8))
def test_frontier_is_what_nothing_dominates(points: list[tuple[int, int]]) -> None:
    accuracy, tokens = [a / 6 for a, _ in points], [float(t) for _, t in points]
    found = frontier(flat(accuracy, tokens))
    for m, (a, t) in enumerate(points):
        beaten = any((b >= a and u < t) or (b > a and u <= t) for b, u in points)
        twin = any(points[k] == (a, t) for k in found)
        assert (m in found) <= (not beaten)
        assert beaten or twin
    assert all(points[i][0] < points[j][0] and points[i][1] < points[j][1] for i, j in pairwise(found))


def test_separation_is_the_paired_t() -> None:
    a, b = np.array([0, 0, 1, 0, 1.0]), np.array([1, 0, 1, 1, 1.0])
    curve = Curve(np.stack([a, b], axis=1), np.ones((5, 2)))
    gain = b - a  # 1 0 0 1 0: mean 0.4, sd 0.5477
    assert (
        separation(curve, 0, 1) == pytest.approx(0.4 / (gain.std(ddof=1) / 5**0.5)) == pytest.approx(1.63299, abs=1e-5)
    )
    assert separation(curve, 0, 0) == 0.0
    assert separation(flat([0.1, 0.3], [1, 2]), 0, 1) == float("inf")


def test_a_dear_point_that_is_hardly_better_is_left_out() -> None:
    base = np.zeros((100, 3))
    base[:50, 1:] = 1
    base[50:52, 2], base[0, 2] = 1, 0  # two more problems of a hundred and one fewer: within one standard error
    assert candidates(Curve(base, np.tile([1.0, 2, 3], (100, 1)))) == [0, 1]
    base[50:58, 2] = 1  # eight more and one fewer: beyond
    assert candidates(Curve(base, np.tile([1.0, 2, 3], (100, 1)))) == [0, 1, 2]


@given(st.lists(st.integers(0, 50), min_size=2, max_size=9, unique=True), st.integers(2, 6))
@settings(max_examples=60)
def test_choice_is_the_best_of_all_choices(values: list[int], count: int) -> None:
    rates = sorted(v / 50 for v in values)
    curve = flat(rates, [2.0**i for i in range(len(rates))])
    found = choose(curve, count)
    if count > len(rates):
        assert found is None
        return
    assert found is not None and found[0] == 0 and found[-1] == len(rates) - 1

    def smallest(chosen: tuple[int, ...]) -> float:
        return min(rates[b] - rates[a] for a, b in pairwise(chosen))

    inner = combinations(range(1, len(rates) - 1), count - 2)
    best = max(smallest((0, *middle, len(rates) - 1)) for middle in inner)
    assert smallest(found) == pytest.approx(best)
    assert len(found) == count


def test_one_level_is_the_top_one() -> None:
    assert choose(flat([0.2, 0.5, 0.9], [1, 2, 3]), 1) == (2,)


def test_folds_are_a_partition_that_a_seed_decides() -> None:
    parts = folds(23, 5, 7)
    assert sorted(np.concatenate(parts).tolist()) == list(range(23))
    assert {len(part) for part in parts} == {4, 5}
    assert all((a == b).all() for a, b in zip(parts, folds(23, 5, 7), strict=True))
    assert any((a != b).any() for a, b in zip(folds(20, 5, 0), folds(20, 5, 1), strict=True))


def test_held_out_values_come_from_levels_chosen_without_them() -> None:
    """A point that is luckily perfect on one fold is chosen by no one who did not see that fold."""
    parts = [np.arange(0, 10), np.arange(10, 20)]
    accuracy = np.zeros((20, 3))
    accuracy[:, 1] = [1, 0] * 10  # honest: half
    accuracy[:10, 2] = 1  # lucky: all of the first fold, none of the second
    curve = Curve(accuracy, np.tile([1.0, 2, 3], (20, 1)))
    checked = cross_validate(curve, 2, parts, 0.95)
    assert checked is not None
    # without fold 0 the top is point 1, read on fold 0: one half; without fold 1 it is point 2, read on fold 1: nothing
    assert checked.held.means[0].tolist() == [0.0, 0.25]
    assert checked.held.means[1].tolist() == [1.0, 2.5]
    assert curve.means[0].tolist() == [0.0, 0.5, 0.5]


def test_gains_are_corrected_for_their_number() -> None:
    accuracy = np.random.default_rng(0).random((30, 4)).cumsum(axis=1) / 4
    found = gains(accuracy, 0.95)
    assert len(found) == 3
    d = accuracy[:, 1] - accuracy[:, 0]
    half = t_quantile(1 - 0.05 / 3, 29) * d.std(ddof=1) / 30**0.5  # one-sided 5 % over three gains
    assert found[0].low == pytest.approx(d.mean() - half)


def test_clear_levels_are_found_and_named() -> None:
    curve = coins([0.1, 0.3, 0.5, 0.7, 0.9], [10, 20, 40, 80, 160], 400)
    found = levels(curve, parts=folds(400, 5, 0))
    assert found.points == (0, 1, 2, 3, 4)
    assert found.names == ("minimal", "low", "medium", "high", "xhigh") == LEVEL_NAMES[5]
    assert found.refused == ((6, "the frontier has fewer than 6 points"),)
    assert found.checked is not None and found.checked.supported and found.checked.votes == 5


def test_fewer_levels_where_the_data_can_not_tell() -> None:
    curve = coins([0.2, 0.8, 0.82], [10, 20, 40], 100)
    found = levels(curve, parts=folds(100, 5, 0))
    assert found.names == ("low", "high")
    assert found.points[0] == 0
    why = dict(found.refused)[3]
    assert "medium" in why and ("held-out" in why or "fewer than 3" in why)


def test_luck_alone_gives_one_level() -> None:
    """Fifteen points of the same true accuracy: the best looks far better than the first, and is a false level."""
    false = lucky = 0
    for seed in range(40):
        draw = np.random.default_rng(seed).random((80, 15)) < 0.5
        curve = Curve(draw.astype(float), np.tile(np.geomspace(10, 1000, 15), (80, 1)))
        found = levels(curve, parts=folds(80, 5, seed))
        lucky += curve.means[0].max() - curve.means[0][0] > 0.1
        false += len(found.points) > 1
    assert false <= 4  # 5 % of 40 is 2
    assert lucky > 10  # the table alone would have shown gains above ten points in more than one of four


def test_one_point_is_one_level() -> None:
    found = levels(flat([0.4], [10], 20), parts=folds(20, 5, 0))
    assert (found.points, found.names) == ((0,), ("medium",))
    assert [count for count, _ in found.refused] == [6, 5, 4, 3, 2]
