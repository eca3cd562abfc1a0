"""Programs, graded by running them behind a trust split.

Design: the program runs in the sandbox, one fresh process per input, and hands back plain values; what was expected stays
here, and so does the verdict (`same`). So there is nothing to read, patch or forge: an object whose `__eq__` is always true does
not survive the way back, exiting early is not passing, printing "6 passed" is printing. `spec` says what references look
like, `asserts` and `behind` how test texts are kept on this side of the split, `programs` how a program is found in an answer.
Every grading is a generator of jobs, so that many completions share the sandbox's workers (`check_many`).

`parts`: `level` (the isolation that held), `passed`, `total`, `first` (the first failure: test, want, got, status), the same
counts for the visible tests, and `permissive` where the twin ran. A failure of the sandbox itself is no score, never a zero.
Programs in C++ or C, tested by what they read and print, are compiled and run in a cell (sandbox level L3); one that does not
compile is wrong, and a machine without cells or a compiler is a `ConfigError`.
Not covered: calls and asserts in other languages than Python; tests that need files, packages or the network.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from ponder.errors import unknown
from ponder.graders import behind, permissive, spec
from ponder.graders.asserts import Case
from ponder.graders.programs import adapted, joined, program_of
from ponder.graders.same import Policy, same, same_output, shown
from ponder.graders.spec import Spec, Tests
from ponder.sandbox import languages
from ponder.sandbox.jobs import Job, Limits, Result
from ponder.sandbox.shared import Runs, shared
from ponder.types import Completion, Grade, Outcome, Problem, content_hash

Plan = Generator[list[Job], list[Result], Grade]
FIRST_WAVE = 2
AUDIENCES = ("all", "hidden", "visible")
LANGUAGES = ("python", *languages.LANGUAGES)


@dataclass(slots=True)
class Tally:
    """What the tests of one completion have shown so far."""

    passed: int = 0
    total: int = 0
    first: dict[str, str] | None = None
    levels: set[str] = field(default_factory=set[str])
    infra: str = ""

    def add(self, ok: bool, test: str, want: str, got: str, status: str) -> None:
        self.total += 1
        self.passed += ok
        if not ok and self.first is None:
            self.first = {"test": test, "want": want, "got": got, "status": status}


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
    wall_seconds: float = 10.0
    memory_mb: int = 512
    twin: float = 0.0
    remote: str | None = None
    sandbox: Any = None
    language: str = "python"

    def __post_init__(self) -> None:
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
            yield from _tested(found, found.visible, program, limits, seen, stop)
        if self.tests != "visible" and not (stop and seen.first):
            yield from _tested(found, found.hidden, program, limits, tally, stop)
        parts: dict[str, Any] = {}
        if self.tests == "all" and found.visible is not None:
            parts |= {"visible_passed": seen.passed, "visible_total": seen.total}
        if self.twin and _chosen(program, self.twin):
            code, entry = adapted(program, found.entry, found.collect)
            audiences = self._audiences(found)
            results = yield permissive.jobs(found, audiences, code, entry, limits)
            parts["permissive"] = permissive.passes(audiences, results)
        return self._verdict(_both(seen, tally), parts)

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
        return Grade(tally.passed / tally.total if self.partial else 0.0, outcome, parts, _why(tally.first))


def drive(plans: Sequence[Plan], run: Any) -> list[Grade]:
    """Step all plans together, the jobs of a round in one call."""
    done: dict[int, Grade] = {}
    waiting: list[tuple[int, Plan, list[Job]]] = []

    def step(index: int, plan: Plan, results: list[Result] | None) -> None:
        try:
            jobs = next(plan) if results is None else plan.send(results)
            waiting.append((index, plan, jobs))
        except StopIteration as stop:
            done[index] = stop.value

    for index, plan in enumerate(plans):
        step(index, plan, None)
    while waiting:
        turn, waiting = waiting, []
        results = run([job for _, _, jobs in turn for job in jobs])
        start = 0
        for index, plan, jobs in turn:
            step(index, plan, results[start : start + len(jobs)])
            start += len(jobs)
    return [done[i] for i in range(len(plans))]


def _tested(
    found: Spec, tests: Tests, program: str, limits: Limits, tally: Tally, stop: bool = False
) -> Generator[list[Job], list[Result], None]:
    """Run the tests of one audience and count; with `stop` no further than the wave of the first failure."""
    plain = tests.policy.types == "python"

    def target(name: str) -> tuple[str, str]:
        return adapted(program, name, found.collect, plain)

    jobs = [Job(program, "stdin", stdin=text, limits=limits, language=found.language) for text, _ in tests.outputs]
    jobs += [_job(found.beside, case, program, target, limits) for case in tests.cases]
    asked = [*tests.outputs, *tests.cases]

    def count(results: Sequence[Result]) -> bool:
        """Count the results that follow those counted before; whether to go on."""
        for test, result in zip(asked[: len(results)], results, strict=True):
            _compare(tally, test, result, tests.policy)
        del asked[: len(results)]
        return not (stop and tally.first)

    yield from _waves(jobs, count)
    if tests.script.rest and not (stop and tally.first):
        setup = found.setup or "\n".join((found.preamble, found.prompt))
        finding = yield from behind.run(tests.script, setup, found.entry, target, limits)
        _count_finding(tally, finding)


def _waves(jobs: Sequence[Job], count: Callable[[Sequence[Result]], bool]) -> Generator[list[Job], list[Result], None]:
    """Run the jobs in growing waves while `count` says to go on; after a wave in which one ran out of time the rest is not
    run: it counts as that."""
    done, size = 0, FIRST_WAVE
    while done < len(jobs):
        wave = yield list(jobs[done : done + size])
        done += len(wave)
        size *= 4
        if not count(wave):
            return
        if any(result.status == "timeout" for result in wave):
            late = Result("timeout", error="not run: an earlier test ran out of time", level=wave[0].level)
            count([late] * (len(jobs) - done))
            return


def _compare(tally: Tally, test: tuple[str, str] | Case, result: Result, policy: Policy) -> None:
    """Count one test: what a program printed, or what a call gave."""
    if isinstance(test, Case):
        ok = result.status == "ok" and holds(test, result.value, policy)
        _count(tally, result, ok, test.call, test.wanted, shown(result.value))
    else:
        text, want = test
        ok = result.status == "ok" and same_output(want, result.stdout, policy)
        _count(tally, result, ok, f"input {shown(text)}", shown(want), shown(result.stdout))


def _job(beside: str, case: Case, program: str, target: Callable[[str], tuple[str, str]], limits: Limits) -> Job:
    if case.expression:
        body = f"{program}\n{beside}\n\ndef _ponder_case():\n    return {case.expression}\n"
        return Job(adapted(body, "_ponder_case", plain=True)[0], "call", "_ponder_entry", limits=limits)
    code, entry = target(case.entry)
    return Job(code, "call", entry, case.args, case.kwargs, limits=limits)


def _count(tally: Tally, result: Result, ok: bool, test: str, want: str, got: str) -> None:
    tally.levels.add(result.level)
    if result.status == "infra":
        tally.infra = tally.infra or result.error or "the sandbox failed"
    else:
        tally.add(ok, test, want, got if result.status == "ok" else result.error[:200], result.status)


def _count_finding(tally: Tally, finding: behind.Finding) -> None:
    tally.levels.update(finding.levels)
    if finding.unfit:
        tally.infra = tally.infra or finding.unfit
        return
    tally.total += finding.total
    tally.passed += finding.passed
    if finding.first and tally.first is None:
        tally.first = {"test": finding.first, "want": "", "got": "", "status": finding.status}


def holds(case: Case, got: Any, policy: Policy) -> bool:
    """Whether a value is what a case expects; `got` is plain data."""
    if case.relation != "same":
        return bool(got) is (case.relation == "true")
    if case.tolerance is not None:
        plain = type(got) in (int, float, complex, bool)
        try:
            return plain and abs(got - case.want) < case.tolerance
        except (OverflowError, TypeError):
            return False
    return same(case.want, got, replace(policy, types="strict") if case.exact else policy)


def _why(first: Mapping[str, str]) -> str:
    """The first failure in a line."""
    if first["status"] == "ok":
        return first["test"] + (f": got {first['got']}, expected {first['want']}" if first["got"] else "")
    return f"{first['test']}: {first['status']}" + (f": {first['got']}" if first["got"] else "")


def _both(seen: Tally, tally: Tally) -> Tally:
    first, infra = seen.first or tally.first, seen.infra or tally.infra
    return Tally(seen.passed + tally.passed, seen.total + tally.total, first, seen.levels | tally.levels, infra)


def _chosen(program: str, share: float) -> bool:
    return int(content_hash(program)[:8], 16) < share * 2**32
