"""Paired tests against printed values, enumeration and simulation."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder import intervals
from ponder.evals import paired


def test_t_test_hand_worked() -> None:
    """Student's sleep data (1908): differences of mean 1.58, t = 4.0621 at 9 degrees of freedom, p = .002833."""
    a = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    b = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = paired.difference(a, b)
    assert found.mean == pytest.approx(1.58)
    assert found.p == pytest.approx(0.002833, abs=5e-7)
    assert found.interval.pair == pytest.approx([0.7001142, 2.4598858], abs=1e-6)
    assert paired.difference(b, a).p == pytest.approx(found.p)


@pytest.mark.parametrize(
    ("t", "df", "p"), [(12.706, 1, 0.05), (2.228, 10, 0.05), (3.499, 7, 0.01), (1.96, 10**5, 0.05)]
)
def test_t_tail_matches_the_printed_table(t: float, df: int, p: float) -> None:
    assert intervals.t_two_sided(t, df) == pytest.approx(p, abs=2e-5)
    assert intervals.t_two_sided(-t, df) == intervals.t_two_sided(t, df)


@given(st.floats(0.501, 0.9999), st.integers(1, 150))
def test_t_tail_inverts_the_quantile(p: float, df: int) -> None:
    assert intervals.t_two_sided(intervals.t_quantile(p, df), df) == pytest.approx(2 * (1 - p), abs=1e-9)
    with pytest.raises(ValueError, match="df"):
        intervals.t_two_sided(1.0, 0)


def test_equal_differences_are_no_certainty() -> None:
    same = paired.difference([1.0, 0.0, 1.0], [1.0, 0.0, 1.0])
    assert same.p == 1.0
    assert same.interval.low < -0.3 < 0.3 < same.interval.high
    assert paired.difference([0.0] * 6, [1.0] * 6).p == 2**-5
    assert paired.difference([0.0], [1.0]).p == 1.0


@pytest.mark.parametrize(("a", "b"), [(3, 10), (0, 5), (4, 4), (0, 0), (1, 0), (7, 2)])
def test_mcnemar_is_the_enumerated_coin(a: int, b: int) -> None:
    tosses = [sum(t) for t in itertools.product((0, 1), repeat=a + b)]
    far = abs(a - b)
    exact = sum(abs(2 * t - a - b) >= far for t in tosses) / len(tosses)
    same = sum(abs(2 * t - a - b) == far for t in tosses) / len(tosses)
    assert paired.mcnemar(a, b) == pytest.approx(exact)
    assert paired.mcnemar(b, a) == paired.mcnemar(a, b)
    assert paired.mcnemar(a, b, mid=True) == pytest.approx(exact - same / 2 if a + b else 1.0)


def test_newcombe_hand_worked() -> None:
    """20 both, 12 b alone, 2 a alone, 16 neither: phi = (320 - 24 - 25)/sqrt(22 28 32 18) = .4550; Wilson .3064-.5757 and
    .5014-.7555 (hand-worked); low .2 - sqrt(.1386^2 - 2 phi .1386 .1357 + .1357^2) with the sides of the two."""
    found = paired.newcombe(20, 2, 12, 16)
    a, b, phi = intervals.wilson(22, 50), intervals.wilson(32, 50), 271 / math.sqrt(22 * 28 * 32 * 18)
    down, up = (0.64 - b.low, a.high - 0.44), (b.high - 0.64, 0.44 - a.low)
    want = [0.2 - math.sqrt(x * x - 2 * phi * x * y + y * y) for x, y in (down,)]
    want += [0.2 + math.sqrt(x * x - 2 * phi * x * y + y * y) for x, y in (up,)]
    assert found.pair == pytest.approx(want)
    assert found.pair == pytest.approx([0.0562, 0.3292], abs=5e-5)
    assert paired.newcombe(20, 12, 2, 16).pair == pytest.approx([-found.high, -found.low])


@given(st.tuples(*[st.integers(0, 12)] * 4).filter(any))
def test_newcombe_holds_its_difference_and_never_collapses(counts) -> None:
    found = paired.newcombe(*counts)
    assert -1 <= found.low <= found.mean + 1e-12
    assert found.mean - 1e-12 <= found.high <= 1
    assert found.high - found.low > 0.01


def runs(rng: random.Random, n: int, k: int, gain: float) -> tuple[list[list[int]], list[list[int]]]:
    """Verdicts of two models at n problems of varied difficulty, k attempts each; b is better by `gain` on average."""
    skills = [rng.uniform(0.1, 0.8) for _ in range(n)]
    a = [[int(rng.random() < s) for _ in range(k)] for s in skills]
    return a, [[int(rng.random() < s + gain + rng.choice((-0.1, 0.1))) for _ in range(k)] for s in skills]


def rates(verdicts: list[list[int]]) -> list[float]:
    return [sum(v) / len(v) for v in verdicts]


