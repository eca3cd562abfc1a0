"""What a choice of submissions earned, against drawing as many at random and against handing in everything.

A problem's score is, over its subtasks, points times the best share any submission reached. The random baselines are exact
expectations, not simulations: of n programs and k drawn without replacement, the best share is at most v with probability
C(n_v, k) / C(n, k), where n_v programs reach at most v (the hypergeometric law). Sums over subtasks need no independence.
The best that k submissions could have earned is exact too: it is a choice of at most k programs that cover the subtasks.
Only here the hidden verdicts of all samples are read; `submit.choose` never sees them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ponder.errors import ConfigError, DataError
from ponder.search.submit import LIMIT, Plan, Program, Subtask, keep

Truth = Mapping[str, Mapping[str, float]]
"""By program id and subtask, the share of the points its hidden tests give it."""


@dataclass(frozen=True, slots=True)
class Report:
    """Points of the plan, of `limit` random samples, of `limit` random ones that pass the public tests, of all samples.

    `by_subtask` holds the plan's points; `possible` is the sum of all points; `samples` how many there were.
    """

    chosen: float
    random: float
    random_kept: float
    every: float
    possible: float
    submissions: int
    samples: int
    by_subtask: Mapping[str, float]


def report(
    subtasks: Sequence[Subtask], programs: Sequence[Program], plan: Plan, truth: Truth, limit: int = LIMIT
) -> Report:
    """The plan's score beside its baselines; DataError for a program whose hidden verdict is not in `truth`."""
    kept = [p for s in subtasks for p in keep([q for q in programs if q.subtask == s.name])[0]]
    handed = [submission.program for submission in plan.submissions]
    by_subtask = {s.name: s.points * max(_shares(handed, s.name, truth), default=0.0) for s in subtasks}
    return Report(
        chosen=math.fsum(by_subtask.values()),
        random=expected_score(subtasks, programs, truth, limit),
        random_kept=expected_score(subtasks, kept, truth, limit),
        every=math.fsum(s.points * max(_shares(programs, s.name, truth), default=0.0) for s in subtasks),
        possible=math.fsum(s.points for s in subtasks),
        submissions=len(handed),
        samples=len(programs),
        by_subtask=by_subtask,
    )


@dataclass(frozen=True, slots=True)
class Curve:
    """Points after 1, 2, … submissions: the plan's, expected at random from all samples and from those that pass the public
    tests, and the most that so many samples could have earned."""

    chosen: tuple[float, ...]
    random: tuple[float, ...]
    random_kept: tuple[float, ...]
    best: tuple[float, ...]


def curve(
    subtasks: Sequence[Subtask], programs: Sequence[Program], plan: Plan, truth: Truth, limit: int = LIMIT
) -> Curve:
    """The score of every number of submissions up to `limit`; a plan that stopped early stays where it was."""
    kept = [p for s in subtasks for p in keep([q for q in programs if q.subtask == s.name])[0]]
    every = range(1, limit + 1)
    return Curve(
        earned(subtasks, plan, truth, limit),
        tuple(expected_score(subtasks, programs, truth, k) for k in every),
        tuple(expected_score(subtasks, kept, truth, k) for k in every),
        best_possible(subtasks, programs, truth, limit),
    )


def earned(subtasks: Sequence[Subtask], plan: Plan, truth: Truth, limit: int = LIMIT) -> tuple[float, ...]:
    """The plan's points after each of `limit` submissions."""
    best, points = [0.0] * len(subtasks), list[float]()
    for number in range(limit):
        if number < len(plan.submissions):
            program = plan.submissions[number].program
            best = [max(b, _shares([program], s.name, truth)[0]) for b, s in zip(best, subtasks, strict=True)]
        points.append(math.fsum(s.points * b for s, b in zip(subtasks, best, strict=True)))
    return tuple(points)


MOST_EXACT = 10


def best_possible(
    subtasks: Sequence[Subtask], programs: Sequence[Program], truth: Truth, limit: int = LIMIT
) -> tuple[float, ...]:
    """The most points that 1, 2, … `limit` of the programs earn together.

    Exact up to `MOST_EXACT` subtasks, by dynamic programming over which of them the last program answers for; DataError
    above. With as many submissions as subtasks it is the score of all programs.
    """
    if len(subtasks) > MOST_EXACT:
        raise DataError(f"{len(subtasks)} subtasks; the best possible choice is computed for {MOST_EXACT} at most")
    rows = {tuple(s.points * _shares([p], s.name, truth)[0] for s in subtasks) for p in programs}
    sets = range(1 << len(subtasks))
    alone = [
        max((math.fsum(v for i, v in enumerate(row) if held >> i & 1) for row in rows), default=0.0) for held in sets
    ]
    best, found = list(alone), [alone[-1]]
    for _ in range(1, min(limit, len(subtasks))):
        best = [max(best[held ^ part] + alone[part] for part in _parts(held)) for held in sets]
        found.append(best[-1])
    return tuple(found + [found[-1]] * (limit - len(found)))


def _parts(held: int) -> list[int]:
    """The subsets of a set of bits, itself and the empty one among them."""
    found, part = [0], held
    while part:
        found.append(part)
        part = (part - 1) & held
    return found


def expected_score(subtasks: Sequence[Subtask], programs: Sequence[Program], truth: Truth, k: int = LIMIT) -> float:
    """The expected score of `k` programs drawn without replacement; of all when there are no more than `k`."""
    return math.fsum(s.points * expected_best(_shares(programs, s.name, truth), k) for s in subtasks)


def expected_best(shares: Sequence[float], k: int) -> float:
    """The expected largest of `k` of `shares` drawn without replacement, exact; 0 of nothing; all when k is larger."""
    if k < 1:
        raise ConfigError(f"k = {k}: at least one is drawn")
    drawn = min(k, len(shares))
    if not drawn:
        return 0.0
    ordered, ways = sorted(shares), math.comb(len(shares), drawn)
    total = sum(
        (Fraction(share) * math.comb(place, drawn - 1) for place, share in enumerate(ordered)), start=Fraction(0)
    )  # the share at `place` is the largest, later equals apart, when the others come from the `place` before it
    return float(total / ways)


def _shares(programs: Sequence[Program], subtask: str, truth: Truth) -> list[float]:
    found: list[float] = []
    for program in programs:
        if program.id not in truth:
            raise DataError(f"program '{program.id}': no hidden verdict; the report needs one for every sample")
        share = truth[program.id].get(subtask, 0.0)
        if not 0.0 <= share <= 1.0:
            raise DataError(f"program '{program.id}', subtask '{subtask}': share {share} is outside 0 to 1")
        found.append(share)
    return found
