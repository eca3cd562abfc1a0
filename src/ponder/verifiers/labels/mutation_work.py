"""`ponder label --how mutation`: the batches of problems that `mutation` labels, and what became of them.

Nothing is drawn from a model; a `reader` reads the rows, so that they have its log-probabilities. A task takes part when its
grader runs programs in batches (`check_many`) and it has a demonstration for its problems, such as humaneval, mbpp and
quixbugs; problems without one are an error of the task.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ponder.errors import ConfigError
from ponder.graders.code import CodeGrader
from ponder.types import Demonstration, Effort, Engine, Ledger, Problem, Split
from ponder.verifiers.labels import mutation
from ponder.verifiers.labels.book import Counts
from ponder.verifiers.labels.mutation import Recipe, Reference, by_grader
from ponder.verifiers.labels.work import tally
from ponder.verifiers.samples import LabelKind, LabelledSample, read_by

COUNTS = ("references", "failing", "unread", "same", "survived", "unknown")


@dataclass(slots=True)
class MutationWork:
    """How to label by mutation; the same face as `work.Work`. `check` None asks the task's grader."""

    task: Any
    recipe: Recipe = Recipe()
    split: Split | None = None
    effort: Effort | None = None
    check: mutation.Check | None = None
    reader: Engine | None = None
    counts: Counts = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        grader = self.task.grader
        if isinstance(grader, CodeGrader):
            grader = replace(grader, partial=False, stop=True, twin=0.0)  # the first test that fails says it all
        many: Callable[..., Any] | None = getattr(grader, "check_many", None)
        if self.check is None and many is not None:
            self.check = by_grader(many)
        if self.check is None or not hasattr(self.task, "demonstrate"):
            raise ConfigError(
                f"task '{self.task.name}' has no reference programs with tests; --how mutation needs a task of programs "
                "such as mbpp or humaneval, or file:PATH with --how exact | rollout | judge for other tasks"
            )

    @property
    def ledger(self) -> Ledger:
        """What the reader read; the labels themselves cost no token."""
        return Ledger() if self.reader is None else self.reader.ledger

    def own_kind(self) -> LabelKind:
        """What the labels mean."""
        return "correctness"

    def source(self) -> str:
        """Who labelled, in a few words."""
        return f"mutation {self.recipe.mutants} x {self.recipe.faults}"

    def label(self, problems: Sequence[Problem]) -> list[LabelledSample]:
        """The labelled samples of `problems`; `counts` grows by what was met."""
        assert self.check is not None
        found = [Reference.of(self._shown(problem)) for problem in problems]
        met = mutation.Counts(references=found.count(None), unread=found.count(None))
        known = [reference for reference in found if reference is not None]
        rows = mutation.rows(known, self.check, self.recipe, met, split=self.split, effort=self.effort)
        if self.reader is not None:
            rows = read_by(self.reader, rows)
        for name, value in {**{k: asdict(met)[k] for k in COUNTS}, "problems": len(problems), **tally(rows)}.items():
            self.counts[name] = self.counts.get(name, 0) + value
        return rows

    def _shown(self, problem: Problem) -> Demonstration:
        """The task's own solution, as a model asked with `effort` would write it."""
        return self.task.demonstrate(problem, self.effort, random.Random(f"{self.recipe.seed}/{problem.id}"))
