"""What the step-by-step strategies share: when to stop, which branches are best, how to end them.

A verifier that abstains (None) puts a branch behind every branch it scored. Equal branches keep the order in which they were
made: draws are exchangeable, so that favours nobody.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any

from ponder.errors import ConfigError
from ponder.search.asks import Ask, Expand, Score, Until, View, Withdraw
from ponder.search.tree import Node

Part = Generator[Ask, Any, list[Node]]
ABSTAINED = -1.0
RESERVE = 0.2
"""The share of a budget that is kept for drawing the best branches to their end."""


class Rounds:
    """Says whether a strategy may take another round: at most `most`, and only while a round as dear as the dearest so far
    leaves `RESERVE` of the budget. The first round is always taken; without a budget only `most` counts."""

    def __init__(self, view: View, most: int) -> None:
        self.view, self.most = view, most
        self.taken = 0
        self._left = self._dearest = 0.0

    def another(self) -> bool:
        """May one more be taken? It counts as taken."""
        left = self.view.left()
        if self.taken:
            self._dearest = max(self._dearest, self._left - left)
        if self.taken >= self.most or (self.taken and left - self._dearest < RESERVE):
            return False
        self.taken += 1
        self._left = left
        return True


def worth(view: View, node: Node) -> float:
    """How good a scored branch looks: its scores as the semantics combine them, below all others when its own is None."""
    value = None if view.score(node) is None else view.value(node)
    return ABSTAINED if value is None else value


def best_first(view: View, nodes: Iterable[Node]) -> list[Node]:
    """The nodes by worth; equals stay in order."""
    return sorted(nodes, key=lambda node: -worth(view, node))


def distinct(nodes: Iterable[Node]) -> list[Node]:
    """The first of every set of branches with the same tokens."""
    seen: dict[tuple[tuple[int, ...], tuple[int, ...]], Node] = {}
    for node in nodes:
        seen.setdefault((node.prompt_ids, node.written), node)
    return list(seen.values())


def grow(nodes: Sequence[Node], n: int, until: Until) -> Part:
    """Draw `n` children of every node and score them; all of them in one list."""
    kids = flat((yield Expand(tuple(nodes), n, until)))
    yield Score(tuple(kids))
    return kids


def finish(nodes: Sequence[Node], temperature: float | None = None) -> Part:
    """Draw every branch that has not ended to its end, in this order, and score the ends."""
    going = tuple(node for node in nodes if not node.done)
    if not going:
        return []
    ends = flat((yield Expand(going, 1, "end", temperature)))
    yield Score(tuple(ends))
    return ends


def settle(view: View, chosen: Node, ended: Iterable[Node]) -> Part:
    """Put `chosen` forward alone: the other ended branches are withdrawn, unless it has no answer to give."""
    others = tuple(node for node in ended if node is not chosen)
    if others and chosen.done and view.answers([chosen])[0] is not None:
        yield Withdraw(others)
    return [chosen]


def flat(children: Iterable[Iterable[Node]]) -> list[Node]:
    """Lists of children as one list."""
    return [child for some in children for child in some]


def at_least(strategy: str, low: int = 1, **settings: int) -> None:
    """ConfigError unless every setting is `low` or more."""
    for name, value in settings.items():
        if value < low:
            raise ConfigError(f"strategy '{strategy}': {name} = {value}; at least {low}")
