"""Strategies without a tree: every completion is drawn whole from the prompt.

Cost of n samples of L tokens after a prompt of P: P + n L tokens forwarded, since the samples share the prompt.
"""

from __future__ import annotations

from dataclasses import dataclass

from ponder.search.asks import Expand, Explore, Score, View
from ponder.search.tree import Node


@dataclass(frozen=True, slots=True)
class Greedy:
    """The likeliest token at every place: one completion at temperature 0."""

    select: str = "first"
    needs_verifier: bool = False

    def explore(self, root: Node, view: View) -> Explore:
        yield Expand((root,), 1, "end", temperature=0.0)
        return None


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion, sampled."""

    select: str = "first"
    needs_verifier: bool = False

    def explore(self, root: Node, view: View) -> Explore:
        yield Expand((root,), 1, "end")
        return None


@dataclass(frozen=True, slots=True)
class Vote:
    """Self-consistency: `n` samples, the most frequent answer (Wang et al. 2023, arXiv 2203.11171; 40 paths there).

    draw n completions; classes = equivalence classes of their answers; return the largest class
    """

    n: int = 40
    select: str = "vote"
    needs_verifier: bool = False

    def explore(self, root: Node, view: View) -> Explore:
        yield Expand((root,), self.n, "end")
        return None


@dataclass(frozen=True, slots=True)
class BestOfN:
    """PRM@N: `n` samples, scored by a verifier at every step when `steps`, else once at the end; the best one's answer.

        draw n completions; score each; return the answer of argmax aggregate(scores)

    Cobbe et al. 2021 (arXiv 2110.14168) with an outcome verifier, Lightman et al. 2023 (arXiv 2305.20050) with a process
    verifier and the product over steps. Cost: P + n L drawn, and again P + n L read by the verifier.
    """

    n: int = 16
    steps: bool = False
    select: str = "best"
    needs_verifier: bool = True

    def explore(self, root: Node, view: View) -> Explore:
        if not self.steps:
            (kids,) = yield Expand((root,), self.n, "end")
            yield Score(tuple(kids))
            return None
        alive = tuple((yield Expand((root,), self.n, "step"))[0])
        while alive:
            yield Score(alive)
            going = tuple(node for node in alive if not node.done)
            if not going:
                break
            alive = tuple(kid for kids in (yield Expand(going, 1, "step")) for kid in kids)
        return None
