"""Monte-Carlo tree search over steps: PUCT with a verifier's values at the leaves, no roll-outs.

    do n times:
        node = root
        while node has children: node = the child with the highest Q(child) + U(child)
        if node has not ended: draw `width` children behind it; score them
        add node's value to all nodes from the root's child down to it; count the visit, at the root too
    draw to its end the most visited branch under every child of the root
    weigh the answers of all ended branches by their scores

    Q = mean of the values that came up through the child; before its first visit, its own value
    U = c · prior · sqrt(visits of the parent) / (1 + visits of the child)
    c = log((visits of the parent + c_base + 1) / c_base) + c_init

Silver et al. 2018 (AlphaZero, doi 10.1126/science.aar6404, pseudocode) for the rule and its constants, 1.25 and 19652; values
of a verifier in place of roll-outs as in Feng et al. 2024 (arXiv 2309.17179). A value is the branch's scores as the
verifier's semantics combine them, 0 when it abstains on the step; ended nodes are scored like others, and to visit them
again costs nothing. Priors: "uniform" gives every child 1 / children, "likelihood" a softmax of the children's mean token
log-probabilities (the mean, since steps differ in length). Ours: a child is scored when it is drawn, so that all children are
one verifier call, and its first visit adds that value and draws its children; after `max_depth` steps a branch is drawn to
its end at once; answers are those of ended branches, each counted once with its score, not by visits; equals go to the child
drawn first. `leaves` visits are made together, each counted before its value is in, so that the next one goes elsewhere (the
virtual loss of Chaslot, Winands and van den Herik 2008, "Parallel Monte-Carlo Tree Search").

Cost of steps of s tokens after a prompt of P: at most P + n · width · s drawn, and what ends the branches; as much read.
With `leaves` 1 one problem grows one leaf at a time, and what fills the engine are other problems.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from ponder.errors import ConfigError, unknown
from ponder.search.asks import Ask, Expand, Explore, Score, Until, View
from ponder.search.steps import Rounds, at_least, finish, worth
from ponder.search.tree import Node

Priors = Literal["uniform", "likelihood"]
PRIORS: tuple[Priors, ...] = ("uniform", "likelihood")


@dataclass(slots=True, eq=False)
class Place:
    """A node's statistics: visits, the sum of the values that came up, its own value, its prior among its siblings."""

    node: Node
    value: float = 0.0
    prior: float = 1.0
    visits: int = 0
    total: float = 0.0
    children: list[Place] = field(default_factory=list["Place"])

    @property
    def quality(self) -> float:
        """Q: the mean of what came up, before that the node's own value."""
        return self.total / self.visits if self.visits else self.value


@dataclass(frozen=True, slots=True)
class MCTS:
    """`n` visits of a leaf, `leaves` of them at a time, `width` children each. `until` is where a step ends: a step boundary,
    or so many tokens."""

    n: int = 40
    width: int = 4
    leaves: int = 1
    max_depth: int = 64
    priors: Priors = "uniform"
    c_init: float = 1.25
    c_base: float = 19652.0
    until: Until = "step"
    select: str = "weighted"
    needs_verifier: bool = True

    def __post_init__(self) -> None:
        at_least("mcts", n=self.n, width=self.width, leaves=self.leaves, max_depth=self.max_depth)
        if self.priors not in PRIORS:
            raise unknown("priors of strategy 'mcts'", self.priors, PRIORS)
        if not (self.c_base > 0 and self.c_init >= 0):
            raise ConfigError(f"strategy 'mcts': c_base = {self.c_base} above 0, c_init = {self.c_init} at least 0")

    def explore(self, root: Node, view: View) -> Explore:
        top, visits = Place(root), 0
        rounds = Rounds(view, self.n)
        expansions = 0
        with suppress(GeneratorExit):  # the budget ended; what was counted so far still counts
            while visits < self.n and rounds.another():
                paths = self._paths(top, min(self.leaves, self.n - visits))
                visits += len(paths)
                fresh = [path[-1] for path in paths if not path[-1].node.done]
                expansions += len(fresh)
                yield from self._expand(fresh, view)
                for path in paths:
                    for place in path:
                        place.total += path[-1].value
            yield from finish([favourite(place).node for place in by_visits(top)])
        return {"visits": visits, "expansions": expansions}

    def _paths(self, top: Place, most: int) -> list[list[Place]]:
        """Up to `most` paths to different leaves; their visits are counted, their values still to come."""
        paths: list[list[Place]] = []
        while len(paths) < most:
            path = self.descend(top)
            if any(path[-1] is other[-1] for other in paths):
                break
            for place in path:
                place.visits += 1
            paths.append(path)
        return paths

    def descend(self, top: Place) -> list[Place]:
        """From the root to a place without children, by PUCT."""
        path = [top]
        while path[-1].children:
            parent = path[-1]
            c = math.log((parent.visits + self.c_base + 1) / self.c_base) + self.c_init
            scale = c * math.sqrt(parent.visits)
            path.append(max(parent.children, key=lambda kid: kid.quality + scale * kid.prior / (1 + kid.visits)))
        return path

    def _expand(self, places: list[Place], view: View) -> Explore:
        """Children of places, scored; one that goes to the end where the branch is deep enough."""
        asks: list[Ask] = []
        for place in places:
            deep = place.node.depth >= self.max_depth
            asks.append(Expand((place.node,), 1, "end") if deep else Expand((place.node,), self.width, self.until))
        if not asks:
            return None
        families: list[list[Node]] = [kids for (kids,) in (yield tuple(asks))]
        yield Score(tuple(kid for kids in families for kid in kids))
        for place, kids in zip(places, families, strict=True):
            priors = self._priors(kids)
            place.children = [
                Place(kid, max(0.0, worth(view, kid)), prior) for kid, prior in zip(kids, priors, strict=True)
            ]
        return None

    def _priors(self, kids: list[Node]) -> list[float]:
        if self.priors == "uniform":
            return [1 / len(kids)] * len(kids)
        means = [sum(kid.logprobs) / max(1, kid.span) for kid in kids]
        shares = [math.exp(mean - max(means)) for mean in means]
        return [share / sum(shares) for share in shares]


def by_visits(place: Place) -> list[Place]:
    """The children, the most visited first, the better of equals."""
    return sorted(place.children, key=lambda kid: (-kid.visits, -kid.quality))


def favourite(place: Place) -> Place:
    """The leaf that the most visits lead to."""
    while place.children:
        place = by_visits(place)[0]
    return place
