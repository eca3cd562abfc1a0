"""What a strategy may ask for, and what it may look at. No model, no prompt, no clock: a strategy is a generator.

    def explore(self, root, view):
        kids = yield Expand((root,), n=4)                 # one list of children for each node
        scores = yield Score(kids[0])                     # one number in [0, 1] for each node, or None
        return {"steps": 1}                               # notes, kept with the solution

The driver runs what all branches of all problems ask for together, keeps the budget, and ends the generator (GeneratorExit)
when nothing is left; which answer is given is decided afterwards from the tree (`select`). A strategy that has something to
tell even then catches GeneratorExit and returns its notes. `together` runs several explorations of one problem side by side.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from ponder.search.tree import Node
from ponder.types import Semantics

Until = Literal["step", "think", "end"] | int
"""Where an expansion pauses: the next step boundary, the end of the thinking, the end of the answer, or after so many tokens."""

Aggregate = Literal["min", "product", "mean", "last", "max"]


@dataclass(frozen=True, slots=True)
class Expand:
    """Draw `n` continuations of every node. Reply: a list of children for each node (fewer when the budget ends).

    `temperature` None is the sampling's own. After `most` tokens an expansion pauses before it reaches `until`, and can go
    on. A branch that is done can not be expanded.
    """

    nodes: tuple[Node, ...]
    n: int = 1
    until: Until = "step"
    temperature: float | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """Let the verifier score every node, given its branch. Reply: a number in [0, 1] or None for each."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Write:
    """Put `text` behind every node, in place of its last `drop` tokens. Reply: one child for each node.

    A done branch goes on if its end is dropped. Text that spells a special token stays text, but for `</think>`.
    """

    nodes: tuple[Node, ...]
    text: str
    drop: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """Answer what a node wrote with a user's message, and let the model begin again. Reply: one fresh node for each, None
    where the conversation would fill the model's context."""

    nodes: tuple[Node, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Feedback:
    """What the verifier has to say about every node, in words. Reply: a text for each, empty when it has nothing to say."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Do not put these ended branches forward as answers: a copy of another, or a loser of its subtree. Reply: None."""

    nodes: tuple[Node, ...]


Ask = Expand | Score | Write | Turn | Feedback | Withdraw | tuple["Ask", ...]
Explore = Generator[Ask, Any, dict[str, Any] | None]


class View(Protocol):
    """What a strategy may look at besides the nodes it was given: nothing that knows the reference."""

    @property
    def random(self) -> random.Random:
        """Draws decided by the seed and the problem alone."""
        ...

    @property
    def semantics(self) -> Semantics | None:
        """What the verifier's scores mean; None without a verifier."""
        ...

    @property
    def speaks(self) -> bool:
        """Does the verifier give feedback in words?"""
        ...

    @property
    def thinks(self) -> bool:
        """Has the vocabulary tags around the thinking?"""
        ...

    def closed(self, node: Node) -> bool:
        """Did the thinking of the branch end with the last token of this node?"""
        ...

    def room(self, node: Node) -> int:
        """Tokens the branch may still take."""
        ...

    def thinking_room(self, node: Node) -> int:
        """Tokens the branch may still think, as the sampling's limits have it."""
        ...

    def score(self, node: Node) -> float | None:
        """The node's own score; None when the verifier abstained or was not asked."""
        ...

    def value(self, node: Node, how: Aggregate | None = None) -> float | None:
        """The scores along the branch as one number; `how` None is what the semantics call for."""
        ...

    def answers(self, nodes: Sequence[Node]) -> list[str | None]:
        """The equivalence class of each finished node's answer; None abstains."""
        ...

    def left(self) -> float:
        """The share of the budget that is left, 1.0 without a budget."""
        ...


@runtime_checkable
class Strategy(Protocol):
    """How to spend test-time compute on one problem. `select` names the rule that takes the answer from the tree."""

    @property
    def select(self) -> str: ...

    @property
    def needs_verifier(self) -> bool: ...

    def explore(self, root: Node, view: View) -> Explore: ...


@runtime_checkable
class Weighs(Protocol):
    """A strategy with its own opinion of the finished branches, for the selections `ranked` and `weighed`.

    A weight for each of `ends`, at least 0, None for a branch that is left out: a function of these branches, their scores
    and the strategy's fields alone, so that it can be computed again from a stored tree.
    """

    def weigh(self, ends: Sequence[End]) -> list[float | None]: ...


@dataclass(frozen=True, slots=True)
class End:
    """A finished branch as a strategy weighs it: its last node, the class of its answer (None abstains), its score."""

    node: Node
    answer: str | None
    score: float | None


def aggregate(scores: Sequence[float], how: Aggregate) -> float | None:
    """The scores of a branch's steps as one number; None without scores."""
    if not scores:
        return None
    if how == "last":
        return scores[-1]
    if how == "min":
        return min(scores)
    if how == "max":
        return max(scores)
    if how == "mean":
        return sum(scores) / len(scores)
    total = 1.0
    for score in scores:
        total *= score
    return total


DEFAULTS: dict[Semantics, Aggregate] = {"correctness": "product", "value": "last", "outcome": "last"}
"""Scores of correctness say something about one step, so they multiply; values and outcomes already speak of the whole
(Zhang et al. 2025, arXiv 2501.07301)."""


def together(explorations: Iterable[Explore]) -> Explore:
    """Run explorations side by side: each round asks what all of them ask. Notes that are numbers add up.

    Those that want to draw wait until no other wants anything else, so that their draws stay one batch.
    """
    waiting: dict[int, Ask] = {}
    running = dict(enumerate(explorations))
    notes: dict[str, Any] = {}
    replies: dict[int, Any] = dict.fromkeys(running)
    while running:
        for number, reply in replies.items():
            try:
                waiting[number] = running[number].send(reply)
            except StopIteration as stop:
                del running[number]
                _add(notes, stop.value)
        if running:
            turn = [n for n in running if not drawing(waiting[n])] or list(running)
            try:
                got = yield tuple(waiting[number] for number in turn)
            except GeneratorExit:
                for exploration in running.values():
                    _add(notes, end(exploration))
                return notes
            replies = dict(zip(turn, got, strict=True))
    return notes


def drawing(ask: Ask) -> bool:
    """Does an ask need the engine?"""
    return any(drawing(part) for part in ask) if isinstance(ask, tuple) else isinstance(ask, Expand)


def end(exploration: Explore) -> dict[str, Any]:
    """End an exploration; the notes of one that catches GeneratorExit and returns what it counted so far."""
    try:
        exploration.throw(GeneratorExit())
    except StopIteration as stop:
        return stop.value or {}
    except GeneratorExit:
        return {}
    exploration.close()  # it went on asking: RuntimeError, as for any generator
    return {}


def _add(notes: dict[str, Any], told: dict[str, Any] | None) -> None:
    for name, value in (told or {}).items():
        notes[name] = notes.get(name, 0) + value if isinstance(value, int | float) else value
