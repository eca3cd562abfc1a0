"""Unit tests that the question itself shows, as a verifier: the share of them that the attempt's program passes.

    ponder eval humaneval --strategy best_of_n --n 8 --verifier tests

The program runs in the sandbox and hands back values; the grader of code compares them on this side, as it does for a grade, so
an attempt can not talk, exit or patch its way to a score. Only shown tests are run: those the problem marks as visible
(`Trace.shown`: calls, standard input, asserts), else the `assert` lines and `>>>` examples of the last user message. Hidden
tests belong to the grader and are in no trace. After AlphaCode (Li et al. 2022, arXiv 2203.07814), which filters samples by the
visible tests, and Reflexion (Shinn et al. 2023, arXiv 2303.11366), which feeds failures back (`feedback`, used by `revise`).
Not covered: tests that a model wrote (give them through `visible`), input and output through files.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ponder.graders.code import CodeGrader
from ponder.graders.programs import program_of
from ponder.tasks.programs import examples
from ponder.types import Completion, Grade, Ledger, Semantics, Trace, content_hash
from ponder.verifiers.function import question

_ASSERT = re.compile(r"^[ \t]*(assert\b[^\n]*\S)[ \t]*$", re.MULTILINE)
KEPT = 4096
Visible = Callable[[Trace], Mapping[str, Any] | None]


class UnitTests:
    """A `Verifier` by shown tests; it abstains on unfinished attempts, where there are no tests, and where the sandbox failed.

    `visible` gives a trace's tests as a reference of the grader of code (`graders.spec`). `level` and `require` go to the
    sandbox. What a program did on its tests is remembered, so that feedback about a scored attempt runs nothing.
    """

    semantics: Semantics = "outcome"

    def __init__(
        self,
        visible: Visible | None = None,
        name: str = "tests",
        *,
        level: str | None = None,
        require: str | None = None,
        sandbox: Any = None,
    ) -> None:
        self.visible, self.name = visible or shown, name
        self.grader = CodeGrader(partial=True, level=level, require=require, sandbox=sandbox)
        self._known: dict[str, Grade] = {}
        self._spent = Ledger()

    @property
    def ledger(self) -> Ledger:
        """Seconds spent in the sandbox; no tokens."""
        return self._spent

    def score(self, traces: Sequence[Trace]) -> list[float | None]:
        """The share of shown tests passed; 0 for an answer that is no program. All programs run in one batch."""
        return [None if grade is None else grade.score for grade in self._grades(traces)]

    def feedback(self, traces: Sequence[Trace]) -> list[str]:
        """How many of the shown tests fail and what the first one gave; empty when none does."""
        return [_words(grade) for grade in self._grades(traces)]

    def _grades(self, traces: Sequence[Trace]) -> list[Grade | None]:
        """The grade of each trace's program on its shown tests; None where there is nothing to run."""
        keys: list[str | None] = []
        fresh: dict[str, tuple[Mapping[str, Any], Completion]] = {}
        for trace in traces:
            tests = self.visible(trace) if trace.finished else None
            key = None
            if tests:
                said = Completion((), (), "stop", trace.text, trace.thinking, trace.answer)
                key = content_hash([tests, program_of(said)])
                fresh.setdefault(key, (tests, said))
            keys.append(key)
        while len(self._known) > KEPT:
            del self._known[next(iter(self._known))]
        todo = {key: pair for key, pair in fresh.items() if key not in self._known}
        if todo:
            began = time.perf_counter()
            self._known |= zip(todo, self.grader.check_many(list(todo.values())), strict=True)
            self._spent += Ledger(seconds=time.perf_counter() - began)
        return [None if key is None else self._known[key] for key in keys]


def _words(grade: Grade | None) -> str:
    if grade is None or grade.score is None or grade.correct:
        return ""
    if grade.outcome == "unparsed":
        return "There is no program in the answer. Give the whole program in one ```python block."
    passed, total = grade.parts["passed"], grade.parts["total"]
    return f"{total - passed} of {total} tests fail. The first that fails is {grade.reason}"


def shown(trace: Trace) -> Mapping[str, Any] | None:
    """The tests that the problem marks as visible, else those the question's text has."""
    return trace.shown or written(question(trace))


def written(text: str) -> dict[str, Any] | None:
    """The `assert` lines and `>>> f(…)` examples of a text, each once, as a reference; None when there are none."""
    found = list(dict.fromkeys([*_ASSERT.findall(text), *examples(text)]))
    kept = [line for line in found if _sound(line)]
    return {"asserts": kept} if kept else None


def _sound(line: str) -> bool:
    """Whether a line is a test that can be run by itself."""
    from ponder.graders import asserts

    try:
        return bool(asserts.read(line).cases)
    except ValueError:
        return False
