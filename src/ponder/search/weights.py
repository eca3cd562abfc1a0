"""Finished branches as candidates: what a selection sees of them, and what the strategy itself makes of them."""

from __future__ import annotations

from collections.abc import Sequence

from ponder.errors import WorkError
from ponder.search.asks import End, Weighs
from ponder.search.select import Candidate


def weighed(strategy: object, ends: Sequence[End]) -> tuple[Candidate, ...]:
    """A candidate for each finished branch, with the strategy's weight where it gives one.

    WorkError when the weights are too few, negative or not numbers.
    """
    weights = strategy.weigh(ends) if isinstance(strategy, Weighs) else [None] * len(ends)
    if len(weights) != len(ends) or any(weight is not None and not weight >= 0 for weight in weights):
        raise WorkError(f"{type(strategy).__name__}: {len(ends)} branches were weighed as {weights[:5]}")
    return tuple(
        Candidate(end.answer, end.score, end.node.logprob, len(end.node.written), weight)
        for end, weight in zip(ends, weights, strict=True)
    )
