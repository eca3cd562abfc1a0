"""How branches grow: the sampling of a continuation, and the nodes that come of draws, of written words, of new turns.

The limits of a search's `sampling` hold for a whole branch, from the prompt on, however many expansions it takes; here they
become the limits of each expansion.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ponder.engines.write import assemble, opens
from ponder.errors import ConfigError
from ponder.search.asks import Expand, Until
from ponder.search.tree import Node, Tree
from ponder.types import Completion, Finish, Sampling


@dataclass(slots=True, eq=False)
class Branches:
    """The tree of one search and what is needed to grow it; `owner` names the strategy in messages."""

    tree: Tree
    sampling: Sampling
    tokenizer: Any
    step_ids: tuple[int, ...]
    owner: str
    problem_id: str
    _texts: dict[int, Completion] = field(default_factory=dict[int, Completion])
    _think: tuple[int | None, int | None] = (None, None)
    _ends: frozenset[int] | None = None
    _step_stops: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self._think = getattr(self.tokenizer, "think_open", None), getattr(self.tokenizer, "think_close", None)
        ends = getattr(self.tokenizer, "stop_ids", None)
        self._step_stops = (*self.sampling.stop_ids, *self.step_ids)
        self._ends = None if ends is None else frozenset((*self.sampling.stop_ids, *ends))

    def plant(self, prompt_ids: tuple[int, ...]) -> Node:
        """The root."""
        return self.tree.add(None, prompt_ids=prompt_ids, opened=opens(self.tokenizer, prompt_ids))

    def room(self, node: Node) -> int:
        """Tokens the branch may still take."""
        return self.sampling.max_tokens - len(node.written)

    def thinking_room(self, node: Node) -> int:
        """Tokens the branch may still think, as the sampling's limits have it."""
        room = self.room(node) - self.sampling.answer_reserve - 1  # the last of them would close the thinking
        budget = self.sampling.think_budget
        return max(0, room if budget is None else min(room, budget - node.thought))

    # ---- drawing

    def sampling_at(self, ask: Expand, node: Node, seed: int, most: int) -> Sampling:
        """How to draw a child of `node` with at most `most` tokens."""
        base = self.sampling
        temperature = base.temperature if ask.temperature is None else ask.temperature
        stops, budget, reserve = base.stop_ids, base.think_budget, base.answer_reserve
        if node.written or ask.until != "end" or most != base.max_tokens:
            stops = self._stops(ask.until)
            if (budget is None and not reserve) or not (node.opened or not node.written):
                budget, reserve = None, 0  # nothing limits the thinking, or it is over
            else:
                budget, reserve = self.thinking_room(node), 0
                if most < self.room(node) and budget >= most:
                    budget = None  # the expansion pauses before the thinking would be closed
        return Sampling(temperature, base.top_k, base.top_p, base.min_p, most, stops, seed, budget, reserve)

    def _stops(self, until: Until) -> tuple[int, ...]:
        if until == "step":
            if not self.step_ids:
                raise ConfigError(
                    f"strategy '{self.owner}' works step by step, and nothing says where a step ends: give the engine a "
                    "tokenizer, or the strategy a number of tokens (until=32)"
                )
            return self._step_stops
        if until == "think" and self._think[1] is not None:
            return (*self.sampling.stop_ids, self._think[1])
        return self.sampling.stop_ids

    def child(self, node: Node, completion: Completion, until: Until, capped: bool) -> Node:
        """The node that a completion makes under `node`; `capped`: the budget cut it short."""
        ids = completion.token_ids
        opened, thought = self._thinking(node, ids)
        made = self.tree.add(
            node,
            prompt_ids=node.prompt_ids,
            written=node.written + ids,
            drawn=node.drawn + (completion.logprobs or (0.0,) * len(ids)),
            span=len(ids),
            finish=self._finish(node, completion, until, capped),
            opened=opened,
            thought=thought,
        )
        if not node.written:
            self._texts[made.index] = completion  # an engine without a tokenizer knows the text, and we do not
        return made

    def _finish(self, node: Node, completion: Completion, until: Until, capped: bool) -> Finish | None:
        """How the branch ended, None when it can go on."""
        if completion.finish in ("cancelled", "error"):
            return completion.finish
        if completion.finish == "stop":
            return "stop" if self._ends is None or completion.token_ids[-1] in self._ends or until == "end" else None
        if capped or (
            isinstance(until, int) and len(node.written) + len(completion.token_ids) < self.sampling.max_tokens
        ):
            return None
        return "length"

    def _thinking(self, node: Node, ids: tuple[int, ...]) -> tuple[bool, int]:
        """Whether the branch is inside its thinking after `ids`, and how many thinking tokens it has then."""
        open_id, close_id = self._think
        opened, inside = node.opened, ids
        if not opened and not node.written and inside and inside[0] == open_id:
            opened, inside = True, inside[1:]
        if not opened:
            return False, node.thought
        if close_id in inside:
            return False, node.thought + inside.index(close_id)
        return True, node.thought + len(inside)

    # ---- writing

    def encode(self, text: str) -> tuple[int, ...]:
        """The tokens of words a strategy writes: special tokens stay text, but for the end of the thinking."""
        if self.tokenizer is None:
            raise ConfigError(f"strategy '{self.owner}' writes words into the thinking; the engine has no tokenizer")
        close: int | None = self.tokenizer.think_close
        ids: list[int] = []
        for number, part in enumerate(text.split("</think>") if close is not None else [text]):
            if number and close is not None:
                ids.append(close)
            ids.extend(self.tokenizer.encode(part, specials=False))
        return tuple(ids)

    def write(self, node: Node, ids: tuple[int, ...], drop: int) -> Node:
        """The node of `ids` behind `node`, in place of its last `drop` tokens."""
        keep = len(node.written) - drop
        start = Node(None, -1, 0, node.prompt_ids, opened=self._opens(node.prompt_ids))
        opened, thought = self._thinking(start, node.written[:keep] + ids)
        return self.tree.add(
            node,
            prompt_ids=node.prompt_ids,
            written=node.written[:keep] + ids,
            drawn=node.drawn[:keep] + (0.0,) * len(ids),
            span=len(ids),
            forced=True,
            dropped=drop,
            opened=opened,
            thought=thought,
        )

    def turn(self, node: Node, prompt_ids: tuple[int, ...]) -> Node:
        """A fresh start under `node` from another prompt."""
        return self.tree.add(node, prompt_ids=prompt_ids, opened=opens(self.tokenizer, prompt_ids), forced=True)

    # ---- reading

    def _opens(self, prompt_ids: tuple[int, ...]) -> bool:
        """Does this prompt end inside the thinking?"""
        root = self.tree.root
        return root.opened if prompt_ids is root.prompt_ids else opens(self.tokenizer, prompt_ids)

    def last(self, node: Node) -> str:
        """The text of the node's own span: what it adds to the text before it."""
        if self.tokenizer is None:
            return ""
        above = node.parent
        if above is not None and not (node.dropped or node.fresh) and above.index in self._texts and not above.done:
            before = self._texts[above.index].text
        else:
            before = self.tokenizer.decode(node.written[: len(node.written) - node.span])
        return self.completion(node).text[len(before) :]

    def completion(self, node: Node) -> Completion:
        """What stands written on the branch, as an engine would return it."""
        if node.index not in self._texts:
            self._texts[node.index] = assemble(
                self.tokenizer,
                node.prompt_ids,
                node.written,
                node.drawn,
                forced(node),
                node.finish or "length",
                opened=self._opens(node.prompt_ids),
                problem_id=self.problem_id,
                request_id=f"{self.problem_id}{node.place}",
            )
        return self._texts[node.index]


def forced(node: Node) -> tuple[bool, ...]:
    """Which tokens of the branch the strategy wrote; empty when none."""
    if not any(part.forced for part in node.turn):
        return ()
    marks: list[bool] = []
    for part in node.turn:
        del marks[len(part.written) - part.span :]
        marks += [part.forced] * part.span
    return tuple(marks)


def starts(node: Node) -> tuple[int, ...]:
    """Where the spans of the branch begin in what is written since its last turn; at least a 0."""
    return node.starts or (0,)