def test_intervals_cover_and_tests_keep_their_level() -> None:
    """400 pairs of runs over 40 problems, true difference 0.1, then 0: coverage near .95, false alarms near .05."""
    rng, covered, boot, single, alarms, mids = random.Random(8), 0, 0, 0, 0, 0
    for seed in range(400):
        a, b = runs(rng, 40, 4, 0.1)
        covered += (
            paired.difference(rates(a), rates(b)).interval.low
            <= 0.1
            <= paired.difference(rates(a), rates(b)).interval.high
        )
        found = paired.paired_bootstrap(rates(a), rates(b), draws=400, seed=seed).interval
        boot += found.low <= 0.1 <= found.high
        table = [
            sum((x[0], y[0]) == cell for x, y in zip(a, b, strict=True)) for cell in ((1, 1), (1, 0), (0, 1), (0, 0))
        ]
        found = paired.newcombe(*table)
        single += found.low <= 0.1 <= found.high
        a, b = runs(rng, 40, 4, 0.0)
        alarms += paired.difference(rates(a), rates(b)).p < 0.05
        mids += (
            paired.mcnemar(
                sum(x[0] > y[0] for x, y in zip(a, b, strict=True)),
                sum(x[0] < y[0] for x, y in zip(a, b, strict=True)),
                mid=True,
            )
            < 0.05
        )
    assert 0.92 <= covered / 400 <= 0.98
    assert 0.90 <= boot / 400 <= 0.98
    assert 0.92 <= single / 400 <= 0.99
    assert 0.02 <= alarms / 400 <= 0.08
    assert 0.01 <= mids / 400 <= 0.08


def test_bootstrap_agrees_with_t_where_both_hold() -> None:
    rng = random.Random(3)
    a, b = runs(rng, 200, 4, 0.03)
    t, boot = paired.difference(rates(a), rates(b)), paired.paired_bootstrap(rates(a), rates(b))
    assert boot.interval.pair == pytest.approx(t.interval.pair, abs=0.004)
    assert boot.p == pytest.approx(t.p, abs=0.02)
    assert paired.paired_bootstrap([0.0] * 30, [1.0] * 30, draws=99).p == 0.01


def test_holm_hand_worked() -> None:
    assert paired.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert paired.holm([0.5, 0.9]) == [1.0, 1.0]
    assert paired.holm([]) == []
    with pytest.raises(ValueError, match="p-values"):
        paired.holm([1.2])


def test_detectable_differences_are_detected_as_often_as_it_says() -> None:
    """600 normal samples of 25 differences with the mean at the detectable effect: found in 80 of 100."""
    effect = paired.detectable(1.0, 25)
    rng, hits = random.Random(5), 0
    for _ in range(600):
        hits += paired.difference([0.0] * 25, [rng.gauss(effect, 1.0) for _ in range(25)]).p < 0.05
    assert 0.76 <= hits / 600 <= 0.84


def test_problems_needed_is_the_first_that_suffices() -> None:
    for effect, deviation in ((0.05, 0.4), (0.5, 0.4), (0.01, 0.7)):
        n = paired.problems_needed(effect, deviation)
        assert paired.detectable(deviation, n) <= effect
        assert n == 2 or paired.detectable(deviation, n - 1) > effect
    z = 1.959964 + 0.841621  # large n: (z + z)^2 deviation^2 / effect^2
    assert paired.problems_needed(0.01, 0.7) == pytest.approx((z * 70) ** 2, abs=3)
    with pytest.raises(ValueError, match="effect"):
        paired.problems_needed(0.0, 1.0)


def test_spread_predicts_more_attempts() -> None:
    """400 problems at 4 attempts foretell the deviation at 16: between .01, within .25 a side at skill one half."""
    rng = random.Random(6)
    pairs = [(0.5, 0.5 + rng.choice((-0.1, 0.1))) for _ in range(2000)]
    few = [[[int(rng.random() < p) for _ in range(4)] for p in side] for side in zip(*pairs, strict=True)]
    found = paired.spread(*few)
    assert (found.between, found.within_a, found.within_b) == pytest.approx((0.01, 0.25, 0.24), abs=0.012)
    assert found.deviation(4, 4) == pytest.approx(paired.deviation_of(*[rates(side) for side in few]), rel=1e-6)
    assert found.deviation(16, 16) == pytest.approx(math.sqrt(0.01 + 0.49 / 16), rel=0.1)
    with pytest.raises(ValueError, match="two attempts"):
        paired.spread([[1], [0]], [[1], [1]])


def test_pairs_are_required() -> None:
    for call in (paired.difference, paired.paired_bootstrap):
        with pytest.raises(ValueError, match="pairs"):
            call([1.0], [1.0, 0.0])
    with pytest.raises(ValueError, match="mcnemar"):
        paired.mcnemar(-1, 2)
    with pytest.raises(ValueError, match="newcombe"):
        paired.newcombe(0, 0, 0, 0)
