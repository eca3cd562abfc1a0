"""Strategies without a tree: every completion is drawn whole from the prompt.

Cost of n samples of L tokens after a prompt of P: P + n L tokens forwarded, since the samples share the prompt; a verifier
that reads them all forwards P + n L once more.
"""

from __future__ import annotations

from dataclasses import dataclass

from ponder.search.asks import Expand, Explore, Score, View
from ponder.search.tree import Node

PORTION = 16  # samples drawn before they are scored, where a budget may end between the two


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
    """PRM@N: `n` samples, scored by a verifier at every step when `stepwise`, else once at the end; the best one's answer.

        draw n completions; score each; return the answer of argmax aggregate(scores)

    Cobbe et al. 2021 (arXiv 2110.14168) with an outcome verifier, Lightman et al. 2023 (arXiv 2305.20050) with a process
    verifier and the product over steps. Cost: P + n L drawn, and again P + n L read by the verifier.
    """

    n: int = 16
    stepwise: bool = False
    select: str = "best"
    needs_verifier: bool = True

    def explore(self, root: Node, view: View) -> Explore:
        yield from scored_samples(root, view, self.n, self.stepwise)
        return None


@dataclass(frozen=True, slots=True)
class WeightedVote:
    """Verifier-weighted voting: `n` samples, and the answer whose samples' scores add up highest.

        draw n completions; score each; return argmax over classes a of the sum of aggregate(scores) over samples that say a

    Li et al. 2023 (arXiv 2206.02336), Uesato et al. 2022 (arXiv 2211.14275). A score of 1 for everything makes it `vote`;
    one sample with score 1 among zeros makes it `best_of_n`. Cost: as `best_of_n`.
    """

    n: int = 16
    stepwise: bool = False
    select: str = "weighted"
    needs_verifier: bool = True

    def explore(self, root: Node, view: View) -> Explore:
        yield from scored_samples(root, view, self.n, self.stepwise)
        return None


def scored_samples(root: Node, view: View, n: int, stepwise: bool = False) -> Explore:
    """Draw `n` completions and score each once; under a budget a portion at a time, so that it never ends with samples that
    were all drawn and none scored."""
    portion = n if view.left() >= 1.0 else PORTION
    for begun in range(0, n, portion):
        count = min(portion, n - begun)
        if stepwise:
            yield from _scored_by_step(root, count)
        else:
            (kids,) = yield Expand((root,), count, "end")
            yield Score(tuple(kids))
    return None


def _scored_by_step(root: Node, n: int) -> Explore:
    alive = tuple((yield Expand((root,), n, "step"))[0])
    while alive:
        yield Score(alive)
        going = tuple(node for node in alive if not node.done)
        if not going:
            break
        alive = tuple(kid for kids in (yield Expand(going, 1, "step")) for kid in kids)
    return None
