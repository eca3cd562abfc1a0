"""Two intervals for one accuracy: over attempts within fixed problems, and over problems with their attempts.

`within_problems` asks how the number would move were the same problems tried again: for claims about this benchmark.
`hierarchical` asks how it would move on other problems of the kind: for claims about the model. `cluster_mean` answers
the second question too, in closed form, and is the better one for a plain mean of rates; the bootstrap is for what is
not a mean of rates, and for looking at the distribution.

Resampling attempts with replacement repeats some and drops others, which biases any statistic of k attempts (the best
of 64 draws from 64 attempts misses a lone correct one with chance 0.37). So the within-problem error is a jackknife,
and the bootstrap's inner draws are moved back to the problem's own estimate.
Not covered: clusters above problems; BCa corrections.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ponder.evals.stats import pass_at_k
from ponder.intervals import Interval, score_interval, t_quantile

T = TypeVar("T")
Floats = NDArray[np.float64]
DRAWS = 10_000
CELLS = 1 << 20  # of the table of draws held at once


def within_problems(
    problems: Sequence[Sequence[T]], estimate: Callable[[Sequence[T]], float], level: float = 0.95
) -> Interval | None:
    """Interval of the mean over these very problems of `estimate(attempts)`, a rate in [0, 1], over their attempts.

    The variance of each problem's estimate is its jackknife, (n - 1)/n times the squared deviations of the values with
    one attempt left out; the sum of these, divided by the squared number of problems, goes into Wilson's formula with
    the t quantile at Satterthwaite's degrees of freedom, so that it stays in [0, 1] and keeps a width where no problem
    varied. None where some problem has too few attempts to leave one out (`estimate` raised ValueError, or n = 1).
    """
    return _within(
        [estimate(a) for a in problems], [len(a) for a in problems], [_left_out(a, estimate) for a in problems], level
    )


def within_pass_at_k(counts: Sequence[tuple[int, int]], k: int = 1, level: float = 0.95) -> Interval | None:
    """`within_problems` for pass@k of (attempts, correct) at each problem, in time that does not grow with the attempts."""
    values = [pass_at_k(n, c, k) for n, c in counts]
    return _within(values, [n for n, _ in counts], [_left_out_counts(n, c, k) for n, c in counts], level)


Left = Sequence[tuple[float, int]] | None
"""The estimates with one attempt left out, each with how many attempts give it; None where there are too few."""


def _left_out(attempts: Sequence[T], estimate: Callable[[Sequence[T]], float]) -> Left:
    if len(attempts) < 2:
        return None
    try:
        return [(estimate([*attempts[:j], *attempts[j + 1 :]]), 1) for j in range(len(attempts))]
    except ValueError:
        return None


def _left_out_counts(n: int, c: int, k: int) -> Left:
    if n - 1 < k:
        return None
    return [(pass_at_k(n - 1, c - right, k), count) for right, count in ((1, c), (0, n - c)) if count]


def _within(values: Sequence[float], attempts: Sequence[int], left: Sequence[Left], level: float) -> Interval | None:
    if not values:
        raise ValueError("within_problems: no problems")
    if any(not -1e-9 <= value <= 1 + 1e-9 for value in values):
        raise ValueError("within_problems: estimates must be rates in [0, 1]")
    if any(one is None for one in left):
        return None
    mean = min(max(math.fsum(values) / len(values), 0.0), 1.0)
    variances = [_jackknife(one) / len(values) ** 2 for one in left if one is not None]
    total, tries = math.fsum(variances), sum(attempts)
    if total < 1e-24:
        return score_interval(mean, float(tries), t_quantile(0.5 + level / 2, tries - len(values)), level)
    spread = math.fsum(v * v / (n - 1) for v, n in zip(variances, attempts, strict=True))
    freedom = max(1, int(total * total / spread + 1e-9))
    effective = max(mean * (1 - mean) / total, 1e-9)
    return score_interval(mean, effective, t_quantile(0.5 + level / 2, freedom), level)


def _jackknife(left: Sequence[tuple[float, int]]) -> float:
    n = sum(count for _, count in left)
    mean = math.fsum(value * count for value, count in left) / n
    return (n - 1) / n * math.fsum(count * (value - mean) ** 2 for value, count in left)


def hierarchical(
    problems: Sequence[Sequence[T]],
    estimate: Callable[[Sequence[T]], float],
    *,
    draws: int = 2000,
    inner: int = 64,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of the mean of `estimate(attempts)`: problems drawn with replacement, then their attempts.

    Each problem gets `inner` resamples of its attempts once, and every appearance of it takes one of them; they are
    moved to have the problem's own estimate as their mean. `inner` 0 draws problems only. The attempts' noise is
    counted twice by this scheme (problems drawn from data differ by it already), so the interval is somewhat wide where
    attempts are few; `inner` 0 and `cluster_mean` are not. Below 20 problems percentile intervals are too narrow.
    """
    if not problems or draws < 1:
        raise ValueError(f"hierarchical: {len(problems)} problems, {draws} draws; needs at least one of each")
    rng = np.random.default_rng(seed)
    own = np.array([estimate(attempts) for attempts in problems], np.float64)
    pool = own[:, None]
    if inner > 0:
        drawn = np.stack([_pool(attempts, estimate, inner, rng) for attempts in problems])
        pool = drawn - drawn.mean(axis=1, keepdims=True) + own[:, None]
    count = len(problems)
    means = np.empty(draws)
    for start, stop in _chunks(draws, count):
        rows = rng.integers(count, size=(stop - start, count))
        means[start:stop] = pool[rows, rng.integers(pool.shape[1], size=rows.shape)].mean(axis=1)
    if bool(np.all((own >= 0) & (own <= 1))):
        means = np.clip(means, 0, 1)  # rates; only the moved inner draws can leave their range
    return percentile(means, float(own.mean()), level)


def _pool(
    attempts: Sequence[T], estimate: Callable[[Sequence[T]], float], inner: int, rng: np.random.Generator
) -> Floats:
    picks: list[list[int]] = rng.integers(len(attempts), size=(inner, len(attempts))).tolist()
    return np.array([estimate([attempts[i] for i in pick]) for pick in picks], np.float64)


def percentile(draws: Floats, mean: float, level: float = 0.95) -> Interval:
    """The middle `level` of bootstrap draws, as the interval of `mean`."""
    low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(mean, float(low), float(high), level)


def resampled_means(values: NDArray[Any], draws: int = DRAWS, seed: int = 0) -> Floats:
    """Means over rows of `values` [n] or [n, columns], rows drawn n at a time with replacement: [draws] or [draws, columns].

    All columns share the draws, so differences between columns are paired.
    """
    if not len(values):
        raise ValueError("resampled_means: no rows")
    flat = np.asarray(values, np.float64)
    return np.concatenate([counts @ flat / len(flat) for counts in row_counts(len(flat), draws, seed)])


def row_counts(n: int, draws: int = DRAWS, seed: int = 0) -> Iterator[Floats]:
    """How often each of n rows is drawn when n are drawn with replacement: tables [some draws, n], `draws` in all."""
    rng = np.random.default_rng(seed)
    for start, stop in _chunks(draws, n):
        size = stop - start
        cells = rng.integers(n, size=(size, n)) + np.arange(size)[:, None] * n
        yield np.bincount(cells.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def _chunks(draws: int, width: int) -> Iterator[tuple[int, int]]:
    step = max(1, CELLS // width)
    return ((start, min(start + step, draws)) for start in range(0, draws, step))
