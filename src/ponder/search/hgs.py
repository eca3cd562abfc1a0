"""HGS-PRM, heuristic greedy search with a process reward model: one step at a time, and back when it leads nowhere.

    node = root
    repeat:
        draw steps behind node one at a time, up to n, until one is positive
        if one is positive: node = that
        else if a neutral one is left untried: node = the best of these
        else: node is dead; node = its parent (a backtrack); the root dead: give up
        if node has ended: return its answer
    gave up: finish greedily from the best prefix (the fallback)

Ma et al. 2023 (arXiv 2310.10080): the process reward model calls a step positive, neutral or negative; a positive child is
preferred, and when all are negative the search backtracks. The paper leaves open what this file has to decide, so these are
ours: a score of at least `positive` is positive and one below `negative` negative (the paper's model has three classes; an
abstention counts as negative); a node that is come back to may still try its neutral children and the draws it has not used;
at most `max_steps` draws and `max_backtracks` backtracks; the fallback draws at temperature 0 from the prefix with the
highest score of its last step, the deeper and then the earlier of equals. The scores used are those of single steps, not of
whole branches. The paper samples at temperature 0.1 (mathematics) and 0.2 (code); here it is the sampling's own.

Cost: between T and n T steps plus those of the branches that were left, each drawn and read once; nothing runs in parallel.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from ponder.errors import ConfigError
from ponder.search.asks import Explore, Until, View
from ponder.search.steps import ABSTAINED, Rounds, at_least, finish, grow, settle
from ponder.search.tree import Node


@dataclass(slots=True)
class Walk:
    """Where the search stands: the accepted nodes from the root on, and what each of them has drawn and left untried."""

    path: list[Node]
    drawn: dict[int, int] = field(default_factory=dict[int, int])
    neutral: dict[int, list[Node]] = field(default_factory=dict[int, list[Node]])
    seen: list[Node] = field(default_factory=list[Node])
    backtracks: int = 0
    fallback: int = 0


@dataclass(frozen=True, slots=True)
class HGS:
    """Up to `n` draws for every step. `until` is where a step ends: a step boundary, or so many tokens."""

    n: int = 4
    positive: float = 0.7
    negative: float = 0.3
    max_steps: int = 256
    max_backtracks: int = 32
    until: Until = "step"
    select: str = "best"
    needs_verifier: bool = True

    def __post_init__(self) -> None:
        at_least("hgs", n=self.n, max_steps=self.max_steps)
        at_least("hgs", 0, max_backtracks=self.max_backtracks)
        if not 0.0 <= self.negative <= self.positive <= 1.0:
            raise ConfigError(
                f"strategy 'hgs': negative = {self.negative}, positive = {self.positive}; 0 ≤ negative ≤ positive ≤ 1"
            )

    def explore(self, root: Node, view: View) -> Explore:
        walk, rounds = Walk([root]), Rounds(view, self.max_steps)
        with suppress(GeneratorExit):  # the budget ended; what was counted so far still counts
            while walk.path and not walk.path[-1].done and rounds.another():
                yield from self._step(walk, view)
            yield from self._end(walk, root, view)
        return {"steps": rounds.taken, "backtracks": walk.backtracks, "fallback": walk.fallback}

    def _step(self, walk: Walk, view: View) -> Explore:
        """Draw one step behind the path's end, or go on to a neutral one, or back."""
        node = walk.path[-1]
        untried = walk.neutral.setdefault(node.index, [])
        if walk.drawn.get(node.index, 0) < self.n:
            walk.drawn[node.index] = walk.drawn.get(node.index, 0) + 1
            for kid in (yield from grow([node], 1, self.until)):
                walk.seen.append(kid)
                score = own(view, kid)
                if score >= self.positive:
                    walk.path.append(kid)
                elif score >= self.negative:
                    untried.append(kid)
        if walk.path[-1] is not node or walk.drawn[node.index] < self.n:
            return None
        if untried:
            best = max(untried, key=lambda kid: own(view, kid))
            untried.remove(best)
            walk.path.append(best)
        else:
            walk.path.pop()
            walk.backtracks += 1
            if walk.backtracks > self.max_backtracks:
                walk.path.clear()
        return None

    def _end(self, walk: Walk, root: Node, view: View) -> Explore:
        """The accepted branch's end, or the fallback's, becomes the one answer."""
        ended = [node for node in walk.seen if node.done]
        if walk.path and walk.path[-1].done:
            yield from settle(view, walk.path[-1], ended)
            return None
        walk.fallback = 1
        going = [node for node in walk.seen if not node.done]
        best = max(going, key=lambda node: (own(view, node), node.depth), default=root)
        for end in (yield from finish([best], temperature=0.0)):
            yield from settle(view, end, ended)
        return None


def own(view: View, node: Node) -> float:
    """The score of the node's own step, below all others when the verifier abstains."""
    score = view.score(node)
    return ABSTAINED if score is None else score
