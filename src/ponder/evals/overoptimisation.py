"""The over-optimisation alarm: does choosing by score from more attempts still buy accuracy, or only score?

For each k the chosen attempt's expected score and expected correctness over all k-subsets are exact sums over the
sorted attempts (order statistics), per problem; over problems they are paired. The score can only rise with k. Where
the verifier's errors, not the policy's, decide what comes out on top, accuracy stops or falls while the score goes on
(Gao et al. 2023, arXiv 2210.10760: over-optimisation of a proxy; Cobbe et al. 2021, arXiv 2110.14168, figure 7, saw it).

The test. Between k and 2k, for every doubling, both rises are paired t intervals over problems, Bonferroni-corrected
for the number of doublings. A doubling is `gains` (accuracy's interval above 0), `falls` (below 0), `flat` (its upper
end under `margin`) or `unclear`. The alarm is on when accuracy lies significantly under the reach of a perfect selector
(pass@k) and, at the last doubling, the score rises significantly while accuracy does not, or when the last accuracy lies
significantly below an earlier one. It is `sure` when that doubling is flat or falls, or in the latter case; otherwise it
may only lack problems, and `paired.problems_needed` says how many.
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
MARGIN = 0.005


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
class Doubling:
    """From k to 2k: paired rises over problems (corrected for the number of doublings), and what they amount to."""

    k: int
    score: Interval
    accuracy: Interval
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Overoptimisation:
    """The curve, its doublings, and the alarm. `since` is the k from which on no doubling gained (None: the last one did).

    `worse_than` is the smallest k whose accuracy the last one is significantly below.
    """

    curve: tuple[At, ...]
    doublings: tuple[Doubling, ...]
    alarm: bool
    sure: bool
    since: int | None
    worse_than: int | None


def best_score_of_k(scores: Sequence[float], k: int) -> float:
    """Expected highest score of a random k-subset: sum over the sorted scores of C(i - 1, k - 1) / C(n, k), i from 1."""
    n = len(scores)
    if not 1 <= k <= n:
        raise ValueError(f"best_score_of_k: k = {k}, but there are {n} scores; needs 1 <= k <= n")
    if any(math.isnan(s) for s in scores):
        raise ValueError("best_score_of_k: a score is NaN")
    total = math.comb(n, k)
    return math.fsum(s * (math.comb(i, k - 1) / total) for i, s in enumerate(sorted(scores)) if i >= k - 1)


def overoptimisation(problems: Sequence[Scored], *, margin: float = MARGIN, level: float = 0.95) -> Overoptimisation:
    """The curve over doublings of k up to the smallest number of attempts, and the alarm.

    `margin` is the gain in accuracy per doubling below which it is called flat. Scores must be finite (leave unscored
    attempts out). ValueError for fewer than 2 problems or fewer than 2 attempts at one.
    """
    least = min((len(p.scores) for p in problems), default=0)
    if len(problems) < 2 or least < 2:
        raise ValueError(f"overoptimisation: {len(problems)} problems, least attempts {least}; needs 2 of each")
    if any(not math.isfinite(s) for p in problems for s in p.scores):
        raise ValueError("overoptimisation: a score is not finite; leave unscored attempts out")
    ks = powers_of_two(least)
    right = [[best_of_k(p.scores, p.correct, k) for p in problems] for k in ks]
    score = [[best_score_of_k(p.scores, k) for p in problems] for k in ks]
    reach = [[pass_at_k(len(p.correct), sum(map(bool, p.correct)), k) for p in problems] for k in ks]
    rows = zip(ks, right, score, reach, strict=True)
    curve = [At(k, cluster_mean(a, level), mean_interval(s, level), cluster_mean(r, level)) for k, a, s, r in rows]
    joint = 1 - (1 - level) / (len(ks) - 1)
    steps = [_doubling(ks[i], score[i : i + 2], right[i : i + 2], margin, joint) for i in range(len(ks) - 1)]
    worse = [k for k, a in zip(ks, right[:-1], strict=False) if _rise(a, right[-1], joint).high < 0]
    room = _rise(right[-1], reach[-1], level).low > 0
    alarm = room and steps[-1].score.low > 0 and steps[-1].verdict != "gains"
    gaining = [step.k for step in steps if step.verdict == "gains"]
    return Overoptimisation(
        curve=tuple(curve),
        doublings=tuple(steps),
        alarm=alarm or bool(worse),
        sure=bool(worse) or (alarm and steps[-1].verdict in ("flat", "falls")),
        since=2 * gaining[-1] if gaining and gaining[-1] != ks[-2] else None if gaining else ks[0],
        worse_than=worse[0] if worse else None,
    )


def _rise(before: Sequence[float], after: Sequence[float], level: float) -> Interval:
    return mean_interval([b - a for a, b in zip(before, after, strict=True)], level)


def _doubling(
    k: int, score: Sequence[Sequence[float]], right: Sequence[Sequence[float]], margin: float, level: float
) -> Doubling:
    gain = _rise(right[0], right[1], level)
    verdict: Verdict = "unclear"
    if gain.low > 0:
        verdict = "gains"
    elif gain.high < 0:
        verdict = "falls"
    elif gain.high < margin:
        verdict = "flat"
    return Doubling(k, _rise(score[0], score[1], level), gain, verdict)
