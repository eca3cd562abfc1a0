"""The tests of one audience, run on a program and counted: what the code grader's verdict is made from.

Calls and printed output are compared here, on this side of the split (`same`); test texts that do not come apart into calls
are left to `behind`. Inputs go out in growing waves, so that a program that hangs or fails at once costs little.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ponder.graders import behind
from ponder.graders.asserts import Case
from ponder.graders.programs import adapted
from ponder.graders.same import Policy, same, same_output, shown, shown_apart
from ponder.graders.spec import Spec, Tests
from ponder.sandbox.jobs import Job, Limits, Result

FIRST_WAVE = 2


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


def count_tests(
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
    else:
        ok = result.status == "ok" and same_output(test[1], result.stdout, policy)
    _count(tally, result, ok, *(("", "", "") if ok or tally.first else _words(test, result)))


def _words(test: tuple[str, str] | Case, result: Result) -> tuple[str, str, str]:
    """The test, what it expects and what came, for a reader."""
    if not isinstance(test, Case):
        return f"input {shown(test[0])}", *shown_apart(test[1], result.stdout)
    if test.relation != "same":
        return test.call, f"something {test.relation}", shown(result.value)
    want, got = shown_apart(test.want, result.value)
    return test.call, want + (f" to within {test.tolerance:g}" if test.tolerance is not None else ""), got


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


def why(first: Mapping[str, str]) -> str:
    """The first failure in a line."""
    if first["status"] == "ok":
        return first["test"] + (f": got {first['got']}, expected {first['want']}" if first["got"] else "")
    return f"{first['test']}: {first['status']}" + (f": {first['got']}" if first["got"] else "")


def both(seen: Tally, tally: Tally) -> Tally:
    first, infra = seen.first or tally.first, seen.infra or tally.infra
    return Tally(seen.passed + tally.passed, seen.total + tally.total, first, seen.levels | tally.levels, infra)
