"""The two intervals: against hand-worked values, closed forms and simulated coverage."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from ponder import intervals
from ponder.evals import resample, stats


def rate(verdicts) -> float:
    return sum(verdicts) / len(verdicts)


def test_jackknife_of_a_mean_is_its_variance() -> None:
    """Two problems, 2 of 4 and 3 of 4: variance ((4/3)(1/4)/4 + (4/3)(3/16)/4)/4, degrees of freedom by Satterthwaite."""
    found = resample.within_problems([[1, 1, 0, 0], [1, 1, 1, 0]], rate)
    parts = [1 / 12 / 4, 1 / 16 / 4]
    freedom = int(sum(parts) ** 2 / sum(v * v / 3 for v in parts))
    assert freedom == 5
    want = intervals.score_interval(0.625, 0.625 * 0.375 / sum(parts), intervals.t_quantile(0.975, 5), 0.95)
    assert found is not None
    assert (found.mean, found.low, found.high) == pytest.approx((want.mean, want.low, want.high))


def test_fixed_problems_give_the_narrower_interval() -> None:
    """Problems that are either easy or hard: trying the same ones again moves the mean little, other problems much."""
    problems = [[1] * 8 if i % 2 else [0] * 7 + [1] for i in range(40)]
    within = resample.within_problems(problems, rate)
    over = intervals.cluster_mean([rate(p) for p in problems])
    assert within is not None
    assert within.high - within.low < 0.3 * (over.high - over.low)


def test_within_keeps_a_width_where_nothing_varied() -> None:
    found = resample.within_problems([[1, 1, 1, 1]] * 5, rate)
    assert found is not None
    assert found.mean == found.high == 1.0
    assert 0.7 < found.low < 0.9


def test_within_is_none_where_k_uses_every_attempt() -> None:
    problems = [[True, False, False, True], [False] * 4]
    assert resample.within_problems(problems, lambda v: stats.pass_at_k(len(v), sum(v), 4)) is None
    assert resample.within_problems(problems, lambda v: stats.pass_at_k(len(v), sum(v), 3)) is not None
    assert resample.within_problems([[True]], rate) is None


@pytest.mark.parametrize("k", [1, 2, 7, 8])
def test_counts_give_what_the_attempts_give(k: int) -> None:
    rng = random.Random(k)
    tries = [[rng.random() < s for _ in range(8)] for s in (0.0, 0.1, 0.5, 0.5, 0.8, 1.0)]
    slow = resample.within_problems(tries, lambda v: stats.pass_at_k(len(v), sum(v), k))
    fast = resample.within_pass_at_k([(8, sum(t)) for t in tries], k)
    if k == 8:
        assert slow is None
        assert fast is None
    else:
        assert slow is not None
        assert fast is not None
        assert fast.pair == pytest.approx(slow.pair, abs=1e-12)


def test_within_covers_repeated_attempts_at_the_same_problems() -> None:
    """400 evaluations of 12 fixed problems, 8 attempts each, pass@4: the true value is inside about 95 times in 100."""
    skills = [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9, 0.97]
    truth = sum(1 - (1 - p) ** 4 for p in skills) / 12
    rng, hits = random.Random(2), 0
    for _ in range(400):
        tries = [[rng.random() < p for _ in range(8)] for p in skills]
        found = resample.within_problems(tries, lambda v: stats.pass_at_k(len(v), sum(v), 4))
        assert found is not None
        hits += found.low <= truth <= found.high
    assert 0.92 <= hits / 400 <= 0.99


def simulated(rng: random.Random, problems: int, attempts: int) -> list[list[bool]]:
    skills = [rng.betavariate(0.6, 0.6) for _ in range(problems)]
    return [[rng.random() < s for _ in range(attempts)] for s in skills]


def test_hierarchical_covers_new_problems() -> None:
    """200 evaluations of 40 new problems, 4 attempts each: inside about 95 times in 100, and slightly wider than need be."""
    rng, hits, wide = random.Random(4), 0, 0.0
    for seed in range(200):
        tries = simulated(rng, 40, 4)
        found = resample.hierarchical(tries, rate, draws=400, inner=16, seed=seed)
        hits += found.low <= 0.5 <= found.high
        over = intervals.cluster_mean([rate(t) for t in tries])
        wide += (found.high - found.low) / (over.high - over.low) / 200
    assert 0.90 <= hits / 200 < 1.0
    assert 1.0 < wide < 1.2  # the attempts' noise counts twice


def test_problems_only_is_the_plain_bootstrap() -> None:
    tries = simulated(random.Random(7), 60, 8)
    found = resample.hierarchical(tries, rate, inner=0, draws=4000)
    over = intervals.cluster_mean([rate(t) for t in tries])
    assert found.pair == pytest.approx(over.pair, abs=0.012)
    assert found == resample.hierarchical(tries, rate, inner=0, draws=4000)
    assert resample.hierarchical(tries, rate) != resample.hierarchical(tries, rate, seed=1)


def test_repeated_attempts_do_not_bias_the_best_of_all() -> None:
    """One right of 16 at every problem, k = n: resampling alone would give 1 - (15/16)^16 = .644; the value is 1."""
    tries = [[True] + [False] * 15] * 10
    found = resample.hierarchical(tries, lambda v: stats.pass_at_k(len(v), sum(v), len(v)), draws=500)
    assert found.mean == 1.0
    assert 0.644 < found.low < 0.9
    assert found.high == 1.0


def test_resampled_means_share_their_draws() -> None:
    values = np.array([[1.0, 1.0], [2.0, 4.0], [4.0, 16.0]])
    means = resample.resampled_means(values, 20_001, seed=3)
    assert means.shape == (20_001, 2)
    assert means.mean(axis=0) == pytest.approx([7 / 3, 7.0], abs=0.1)
    assert means[:, 0].var() == pytest.approx(14 / 9 / 3, rel=0.05)  # the variance of a mean of three draws
    assert np.corrcoef(means.T)[0, 1] > 0.9
    assert (resample.resampled_means(values[:, 0], 20_001, seed=3) == means[:, 0]).all()


def test_counts_add_up_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resample, "CELLS", 64)
    tables = list(resample.row_counts(7, 100))
    assert sum(len(t) for t in tables) == 100
    assert len(tables) > 10
    assert all((t.sum(axis=1) == 7).all() for t in tables)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="no problems"):
        resample.within_problems([], rate)
    with pytest.raises(ValueError, match="0 problems"):
        resample.hierarchical([], rate)
    with pytest.raises(ValueError, match="no rows"):
        resample.resampled_means(np.zeros(0))
    with pytest.raises(ValueError, match="rates"):
        resample.within_problems([[2.0, 3.0]], rate)
    assert not math.isnan(resample.hierarchical([[1, 0]], rate, draws=10).low)
