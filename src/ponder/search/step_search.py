"""PRM@N-step: choose every step among `n`, and never look back.

    node = root
    repeat until node has ended:
        draw n steps behind node; score them; node = the best of them

Named and measured beside PRM@N by Yang et al. 2025 (arXiv 2505.14391, table 2); the step-level best-of-N of Lightman et al.
2023 (arXiv 2305.20050) taken one step at a time. The path's end is the one answer: ended siblings that lost are withdrawn.
After `max_steps` steps, or when a budget runs low, the path is drawn to its end in one go.

Cost of T steps of s tokens after a prompt of P: P + n T s drawn, of which s T end up in the answer; the verifier reads as
much again.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from ponder.search.asks import Explore, Until, View
from ponder.search.steps import Rounds, at_least, best_first, finish, grow, settle
from ponder.search.tree import Node


@dataclass(frozen=True, slots=True)
class StepSearch:
    """`n` candidates for every step. `until` is where a step ends: a step boundary, or so many tokens."""

    n: int = 8
    max_steps: int = 64
    until: Until = "step"
    select: str = "best"
    needs_verifier: bool = True

    def __post_init__(self) -> None:
        at_least("step_search", n=self.n, max_steps=self.max_steps)

    def explore(self, root: Node, view: View) -> Explore:
        return follow(root, view, self.n, self.max_steps, self.until)


def follow(root: Node, view: View, n: int, max_steps: int, until: Until) -> Explore:
    """The best of `n` children, again and again, to one answer; whatever else ended on the way is withdrawn."""
    rounds, node = Rounds(view, max_steps), root
    ended: list[Node] = []
    with suppress(GeneratorExit):  # the budget ended; what was counted so far still counts
        while not node.done and rounds.another():
            kids = yield from grow([node], n, until)
            ended += [kid for kid in kids if kid.done]
            if not kids:
                break
            node = best_first(view, kids)[0]
        for end in [node] if node.done else (yield from finish([node])):
            node = end
            yield from settle(view, end, ended)
    return {"steps": rounds.taken, "ended": int(node.done)}
