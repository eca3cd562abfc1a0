"""Unit tests that the question itself shows, as a verifier: the share of them that the attempt's program passes.

Nothing of the attempt is run here. A `Runner` runs it, elsewhere, behind whatever isolation it has; without one there is no
such verifier. The visible tests are the `assert` lines of the last user message unless `visible` says otherwise: the hidden
ones belong to the grader. After AlphaCode (Li et al. 2022, arXiv 2203.07814), which filters samples by the visible tests.
Not covered: tests that a model wrote (give them through `visible`), input and output through files.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from ponder.errors import PonderError, WorkError
from ponder.types import Ledger, Semantics, Trace
from ponder.verifiers.function import question, said

_FENCE = re.compile(r"^```[^\n`]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
_ASSERT = re.compile(r"^[ \t]*(assert\b[^\n]*\S)[ \t]*$", re.MULTILINE)
SHOWN = 3


class Runner(Protocol):
    """Runs a program it does not trust. It never raises and never hangs for what the program does."""

    def __call__(self, program: str, tests: Sequence[str]) -> Sequence[bool | None]:
        """One verdict per test: passed, failed (or crashed, or ran out of time), None when the harness itself failed."""
        ...


class UnitTests:
    """A `Verifier` by visible tests; it abstains on unfinished attempts and where there are no tests to run."""

    semantics: Semantics = "outcome"

    def __init__(
        self, runner: Runner, visible: Callable[[Trace], Sequence[str]] | None = None, name: str = "tests"
    ) -> None:
        self.runner, self.visible, self.name = runner, visible or asserts, name
        self._spent = Ledger()

    @property
    def ledger(self) -> Ledger:
        """Seconds spent in the runner; no tokens."""
        return self._spent

    def score(self, traces: Sequence[Trace]) -> list[float | None]:
        """The share of visible tests passed, of those the harness could run; 0 for an answer without a program."""
        return [None if (verdicts := self._run(trace)) is None else _share(verdicts) for trace in traces]

    def feedback(self, traces: Sequence[Trace]) -> list[str]:
        """Which of the visible tests fail, the first few of them; empty when none does."""
        return [self._failures(trace) for trace in traces]

    def _failures(self, trace: Trace) -> str:
        verdicts = self._run(trace)
        if verdicts is None:
            return ""
        failed = [test for test, passed in verdicts if passed is False]
        if not failed:
            return ""
        more = f"\nand {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
        return f"{len(failed)} of {len(verdicts)} tests fail:\n" + "\n".join(failed[:SHOWN]) + more

    def _run(self, trace: Trace) -> list[tuple[str, bool | None]] | None:
        """Each visible test with its verdict; None when there is nothing to run."""
        tests = list(self.visible(trace)) if trace.finished else []
        if not tests:
            return None
        source = program(said(trace))
        if source is None:
            return [(test, False) for test in tests]
        began = time.perf_counter()
        try:
            verdicts = list(self.runner(source, tests))
        except PonderError:
            raise
        except Exception as error:
            raise WorkError(
                f"problem {trace.problem_id}: the runner of verifier '{self.name}' failed ({type(error).__name__}: {error})"
            ) from error
        finally:
            self._spent += Ledger(seconds=time.perf_counter() - began)
        if len(verdicts) != len(tests):
            raise WorkError(
                f"problem {trace.problem_id}: the runner of verifier '{self.name}' gave {len(verdicts)} verdicts "
                f"for {len(tests)} tests"
            )
        return list(zip(tests, verdicts, strict=True))


def _share(verdicts: Sequence[tuple[str, bool | None]]) -> float | None:
    known = [passed for _, passed in verdicts if passed is not None]
    return sum(known) / len(known) if known else None


def asserts(trace: Trace) -> list[str]:
    """The `assert` lines of the question, each once."""
    return list(dict.fromkeys(_ASSERT.findall(question(trace))))


def program(text: str) -> str | None:
    """The last fenced block of a text; None when there is none."""
    blocks = _FENCE.findall(text)
    return blocks[-1] if blocks else None
