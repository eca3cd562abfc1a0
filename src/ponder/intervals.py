"""Intervals for rates and means: Wilson, over problems (clusters), and for paired differences. No numpy, no torch.

On the ground floor because both training (held-out accuracy while it runs) and evals (everything reported) need them.

Which one: attempts at one problem are not independent of each other, problems are. So an accuracy over n problems with
k attempts each is the mean of n per-problem rates, and its interval is `cluster_mean`; `wilson` is for independent
trials only. Not covered: clusters above problems (templates, sources); the bootstrap, multiplicity and power are
`evals.resample` and `evals.paired`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval at the stated level."""

    mean: float
    low: float
    high: float
    level: float = 0.95

    @property
    def pair(self) -> list[float]:
        """[low, high], as written to JSON."""
        return [self.low, self.high]


def normal_quantile(p: float) -> float:
    """The standard normal quantile of `p` in (0, 1)."""
    return NormalDist().inv_cdf(p)


@lru_cache(maxsize=4096)
def t_quantile(p: float, df: int) -> float:
    """Student's t quantile of `p` in (0, 1) with `df` >= 1 degrees of freedom.

    Exact (bisection on the finite trigonometric sums of Abramowitz & Stegun 26.7.3 and 26.7.4) up to 200 degrees of
    freedom; above, the expansion 26.7.5 around the normal quantile, whose error there is below 1e-8.
    """
    if not 0.0 < p < 1.0:
        raise ValueError(f"t_quantile: p = {p}, needs 0 < p < 1")
    if df < 1:
        raise ValueError(f"t_quantile: df = {df}, needs df >= 1")
    if p < 0.5:
        return -t_quantile(1.0 - p, df)
    if df > 200:
        return _t_expansion(normal_quantile(p), df)
    low, high = 0.0, math.pi / 2
    for _ in range(80):  # in the angle atan(t / sqrt(df)), where the distribution is bounded
        middle = (low + high) / 2
        low, high = (middle, high) if 0.5 + _t_central(middle, df) / 2 < p else (low, middle)
    return math.tan((low + high) / 2) * math.sqrt(df)


def _t_central(angle: float, df: int) -> float:
    """P(|t| < sqrt(df) tan(angle)) for integer degrees of freedom."""
    sine, cosine = math.sin(angle), math.cos(angle)
    term = cosine if df % 2 else 1.0
    total = term if df > 1 else 0.0
    for k in range(3 if df % 2 else 2, df - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    return (angle + sine * total) * 2 / math.pi if df % 2 else sine * total


def _t_expansion(x: float, df: int) -> float:
    g1 = (x**3 + x) / 4
    g2 = (5 * x**5 + 16 * x**3 + 3 * x) / 96
    g3 = (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384
    g4 = (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160
    return x + g1 / df + g2 / df**2 + g3 / df**3 + g4 / df**4


def wilson(c: float, n: float, level: float = 0.95) -> Interval:
    """Score interval for `c` successes in `n` independent trials (Wilson 1927); never outside [0, 1], never empty."""
    if n <= 0 or not 0 <= c <= n:
        raise ValueError(f"wilson: c = {c}, n = {n}, needs n > 0 and 0 <= c <= n")
    return score_interval(c / n, n, normal_quantile(0.5 + level / 2), level)


def score_interval(p: float, n: float, z: float, level: float) -> Interval:
    """Wilson's formula for a share `p` of `n` (effective) trials at quantile `z`; `level` is only written down."""
    spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low, high = (p + z * z / (2 * n) - spread) / scale, (p + z * z / (2 * n) + spread) / scale
    return Interval(p, min(max(low, 0.0), p), max(min(high, 1.0), p), level)


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Student's t interval for the mean of independent values; a single value has no interval: (-inf, inf)."""
    n = len(values)
    if not n:
        raise ValueError("mean_interval: no values")
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(mean, -math.inf, math.inf, level)
    half = t_quantile(0.5 + level / 2, n - 1) * _standard_error(values, mean)
    return Interval(mean, mean - half, mean + half, level)


def _standard_error(values: Sequence[float], mean: float) -> float:
    n = len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)


def cluster_mean(rates: Sequence[float], level: float = 0.95) -> Interval:
    """Interval over problems for the mean of per-problem rates in [0, 1] (n problems, any number of attempts each).

    The clustered standard error of Miller 2024 (arXiv 2411.00640, section 2.2) is turned into an effective number of
    trials p(1-p)/se^2, which goes into Wilson's formula with the t quantile of n - 1 degrees of freedom. So it stays
    inside [0, 1] and does not collapse at 0 or 1, as the plain +-1.96 se does. Where every problem has the same rate
    the effective number is n. It covers the draw of the problems as well as that of the attempts.
    """
    n = len(rates)
    if not n:
        raise ValueError("cluster_mean: no problems")
    if any(not -1e-9 <= r <= 1 + 1e-9 for r in rates):
        raise ValueError("cluster_mean: rates must lie in [0, 1]; for other values use mean_interval")
    mean = min(max(math.fsum(rates) / n, 0.0), 1.0)
    if n == 1:
        return Interval(mean, 0.0, 1.0, level)
    error = _standard_error(rates, mean)
    effective = mean * (1 - mean) / error**2 if error > 1e-12 else float(n)
    return score_interval(mean, max(effective, 1e-9), t_quantile(0.5 + level / 2, n - 1), level)


def paired_difference(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> Interval:
    """Interval for mean(b) - mean(a) where `a[i]` and `b[i]` belong to the same problem (t on the differences)."""
    if len(a) != len(b):
        raise ValueError(f"paired_difference: {len(a)} and {len(b)} values; pairs need the same problems in both")
    return mean_interval([y - x for x, y in zip(a, b, strict=True)], level)


def t_two_sided(t: float, df: int) -> float:
    """P(|T| >= |t|) for Student's t with integer `df` >= 1, exact at any df, in O(df)."""
    if df < 1:
        raise ValueError(f"t_two_sided: df = {df}, needs df >= 1")
    if math.isinf(t):
        return 0.0
    return min(max(1.0 - _t_central(math.atan(abs(t) / math.sqrt(df)), df), 0.0), 1.0)
