"""What a choice of submissions earned, against drawing as many at random and against handing in everything.

A problem's score is, over its subtasks, points times the best share any submission reached. The random baselines are exact
expectations, not simulations: of n programs and k drawn without replacement, the best share is at most v with probability
C(n_v, k) / C(n, k), where n_v programs reach at most v (the hypergeometric law). Sums over subtasks need no independence.
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
