"""A rating from which problems of known difficulty were solved: Elo-type maximum likelihood, with its interval.

P(solve a problem of difficulty d | rating r) = 1 / (1 + 10^((d - r)/400)): a difficulty is the rating that solves it
half the time, 400 points are odds of ten. The log-likelihood is concave in r, so its root is the only maximum.
Not covered: expected rank among the participants of a contest, penalties for time or wrong submissions, difficulties
that are uncertain themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ponder.intervals import normal_quantile

SCALE = 400 / math.log(10)


@dataclass(frozen=True, slots=True)
class Solved:
    """One problem: its difficulty, and how many of `attempts` tries solved it (a fraction is allowed, such as a pass rate)."""

    difficulty: float
    solved: float
    attempts: float = 1.0


@dataclass(frozen=True, slots=True)
class Rating:
    """The likeliest rating and its interval. All solved: rating and `high` are inf; none solved: rating and `low` are -inf.

    In those two cases the finite end is a one-sided bound at the full `level`.
    """

    rating: float
    low: float
    high: float
    level: float

    @property
    def bounded(self) -> bool:
        """Whether some problems were solved and some were not, so that the rating is finite."""
        return math.isfinite(self.rating)


def chance(rating: float, difficulty: float) -> float:
    """Probability that `rating` solves a problem of `difficulty`."""
    return 0.5 * (1 + math.tanh((rating - difficulty) / (2 * SCALE)))


def rate(results: Sequence[Solved], level: float = 0.95) -> Rating:
    """Maximum-likelihood rating with the interval of all ratings that a likelihood-ratio test does not refuse.

    2 (logL(best) - logL(r)) <= z^2; with the rating as the only parameter this is its profile likelihood. It takes the
    attempts as independent given the rating. Attempts at one problem are not, quite: give one `Solved` per problem with
    one attempt (or its pass rate as `solved` of 1) for an interval over problems, which is the wider, safer one. All or
    none solved: the bound where that outcome has probability 1 - level. ValueError for no problem or impossible counts.
    """
    if not results or not 0 < level < 1:
        raise ValueError(f"rate: {len(results)} problems at level {level}; needs a problem and a level in (0, 1)")
    for row in results:
        if not (row.attempts > 0 and 0 <= row.solved <= row.attempts and math.isfinite(row.difficulty)):
            raise ValueError(f"rate: {row.solved} of {row.attempts} solved at difficulty {row.difficulty}")
    low, high = min(r.difficulty for r in results) - 1, max(r.difficulty for r in results) + 1
    solved, tried = math.fsum(r.solved for r in results), math.fsum(r.attempts for r in results)
    if solved <= 0 or solved >= tried:
        bound = _root(lambda r: _log_likelihood(results, r) - math.log(1 - level), low, high, rising=solved > 0)
        return Rating(math.inf, bound, math.inf, level) if solved > 0 else Rating(-math.inf, -math.inf, bound, level)
    best = _root(
        lambda r: math.fsum(x.solved - x.attempts * chance(r, x.difficulty) for x in results), low, high, False
    )
    floor = _log_likelihood(results, best) - normal_quantile(0.5 + level / 2) ** 2 / 2

    def above(r: float) -> float:
        return _log_likelihood(results, r) - floor

    return Rating(best, _root(above, best - 1, best, True), _root(above, best, best + 1, False), level)


def _log_likelihood(results: Sequence[Solved], rating: float) -> float:
    return -math.fsum(
        row.solved * _softplus((row.difficulty - rating) / SCALE)
        + (row.attempts - row.solved) * _softplus((rating - row.difficulty) / SCALE)
        for row in results
    )


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _root(function: Callable[[float], float], low: float, high: float, rising: bool) -> float:
    """Where a monotone `function` crosses zero, the bracket [low, high] widened until it does."""
    sign = 1 if rising else -1
    width = max(high - low, 1.0)
    while sign * function(low) > 0:
        low, width = low - width, 2 * width
    while sign * function(high) < 0:
        high, width = high + width, 2 * width
    for _ in range(200):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if sign * function(middle) < 0 else (low, middle)
    return (low + high) / 2
