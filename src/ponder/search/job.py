"""One search under way: its tree, its ledger, its generator, and the arithmetic of its budget."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ponder.engines.write import assemble
from ponder.errors import ConfigError, WorkError
from ponder.search.answers import answers_of, classes
from ponder.search.asks import DEFAULTS, Aggregate, Ask, End, Expand, Explore, Strategy, Until, aggregate
from ponder.search.seeds import draw_seed
from ponder.search.select import selector
from ponder.search.solution import Ended, Solution
from ponder.search.tree import Node, Tree
from ponder.search.weights import weighed
from ponder.types import (
    Budget,
    Completion,
    Effort,
    Finish,
    Grader,
    Ledger,
    Problem,
    Sampling,
    Semantics,
    Trace,
)


class Spent(NamedTuple):
    """Tokens a verifier had to read for one job."""

    job: Job
    tokens: int


@dataclass(slots=True, eq=False)
class Job:
    """A problem with its strategy; made by `solve.make_job`. It is also the strategy's `View`.

    `sampling` is that of one whole branch: its limits hold from the prompt on, however many expansions it takes.
    `step_ids` are the tokens that end a step.
    """

    problem: Problem
    strategy: Strategy
    name: str
    prompt_ids: tuple[int, ...]
    sampling: Sampling
    tokenizer: Any = None
    effort: Effort | None = None
    grader: Grader | None = None
    step_ids: tuple[int, ...] = ()
    semantics: Semantics | None = None
    speaks: bool = False
    select: str = ""
    seed: int = 0
    budget: Budget | None = None
    flops: Callable[[int, int], float] | None = None
    tree: Tree = field(default_factory=Tree)
    ledger: Ledger = Ledger()
    asked: Ask | None = None
    live: bool = True
    ended: Ended = "done"
    notes: dict[str, Any] = field(default_factory=dict[str, Any])
    deadline: float | None = None
    _exploration: Explore | None = None
    _reserved: dict[int, int] = field(default_factory=dict[int, int])
    _read: set[int] = field(default_factory=set[int])
    _texts: dict[int, Completion] = field(default_factory=dict[int, Completion])
    _random: random.Random | None = None

    # ---- the course of the search

    def start(self) -> None:
        """Make the root, pay for the prompt, and ask for the first request."""
        opened = self._starts_inside()
        root = self.tree.add(None, prompt_ids=self.prompt_ids, opened=opened)
        if self.budget is not None and self.budget.seconds is not None:
            self.deadline = time.perf_counter() + self.budget.seconds
        if not self.affords(len(self.prompt_ids)):
            self.exhaust()
            return
        self.spend(self._cost(Ledger(prefilled=len(self.prompt_ids)), len(self.prompt_ids), 0))
        self._exploration = self.strategy.explore(root, self)
        self.send(None)

    def send(self, reply: Any) -> None:
        """Hand the strategy its reply; afterwards `asked` is its next request, or the job has ended."""
        assert self._exploration is not None
        if self.budget is not None and self.budget.left(self._clocked()) is None:
            self.exhaust()
            return
        try:
            self.asked = self._exploration.send(reply)
        except StopIteration as stop:
            self.notes |= stop.value or {}
            self.live = False

    def exhaust(self) -> None:
        """The budget can not pay for what was asked: end here."""
        self.ended = "budget"
        self.close()

    def close(self) -> None:
        """End the strategy."""
        self.live = False
        if self._exploration is not None:
            self._exploration.close()

    def solution(self) -> Solution:
        """Select the answer from the tree as it is."""
        ends = tuple(node for node in self.tree.finished() if node.finish != "cancelled")
        completions = tuple(self.completion(node) for node in ends)
        answers = answers_of(completions, self.grader)
        names = classes(answers, self.grader)
        candidates = weighed(
            self.strategy, [End(node, name, self.value(node)) for node, name in zip(ends, names, strict=True)]
        )
        choice = selector(self.select or self.strategy.select)(candidates, self.seed)
        return Solution(
            problem=self.problem,
            strategy=self.name,
            answer=None if choice.index is None else answers[choice.index],
            chosen=choice.index,
            completions=completions,
            tree=self.tree,
            ends=ends,
            candidates=candidates,
            votes=choice.support,
            change=choice.change,
            ledger=self.ledger,
            ended=self.ended,
            notes=self.notes,
            seed=self.seed,
        )

    # ---- what the strategy may look at

    @property
    def random(self) -> random.Random:
        """Draws decided by the seed and the problem alone."""
        if self._random is None:
            self._random = random.Random(f"{self.seed}/{self.problem.id}")
        return self._random

    def value(self, node: Node, how: Aggregate | None = None) -> float | None:
        """The scores along the branch as one number."""
        default: Aggregate = DEFAULTS[self.semantics] if self.semantics is not None else "last"
        return aggregate(self.tree.path_scores(node), how or default)

    def answers(self, nodes: Sequence[Node]) -> list[str | None]:
        """The equivalence class of each finished node's answer; None abstains."""
        completions = [self.completion(node) for node in nodes]
        return classes(answers_of(completions, self.grader), self.grader)

    @property
    def thinks(self) -> bool:
        """Has the vocabulary tags around the thinking?"""
        return getattr(self.tokenizer, "think_close", None) is not None

    def thinking_room(self, node: Node) -> int:
        """Tokens the branch may still think, as the sampling's limits have it."""
        room = self.room(node) - self.sampling.answer_reserve - 1  # the last of them would close the thinking
        budget = self.sampling.think_budget
        return max(0, room if budget is None else min(room, budget - node.thought))

    def left(self) -> float:
        """The smallest share of any limit that is left."""
        if self.budget is None:
            return 1.0
        rest = self.budget.left(self._clocked())
        if rest is None:
            return 0.0
        pairs = ((getattr(rest, n), getattr(self.budget, n)) for n in ("tokens", "flops", "seconds"))
        return min((now / whole for now, whole in pairs if whole is not None), default=1.0)

    # ---- nodes

    def check_owned(self, nodes: Sequence[Node]) -> None:
        """WorkError when a node is of another tree."""
        for node in nodes:
            if not self.tree.owns(node):
                raise WorkError(
                    f"{self.where()}: strategy '{self.name}' asks for a node that is not of this problem's tree"
                )

    def where(self, node: Node | None = None) -> str:
        """Problem and step, for messages."""
        step = "" if node is None else f", step {node.depth + 1}"
        return f"problem {self.problem.id} ({self.problem.text[:40]!r}{step})"

    def name_of(self, node: Node, number: int) -> str:
        """The id of the request for a child."""
        return f"{self.problem.id}{node.place}/{number}"

    def room(self, node: Node) -> int:
        """Tokens the branch may still take."""
        return self.sampling.max_tokens - len(node.written)

    def reserve(self, node: Node, count: int) -> int:
        """Number the next `count` children of `node`; the first number."""
        first = self._reserved.get(node.index, 0)
        self._reserved[node.index] = first + count
        return first

    def sampling_at(self, ask: Expand, node: Node, number: int, most: int) -> Sampling:
        """How to draw child `number` of `node` with at most `most` tokens."""
        base = self.sampling
        seed = draw_seed(self.seed, self.problem.id + node.place, number)
        temperature = base.temperature if ask.temperature is None else ask.temperature
        if not node.written and ask.until == "end" and most == base.max_tokens:
            return replace(base, seed=seed, temperature=temperature)
        budget, reserve = base.think_budget, base.answer_reserve
        if not (node.opened or not node.written) or (budget is None and not reserve):
            budget, reserve = None, 0  # the thinking is over, or nothing limits it
        else:
            budget, reserve = self.thinking_room(node), 0
            if most < self.room(node) and budget >= most:
                budget = None  # the expansion pauses before the thinking would be closed
        return replace(
            base,
            seed=seed,
            temperature=temperature,
            max_tokens=most,
            stop_ids=self._stops(ask.until),
            think_budget=budget,
            answer_reserve=reserve,
        )

    def _stops(self, until: Until) -> tuple[int, ...]:
        close = getattr(self.tokenizer, "think_close", None)
        if until == "step":
            if not self.step_ids:
                raise ConfigError(f"strategy '{self.name}' works step by step, and nothing says where a step ends")
            return (*self.sampling.stop_ids, *self.step_ids)
        if until == "think" and close is not None:
            return (*self.sampling.stop_ids, close)
        return self.sampling.stop_ids

    def child(self, node: Node, completion: Completion, until: Until, capped: bool) -> Node:
        """The node that a completion makes under `node`."""
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
            ends = getattr(self.tokenizer, "stop_ids", None)
            own = (*self.sampling.stop_ids, *(ends or ()))
            return "stop" if ends is None or completion.token_ids[-1] in own or until == "end" else None
        if capped or (
            isinstance(until, int) and len(node.written) + len(completion.token_ids) < self.sampling.max_tokens
        ):
            return None
        return "length"

    def _thinking(self, node: Node, ids: Sequence[int]) -> tuple[bool, int]:
        """Whether the branch is inside its thinking after `ids`, and how many thinking tokens it has then."""
        open_id, close_id = getattr(self.tokenizer, "think_open", None), getattr(self.tokenizer, "think_close", None)
        opened, inside = node.opened, tuple(ids)
        if not opened and not node.written and inside and inside[0] == open_id:
            opened, inside = True, inside[1:]
        if not opened:
            return False, node.thought
        if close_id in inside:
            return False, node.thought + inside.index(close_id)
        return True, node.thought + len(inside)

    def _starts_inside(self) -> bool:
        from ponder.engines.write import opens

        return opens(self.tokenizer, self.prompt_ids)

    def write(self, node: Node, text: str, drop: int) -> Node:
        """The node of words the strategy puts behind `node`, in place of its last `drop` tokens."""
        if not 0 <= drop <= len(node.written):
            raise WorkError(f"{self.where(node)}: can not drop {drop} of {len(node.written)} tokens")
        if node.done and not drop:
            raise WorkError(f"{self.where(node)}: strategy '{self.name}' writes behind the end of a branch")
        ids = self._encode(text)
        if not self.affords(len(ids)):
            self.exhaust()
            return node
        keep = len(node.written) - drop
        opened, thought = self._thinking_of(node.prompt_ids, node.written[:keep] + ids)
        self.spend(self._cost(Ledger(prefilled=len(ids)), len(ids), len(node.prompt_ids) + keep))
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

    def _encode(self, text: str) -> tuple[int, ...]:
        if self.tokenizer is None:
            raise ConfigError(f"strategy '{self.name}' writes words into the thinking; the engine has no tokenizer")
        close: int | None = self.tokenizer.think_close
        ids: list[int] = []
        for number, part in enumerate(text.split("</think>") if close is not None else [text]):
            if number and close is not None:
                ids.append(close)
            ids.extend(self.tokenizer.encode(part, specials=False))
        return tuple(ids)

    def _thinking_of(self, prompt: tuple[int, ...], ids: tuple[int, ...]) -> tuple[bool, int]:
        empty = Node(None, -1, 0, prompt, opened=self.tree.root.opened)
        return self._thinking(empty, ids)

    def turn(self, node: Node, prompt_ids: tuple[int, ...]) -> Node:
        """A fresh start under `node` from another prompt."""
        if len(prompt_ids) >= len(self.prompt_ids) + self.sampling.max_tokens * 8:
            raise WorkError(f"{self.where(node)}: the conversation has grown to {len(prompt_ids)} tokens")
        if not self.affords(len(prompt_ids)):
            self.exhaust()
            return node
        self.spend(self._cost(Ledger(prefilled=len(prompt_ids)), len(prompt_ids), 0))
        return self.tree.add(node, prompt_ids=prompt_ids, opened=self.tree.root.opened, forced=True)

    def completion(self, node: Node) -> Completion:
        """What stands written on the branch, as an engine would return it."""
        if node.index not in self._texts:
            self._texts[node.index] = assemble(
                self.tokenizer,
                node.prompt_ids,
                node.written,
                node.drawn,
                _forced(node),
                node.finish or "length",
                opened=self.tree.root.opened,
                problem_id=self.problem.id,
                request_id=f"{self.problem.id}{node.place}",
            )
        return self._texts[node.index]

    # ---- scores

    def unscored(self, nodes: Sequence[Node]) -> list[Node]:
        """Those without a score yet, each once."""
        return [node for node in dict.fromkeys(nodes) if node.index not in self.tree.scores]

    def trace(self, node: Node, texts: bool) -> Trace:
        """What a verifier sees of a branch."""
        said = self.completion(node) if texts else None
        starts = tuple(len(part.written) - part.span for part in node.branch)
        return Trace(
            messages=self.problem.messages,
            prompt_ids=node.prompt_ids,
            token_ids=node.written,
            logprobs=node.drawn,
            starts=starts or (0,),
            text="" if said is None else said.text,
            thinking=None if said is None else said.thinking,
            answer=None if said is None or not node.done else said.answer,
            finished=node.done,
            problem_id=self.problem.id,
        )

    def unread(self, node: Node) -> int:
        """Tokens of the branch (its prompt included) that the verifier has not seen."""
        tokens = 0
        for part in reversed(node.branch):
            if part.index in self._read:
                return tokens
            tokens += part.span
        return tokens + (0 if self._read else len(self.prompt_ids))

    def read(self, node: Node) -> int:
        """As `unread`; the branch counts as read from now on."""
        tokens = self.unread(node)
        self._read.update(part.index for part in node.branch)
        return tokens

    # ---- money

    def spend(self, spent: Ledger) -> None:
        """Charge the search."""
        self.ledger = self.ledger + spent

    def spend_draw(self, node: Node, count: int) -> None:
        """Charge a continuation of `count` tokens: what stands before it was computed already."""
        before = len(node.prompt_ids) + len(node.written)
        self.spend(self._cost(Ledger(cached=before, decoded=count), count, before))

    def _cost(self, spent: Ledger, count: int, before: int) -> Ledger:
        if self.flops is None:
            return spent
        return replace(spent, flops=self.flops(count, count * before + count * (count + 1) // 2))

    def _clocked(self) -> Ledger:
        """The ledger with the clock's seconds where the budget counts them."""
        if self.deadline is None or self.budget is None or self.budget.seconds is None:
            return self.ledger
        return replace(self.ledger, seconds=time.perf_counter() - (self.deadline - self.budget.seconds))

    def affords(self, tokens: int) -> bool:
        """Can the budget pay for reading so many tokens?"""
        if self.budget is None:
            return True
        return self.tokens_left(None) >= tokens and self.budget.left(self._clocked()) is not None

    def tokens_left(self, node: Node | None) -> float:
        """Tokens the budget can still pay for, behind `node`."""
        if self.budget is None:
            return float("inf")
        rest = self.budget.left(self._clocked())
        if rest is None:
            return 0
        tokens = float("inf") if rest.tokens is None else float(rest.tokens)
        if rest.flops is not None and self.flops is not None:
            before = 0 if node is None else len(node.prompt_ids) + self.sampling.max_tokens
            tokens = min(tokens, rest.flops // self.flops(1, before + 1))
        return tokens


def _forced(node: Node) -> tuple[bool, ...]:
    """Which tokens of the branch the strategy wrote; empty when it wrote none of them."""
    flags: list[bool] = []
    for part in node.branch:
        flags = flags[: len(part.written) - part.span] + [part.forced] * part.span
    return tuple(flags) if any(flags) else ()
