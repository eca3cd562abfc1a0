"""Any selector at k, where no closed form exists: its expected correctness over k-subsets drawn without replacement.

All k-subsets are enumerated where they are few. Otherwise rounds are drawn: a round is one random order of the n
attempts laid in a circle, and its subsets are the n runs of k neighbours. Every subset is then uniform, every attempt
is used equally often (so k = 1 and k = n are exact), and a k-subset lies inside the (k + 1)-subset of the same round.
The orders are a function of (seed, name, n) alone: give the problem's id as `name`, and the same subsets serve every k,
every selector and every model compared, so that their differences carry less noise than they do.
Not covered: selectors that see the tree and not the finished attempts.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ponder.search.select import Candidate, selector

ROUNDS = 64
Judge = Callable[[Sequence[int]], float]


@dataclass(frozen=True, slots=True)
class Expected:
    """An expectation over k-subsets: its value, the standard error of the sampling of subsets (0 where all were seen)."""

    mean: float
    error: float
    subsets: int

    @property
    def exact(self) -> bool:
        """Whether every k-subset was seen."""
        return self.error == 0.0


def orders(n: int, rounds: int = ROUNDS, seed: int = 0, name: str = "") -> NDArray[np.int64]:
    """`rounds` random orders of n attempts, shape [rounds, n], decided by (seed, name, n)."""
    digest = hashlib.sha256(f"subsets/{seed}/{name}/{n}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    return rng.permuted(np.tile(np.arange(n), (rounds, 1)), axis=1)


def expected_at_k(n: int, k: int, judge: Judge, *, rounds: int = ROUNDS, seed: int = 0, name: str = "") -> Expected:
    """Mean of `judge(indices)` over k-subsets of n attempts; `judge` says how right the selector's pick from them is.

    At most about `rounds` * n subsets are judged. ValueError for k > n.
    """
    if not 1 <= k <= n:
        raise ValueError(f"expected_at_k: k = {k}, but there are {n} attempts; needs 1 <= k <= n")
    if rounds < 2:
        raise ValueError(f"expected_at_k: rounds = {rounds}, needs at least 2 to know its own error")
    if math.comb(n, k) <= rounds * n:
        found = [judge(subset) for subset in itertools.combinations(range(n), k)]
        return Expected(math.fsum(found) / len(found), 0.0, len(found))
    means = [math.fsum(map(judge, _circle(order, k))) / n for order in orders(n, rounds, seed, name).tolist()]
    mean = math.fsum(means) / rounds
    variance = math.fsum((m - mean) ** 2 for m in means) / (rounds - 1)
    return Expected(mean, math.sqrt(variance / rounds), rounds * n)


def _circle(order: Sequence[int], k: int) -> Iterator[Sequence[int]]:
    twice = [*order, *order]
    return (twice[start : start + k] for start in range(len(order)))


def weighted_majority_at_k(
    answers: Sequence[Hashable | None],
    weights: Sequence[float | None],
    correct: Sequence[bool | float],
    k: int,
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
    name: str = "",
) -> Expected:
    """Expected correctness of the answer with the largest summed weight among k attempts (arXiv 2206.02336).

    As in `stats.majority_at_k`: equivalence classes, None abstains, tied classes win with equal chance, nobody left is
    wrong, a class counts with the mean correctness of all its n attempts' members. An attempt of weight None weighs 0.
    """
    n = len(answers)
    if not len(weights) == len(correct) == n:
        raise ValueError(f"weighted_majority_at_k: {n} answers, {len(weights)} weights, {len(correct)} verdicts")
    loads = [0.0 if weight is None else float(weight) for weight in weights]
    if any(math.isnan(load) for load in loads):
        raise ValueError("weighted_majority_at_k: a weight is NaN; an attempt without one is None")
    value = class_values(answers, correct)

    def judge(indices: Sequence[int]) -> float:
        support: dict[Hashable, float] = {}
        for i in indices:
            answer = answers[i]
            if answer is not None:
                support[answer] = support.get(answer, 0.0) + loads[i]
        if not support:
            return 0.0
        most = max(support.values())
        winners = [value[a] for a, load in support.items() if math.isclose(load, most, rel_tol=1e-9, abs_tol=1e-12)]
        return math.fsum(winners) / len(winners)

    return expected_at_k(n, k, judge, rounds=rounds, seed=seed, name=name)


def class_values(answers: Sequence[Hashable | None], correct: Sequence[bool | float]) -> dict[Hashable, float]:
    """Mean correctness of each answer class; None has no class."""
    groups: dict[Hashable, list[float]] = {}
    for answer, good in zip(answers, correct, strict=True):
        if answer is not None:
            groups.setdefault(answer, []).append(float(good))
    return {answer: math.fsum(verdicts) / len(verdicts) for answer, verdicts in groups.items()}


def selector_at_k(
    rule: str,
    candidates: Sequence[Candidate],
    correct: Sequence[bool | float],
    k: int,
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
    name: str = "",
) -> Expected:
    """Expected correctness of the candidate that `search.select`'s `rule` picks from k of them; picking none is wrong.

    The rule breaks ties by a seed of its own for every subset. Where subsets are drawn, candidates come in the order of
    the draw, so `first` and `last` mean any; where all are enumerated they come in the order given.
    """
    if len(candidates) != len(correct):
        raise ValueError(f"selector_at_k: {len(candidates)} candidates but {len(correct)} verdicts")
    select, ties = selector(rule), itertools.count()

    def judge(indices: Sequence[int]) -> float:
        choice = select([candidates[i] for i in indices], next(ties))
        return 0.0 if choice.index is None else float(correct[indices[choice.index]])

    return expected_at_k(len(candidates), k, judge, rounds=rounds, seed=seed, name=name)
