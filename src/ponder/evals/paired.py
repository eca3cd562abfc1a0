"""Two runs on the same problems: how far apart, how surely, and how small a difference could have been seen.

Which one. One attempt per problem on both sides: `newcombe` for the interval, `mcnemar` for the p-value. Several
attempts: per-problem rates, `difference` (Student's t on their differences); `paired_bootstrap` beside it needs no
normality but about 20 problems. Several comparisons: `holm` over all their p-values. Before a run: `detectable` and
`problems_needed`, with the spread of `Spread` from an earlier one.
Formulas and the advice to pair are Miller 2024 (arXiv 2411.00640, sections 4 and 5).
Not covered: clusters above problems; equivalence tests; sequential looks at a growing run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ponder.evals.resample import DRAWS, percentile, resampled_means
from ponder.intervals import Interval, mean_interval, normal_quantile, t_quantile, t_two_sided, wilson


@dataclass(frozen=True, slots=True)
class Tested:
    """A paired difference (b - a) with its interval and two-sided p-value."""

    interval: Interval
    p: float

    @property
    def mean(self) -> float:
        """The difference itself."""
        return self.interval.mean


def _differences(a: Sequence[float], b: Sequence[float]) -> list[float]:
    if len(a) != len(b) or not a:
        raise ValueError(f"{len(a)} and {len(b)} values; pairs need the same problems on both sides, at least one")
    return [y - x for x, y in zip(a, b, strict=True)]


def difference(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> Tested:
    """mean(b) - mean(a) over problems with the paired t test; `a[i]` and `b[i]` belong to one problem.

    Where all n differences are equal t says nothing: the half-width is then that of Wilson's interval at 0 of n, and p
    is 1 for no difference and 2^(1 - n) otherwise, the least a sign test can give. One problem: no interval, p = 1.
    """
    d = _differences(a, b)
    n, found = len(d), mean_interval(d, level)
    if n == 1:
        return Tested(found, 1.0)
    if max(d) - min(d) < 1e-12:
        half = wilson(0, n, level).high
        return Tested(Interval(d[0], d[0] - half, d[0] + half, level), 1.0 if abs(d[0]) < 1e-12 else 2.0 ** (1 - n))
    error = (found.high - found.mean) / t_quantile(0.5 + level / 2, n - 1)
    return Tested(found, t_two_sided(found.mean / error, n - 1))


def paired_bootstrap(
    a: Sequence[float], b: Sequence[float], *, draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> Tested:
    """As `difference`, by drawing problems with replacement: percentile interval, p from the draws moved to mean zero.

    p = (1 + draws at least as far from zero as the observed difference) / (1 + draws), so never 0.
    """
    d = np.array(_differences(a, b), np.float64)
    mean = float(d.mean())
    means = resampled_means(d, draws, seed)
    extreme = int(np.count_nonzero(np.abs(means - mean) >= abs(mean) - 1e-12))
    return Tested(percentile(means, mean, level), (1 + extreme) / (1 + draws))


def mcnemar(only_a: int, only_b: int, mid: bool = False) -> float:
    """Two-sided p-value for `only_a` problems solved by a alone and `only_b` by b alone, one attempt each.

    Exact: the discordant problems are fair coin tosses under no difference (McNemar 1947). `mid` counts only half the chance
    of the observed split (Fagerland et al. 2013): less conservative, and in practice it keeps its level.
    """
    if only_a < 0 or only_b < 0:
        raise ValueError(f"mcnemar: {only_a} and {only_b} discordant problems, needs counts")
    n, least = only_a + only_b, min(only_a, only_b)
    if only_a == only_b:
        return 1 - math.comb(n, least) / 2 ** (n + 1) if mid and n else 1.0
    doubled = 2 * sum(math.comb(n, i) for i in range(least + 1))
    return (doubled - math.comb(n, least) if mid else doubled) / 2**n


def newcombe(both: int, only_a: int, only_b: int, neither: int, level: float = 0.95) -> Interval:
    """Interval for the difference (b - a) of two accuracies on the same problems, one attempt each.

    Newcombe 1998 (Statistics in Medicine 17:2635), method 10: Wilson's two intervals, squared and added with their
    correlation. It stays in [-1, 1] and has a width also where the runs agree on every problem.
    """
    n = both + only_a + only_b + neither
    if min(both, only_a, only_b, neither) < 0 or n == 0:
        raise ValueError("newcombe: needs counts of problems, at least one")
    a, b = wilson(both + only_a, n, level), wilson(both + only_b, n, level)
    scale = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    cross = both * neither - only_a * only_b
    cross = max(cross - n / 2, 0.0) if cross > 0 else float(cross)
    phi = cross / math.sqrt(scale) if scale else 0.0
    delta = (only_b - only_a) / n

    def reach(x: float, y: float) -> float:
        return math.sqrt(max(x * x - 2 * phi * x * y + y * y, 0.0))

    low = delta - reach(b.mean - b.low, a.high - a.mean)
    high = delta + reach(b.high - b.mean, a.mean - a.low)
    return Interval(delta, max(low, -1.0), min(high, 1.0), level)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, in the order given (Holm 1979): below alpha, they err once in 1/alpha families.

    The i-th smallest of m is multiplied by m - i + 1 and never falls below the one before it.
    """
    if any(not 0 <= p <= 1 for p in p_values):
        raise ValueError("holm: p-values lie in [0, 1]")
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


