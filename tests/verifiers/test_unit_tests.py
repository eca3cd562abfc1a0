"""Shown tests as a verifier: which tests, which program, what it says; and that hidden tests are out of its reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from verifier_fakes import trace

from ponder import verifiers
from ponder.engines import ScriptedEngine
from ponder.graders.code import CodeGrader
from ponder.graders.spec import shown_tests
from ponder.sandbox import Sandbox
from ponder.search.drive import Driver
from ponder.search.solve import make_job
from ponder.types import Message, Problem
from ponder.verifiers.tests import UnitTests, written

QUESTION = """Write inc.
assert inc(1) == 2
assert inc(5) == 6
    assert inc(0) == 1
assert inc(1) == 2
not assert this
assert that it is quick

>>> inc(7)
8
>>> print(inc(7))
8"""
TESTS = ["assert inc(1) == 2", "assert inc(5) == 6", "assert inc(0) == 1", "assert inc(7) == 8"]
RIGHT = "First try:\n```python\nbad\n```\nBetter:\n```python\ndef inc(x):\n    return x + 1\n```\nDone."
HALF = "```python\ndef inc(x):\n    return 2 if x == 1 else 6\n```"
EQUAL = "```python\nclass A:\n    def __eq__(self, o): return True\ndef inc(x):\n    return A()\n```"
LEAVES = "```python\nimport os\ndef inc(x):\n    os._exit(0)\n```"


@pytest.fixture(scope="module")
def box() -> Any:
    with Sandbox(workers=1) as made:
        yield made


class Counting:
    """A sandbox that counts its calls."""

    def __init__(self, box: Any) -> None:
        self.box, self.calls, self.jobs = box, 0, list[Any]()

    def run(self, jobs: Any) -> Any:
        self.calls += 1
        self.jobs += jobs
        return self.box.run(jobs)


def test_the_tests_that_a_text_has() -> None:
    assert written(QUESTION) == {"asserts": TESTS}
    assert written("Say something. assert yourself") is None


def test_share_of_the_tests_and_words_about_the_first_failure(box: Any) -> None:
    counting = Counting(box)
    verifier = UnitTests(sandbox=counting)
    attempts = [trace(QUESTION, text) for text in (RIGHT, HALF, EQUAL, LEAVES, "I can not", RIGHT)]
    assert verifier.score(attempts) == [1.0, 0.5, 0.0, 0.0, 0.0, 1.0]
    calls = counting.calls
    assert calls <= 3  # the waves of one batch, not a call per attempt
    said = verifier.feedback(attempts)
    assert counting.calls == calls  # what was scored is not run again
    assert said[0] == said[5] == ""
    assert said[1] == "2 of 4 tests fail. The first that fails is inc(0): got 6, expected 1"
    assert said[2].startswith("4 of 4 tests fail. The first that fails is inc(1): refused")
    assert (verifier.ledger.forwarded, verifier.semantics) == (0, "outcome")
    assert verifier.ledger.seconds > 0


def test_it_abstains() -> None:
    verifier = UnitTests(sandbox=None)
    seen = [trace("no tests", RIGHT), trace(QUESTION, RIGHT, finished=False)]
    assert verifier.score(seen) == [None, None]
    assert verifier.feedback(seen) == ["", ""]

    class Broken:
        def run(self, jobs: Any) -> Any:
            from ponder.sandbox.jobs import Result

            return [Result("infra", error="no worker") for _ in jobs]

    broken = UnitTests(sandbox=Broken())
    assert broken.score([trace(QUESTION, RIGHT)]) == [None]
    assert broken.feedback([trace(QUESTION, RIGHT)]) == [""]


def test_no_thinking_is_run_and_an_unclosed_one_is_no_program(box: Any) -> None:
    verifier = UnitTests(sandbox=box)
    open_thinking = trace(QUESTION, "<think>" + RIGHT, thinking=RIGHT, answer=None)
    assert verifier.score([open_thinking]) == [0.0]
    assert "no program" in verifier.feedback([open_thinking])[0]


STDIN = {"stdin": [["2 3\n", "5\n"]], "visible": {"stdin": [["1 1\n", "2\n"], ["4 4\n", "8\n"]]}, "cpu_seconds": 3}
CALLS = {"entry": "Solution.add", "cases": [[[2, 3], 5]], "types": "json", "visible": {"cases": [[[1, 1], 2]]}}


def test_standard_input_and_calls(box: Any) -> None:
    assert shown_tests(STDIN) == {"stdin": STDIN["visible"]["stdin"], "cpu_seconds": 3}
    assert shown_tests(CALLS) == {"entry": "Solution.add", "types": "json", "cases": [[[1, 1], 2]]}
    assert shown_tests({"entry": "f", "cases": [[[1], 1]]}) is None and shown_tests("5") is None
    verifier = UnitTests(sandbox=box)
    reads = "```python\na, b = map(int, input().split())\nprint(2 * a)\n```"
    method = "```python\nclass Solution:\n    def add(self, a, b):\n        return a + b\n```"
    attempts = [trace("Add.", reads, shown=shown_tests(STDIN)), trace("Add.", method, shown=shown_tests(CALLS))]
    assert verifier.score(attempts) == [1.0, 1.0]
    wrong = trace("Add.", "```python\nprint(8)\n```", shown=shown_tests(STDIN))
    assert verifier.score([wrong]) == [0.5]
    assert verifier.feedback([wrong]) == [
        "1 of 2 tests fail. The first that fails is input '1 1\\n': got '8\\n', expected '2\\n'"
    ]


HIDDEN = 424_242
REFERENCE = {"entry": "inc", "cases": [[[HIDDEN], HIDDEN + 1]], "visible": {"cases": [[[1], 2]], "entry": "inc"}}


def test_a_search_chooses_by_shown_tests_and_never_meets_a_hidden_one(box: Any) -> None:
    counting = Counting(box)
    problem = Problem((Message("user", "Write inc."),), REFERENCE)
    engine = ScriptedEngine(
        {"*": ["```python\ndef inc(x):\n    return x\n```", "```python\ndef inc(x):\n    return x + 1\n```"]}
    )
    verifier = UnitTests(sandbox=counting)
    job = make_job(problem, engine, "best_of_n", 8, seed=1, verifier=verifier, grader=CodeGrader(sandbox=box))
    (solution,) = Driver(engine, verifier).run([job])
    assert set(solution.scores) == {0.0, 1.0}
    assert solution.answer == "def inc(x):\n    return x + 1"
    assert counting.jobs and str(HIDDEN) not in str(counting.jobs)
    assert str(HIDDEN) not in str([job.trace(end, True) for end in solution.ends])


def test_revise_hears_what_failed(box: Any) -> None:
    heard: list[str] = []

    def say(prompt: str, seed: int) -> str:
        heard.append(prompt)
        better = "expected 2" in prompt
        return f"```python\ndef inc(x):\n    return x + {int(better)}\n```"

    engine, verifier = ScriptedEngine(say), UnitTests(sandbox=box)
    problem = Problem.from_text("Write inc.\nassert inc(1) == 2")
    (solution,) = Driver(engine, verifier).run([make_job(problem, engine, "revise", 4, verifier=verifier)])
    assert solution.answer == "def inc(x):\n    return x + 1"
    assert solution.notes == {"answers": 2, "stopped": "satisfied"}
    assert "1 of 1 tests fail. The first that fails is inc(1): got 1, expected 2" in heard[1]


def test_the_name_even_beside_a_folder_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tests").mkdir()
    monkeypatch.chdir(tmp_path)
    assert isinstance(verifiers.load("tests", require="L2"), UnitTests)


def test_no_program_of_an_attempt_is_run_here() -> None:
    """The module holds no way to run text."""
    from ponder.verifiers import tests

    source = Path(tests.__file__).read_text()
    assert not any(word in source for word in ("exec(", "eval(", "compile(source", "subprocess", "import_module"))
