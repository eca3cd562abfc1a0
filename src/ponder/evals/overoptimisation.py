"""The over-optimisation alarm: does choosing by score from more attempts still buy accuracy, or only score?

For each k the chosen attempt's expected score and expected correctness over all k-subsets are exact sums over the
sorted attempts (order statistics), per problem; over problems they are paired. The score can only rise with k. Where
the verifier's errors, not the policy's, decide what comes out on top, accuracy stops or falls while the score goes on
(Gao et al. 2023, arXiv 2210.10760: over-optimisation of a proxy; Cobbe et al. 2021, arXiv 2110.14168, figure 7, saw it).

The test. For every doubling from k to 2k, and for the whole range, the rises of score and accuracy are paired t
intervals over problems, Bonferroni-corrected for their number. A rise of accuracy is `gains` (its interval lies above
0), `falls` (below 0), `flat` (it is significantly less than a fifth of the rise of pass@k, that is of what a perfect
selector would have gained) or `unclear`. The status is

- `alarm`: the score rises significantly at the last doubling, and that doubling or the whole range is flat or falls, or
  the last accuracy lies significantly below an earlier one;
- `clear`: none of these, and accuracy gained over the whole range, or there is nothing to gain (accuracy is within
  a point of pass@k), or the score does not rise;
- `undecided`: too few problems to tell; `paired.problems_needed` says how many it takes.

Not covered: selectors other than best-of-k; problems with different numbers of attempts beyond the smallest number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ponder.evals.stats import best_of_k, pass_at_k, powers_of_two
from ponder.intervals import Interval, cluster_mean, mean_interval

Verdict = Literal["gains", "falls", "flat", "unclear"]
Status = Literal["alarm", "clear", "undecided"]
SHARE = 0.2
ROOM = 0.01


@dataclass(frozen=True, slots=True)
class Scored:
    """The attempts at one problem: their scores and whether they are right."""

    scores: Sequence[float]
    correct: Sequence[bool]


@dataclass(frozen=True, slots=True)
class At:
    """Best-of-k at one k: accuracy and mean score of what is chosen, and pass@k, the `reach` of any selector."""

    k: int
    accuracy: Interval
    score: Interval
    reach: Interval


@dataclass(frozen=True, slots=True)
class Rise:
    """From `k` to `to`: paired rises over problems (corrected for the number of rises), and what they amount to."""

    k: int
    to: int
    score: Interval
    accuracy: Interval
    reach: Interval
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Overoptimisation:
    """The curve, its doublings, the whole range, and the status. `since` is the k from which on no doubling gained (None:
    the last one did); `worse_than` the smallest k whose accuracy the last one is significantly below."""

    curve: tuple[At, ...]
    doublings: tuple[Rise, ...]
    whole: Rise
    status: Status
    since: int | None
    worse_than: int | None

    @property
    def alarm(self) -> bool:
        """Whether the score is over-optimised, beyond what chance explains."""
        return self.status == "alarm"

    @property
    def sure(self) -> bool:
        """Whether there were problems enough to decide; an alarm always is."""
        return self.status != "undecided"


def best_score_of_k(scores: Sequence[float], k: int) -> float:
    """Expected highest score of a random k-subset: sum over the sorted scores of C(i - 1, k - 1) / C(n, k), i from 1."""
    n = len(scores)
    if not 1 <= k <= n:
        raise ValueError(f"best_score_of_k: k = {k}, but there are {n} scores; needs 1 <= k <= n")
    if any(math.isnan(s) for s in scores):
        raise ValueError("best_score_of_k: a score is NaN")
    total = math.comb(n, k)
    return math.fsum(s * (math.comb(i, k - 1) / total) for i, s in enumerate(sorted(scores)) if i >= k - 1)


def overoptimisation(problems: Sequence[Scored], *, share: float = SHARE, level: float = 0.95) -> Overoptimisation:
    """The curve over doublings of k up to the smallest number of attempts, and the alarm.

    `share` is the part of a perfect selector's gain below which a gain is called flat. Scores must be finite (leave
    unscored attempts out). ValueError for fewer than 2 problems or fewer than 2 attempts at one.
    """
    least = min((len(p.scores) for p in problems), default=0)
    if len(problems) < 2 or least < 2:
        raise ValueError(f"overoptimisation: {len(problems)} problems, least attempts {least}; needs 2 of each")
    if any(not math.isfinite(s) for p in problems for s in p.scores):
        raise ValueError("overoptimisation: a score is not finite; leave unscored attempts out")
    ks = powers_of_two(least)
    tables = [_table(problems, k) for k in ks]
    joint = 1 - (1 - level) / len(ks)  # as many rises as ks: the doublings and the whole range
    steps = [_rise(ks[i], ks[i + 1], tables[i], tables[i + 1], share, joint) for i in range(len(ks) - 1)]
    whole = _rise(ks[0], ks[-1], tables[0], tables[-1], share, joint)
    worse = [k for k, table in zip(ks, tables[:-1], strict=False) if _paired(table[1], tables[-1][1], joint).high < 0]
    gaining = [step.k for step in steps if step.verdict == "gains"]
    return Overoptimisation(
        curve=tuple(
            At(k, cluster_mean(right, level), mean_interval(score, level), cluster_mean(reach, level))
            for k, (score, right, reach) in zip(ks, tables, strict=True)
        ),
        doublings=tuple(steps),
        whole=whole,
        status=_status(steps[-1], whole, bool(worse), _paired(tables[-1][1], tables[-1][2], level).mean > ROOM),
        since=None if gaining and gaining[-1] == ks[-2] else 2 * gaining[-1] if gaining else ks[0],
        worse_than=worse[0] if worse else None,
    )


Table = tuple[list[float], list[float], list[float]]


def _table(problems: Sequence[Scored], k: int) -> Table:
    """Per problem at k: the chosen score, its correctness, and whether any is right."""
    return (
        [best_score_of_k(p.scores, k) for p in problems],
        [best_of_k(p.scores, p.correct, k) for p in problems],
        [pass_at_k(len(p.correct), sum(map(bool, p.correct)), k) for p in problems],
    )


def _status(last: Rise, whole: Rise, worse: bool, room: bool) -> Status:
    if last.score.low <= 0 or not room:
        return "clear"
    if worse or {last.verdict, whole.verdict} & {"flat", "falls"}:
        return "alarm"
    return "clear" if whole.verdict == "gains" else "undecided"


def _rise(k: int, to: int, before: Table, after: Table, share: float, level: float) -> Rise:
    score, gain, reach = (_paired(a, b, level) for a, b in zip(before, after, strict=True))
    wanted = [share * (b - a) for a, b in zip(before[2], after[2], strict=True)]
    got = [b - a for a, b in zip(before[1], after[1], strict=True)]
    verdict: Verdict = "unclear"
    if gain.low > 0:
        verdict = "gains"
    elif gain.high < 0:
        verdict = "falls"
    elif _paired(wanted, got, level).high < 0:
        verdict = "flat"
    return Rise(k, to, score, gain, reach, verdict)


def _paired(before: Sequence[float], after: Sequence[float], level: float) -> Interval:
    return mean_interval([b - a for a, b in zip(before, after, strict=True)], level)
