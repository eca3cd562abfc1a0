"""The benchmarks of programs: what their readers make, and that reference solutions pass and changed ones fail."""

from __future__ import annotations

import ast
import base64
import json
import pickle
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fake_sandbox import FakeSandbox

import ponder.sandbox
from ponder.errors import DataError
from ponder.graders import make
from ponder.graders.programs import program_of
from ponder.tasks.named import NAMED
from ponder.tasks.programs import examples, livecodebench, unpacked
from ponder.types import Problem

COUNTS = {
    "humaneval": {"test": 164},
    "mbpp": {"train": 374, "dev": 90, "test": 500},
    "quixbugs": {"test": 31},
    "cruxeval": {"test": 800},
}


@pytest.fixture(autouse=True)
def use_data(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "data" in request.fixturenames:
        monkeypatch.setenv("PONDER_DATA", str(request.getfixturevalue("data")))


@pytest.fixture(scope="module")
def box() -> Iterator[Any]:
    """The real sandbox at the best level that holds here."""
    made = getattr(ponder.sandbox, "Sandbox", None)
    if made is None:
        pytest.skip("this build has no sandbox for code")
    with made() as sandbox:
        yield sandbox


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name: str, data: Path) -> None:
    task = NAMED[name]()
    found = {s: task.problems(s) for s in task.splits}
    assert {s: len(problems) for s, problems in found.items()} == COUNTS[name]
    ids = [p.id for problems in found.values() for p in problems]
    assert len(set(ids)) == len(ids)
    hidden = [p for problems in found.values() for p in problems if name != "cruxeval"]
    assert all(json.loads(json.dumps(p.reference)) == p.reference for p in hidden)
    shown = [p.tags["task_id"] for p in hidden if name == "mbpp" and any(t in p.text for t in p.reference["asserts"])]
    assert shown == ([37] if name == "mbpp" else [])


def test_every_cruxeval_output_is_graded_correct_and_the_next_one_is_not(data: Path) -> None:
    task = NAMED["cruxeval"]()
    problems = task.problems("test")
    assert all(task.grader.check(p.reference, f"so\nAnswer: {p.reference}").correct for p in problems)
    pairs = [(p.reference, q.reference) for p, q in pairwise(problems)]
    assert all(task.grader.check(a, f"Answer: {b}").outcome == "wrong" for a, b in pairs if a != b)


def test_examples_of_a_docstring() -> None:
    prompt = 'def f(x):\n    """\n    >>> f(1)\n    2\n    >>> f(2)\n    a table\n    >>> g(1)\n    1\n    """\n'
    assert examples(prompt, "f") == ["assert f(1) == 2"]


def graded(name: str, split: str, box: Any) -> list[tuple[Problem, Any]]:
    task: Any = NAMED[name]()
    problems = task.problems(split)
    pairs = [(p.reference, task.demonstrate(p).text) for p in problems]
    return list(zip(problems, make("code", sandbox=box).check_many(pairs), strict=True))


SETS = [("humaneval", "test"), ("mbpp", "test"), ("mbpp", "train"), ("mbpp", "dev"), ("quixbugs", "test")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "split"), SETS)
def test_every_reference_solution_is_graded_correct(name: str, split: str, box: Any, data: Path) -> None:
    found = graded(name, split, box)
    assert [(p.tags, g.outcome, g.reason) for p, g in found if not g.correct] == []
    assert {g.parts["level"] for _, g in found} == {box.level}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@pytest.mark.parametrize(("name", "split"), [("humaneval", "test"), ("mbpp", "test")])
def test_a_changed_variant_of_every_solution_is_graded_wrong(name: str, split: str, box: Any, data: Path) -> None:
    """Up to 4 small changes of each solution: at least one breaks a test, and none ends in an error."""
    task: Any = NAMED[name]()
    grader = make("code", sandbox=box, cpu_seconds=0.5)
    problems = task.problems(split)
    pairs = [(p, text) for p in problems for text in variants(program_of(task.demonstrate(p).text) or "")]
    grades = grader.check_many([(p.reference, text) for p, text in pairs])
    caught = {p.id for (p, _), g in zip(pairs, grades, strict=True) if g.outcome in ("wrong", "timeout")}
    assert [p.tags for p in problems if p.id not in caught] == []
    assert [g.reason for g in grades if g.score is None] == []


@pytest.mark.slow
def test_the_buggy_programs_are_graded_wrong(box: Any, data: Path) -> None:
    problems = NAMED["quixbugs"]().problems("test")
    grades = make("code", sandbox=box).check_many([(p.reference, p.text) for p in problems])
    assert [p.tags for p, g in zip(problems, grades, strict=True) if g.outcome not in ("wrong", "timeout")] == []


