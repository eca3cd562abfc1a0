"""Programs, graded by running them behind a trust split.

Design: the program runs in the sandbox, one fresh process per input, and hands back plain values; what was expected stays
here, and so does the verdict (`same`). So there is nothing to read, patch or forge: an object whose `__eq__` is always true does
not survive the way back, exiting early is not passing, printing "6 passed" is printing. `spec` says what references look
like, `asserts` and `behind` how test texts are kept on this side of the split, `programs` how a program is found in an answer,
`tally` how tests are run and counted. Every grading is a plan (`plans`), so that many completions share the sandbox's workers.

`parts`: `level` (the isolation that held), `passed`, `total`, `first` (the first failure: test, want, got, status), the same
counts for the visible tests, and `permissive` where the twin ran. A failure of the sandbox itself is no score, never a zero.
Programs in C++ or C, tested by what they read and print, are compiled and run in a cell (sandbox level L3); one that does not
compile is wrong, and a machine without cells or a compiler is a `ConfigError`.
Not covered: calls and asserts in other languages than Python; tests that need files, packages or the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from ponder.errors import unknown
from ponder.graders import permissive, permissive_code, spec
from ponder.graders.plans import Plan, drive
from ponder.graders.programs import adapted, joined, program_of
from ponder.graders.spec import Spec, Tests
from ponder.graders.tally import Tally, both, count_tests, why
from ponder.sandbox import languages
from ponder.sandbox.jobs import Job, Limits, Result
from ponder.sandbox.shared import Runs, shared
from ponder.types import Completion, Grade, Outcome, Problem

AUDIENCES = ("all", "hidden", "visible")
LANGUAGES = ("python", *languages.LANGUAGES)


@dataclass(frozen=True, slots=True)
class CodeGrader:
    """A completion's program passes the tests of the reference.

    `tests` chooses the audience; "all" is hidden and visible. `partial` scores the share of tests passed instead of all or
    nothing. `stop` ends a program's tests after the first wave with a failure (unless `partial`): a reward needs no more, and
    `passed` and `total` count what was run. `level` and `require` go to the sandbox: the isolation to use, and the least to
    accept. `twin` is the share of programs (by their hash) that the permissive twin judges too. `remote` runs programs on
    pools elsewhere ("host:port", see `shared`), and `sandbox` replaces the shared one. `language` is that of the programs whose
    reference does not say it.
    """

    tests: Literal["all", "hidden", "visible"] = "all"
    partial: bool = False
    stop: bool = False
    level: str | None = None
    require: str | None = None
    cpu_seconds: float = 2.0
    wall_seconds: float = 5.0
    memory_mb: int = 512
    twin: float = 0.0
    remote: str | None = None
    sandbox: Any = None
    language: str = "python"

    def __post_init__(self) -> None:
        permissive.checked(self.twin)
        if self.tests not in AUDIENCES:
            raise unknown("audience of tests", self.tests, AUDIENCES)
        if self.language not in LANGUAGES:
            raise unknown("language of programs", self.language, LANGUAGES)

    def answer(self, completion: Completion) -> str | None:
        """The program: what a search puts forward."""
        return program_of(completion, self.language)

    def key(self, answer: str) -> str:
        """Programs are the same answer when they are the same text, blanks at the ends of lines and empty lines apart."""
        return "\n".join(line.rstrip() for line in answer.splitlines() if line.strip())

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        return self.check(problem.reference, completion)

    def check(self, reference: object, completion: str | Completion) -> Grade:
        """As `grade`, for a bare reference."""
        return self.check_many([(reference, completion)])[0]

    def check_many(self, pairs: Sequence[tuple[object, str | Completion]]) -> list[Grade]:
        """The grades of many completions in one go, in their order."""
        return drive([self._plan(reference, completion) for reference, completion in pairs], self._runs)

    def _runs(self, jobs: Sequence[Job]) -> list[Result]:
        if self.sandbox is not None:
            return cast(Runs, self.sandbox).run(jobs)
        results: dict[int, Result] = {}
        for native in (False, True):  # compiled programs need a cell, whatever the others run in
            some = [index for index, job in enumerate(jobs) if job.native is native]
            if some:
                box = shared(self.level or ("L3" if native else None), self.require, self.remote)
                results.update(zip(some, box.run([jobs[index] for index in some]), strict=True))
        return [results[index] for index in range(len(jobs))]

    def _plan(self, reference: object, completion: str | Completion) -> Plan:
        try:
            found = spec.read(reference)
        except ValueError as error:
            return Grade(None, "error", reason=f"the reference can not be used: {error}")
        if self.tests == "visible" and found.visible is None:
            return Grade(None, "error", reason="the problem has no visible tests")
        language = found.language or self.language
        if language != "python" and not found.hidden.outputs:
            return Grade(
                None, "error", reason=f"the problem's tests are calls in Python, not for a program in {language}"
            )
        text = program_of(completion, language)
        if text is None:
            return Grade(0.0, "unparsed", reason="no program after the thinking")
        limits = self._limits(found)
        program = text
        if found.language or language == "python":  # else what surrounds it is Python
            program = "\n".join(p for p in (found.preamble, joined(text, found.prompt, found.entry)) if p)
        found = replace(found, language=language)
        seen, tally, stop = Tally(), Tally(), self.stop and not self.partial
        if found.visible is not None and self.tests != "hidden":
            yield from count_tests(found, found.visible, program, limits, seen, stop)
        if self.tests != "visible" and not (stop and seen.first):
            yield from count_tests(found, found.hidden, program, limits, tally, stop)
        parts: dict[str, Any] = {}
        if self.tests == "all" and found.visible is not None:
            parts |= {"visible_passed": seen.passed, "visible_total": seen.total}
        if self.twin and permissive.chosen(program, self.twin):
            code, entry = adapted(program, found.entry, found.collect)
            audiences = self._audiences(found)
            results = yield permissive_code.jobs(found, audiences, code, entry, limits)
            parts["permissive"] = permissive_code.passes(audiences, results)
        return self._verdict(both(seen, tally), parts)

    def _audiences(self, found: Spec) -> list[Tests]:
        """The tests that decide."""
        seen = [found.visible] if found.visible is not None and self.tests != "hidden" else []
        return seen + ([found.hidden] if self.tests != "visible" else [])

    def _limits(self, found: Spec) -> Limits:
        cpu = found.cpu_seconds or self.cpu_seconds
        return Limits(cpu, max(self.wall_seconds, 2 * cpu), found.memory_mb or self.memory_mb)

    def _verdict(self, tally: Tally, extra: dict[str, Any]) -> Grade:
        level = min(tally.levels, default="none")
        parts = {"level": level, "passed": tally.passed, "total": tally.total, "first": tally.first, **extra}
        if tally.infra and (tally.first is None or self.partial):
            return Grade(None, "error", parts, f"not judged: {tally.infra}")
        if tally.first is None:
            return Grade(1.0, "correct", parts)
        outcome: Outcome = "timeout" if tally.first["status"] == "timeout" else "wrong"
        return Grade(tally.passed / tally.total if self.partial else 0.0, outcome, parts, why(tally.first))
