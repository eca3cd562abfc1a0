"""What benchmarks of programs show: their visible tests stand in the prompt, and no hidden test is in what a search may read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ponder.graders.spec import shown_tests
from ponder.tasks.named import NAMED
from ponder.tasks.programs import livecodebench, quixbugs
from ponder.types import Problem

TWICE = {37}  # of MBPP: its three asserts are one


@pytest.fixture(autouse=True)
def use_data(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "data" in request.fixturenames:
        monkeypatch.setenv("PONDER_DATA", str(request.getfixturevalue("data")))


def shown_as(name: str, problem: Problem) -> list[str]:
    """The visible tests as the question should say them."""
    visible = problem.reference.get("visible", {})
    if name == "quixbugs":
        return [f"({', '.join(map(repr, args))})` should give `{want!r}`" for args, want in visible.get("cases", ())]
    asserts = [one.removeprefix("assert ") for one in visible.get("asserts", ())]
    return [one.rpartition(" == ")[0] for one in asserts] if name == "humaneval" else asserts


def hidden(problem: Problem) -> list[str]:
    """The hidden tests, each as it would be written."""
    cases = problem.reference.get("cases", ())
    found = [json.dumps(one) for one in cases] + [f"({', '.join(map(repr, args))})` should give" for args, _ in cases]
    asserts = problem.reference.get("asserts", ())
    texts = asserts.splitlines() if isinstance(asserts, str) else asserts
    return found + [t.strip() for t in texts if t.strip().startswith("assert") and "==" in t]


@pytest.mark.parametrize("name", ["humaneval", "mbpp", "quixbugs"])
def test_visible_is_in_the_prompt_and_hidden_is_nowhere(name: str, data: Path) -> None:
    seen = 0
    for problem in NAMED[name]().problems("test"):
        wanted = shown_as(name, problem)
        seen += len(wanted)
        assert all(one in problem.text for one in wanted), problem.text
        if problem.tags.get("task_id") in TWICE:
            continue
        trace = json.dumps(shown_tests(problem.reference)) + problem.text
        assert not [one for one in hidden(problem) if one in trace], problem.tags
    assert seen >= {"humaneval": 60, "mbpp": 500, "quixbugs": 25}[name]


def test_cruxeval_has_nothing_to_show(data: Path) -> None:
    problems = NAMED["cruxeval"]().problems("test")
    assert all(shown_tests(p.reference) is None for p in problems)
    assert not any(f"Answer: {p.reference}" in p.text for p in problems)


def row(statement: str, **changes: Any) -> dict[str, Any]:
    public = [{"input": "3\n1 2 7\n", "output": "10\n"}]
    private = [{"input": "2\n41 1\n", "output": "42\n"}]
    tests = {"public_test_cases": json.dumps(public), "private_test_cases": json.dumps(private)}
    return {"question_content": statement, "metadata": "{}", **tests, **changes}


def test_public_tests_are_shown_once() -> None:
    made = livecodebench(row("Add n numbers."))
    assert "Example input:\n3\n1 2 7\nExample output:\n10" in made["question"]
    told = "Add n numbers.\n\nSample Input 1\n\n3\n1 2 7\n\nSample Output 1\n\n10"
    assert "Example" not in livecodebench(row(told))["question"]
    calls = {"metadata": '{"func_name": "add"}', "starter_code": "class Solution:\n    def add(self, a):"}
    public = json.dumps([{"input": "[1, 2]", "output": "3"}])
    private = json.dumps([{"input": "[40, 2]", "output": "42"}])
    made = livecodebench(row("Add them.", **calls, public_test_cases=public, private_test_cases=private))
    assert made["question"].endswith("Example input:\n[1, 2]\nExample output:\n3")
    for found in (made, livecodebench(row("Add n numbers."))):
        assert "42" not in found["question"] + json.dumps(shown_tests(found["answer"]))


def test_quixbugs_shows_its_first_case() -> None:
    raw = {"name": "f", "buggy": "def f(a, b):\n    return a", "correct": "def f(a, b):\n    return b"}
    cases = [[["x", [1]], {"y": None}], [["x", [2]], 42], [["x", [3]], 43]]
    made = quixbugs({**raw, "cases": cases})
    assert made is not None and made["question"].endswith("For example, `f('x', [1])` should give `{'y': None}`.")
    few = quixbugs({**raw, "cases": cases[:2]})
    assert few is not None and "example" not in few["question"]
