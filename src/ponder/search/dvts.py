"""DVTS, diverse verifier tree search: a beam cut into subtrees that never compete, so that it can not collapse into one.

    do n / width times, side by side:
        node = root
        repeat until node has ended:
            draw `width` steps behind node; score them; node = the best of them
    weigh the answers, one from each subtree, by their scores

Beeching, Tunstall and Rush 2024 (Hugging Face, "Scaling test-time compute with open models"). Departures: every subtree gives
one answer (there all siblings of its last step count, which are correlated, and partly unfinished); no look-ahead; the votes
are weighted by score. Subtrees start from the same root with draws of their own. Caps are those of `step_search`.

Cost of T steps of s tokens after a prompt of P: P + n T s drawn, and as much read by the verifier.
"""

from __future__ import annotations

from dataclasses import dataclass

from ponder.search.asks import Explore, Until, View, together
from ponder.search.step_search import follow
from ponder.search.steps import at_least
from ponder.search.tree import Node


@dataclass(frozen=True, slots=True)
class DVTS:
    """`n` branches in n // `width` subtrees (at least one). `until` is where a step ends: a step boundary, or so many
    tokens."""

    n: int = 16
    width: int = 4
    max_steps: int = 64
    until: Until = "step"
    select: str = "weighted"
    needs_verifier: bool = True

    def __post_init__(self) -> None:
        at_least("dvts", n=self.n, width=self.width, max_steps=self.max_steps)

    def explore(self, root: Node, view: View) -> Explore:
        width = min(self.width, self.n)
        return together(follow(root, view, width, self.max_steps, self.until) for _ in range(self.n // width))
