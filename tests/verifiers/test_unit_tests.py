from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from verifier_fakes import trace

from ponder.errors import WorkError
from ponder.verifiers.tests import UnitTests, asserts, program

QUESTION = """Write inc.
assert inc(1) == 2
assert inc(5) == 6
    assert inc(0) == 1
assert inc(1) == 2
not assert this"""
ANSWER = "First try:\n```python\nbad\n```\nBetter:\n```python\ndef inc(x):\n    return x + 1\n```\nDone."


class Scripted:
    """Says what it was told to say about each test; runs nothing."""

    def __init__(self, verdicts: dict[str, bool | None]) -> None:
        self.verdicts, self.programs = verdicts, list[str]()

    def __call__(self, program: str, tests: Sequence[str]) -> list[bool | None]:
        self.programs.append(program)
        return [self.verdicts[test] for test in tests]


ONE, TWO, THREE = "assert inc(1) == 2", "assert inc(5) == 6", "assert inc(0) == 1"


def test_visible_tests_and_program() -> None:
    assert asserts(trace(QUESTION, "")) == [ONE, TWO, THREE]
    assert program(ANSWER) == "def inc(x):\n    return x + 1\n"
    assert program("no fence") is None
    assert program("```python\nnever closed") is None


def test_share_of_the_tests_that_ran() -> None:
    runner = Scripted({ONE: True, TWO: False, THREE: None})
    verifier = UnitTests(runner)
    assert verifier.score([trace(QUESTION, ANSWER)]) == [0.5]
    assert runner.programs == ["def inc(x):\n    return x + 1\n"]
    assert verifier.feedback([trace(QUESTION, ANSWER)]) == [f"1 of 3 tests fail:\n{TWO}"]
    assert verifier.ledger.forwarded == 0
    assert verifier.ledger.seconds > 0


def test_nothing_to_run() -> None:
    runner = Scripted({ONE: True, TWO: True, THREE: True})
    verifier = UnitTests(runner)
    seen = [trace("no tests", ANSWER), trace(QUESTION, ANSWER, finished=False), trace(QUESTION, "I can not")]
    assert verifier.score(seen) == [None, None, 0.0]
    assert runner.programs == []
    assert verifier.feedback([trace(QUESTION, ANSWER)]) == [""]
    assert UnitTests(Scripted({ONE: None, TWO: None, THREE: None})).score([trace(QUESTION, ANSWER)]) == [None]


def test_a_runner_that_fails_names_the_problem() -> None:
    def broken(program: str, tests: Sequence[str]) -> Any:
        raise OSError("no room")

    with pytest.raises(WorkError, match=r"problem p1: the runner of verifier 'tests' failed .OSError: no room"):
        UnitTests(broken).score([trace(QUESTION, ANSWER)])
    with pytest.raises(WorkError, match="1 verdicts for 3 tests"):
        UnitTests(lambda program, tests: [True]).score([trace(QUESTION, ANSWER)])


def test_no_program_of_an_attempt_is_run_here() -> None:
    """The module holds no way to run text."""
    from pathlib import Path

    from ponder.verifiers import tests

    source = Path(tests.__file__).read_text()
    assert not any(word in source for word in ("exec(", "eval(", "compile(source", "subprocess", "import_module"))
