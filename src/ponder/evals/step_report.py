"""What a process verifier sees of held-out labelled samples, beside guessing by position: AUC of steps, first error, programs.

Scores and labels in, so any verifier or table of guesses is measured alike. Every interval is a bootstrap over problems, since
the samples of one problem share its text. The threshold for the first error is chosen on some problems and measured on others
(`halves`), for the baselines too. A sample's score for being right as a whole is that of its last step.
Not covered: soft labels (rounded at one half).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from ponder.evals.resample import percentile, resampled_means
from ponder.evals.steps import Localisation, best_threshold, first_error, first_wrong, localisation
from ponder.intervals import Interval
from ponder.text.steps import last_tokens
from ponder.training.scores import auc
from ponder.verifiers.samples import LabelledSample, tokenized

Scores = Sequence[Sequence[float]]
DRAWS = 1000


@dataclass(frozen=True, slots=True)
class StepReport:
    """`steps` is the AUC of all labelled steps, `whole` that of last steps against whether the sample is right, over all samples;
    `beside` is the same among samples of one problem, averaged over problems: what choosing among answers needs, and what a
    verifier that does not read the question lacks. `first` says how often the very first wrong step was named, at the
    threshold that was best on the other half."""

    name: str
    problems: int
    steps: Interval
    whole: Interval
    beside: Interval
    first: Localisation
    threshold: float


def report(
    name: str, scores: Scores, samples: Sequence[LabelledSample], *, draws: int = DRAWS, seed: int = 0
) -> StepReport:
    """Measure `scores`, a number per step of every sample. ValueError unless right and wrong occur in both halves."""
    labels = [truths(sample) for sample in samples]
    for sample, mine in zip(samples, scores, strict=True):
        if len(mine) != sample.steps:
            raise ValueError(f"report: {len(mine)} scores for {sample.steps} steps of problem {sample.problem}")
    chosen, measured = halves([s.problem for s in samples])
    first = [first_wrong(known) for known in labels]
    threshold = best_threshold([scores[i] for i in chosen], [first[i] for i in chosen])
    named = [first_error(scores[i], threshold) for i in measured]
    groups = _by_problem(samples)
    every = [[(s, y) for s, y in zip(scores[i], labels[i], strict=True) if y is not None] for i in range(len(samples))]
    ends = [[(mine[-1], bool(sample.correct))] for mine, sample in zip(scores, samples, strict=True)]
    return StepReport(
        name,
        len(groups),
        auc_interval([[pair for i in group for pair in every[i]] for group in groups], draws, seed),
        auc_interval([[pair for i in group for pair in ends[i]] for group in groups], draws, seed),
        _beside([[ends[i][0] for i in group] for group in groups], draws, seed),
        localisation(named, [first[i] for i in measured], seed=seed),
        threshold,
    )


def _beside(groups: Sequence[Sequence[tuple[float, bool]]], draws: int, seed: int) -> Interval:
    found = [auc([s for s, _ in group], [y for _, y in group]) for group in groups]
    known = np.array([one for one in found if one is not None])
    if not len(known):
        raise ValueError("report: no problem has both right and wrong samples")
    return percentile(resampled_means(known, draws, seed), float(known.mean()))


def auc_interval(groups: Sequence[Sequence[tuple[float, bool]]], draws: int = DRAWS, seed: int = 0) -> Interval:
    """AUC of (score, right) pairs and its bootstrap over groups; ValueError when only one kind occurs."""
    values = [np.array([s for s, _ in group]) for group in groups]
    rights = [np.array([y for _, y in group], dtype=bool) for group in groups]
    mean = auc(np.concatenate(values).tolist(), np.concatenate(rights).tolist())
    if mean is None:
        raise ValueError("auc_interval: only one kind of label")
    rng = np.random.default_rng(seed)
    found: list[float] = []
    for _ in range(draws):
        picks: list[int] = rng.integers(len(groups), size=len(groups)).tolist()
        drawn: list[float] = np.concatenate([values[i] for i in picks]).tolist()
        right: list[bool] = np.concatenate([rights[i] for i in picks]).tolist()
        one = auc(drawn, right)
        found += [] if one is None else [one]
    return percentile(np.array(found), mean)


def truths(sample: LabelledSample) -> list[bool | None]:
    """The labels as yes, no, or not known."""
    return [None if label is None else label >= 0.5 for label in sample.labels]


def halves(problems: Sequence[str]) -> tuple[list[int], list[int]]:
    """Places whose problem goes to choosing the threshold, and those it is measured on: every second problem by its id."""
    order = {problem: i % 2 for i, problem in enumerate(sorted(set(problems)))}
    return [i for i, p in enumerate(problems) if not order[p]], [i for i, p in enumerate(problems) if order[p]]


def _by_problem(samples: Sequence[LabelledSample]) -> list[list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for i, sample in enumerate(samples):
        groups[sample.problem].append(i)
    return list(groups.values())


# ---- whose scores


def verifier_scores(verifier: Any, samples: Sequence[LabelledSample], chunk: int = 256) -> Scores:
    """The scores of a headed verifier (`verifiers.load(FOLDER)`) for every step of every sample."""
    found: list[list[float]] = []
    for start in range(0, len(samples), chunk):
        part = [tokenized(sample, verifier.tokenizer) for sample in samples[start : start + chunk]]
        found += verifier.steps([sample.trace() for sample in part])
    return found


def position(samples: Sequence[LabelledSample]) -> Callable[[LabelledSample], list[float]]:
    """Guess by the number of the step: the share of sound ones there in `samples`, a training file."""
    return _table(samples, lambda sample, i: (min(i, 15),))


def position_and_length(samples: Sequence[LabelledSample]) -> Callable[[LabelledSample], list[float]]:
    """Guess by the number of the step and how many there are, which a verifier that reads a beginning does not know."""
    return _table(samples, lambda sample, i: (min(i, 15), min(sample.steps, 15)))


def _table(
    samples: Sequence[LabelledSample], cell: Callable[[LabelledSample, int], tuple[int, ...]]
) -> Callable[[LabelledSample], list[float]]:
    counts: Mapping[tuple[int, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])
    whole = [0.5, 1.0]
    for sample in samples:
        for i, label in enumerate(sample.labels):
            for row in (counts[cell(sample, i)], whole) if label is not None else ():
                row[0] += label or 0.0
                row[1] += 1
    rate = whole[0] / whole[1]
    return lambda sample: [
        (counts[key][0] + rate) / (counts[key][1] + 1) if (key := cell(sample, i)) in counts else rate
        for i in range(sample.steps)
    ]


def likelihood(sample: LabelledSample) -> list[float]:
    """The sample's log-probability up to the end of each step: what a head with `inputs = "logprobs"` must beat. ValueError
    where the sample has none."""
    if len(sample.logprobs) != len(sample.token_ids) or not sample.logprobs:
        raise ValueError(f"likelihood: the sample of problem {sample.problem} has no log-probabilities")
    sums = list(accumulate(sample.logprobs))
    return [sums[end] for end in last_tokens(sample.starts, len(sums))]
