"""What a search ends in: the chosen answer with the whole tree that led to it, and what that cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ponder.search.select import Candidate, Choice, selector
from ponder.search.tree import Node, Tree
from ponder.types import Completion, Ledger, Problem

Ended = Literal["done", "budget"]


@dataclass(frozen=True, slots=True)
class Solution:
    """The chosen answer, every finished branch, the tree, and the ledger.

    `completions`, `scores` and `ends` belong together: the finished branches in the order they were made, each with its
    score (None: not scored) and its last node. `answer` is None when no branch has one; `chosen` is its position.
    `votes` is the support of each class of answers, `change` the probability that one more sample would change the answer
    (None where the selection can not say). `ended` tells whether the strategy or its budget came to an end; `notes` is what
    the strategy counted.
    """

    problem: Problem
    strategy: str
    answer: str | None
    chosen: int | None
    completions: tuple[Completion, ...]
    tree: Tree
    ends: tuple[Node, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    votes: Mapping[str, float] = field(default_factory=dict[str, float])
    change: float | None = None
    ledger: Ledger = Ledger()
    ended: Ended = "done"
    notes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seed: int = 0

    @property
    def scores(self) -> tuple[float | None, ...]:
        """The score of each finished branch."""
        return tuple(candidate.score for candidate in self.candidates)

    @property
    def completion(self) -> Completion:
        """The completion chosen, or the first when none has an answer. WorkError when no branch has ended."""
        from ponder.errors import WorkError

        if not self.completions:
            raise WorkError(f"problem {self.problem.id}: no branch was finished within the budget")
        return self.completions[self.chosen or 0]

    def select(self, how: str) -> Choice:
        """What another selection would have chosen from the same tree."""
        return selector(how)(self.candidates, self.seed)
