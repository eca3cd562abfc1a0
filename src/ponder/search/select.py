"""Which answer to give, decided from a finished tree: selection is apart from exploration, so the two combine freely.

Answers are compared by equivalence class, never as text; a candidate without a readable answer abstains. Ties are broken by
the seed, among the tied classes alone, so neither the order of arrival nor the length of a trace decides anything.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ponder.errors import unknown


@dataclass(frozen=True, slots=True)
class Candidate:
    """A finished branch: the class of its answer (None abstains), the branch's score (None: not scored) and log-probability
    (a sum over `tokens` tokens); `weight` is the strategy's own opinion of it, None where it has none."""

    answer: str | None
    score: float | None = None
    logprob: float = 0.0
    tokens: int = 0
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen candidate (None: nobody has an answer), the support of each answer's class, and the probability that one
    more sample would change the answer (None where that can not be said)."""

    index: int | None
    support: Mapping[str, float]
    change: float | None = None


Select = Callable[[Sequence[Candidate], int], Choice]


def vote(candidates: Sequence[Candidate], seed: int = 0) -> Choice:
    """The answer most candidates gave (self-consistency, Wang et al. 2023, arXiv 2203.11171)."""
    return _elect(candidates, [1] * len(candidates), seed)


def weighted(candidates: Sequence[Candidate], seed: int = 0) -> Choice:
    """The answer whose candidates' scores add up highest (Li et al. 2023, arXiv 2206.02336); unscored ones weigh nothing."""
    return _elect(candidates, [c.score or 0.0 for c in candidates], seed)


def best(candidates: Sequence[Candidate], seed: int = 0) -> Choice:
    """The answer of the candidate with the highest score (Cobbe et al. 2021, arXiv 2110.14168)."""
    return _highest(candidates, [c.score for c in candidates], seed)


def likelihood(candidates: Sequence[Candidate], seed: int = 0) -> Choice:
    """The answer of the candidate the model finds likeliest (sum of log-probabilities): no verifier needed."""
    return _highest(candidates, [c.logprob for c in candidates], seed)


def likelihood_mean(candidates: Sequence[Candidate], seed: int = 0) -> Choice:
    """As `likelihood`, per token, so that short answers are not preferred for being short."""
    return _highest(candidates, [c.logprob / max(1, c.tokens) for c in candidates], seed)


def first(candidates: Sequence[Candidate], seed: int = 0) -> Choice:
    """The first candidate with an answer; for strategies that make only one."""
    index = next((i for i, c in enumerate(candidates) if c.answer is not None), None)
    return Choice(index, _counts(candidates))


def last(candidates: Sequence[Candidate], seed: int = 0) -> Choice:
    """The last candidate with an answer; for strategies that revise what they have."""
    found = [i for i, c in enumerate(candidates) if c.answer is not None]
    return Choice(found[-1] if found else None, _counts(candidates))


def ranked(candidates: Sequence[Candidate], seed: int = 0) -> Choice:
    """The answer of the candidate the strategy weighs highest; a vote when it weighs none."""
    return _highest(candidates, [c.weight for c in candidates], seed)


def weighed(candidates: Sequence[Candidate], seed: int = 0) -> Choice:
    """The answer whose candidates the strategy's weights add up highest; those without a weight have no vote, but when no
    candidate has one, every candidate votes alike."""
    heard = [i for i, c in enumerate(candidates) if c.weight is not None and c.answer is not None]
    if not heard:
        return vote(candidates, seed)
    kept = [candidates[i] for i in heard]
    choice = _elect(kept, [_number(c.weight) for c in kept], seed)
    return Choice(None if choice.index is None else heard[choice.index], choice.support, choice.change)


SELECTORS: dict[str, Select] = {
    "vote": vote,
    "weighted": weighted,
    "best": best,
    "likelihood": likelihood,
    "likelihood_mean": likelihood_mean,
    "first": first,
    "last": last,
    "ranked": ranked,
    "weighed": weighed,
}
SCORED = ("weighted", "best")
"""Selectors that need a verifier's scores."""


def selector(name: str) -> Select:
    """The selector called `name`; ConfigError with the nearest name when there is none."""
    if name not in SELECTORS:
        raise unknown("selection", name, SELECTORS)
    return SELECTORS[name]


def change_of_vote(leader: float, second: float) -> float:
    """Probability that the leading answer is not the likelier of the two, given their votes (uniform prior on its share).

    Aggarwal et al. 2023 (arXiv 2305.11860), the Beta criterion: P(p < 1/2) for p ~ Beta(leader + 1, second + 1), in the
    integer form sum_{i <= second} C(leader + second + 1, i) / 2^(leader + second + 1). A single look; repeated looks need a
    smaller threshold. Weights are rounded down to whole votes.
    """
    a, b = int(leader), int(second)
    n = a + b + 1
    return sum(math.comb(n, i) for i in range(b + 1)) / 2**n


def _counts(candidates: Sequence[Candidate]) -> dict[str, float]:
    return dict(Counter(c.answer for c in candidates if c.answer is not None).most_common())


def _elect(candidates: Sequence[Candidate], weights: Sequence[float], seed: int) -> Choice:
    support: dict[str, float] = {}
    for candidate, weight in zip(candidates, weights, strict=True):
        if candidate.answer is not None:
            support[candidate.answer] = support.get(candidate.answer, 0) + weight
    if not support:
        return Choice(None, {})
    most = max(support.values())
    tied = sorted(answer for answer, weight in support.items() if math.isclose(weight, most, rel_tol=1e-9))
    winner = random.Random(f"vote/{seed}").choice(tied)
    members = [i for i, c in enumerate(candidates) if c.answer == winner]
    speaker = max(members, key=lambda i: (weights[i], -i))  # of a class, the best scored speaks, the earliest of equals
    ranked = dict(sorted(support.items(), key=lambda item: -item[1]))
    counts = _counts(candidates)
    others = [count for answer, count in counts.items() if answer != winner]
    return Choice(speaker, ranked, change_of_vote(counts[winner], max(others, default=0)))


def _highest(candidates: Sequence[Candidate], values: Sequence[float | None], seed: int) -> Choice:
    able = [i for i, c in enumerate(candidates) if c.answer is not None and values[i] is not None]
    if not able:
        return vote(candidates, seed)
    top = max(_number(values[i]) for i in able)
    tied = sorted({str(candidates[i].answer) for i in able if values[i] == top})
    winner = random.Random(f"best/{seed}").choice(tied)
    index = next(i for i in able if values[i] == top and str(candidates[i].answer) == winner)
    same = sum(str(candidates[i].answer) == winner for i in able) / len(able)
    return Choice(index, _counts(candidates), (1 - same) / (len(able) + 1))


def _number(value: float | None) -> float:
    assert value is not None
    return value
