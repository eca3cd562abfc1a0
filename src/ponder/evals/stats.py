"""Exact statistics over repeated attempts: pass@k, all-k, best-of-k, majority-at-k, and their intervals over problems.

Each estimator takes the n attempts at one problem and returns the exact expectation over all k-subsets drawn without
replacement: no random trials, no "the first k". So pass@12 of 16 attempts is `pass_at_k(16, c, 12)`, and cons@64 is
`majority_at_k(..., 64)`. Over problems, take the mean of the per-problem values and `cluster_mean` for its interval.
A k above n is a ValueError, never a silent 0 or 1.
Not here: selectors without a closed form (`subsets`), the interval within fixed problems and the bootstrap
(`resample`), two runs against each other and power (`paired`). docs/statistics.md says which number when.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from ponder.intervals import Interval, cluster_mean, mean_interval, paired_difference, t_quantile, wilson

__all__ = [
    "Interval",
    "best_of_k",
    "cluster_mean",
    "g_pass_at_k",
    "goodness",
    "majority_at_k",
    "mean_interval",
    "mg_pass_at_k",
    "paired_difference",
    "pass_at_k",
    "pass_hat_k",
    "powers_of_two",
    "t_quantile",
    "wilson",
]

Floats = NDArray[np.float64]


def _check_k(name: str, n: int, k: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"{name}: k = {k}, but there are {n} attempts; needs 1 <= k <= n")


def pass_at_k(n: int, c: int, k: int) -> float:
    """Probability that a random k-subset of `n` attempts holds at least one of the `c` correct ones.

    Chen et al. 2021 (arXiv 2107.03374), equation 1, unbiased; in exact integers. ValueError for k > n or c > n.
    """
    _check_k("pass_at_k", n, k)
    if not 0 <= c <= n:
        raise ValueError(f"pass_at_k: c = {c} correct of n = {n} attempts")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def g_pass_at_k(n: int, c: int, k: int, share: float) -> float:
    """Probability that at least `share` of a random k-subset is correct, and at least one attempt.

    Liu et al. 2024 (arXiv 2412.13147): a hypergeometric tail from max(ceil(share k), 1), so that share 0 is
    pass@k and share 1 is `pass_hat_k`. ValueError for k > n, c > n or a share outside [0, 1].
    """
    _check_k("g_pass_at_k", n, k)
    if not 0 <= c <= n:
        raise ValueError(f"g_pass_at_k: c = {c} correct of n = {n} attempts")
    if not 0 <= share <= 1:
        raise ValueError(f"g_pass_at_k: share = {share}, needs 0 <= share <= 1")
    least = max(math.ceil(share * k - 1e-9), 1)
    ways = sum(math.comb(c, j) * math.comb(n - c, k - j) for j in range(least, min(c, k) + 1))
    return ways / math.comb(n, k)


def pass_hat_k(n: int, c: int, k: int) -> float:
    """Probability that all of a random k-subset are correct, C(c, k) / C(n, k): reliability, not reach.

    Yao et al. 2024 (tau-bench, arXiv 2406.12045), unbiased as pass@k is.
    """
    return g_pass_at_k(n, c, k, 1.0)


def mg_pass_at_k(n: int, c: int, k: int) -> float:
    """Twice the area under `g_pass_at_k` over the shares from one half to one (arXiv 2412.13147).

    2/k times the sum over ceil(k/2) < i <= k; by that definition it is 0 at k = 1, whatever was solved.
    """
    _check_k("mg_pass_at_k", n, k)
    return 2 / k * math.fsum(g_pass_at_k(n, c, k, i / k) for i in range(math.ceil(k / 2) + 1, k + 1))


def goodness(harms: Sequence[float], share: float = 0.1) -> float:
    """Mean of 1 - harm over the worst `share` of the attacks on one prompt (goodness@0.1); then take the mean over prompts.

    Guan et al. 2024 (arXiv 2412.16339), with StrongREJECT's harm in [0, 1] (arXiv 2402.10260). The worst are the
    ceil(share n) most harmful, so at least one. ValueError for no attack, a share outside (0, 1] or harm outside [0, 1].
    """
    if not harms or not 0 < share <= 1:
        raise ValueError(f"goodness: {len(harms)} attacks, share = {share}; needs an attack and 0 < share <= 1")
    if any(not 0 <= harm <= 1 for harm in harms):
        raise ValueError("goodness: harm must lie in [0, 1]")
    worst = sorted(harms, reverse=True)[: math.ceil(share * len(harms) - 1e-9)]
    return 1.0 - math.fsum(worst) / len(worst)


def best_of_k(scores: Sequence[float | None], correct: Sequence[bool | float], k: int) -> float:
    """Expected correctness of the highest-scored attempt of a random k-subset; ties are broken uniformly.

    An attempt whose score is None ranks below every scored one. ValueError for k > n and for NaN scores.
    """
    n = len(scores)
    if len(correct) != n:
        raise ValueError(f"best_of_k: {n} scores but {len(correct)} verdicts")
    _check_k("best_of_k", n, k)
    if any(s is not None and math.isnan(s) for s in scores):
        raise ValueError("best_of_k: a score is NaN; an ungraded attempt is None")
    tied: dict[float, list[float]] = {}
    for score, good in zip(scores, correct, strict=True):
        tied.setdefault(-math.inf if score is None else score, []).append(float(good))
    total, below, expected = math.comb(n, k), 0, 0.0
    for score in sorted(tied):
        verdicts = tied[score]
        upto = below + len(verdicts)
        chance = (math.comb(upto, k) - math.comb(below, k)) / total
        expected += chance * math.fsum(verdicts) / len(verdicts)
        below = upto
    return expected


def majority_at_k(answers: Sequence[Hashable | None], correct: Sequence[bool | float], k: int) -> float:
    """Expected correctness of the plurality answer of a random k-subset (self-consistency, arXiv 2203.11171).

    `answers` are equivalence classes already; None abstains; tied classes win with equal chance; when everyone abstains
    the verdict is wrong. A class whose members differ in correctness counts with its mean. Exact: how often each class
    is drawn follows a multivariate hypergeometric law, summed over the winning count and the number of tied classes.
    """
    n = len(answers)
    if len(correct) != n:
        raise ValueError(f"majority_at_k: {n} answers but {len(correct)} verdicts")
    _check_k("majority_at_k", n, k)
    groups: dict[Hashable, list[float]] = {}
    for answer, good in zip(answers, correct, strict=True):
        if answer is not None:
            groups.setdefault(answer, []).append(float(good))
    classes = [(len(v), math.fsum(v) / len(v)) for v in groups.values()]
    if k == n:
        return _plurality(classes)
    top = max((size for size, _ in classes), default=0)
    reached = math.fsum(_won_with(x, classes, n, k) for x in range(1, min(top, k) + 1))
    return min(reached / float(_binomial_row(n, k / n, k)[k]), 1.0)


def _plurality(classes: Sequence[tuple[int, float]]) -> float:
    top = max((size for size, _ in classes), default=0)
    winners = [good for size, good in classes if size == top]
    return math.fsum(winners) / len(winners) if winners else 0.0


def _won_with(x: int, classes: Sequence[tuple[int, float]], n: int, k: int) -> float:
    """Chance that k are drawn and the winner has exactly `x` votes, times its expected correctness.

    Every attempt is drawn independently with probability k/n, which makes classes independent; dividing by the chance
    that k of n are drawn conditions on the subset size. `ways[t, s]` is the chance of s draws so far with t classes at
    exactly x, `good[t, s]` the same weighted by the summed correctness of those t classes.
    """
    share = k / n
    contenders = [(size, value) for size, value in classes if size >= x]
    ways = np.zeros((k // x + 1, k + 1))
    ways[0] = _binomial_row(n - sum(size for size, _ in contenders), share, k)  # abstainers and classes too small
    good = np.zeros_like(ways)
    for size, value in contenders:
        row = _binomial_row(size, share, x)
        new_ways, new_good = _convolved(ways, row[:x]), _convolved(good, row[:x])
        new_ways[1:, x:] += row[x] * ways[:-1, : k + 1 - x]
        new_good[1:, x:] += row[x] * (good + value * ways)[:-1, : k + 1 - x]
        ways, good = new_ways, new_good
    return math.fsum(good[t, k] / t for t in range(1, good.shape[0]))


def _convolved(table: Floats, row: Floats) -> Floats:
    out = np.zeros_like(table)
    for m, chance in enumerate(row):
        out[:, m:] += chance * table[:, : table.shape[1] - m]
    return out


def _binomial_row(n: int, p: float, upto: int) -> Floats:
    """P(Binomial(n, p) = s) for s = 0..upto, 0 < p < 1."""
    logs = [
        math.lgamma(n + 1) - math.lgamma(s + 1) - math.lgamma(n - s + 1) + s * math.log(p) + (n - s) * math.log1p(-p)
        for s in range(min(n, upto) + 1)
    ]
    row = np.zeros(upto + 1)
    row[: len(logs)] = np.exp(logs)
    return row


def powers_of_two(n: int) -> list[int]:
    """The k worth reporting for n attempts: 1, 2, 4, ... up to n."""
    return [1 << i for i in range(n.bit_length()) if 1 << i <= n]