@dataclass(frozen=True, slots=True)
class Spread:
    """Variance of a paired difference per problem: `between` problems, and `within_a`, `within_b` per single attempt.

    The difference of mean rates over n problems then has variance (between + within_a/k_a + within_b/k_b) / n.
    """

    between: float
    within_a: float
    within_b: float

    def deviation(self, attempts_a: int, attempts_b: int) -> float:
        """Standard deviation over problems of the difference of rates, with that many attempts on each side."""
        return math.sqrt(self.between + self.within_a / attempts_a + self.within_b / attempts_b)


def spread(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> Spread:
    """The spread seen in two runs; `a[i]` and `b[i]` hold the verdicts (0 or 1) of the attempts at problem i.

    Within: the unbiased variance of a problem's attempts, averaged over problems. Between: what the variance of the
    observed differences exceeds the within parts by, not below 0. ValueError unless 2 problems have 2 attempts each.
    """
    d = _differences([_mean(v) for v in a], [_mean(v) for v in b])
    if len(d) < 2 or any(len(v) < 2 for v in [*a, *b]):
        raise ValueError("spread: needs at least two problems with at least two attempts on both sides")
    inside = [[math.fsum((x - _mean(v)) ** 2 for x in v) / (len(v) - 1) for v in side] for side in (a, b)]
    noise = [
        _mean([w / len(v) for w, v in zip(ws, side, strict=True)]) for ws, side in zip(inside, (a, b), strict=True)
    ]
    return Spread(max(_deviation(d) ** 2 - sum(noise), 0.0), _mean(inside[0]), _mean(inside[1]))


def detectable(deviation: float, problems: int, power: float = 0.8, level: float = 0.95) -> float:
    """The smallest true difference that a two-sided paired t test finds with probability `power`.

    (t_{(1+level)/2} + t_power) deviation / sqrt(n) at n - 1 degrees of freedom; `deviation` is that of the per-problem
    differences. With both quantiles normal this is Miller's equation 9.
    """
    if problems < 2 or deviation < 0:
        raise ValueError(f"detectable: {problems} problems, deviation {deviation}; needs 2 problems or more")
    return (t_quantile(0.5 + level / 2, problems - 1) + t_quantile(power, problems - 1)) * (
        deviation / math.sqrt(problems)
    )


def problems_needed(effect: float, deviation: float, power: float = 0.8, level: float = 0.95) -> int:
    """The smallest number of problems at which `detectable` is at most `effect`."""
    if effect <= 0 or deviation < 0:
        raise ValueError(f"problems_needed: effect {effect}, deviation {deviation}; needs an effect above 0")
    quantiles = normal_quantile(0.5 + level / 2) + normal_quantile(power)
    count = max(2, math.floor((quantiles * deviation / effect) ** 2))
    while detectable(deviation, count, power, level) > effect:
        count += 1
    return count


def deviation_of(a: Sequence[float], b: Sequence[float]) -> float:
    """Standard deviation of the per-problem differences b - a, for `detectable`."""
    return _deviation(_differences(a, b))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    mean = _mean(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))
