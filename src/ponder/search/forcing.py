"""Budget forcing: make the model think longer than it wants to, or answer sooner.

    think until the model closes its thinking, ends, or has thought `max_thinking` tokens
    closed or ended early, and fewer than `waits` times so far: take the end away, write `wait`, think on
    over max_thinking:                                          write "</think>" and `final`, answer now
    otherwise:                                                  let it answer
    `n` such chains side by side; the answers vote

s1 (Muennighoff et al. 2025, arXiv 2501.19393, section 3.1); `wait` is "Wait" and `final` "Final Answer:" there. Departures:
`final` is empty unless told, since the grader finds the answer behind the closing tag; a model that ends inside its thinking
is treated as one that closed it, so no chain goes without an answer; `reserve` tokens of the branch are kept for the answer.
Where the model does not think at all, its answer stands. Limits of the model's effort table count as `max_thinking`.

Cost of one chain: P + thinking + w words for each wait + answer; nothing before is computed again. Waits are sequential, so
the time grows with their number. s1 reports a rise up to some waits, then loops: measure before trusting it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ponder.errors import ConfigError
from ponder.search.asks import Expand, Explore, View, Write, together
from ponder.search.steps import at_least
from ponder.search.tree import Node

CLOSE = "</think>"


@dataclass(frozen=True, slots=True)
class Forcing:
    """`n` chains of thought, each extended `waits` times and cut at `max_thinking` tokens (None: what the branch may take,
    less `reserve`)."""

    n: int = 1
    waits: int = 1
    wait: str = "Wait"
    max_thinking: int | None = None
    final: str = ""
    reserve: int = 32
    select: str = "vote"
    needs_verifier: bool = False

    def __post_init__(self) -> None:
        at_least("forcing", 0, waits=self.waits, max_thinking=self.max_thinking or 0)
        at_least("forcing", reserve=self.reserve)
        if self.waits and not self.wait:
            raise ConfigError("forcing.wait is empty; give the words that make the model go on, or waits=0")
        if CLOSE in self.wait:
            raise ConfigError(f"forcing.wait holds '{CLOSE}', which would end the thinking it is to extend")

    def explore(self, root: Node, view: View) -> Explore:
        if not view.thinks:
            raise ConfigError(
                "strategy 'forcing' moves the end of the thinking; this model's vocabulary has no think tags"
            )
        return (yield from together([self._chain(root, view) for _ in range(self.n)]))

    def _chain(self, root: Node, view: View) -> Explore:
        node, waited = root, 0
        while True:
            most = self._most(node, view)
            if most < 1:
                yield from self._cut(node)
                return {"waits": waited, "cut": 1}
            (kids,) = yield Expand((node,), 1, "think", most=most)
            if not kids:
                return None
            node = kids[0]
            if node.opened and not node.done:
                continue  # paused inside the thinking: what is left of the limit decides
            ended = node.opened and node.finish == "stop"
            if not (ended or view.closed(node)) or waited == self.waits or self._most(node, view) < 1:
                break
            (node,) = yield Write((node,), self.wait, drop=1)
            waited += 1
        if node.opened and node.finish == "stop":
            yield from self._cut(node, drop=1)
        elif not node.done:
            yield Expand((node,), 1, "end")
        return {"waits": waited, "cut": 0}

    def _most(self, node: Node, view: View) -> int:
        """Thinking tokens the branch may still take."""
        room = min(view.thinking_room(node), view.room(node) - self.reserve)
        return room if self.max_thinking is None else min(room, self.max_thinking - node.thought)

    def _cut(self, node: Node, drop: int = 0) -> Explore:
        (node,) = yield Write((node,), CLOSE + self.final, drop=drop)
        yield Expand((node,), 1, "end")
        return None
