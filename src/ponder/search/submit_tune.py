"""Weights for the rank of clusters, by random search over solved problems, and what they are worth on others.

o1's weights at the IOI were found by random search and not published (arXiv 2502.06807), so whoever has problems with known
verdicts tunes their own. A trial draws every weight log-uniformly from `RANGE`; its worth is the mean over problems of the
share of points after 1, 2, … `limit` submissions, averaged (the area under the curve), so that solving early counts. Trial 0
is the starting weights, and a tie keeps the earlier trial, so tuning never does worse on what it saw. `held_out` tunes on some
problems and scores the others: only that number says anything about new ones.

Not covered: weights that depend on the problem; search by anything but chance.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ponder.errors import ConfigError
from ponder.search.submit import LIMIT, Field, Program, Subtask, Weights, choose_from, fields
from ponder.search.submit_score import Truth, earned

RANGE = (0.01, 10.0)
TERMS = ("size", "errors", "learned", "repeat")


@dataclass(frozen=True, slots=True)
class Solved:
    """A problem with its samples filtered and clustered, and the hidden verdicts of all of them."""

    subtasks: tuple[Subtask, ...]
    ready: Mapping[str, Field]
    truth: Truth

    @classmethod
    def of(cls, subtasks: Sequence[Subtask], programs: Sequence[Program], truth: Truth, seed: int = 0) -> Solved:
        return cls(tuple(subtasks), fields(subtasks, programs, seed), truth)

    def area(self, weights: Weights, limit: int = LIMIT) -> float:
        """The mean share of the points after 1 to `limit` submissions."""
        plan = choose_from(self.subtasks, self.ready, lambda p: self.truth.get(p.id, {}), weights, limit)
        possible = math.fsum(s.points for s in self.subtasks)
        return math.fsum(earned(self.subtasks, plan, self.truth, limit)) / limit / possible if possible else 0.0


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Per problem, the area with the starting weights and with weights tuned on the other folds; the weights of all problems."""

    start: tuple[float, ...]
    tuned: tuple[float, ...]
    weights: Weights


def drawn(trials: int, start: Weights, seed: int) -> list[Weights]:
    """The weights that are tried: `start`, then random ones."""
    rng = random.Random(f"submit/tune/{seed}")
    low, high = (math.log(end) for end in RANGE)
    return [start, *(Weights(**{name: math.exp(rng.uniform(low, high)) for name in TERMS}) for _ in range(trials))]


def areas(
    solved: Sequence[Solved],
    tried: Sequence[Weights],
    limit: int = LIMIT,
    told: Callable[[int], None] | None = None,
) -> list[list[float]]:
    """By trial and problem, the area; `told` hears of every finished trial."""
    found: list[list[float]] = []
    for weights in tried:
        found.append([one.area(weights, limit) for one in solved])
        if told is not None:
            told(1)
    return found


def best(rows: Sequence[Sequence[float]], among: Sequence[int]) -> int:
    """The trial with the largest mean over the problems `among`; the earliest of equals."""
    means = [math.fsum(row[i] for i in among) for row in rows]
    return max(range(len(rows)), key=lambda t: (round(means[t], 9), -t))


def tune(
    solved: Sequence[Solved], trials: int = 200, limit: int = LIMIT, start: Weights = Weights(), seed: int = 0
) -> Weights:
    """The best of `trials` random weights and `start` on these problems."""
    _enough(solved, 1)
    tried = drawn(trials, start, seed)
    return tried[best(areas(solved, tried, limit), range(len(solved)))]


def held_out(
    solved: Sequence[Solved],
    trials: int = 200,
    limit: int = LIMIT,
    start: Weights = Weights(),
    seed: int = 0,
    folds: int = 5,
    told: Callable[[int], None] | None = None,
) -> HeldOut:
    """Every problem scored with weights tuned on the problems of the other folds; ConfigError with fewer than two problems."""
    _enough(solved, 2)
    tried = drawn(trials, start, seed)
    rows = areas(solved, tried, limit, told)
    order = list(range(len(solved)))
    random.Random(f"submit/folds/{seed}").shuffle(order)
    parts = [order[i::folds] for i in range(min(folds, len(order)))]
    tuned = [0.0] * len(solved)
    for part in parts:
        chosen = best(rows, [i for i in order if i not in part])
        for i in part:
            tuned[i] = rows[chosen][i]
    return HeldOut(tuple(rows[0]), tuple(tuned), tried[best(rows, order)])


def _enough(solved: Sequence[Solved], least: int) -> None:
    if len(solved) < least:
        raise ConfigError(
            f"tuning needs at least {least} problems whose samples are all judged; there are {len(solved)}"
        )
