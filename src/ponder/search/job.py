"""One search under way: its tree, its generator, its purse, and what its strategy may look at."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ponder.errors import WorkError
from ponder.graders.spec import shown_tests
from ponder.search import asks
from ponder.search.answers import answers_of, classes
from ponder.search.asks import DEFAULTS, Aggregate, Ask, End, Expand, Explore, Strategy, Until, aggregate
from ponder.search.branches import Branches, starts
from ponder.search.purse import Purse
from ponder.search.seeds import draw_seed
from ponder.search.select import selector
from ponder.search.solution import Ended, Solution
from ponder.search.tree import Node, Tree
from ponder.search.weights import weighed
from ponder.types import (
    Budget,
    Completion,
    Effort,
    Grader,
    Ledger,
    Problem,
    Sampling,
    Semantics,
    Trace,
)


@dataclass(slots=True, eq=False)
class Job:
    """A problem with its strategy; made by `solve.make_job`. It is also the strategy's `View`.

    `sampling` is that of one whole branch: its limits hold from the prompt on, however many expansions it takes.
    `step_ids` are the tokens that end a step; `flops` prices (tokens, positions attended to) of the engine's model.
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
    asked: Ask | None = None
    live: bool = True
    ended: Ended = "done"
    notes: dict[str, Any] = field(default_factory=dict[str, Any])
    tree: Tree = field(init=False, default_factory=Tree)
    purse: Purse = field(init=False)
    _branches: Branches = field(init=False)
    _exploration: Explore | None = None
    _reserved: dict[int, int] = field(default_factory=dict[int, int])
    _read: set[int] = field(default_factory=set[int])
    _random: random.Random | None = None

    def __post_init__(self) -> None:
        self.purse = Purse(self.budget, self.flops)
        self._branches = Branches(self.tree, self.sampling, self.tokenizer, self.step_ids, self.name, self.problem.id)

    @property
    def ledger(self) -> Ledger:
        """What the search has spent."""
        return self.purse.ledger

    # ---- the course of the search

    def start(self) -> None:
        """Make the root, pay for the prompt, and ask for the first request."""
        root = self._branches.plant(self.prompt_ids)
        self.purse.start()
        if self.pay(Ledger(prefilled=len(self.prompt_ids)), len(self.prompt_ids), 0):
            self._exploration = self.strategy.explore(root, self)
            self.send(None)

    def send(self, reply: Any) -> None:
        """Hand the strategy its reply; afterwards `asked` is its next request, or the job has ended."""
        assert self._exploration is not None
        if self.purse.empty:
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
        if self.live and self._exploration is not None:
            self.notes |= asks.end(self._exploration)
        self.live = False

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

    def score(self, node: Node) -> float | None:
        """The node's own score."""
        return self.tree.scores.get(node.index)

    def value(self, node: Node, how: Aggregate | None = None) -> float | None:
        """The scores along the branch as one number."""
        if how is None:
            how = DEFAULTS[self.semantics] if self.semantics is not None else "last"
        return self.tree.last_score(node) if how == "last" else aggregate(self.tree.path_scores(node), how)

    def answers(self, nodes: Sequence[Node]) -> list[str | None]:
        """The equivalence class of each finished node's answer; None abstains."""
        completions = [self.completion(node) for node in nodes]
        return classes(answers_of(completions, self.grader), self.grader)

    def left(self) -> float:
        """The smallest share of any limit that is left."""
        return self.purse.left()

    @property
    def thinks(self) -> bool:
        """Has the vocabulary tags around the thinking?"""
        return getattr(self.tokenizer, "think_close", None) is not None

    def closed(self, node: Node) -> bool:
        """Did the thinking of the branch end with the last token of this node?"""
        return self.thinks and node.written[-1:] == (self.tokenizer.think_close,)

    def room(self, node: Node) -> int:
        """Tokens the branch may still take."""
        return self._branches.room(node)

    def thinking_room(self, node: Node) -> int:
        """Tokens the branch may still think, as the sampling's limits have it."""
        return self._branches.thinking_room(node)

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
        return f"{self.problem.id}:{self.seed}{node.place}/{number}"

    def reserve(self, node: Node, count: int) -> int:
        """Number the next `count` draws behind `node`; the first number."""
        first = self._reserved.get(node.index, 0)
        self._reserved[node.index] = first + count
        return first

    def sampling_at(self, ask: Expand, node: Node, number: int, most: int) -> Sampling:
        """How to make draw `number` behind `node`, of at most `most` tokens."""
        seed = draw_seed(self.seed, self.problem.id + node.place, number)
        return self._branches.sampling_at(ask, node, seed, most)

    def child(self, node: Node, completion: Completion, until: Until, capped: bool) -> Node:
        """The node of a continuation, paid for: what stands before it was computed already."""
        count, before = len(completion.token_ids), len(node.prompt_ids) + len(node.written)
        self.purse.draw(count, before)
        return self._branches.child(node, completion, until, capped)

    def write(self, node: Node, text: str, drop: int) -> Node | None:
        """The node of words the strategy puts behind `node`; None when the budget can not pay for them."""
        if not 0 <= drop <= len(node.written):
            raise WorkError(f"{self.where(node)}: can not drop {drop} of {len(node.written)} tokens")
        if node.done and not drop:
            raise WorkError(f"{self.where(node)}: strategy '{self.name}' writes behind the end of a branch")
        ids = self._branches.encode(text)
        keep = len(node.prompt_ids) + len(node.written) - drop
        return self._branches.write(node, ids, drop) if self.pay(Ledger(prefilled=len(ids)), len(ids), keep) else None

    def turn(self, node: Node, prompt_ids: tuple[int, ...]) -> Node | None:
        """A fresh start under `node` from another prompt; None when the budget can not pay for it."""
        paid = self.pay(Ledger(prefilled=len(prompt_ids)), len(prompt_ids), 0)
        return self._branches.turn(node, prompt_ids) if paid else None

    def completion(self, node: Node) -> Completion:
        """What stands written on the branch, as an engine would return it."""
        return self._branches.completion(node)

    # ---- scores

    def unscored(self, nodes: Sequence[Node]) -> list[Node]:
        """Those without a score yet, each once."""
        return [node for node in dict.fromkeys(nodes) if node.index not in self.tree.scores]

    def trace(self, node: Node, texts: bool) -> Trace:
        """What a verifier sees of a branch."""
        said = self.completion(node) if texts else None
        return Trace(
            messages=self.problem.messages,
            prompt_ids=node.prompt_ids,
            token_ids=node.written,
            logprobs=node.drawn,
            starts=starts(node),
            text="" if said is None else said.text,
            thinking=None if said is None else said.thinking,
            answer=None if said is None or not node.done else said.answer,
            finished=node.done,
            problem_id=self.problem.id,
            last="" if said is None else self._branches.last(node),
            shown=shown_tests(self.problem.reference),
        )

    def unread(self, node: Node) -> int:
        """Tokens of the branch, its prompt included, that the verifier has not seen."""
        tokens = 0
        at: Node | None = node
        while at is not None and at.index not in self._read:
            tokens += at.span + (len(at.prompt_ids) if at.fresh else 0)
            at = None if at.fresh else at.parent
        return tokens

    def read(self, node: Node) -> None:
        """The verifier has now seen the branch."""
        at: Node | None = node
        while at is not None and at.index not in self._read:
            self._read.add(at.index)
            at = None if at.fresh else at.parent

    # ---- money

    def pay(self, cost: Ledger, count: int, before: int) -> bool:
        """Charge `cost` for `count` tokens behind `before` others; False, and the end, when the budget can not pay."""
        cost = self.purse.priced(cost, count, before)
        if not self.purse.pays(cost):
            self.exhaust()
            return False
        self.purse.spend(cost)
        return True
