"""Grading many completions at once, and not the same one twice.

A policy under training writes the same program for the same problem again and again, and running it is what grading costs. So
graders of programs take a batch (`check_many`), and their grades are remembered within a run: by the grader's settings,
the reference and the answer's text, the least recently used forgotten first. What could not be graded, or ran out of time, is
not remembered: it may go better. A program that rolls dice keeps its first grade.
Graders without `check_many` may read more than the answer: nothing of them is remembered, and they are asked one by one unless
they have `grade_many`, as a weighted sum has. Whoever has more than one completion to grade comes here (`grade_all`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from ponder.graders import extract
from ponder.types import Completion, Grade, Problem, content_hash

Pair = tuple[Problem, Completion]
Key = tuple[str, str, str | None]


class Memory:
    """Grades of up to `size` programs. `asked` and `known` count the programs graded and those remembered."""

    def __init__(self, size: int = 20_000) -> None:
        self.size, self.asked, self.known = size, 0, 0
        self._grades: OrderedDict[Key, Grade] = OrderedDict()

    def grade(self, grader: Any, pairs: Sequence[Pair]) -> list[Grade]:
        """The grades of `pairs` by one grader, in their order."""
        if not hasattr(grader, "check_many"):
            many = getattr(grader, "grade_many", None)
            return [grader.grade(*pair) for pair in pairs] if many is None else many(pairs)
        name = repr(grader)
        keys = [(name, _reference(problem), extract.parts(completion)[1]) for problem, completion in pairs]
        fresh = {k: pair for k, pair in zip(keys, pairs, strict=True) if k not in self._grades}
        made = grader.check_many([(problem.reference, completion) for problem, completion in fresh.values()])
        found = dict(zip(fresh, made, strict=True))
        self.asked += len(pairs)
        self.known += len(pairs) - len(fresh)
        grades = [found[k] if k in found else self._grades[k] for k in keys]
        for k, grade in zip(keys, grades, strict=True):
            if grade.score is not None and grade.outcome != "timeout":
                self._grades[k] = grade
                self._grades.move_to_end(k)
        while len(self._grades) > self.size:
            self._grades.popitem(last=False)
        return grades


def grade_all(grader: Any, pairs: Sequence[Pair]) -> list[Grade]:
    """The grades of `pairs` in their order, programs in one batch; what is equal runs once, and nothing is kept."""
    return Memory(len(pairs)).grade(grader, pairs)


def _reference(problem: Problem) -> str:
    return content_hash(problem.reference)
