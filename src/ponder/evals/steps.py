"""How well a verifier sees steps: precision, recall and F1 per class, where the first error is, ProcessBench's F1.

Plain data in, so that any verifier, judge or file can be measured. A step label is True (sound), False (an error) or
None (unknown, left out). A first error is the index of the first wrong step, -1 where there is none.
Not covered: making the labels (`verifiers.labels`), choosing a threshold and measuring it on the same items (choose with
`best_threshold` on a development set).
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ponder.evals.resample import percentile, row_counts
from ponder.intervals import Interval, wilson

NO_ERROR = -1


@dataclass(frozen=True, slots=True)
class ClassScore:
    """How one class was found. `precision` is None where it was never predicted, `recall` where it never occurred."""

    precision: float | None
    recall: float | None
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class StepScores:
    """Both classes, their unweighted mean F1, the share of right verdicts, and labelled steps left without a verdict."""

    error: ClassScore
    sound: ClassScore
    macro_f1: float
    accuracy: float
    balanced_accuracy: float | None
    steps: int
    unjudged: int


def step_scores(predicted: Sequence[bool | None], labels: Sequence[bool | None]) -> StepScores:
    """Verdicts against labels, step by step. A labelled step without a verdict (None) is missed by its class's recall."""
    if len(predicted) != len(labels):
        raise ValueError(f"step_scores: {len(predicted)} verdicts but {len(labels)} labels")
    pairs = [(p, y) for p, y in zip(predicted, labels, strict=True) if y is not None]
    if not pairs:
        raise ValueError("step_scores: no step has a label")
    found = {kind: _class_score(pairs, kind) for kind in (False, True)}
    recalls = [score.recall for score in found.values() if score.recall is not None]
    return StepScores(
        error=found[False],
        sound=found[True],
        macro_f1=(found[False].f1 + found[True].f1) / 2,
        accuracy=sum(p == y for p, y in pairs) / len(pairs),
        balanced_accuracy=sum(recalls) / 2 if len(recalls) == 2 else None,
        steps=len(pairs),
        unjudged=sum(p is None for p, _ in pairs),
    )


def _class_score(pairs: Sequence[tuple[bool | None, bool]], kind: bool) -> ClassScore:
    hits = sum(p is kind and y is kind for p, y in pairs)
    claimed, there = sum(p is kind for p, _ in pairs), sum(y is kind for _, y in pairs)
    precision, recall = hits / claimed if claimed else None, hits / there if there else None
    return ClassScore(precision, recall, 2 * hits / (claimed + there) if claimed + there else 0.0, there)


def first_error(scores: Sequence[float | None], threshold: float = 0.5) -> int:
    """Index of the first step scored below `threshold`, -1 where there is none; unscored steps are passed over."""
    return next((i for i, s in enumerate(scores) if s is not None and s < threshold), NO_ERROR)


def first_wrong(labels: Sequence[bool | None]) -> int:
    """Index of the first step labelled wrong, -1 where there is none."""
    return next((i for i, sound in enumerate(labels) if sound is False), NO_ERROR)


def voted_error(predictions: Sequence[int | None]) -> int | None:
    """The first-error index most samples of a judge name; those that named none (None) do not vote, nobody left is None.

    Ties go to the index named first, as in the released script of ProcessBench.
    """
    votes = Counter(p for p in predictions if p is not None)
    return votes.most_common(1)[0][0] if votes else None


@dataclass(frozen=True, slots=True)
class Localisation:
    """ProcessBench's numbers: accuracy on items with an error (the very step must be named) and on items without one.

    `f1` is their harmonic mean and `interval` its bootstrap over items. `detected` is the share of erroneous items for
    which some error was named, at whatever step; `early` and `late` say how many were named before or after its place.
    """

    f1: float
    interval: Interval
    error: Interval
    correct: Interval
    detected: float
    early: int
    late: int
    missed: int
    unread: int


def localisation(
    predicted: Sequence[int | None], labels: Sequence[int], *, draws: int = 2000, seed: int = 0, level: float = 0.95
) -> Localisation:
    """First errors named against first errors labelled; -1 is no error, and None (could not be read) is never right.

    Zheng et al. 2024 (ProcessBench, arXiv 2412.06559). The two accuracies have Wilson intervals, items being independent.
    ValueError unless there are items of both kinds.
    """
    if len(predicted) != len(labels):
        raise ValueError(f"localisation: {len(predicted)} predictions but {len(labels)} labels")
    wrong = [(p, y) for p, y in zip(predicted, labels, strict=True) if y != NO_ERROR]
    right = [(p, y) for p, y in zip(predicted, labels, strict=True) if y == NO_ERROR]
    if not wrong or not right:
        raise ValueError(f"localisation: {len(wrong)} items with an error, {len(right)} without; needs both kinds")
    error = wilson(sum(p == y for p, y in wrong), len(wrong), level)
    correct = wilson(sum(p == y for p, y in right), len(right), level)
    named = [(p, y) for p, y in wrong if p is not None and p != NO_ERROR]
    f1 = harmonic(error.mean, correct.mean)
    return Localisation(
        f1=f1,
        interval=_f1_interval([p == y for p, y in wrong], [p == y for p, y in right], f1, draws, seed, level),
        error=error,
        correct=correct,
        detected=len(named) / len(wrong),
        early=sum(p < y for p, y in named),
        late=sum(p > y for p, y in named),
        missed=sum(p == NO_ERROR for p, _ in wrong),
        unread=sum(p is None for p in predicted),
    )


def harmonic(a: float, b: float) -> float:
    """Harmonic mean of two shares, 0 where either is 0."""
    return 2 * a * b / (a + b) if a > 0 and b > 0 else 0.0


def _f1_interval(
    wrong: Sequence[bool], right: Sequence[bool], f1: float, draws: int, seed: int, level: float
) -> Interval:
    """Items of each kind are drawn apart: their numbers were chosen by whoever made the set."""
    sides = [
        np.concatenate([counts @ np.array(hits, np.float64) for counts in row_counts(len(hits), draws, seed + i)])
        / len(hits)
        for i, hits in enumerate((wrong, right))
    ]
    total = sides[0] + sides[1]
    means = np.divide(2 * sides[0] * sides[1], total, out=np.zeros(draws), where=total > 0)
    return percentile(means, f1, level)


def best_threshold(scores: Sequence[Sequence[float | None]], labels: Sequence[int]) -> float:
    """The threshold for `first_error` with the highest ProcessBench F1; the highest of equals. For a development set only.

    Every midpoint between neighbouring scores is tried, so thresholds lie where no score does.
    """
    values = sorted({s for steps in scores for s in steps if s is not None})
    if not values or len(scores) != len(labels):
        raise ValueError(f"best_threshold: {len(scores)} items, {len(labels)} labels, {len(values)} distinct scores")
    edges = [values[0], *((a + b) / 2 for a, b in itertools.pairwise(values)), math.nextafter(values[-1], 2)]
    if len(edges) > 512:
        edges = [edges[i * (len(edges) - 1) // 511] for i in range(512)]
    return max(edges, key=lambda edge: (_f1_at(edge, scores, labels), edge))


def _f1_at(threshold: float, scores: Sequence[Sequence[float | None]], labels: Sequence[int]) -> float:
    hits = [first_error(steps, threshold) == y for steps, y in zip(scores, labels, strict=True)]
    sides = [[hit for hit, y in zip(hits, labels, strict=True) if (y == NO_ERROR) is kind] for kind in (False, True)]
    return harmonic(*(sum(side) / len(side) if side else 0.0 for side in sides))