def variants(program: str, most: int = 4) -> list[str]:
    """The program with one returned value or constant or comparison changed."""
    nodes = [n for n in ast.walk(ast.parse(program)) if isinstance(n, ast.Return | ast.Constant | ast.Compare)]
    found: list[str] = []
    for i in sorted(range(len(nodes)), key=lambda i: (not isinstance(nodes[i], ast.Return), -i)):
        tree = ast.parse(program)
        node: Any = [n for n in ast.walk(tree) if isinstance(n, ast.Return | ast.Constant | ast.Compare)][i]
        if isinstance(node, ast.Compare):
            node.ops[0] = ast.NotEq() if isinstance(node.ops[0], ast.Eq) else ast.Eq()
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            node.value += 1
        elif isinstance(node, ast.Return):
            node.value = ast.Constant("changed")
        else:
            continue
        found.append(ast.unparse(ast.fix_missing_locations(tree)))
    return found[:most]


# -- LiveCodeBench's format --------------------------------------------------------------------------------------------


def packed(value: Any) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def lcb(**changes: Any) -> dict[str, Any]:
    public = [{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]
    private = packed(json.dumps([{"input": "4 5\n", "output": "9\n", "testtype": "stdin"}]))
    row = {"question_title": "Sum", "question_content": "Add.", "platform": "atcoder", "difficulty": "easy"}
    tests = {
        "public_test_cases": json.dumps(public),
        "private_test_cases": private,
        "metadata": "{}",
        "starter_code": "",
    }
    return {**row, **tests, **changes}


def test_livecodebench_programs(tmp_path: Path) -> None:
    file = tmp_path / "test.jsonl"
    file.write_text(json.dumps(lcb()) + "\n")
    (problem,) = NAMED["livecodebench"](path=file).problems("test")
    assert problem.text.startswith(
        "Add.\n\nThe program reads standard input and prints the answer.\n\n"
        "Example input:\n1 2\nExample output:\n3\n\nGive the whole program"
    )
    assert problem.reference["stdin"] == [["4 5\n", "9\n"]]
    assert problem.reference["visible"] == {"stdin": [["1 2\n", "3\n"]]}
    assert problem.tags == {"difficulty": "easy", "platform": "atcoder"}


def test_livecodebench_functions() -> None:
    starter = "class Solution:\n    def up(self, xs: List[int], by: int) -> List[int]:\n        "
    tests = [{"input": "[1, 2]\n3", "output": "[4, 5]", "testtype": "functional"}]
    metadata = json.dumps({"func_name": "up"})
    row = lcb(public_test_cases=json.dumps(tests), private_test_cases="[]", metadata=metadata, starter_code=starter)
    read = livecodebench(row)
    assert read is not None
    assert read["answer"]["cases"] == [[[[1, 2], 3], [4, 5]]]
    grader = make("code", sandbox=FakeSandbox())
    assert grader.check(read["answer"], starter + "return [x + by for x in xs]").correct
    assert grader.check(read["answer"], starter + "return xs").outcome == "wrong"


class Harm:
    def __reduce__(self) -> Any:
        return print, ("harm",)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (packed(Harm()), "the packed tests ask for builtins.print"),
        (packed([1]), "hold no text"),
        ("AAAA", "can not be read"),
        ("é", "can not be read|ASCII"),
        (base64.b64encode(zlib.compress(b"\x80\x04")).decode(), "can not be read"),
    ],
)
def test_packed_tests_are_read_without_running_anything(
    text: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=why):
        unpacked(text)
    assert capsys.readouterr().out == ""


def test_a_broken_row_is_named(tmp_path: Path) -> None:
    file = tmp_path / "HumanEval.jsonl"
    row = {
        "task_id": "HumanEval/0",
        "prompt": "def f(x):\n",
        "entry_point": "f",
        "canonical_solution": "    return x\n",
    }
    file.write_text(json.dumps({**row, "test": "assert ("}) + "\n")
    with pytest.raises(DataError, match=r"HumanEval.jsonl:1: the asserts are not Python"):
        NAMED["humaneval"](path=file).problems("test")
    other = tmp_path / "programs.jsonl"
    other.write_text(json.dumps({"name": "gcd", "buggy": "x", "correct": "x"}) + "\n")
    with pytest.raises(DataError, match="no folder json_testcases beside it"):
        NAMED["quixbugs"](path=other).problems("test")
