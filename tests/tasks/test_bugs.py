"""Generated bugs: references pass, every bug breaks a hidden test and is as its tag says, the order is that of the seed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ponder import sandbox, tasks
from ponder.errors import ConfigError, DataError, WorkError
from ponder.graders.code import CodeGrader
from ponder.graders.edits import FORMAT
from ponder.graders.programs import program_of
from ponder.graders.repair import RepairGrader, completion_of, files_of, program, without_files
from ponder.tasks.bugs import Bugs, shelf, split_of
from ponder.tasks.named import NAMED
from ponder.tasks.repairs import instance_of
from ponder.tasks.verdicts import Verdicts
from ponder.types import Problem

TWO = {
    "main.py": "from help import half\n\ndef f(x):\n    return half(x) + 1\n",
    "help.py": "def half(x):\n    return x // 2\n",
}
REFERENCE: dict[str, Any] = {"files": TWO, "entry": "f", "cases": [[[4], 3], [[5], 3]]}


@pytest.fixture(scope="module")
def box() -> Iterator[Any]:
    with sandbox.Sandbox() as made:
        yield made


def test_two_files_run_as_one(box: Any) -> None:
    grader = RepairGrader(CodeGrader(sandbox=box))
    same = "help.py\n```python\ndef half(x):\n    return x // 2\n```"
    grades = grader.check_many(
        [
            (REFERENCE, same),
            (REFERENCE, same.replace("//", "*")),
            (REFERENCE, "I would not change a thing."),
            (REFERENCE, "tests.py\n```python\n```"),
            ({"entry": "f", "cases": [[[4], 3]]}, same),
            (REFERENCE, "main.py\n```python\n\n'''\n``` ``` \n'''\ndef f(x):\n    return x // 2 + 1\n"),
            (
                REFERENCE,
                "main.py\n<<<<<<< SEARCH\n    return half(x) + 1\n=======\n    return half(x) +\n>>>>>>> REPLACE",
            ),
        ]
    )
    assert [g.outcome for g in grades] == ["correct", "wrong", "unparsed", "unparsed", "error", "unparsed", "wrong"]
    assert grades[4].score is None
    assert "main.py, line 4" in grades[6].reason


def test_an_error_says_in_which_file_and_line(box: Any) -> None:
    def reason(old: str, new: str, name: str = "help.py") -> str:
        files = TWO | {name: TWO[name].replace(old, new)}
        return CodeGrader(sandbox=box).check_many([(without_files(REFERENCE), completion_of(files, "f"))])[0].reason

    assert reason("x // 2", "x // 0").endswith("(help.py, line 2)")
    assert reason("half(x) + 1", "half(x) + None", "main.py").endswith("(main.py, line 4)")
    assert reason("import half", "import halve", "main.py").endswith("(main.py, line 1)")
    assert reason("x // 2", "x // ").endswith("SyntaxError: invalid syntax (help.py, line 2)")
    assert reason("x // 2", "int('a')").endswith("(help.py, line 2)")  # the line of the program, not of what it calls


def test_texts_can_not_leave_their_literals(box: Any) -> None:
    hostile = {"main.py": "s = '''\n```\n''' + \"\\\"})\"\n\ndef f(x):\n    return x\n"}
    assert program(hostile, "f").startswith("_ponder_files = ")
    grade = CodeGrader(sandbox=box).check({"entry": "f", "cases": [[[4], 4]]}, completion_of(hostile, "f"))
    assert grade.correct, grade.reason


@pytest.mark.parametrize("name", ["../x.py", "a/b.py", "x.txt", "1.py", ""])
def test_names_of_files_are_names_of_modules(name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a module"):
        files_of({"files": {name: "x = 1"}})


def test_shelf() -> None:
    programs = list(shelf())
    assert len(programs) >= 20
    assert {p.split for p in programs} == {"train", "dev", "test"}
    assert sum(len(p.files) > 1 for p in programs) >= 3
    assert all(split_of(p.name) == p.split for p in programs)


@pytest.mark.slow
def test_references_of_the_shelf_pass(box: Any) -> None:
    found = list(shelf())
    pairs = [(p.reference, completion_of(p.files, p.reference["entry"])) for p in found]
    grades = CodeGrader(sandbox=box).check_many(pairs)
    assert [(p.name, g.reason) for p, g in zip(found, grades, strict=True) if not g.correct] == []


@pytest.mark.slow
def test_bugs_are_bugs(box: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = Bugs(each=1).problems("dev")
    assert len(found) == len({p.tags["program"] for p in found}) == sum(p.split == "dev" for p in shelf())
    instances = [instance_of(p) for p in found]
    pairs = [(i.reference, completion_of(i.files, i.entry)) for i in instances]
    hidden = CodeGrader(tests="hidden", sandbox=box).check_many(pairs)
    visible = CodeGrader(tests="visible", sandbox=box).check_many(pairs)
    assert [g.score for g in hidden] == [0.0] * len(found)
    assert [("pass" if g.correct else "fail") for g in visible] == [p.tags["visible"] for p in found]
    again = Bugs(each=1).problems("dev", 3)
    assert [p.id for p in again] == [p.id for p in found[:3]]
    assert {p.id for p in Bugs(each=1).problems("dev", 3, seed=1)} != {p.id for p in again}
    assert all(p.text.endswith(FORMAT) for p in found)
    assert all(test not in p.text for p in found for test in p.reference["asserts"])


@pytest.mark.slow
@pytest.mark.parametrize("source", ["mbpp", "humaneval"])
def test_bugs_in_programs_of_a_benchmark(
    source: str, box: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PONDER_DATA", str(data))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    try:
        found = Bugs(sources=source, each=2).problems("test", 6)
    except DataError as error:
        pytest.skip(str(error))
    assert len({p.tags["program"] for p in found}) == len(found) == 6
    assert {p.tags["source"] for p in found} == {source}
    task: Any = NAMED[source]()
    named = {str(p.tags["task_id"]): p for p in task.problems("test")}
    pairs: list[Any] = []
    for problem in found:
        asked = named[problem.tags["program"].partition("/")[2]]
        reference = program_of(task.demonstrate(asked).text)
        assert reference is not None
        instance = instance_of(problem)
        pairs += [
            (instance.reference, completion_of(files, instance.entry))
            for files in (instance.files, {"program.py": reference})
        ]
    grades = CodeGrader(sandbox=box).check_many(pairs)
    assert [g.correct for g in grades] == [False, True] * 6
    again = Bugs(sources=source, each=2)
    assert [p.id for p in again.problems("test", 6)] == [p.id for p in found]
    assert again._verdicts.asked == 0
    late = found[0].reference | {"files": {"program.py": "x = 1\n\nraise KeyError(x)\n"}}
    reason = CodeGrader(sandbox=box).check_many([(without_files(late), completion_of(files_of(late) or {}))])[0].reason
    assert reason.endswith("KeyError: 1 (line 3)")  # lines are those of the file


@pytest.fixture
def program_and_tests() -> tuple[str, dict[str, Any], dict[str, str]]:
    return ("half", {"entry": "f", "cases": [[[4], 3]], "visible": {"cases": [[[5], 4]]}}, TWO)


def test_verdicts_are_kept(program_and_tests: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    wrong = (*program_and_tests[:2], TWO | {"help.py": "def half(x):\n    return x"})
    first = Verdicts()
    assert first.passes("hidden", [program_and_tests, wrong, program_and_tests]) == [True, False, True]
    assert first.passes("visible", [program_and_tests]) == [False]  # another question
    assert first.asked == 3
    (kept,) = (tmp_path / "ponder").iterdir()
    assert kept.read_bytes().count(b"\n") == 3
    with kept.open("ab") as stream:
        stream.write(b'{"key": 1}\n["x"]\n{"key": "a", "pas')  # of other hands, and cut short
    again = Verdicts()
    assert again.passes("hidden", [wrong, program_and_tests]) == [False, True]
    assert again.passes("all", [program_and_tests]) == [False]
    assert again.asked == 1
    assert Verdicts().passes("all", [program_and_tests]) == [False]
    kept.chmod(0o666)  # anybody could have written it
    asked = Verdicts()
    before = kept.read_bytes()
    assert asked.passes("hidden", [wrong]) == [False]
    assert asked.asked == 1 and kept.read_bytes() == before


def test_without_a_folder_nothing_is_kept(
    program_and_tests: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        verdicts = Verdicts()
        assert verdicts.passes("hidden", [program_and_tests]) == [True]
        assert verdicts.asked == 1


def test_what_could_not_be_judged_is_no_verdict(
    program_and_tests: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    unfit = ("odd", {"entry": "f"}, TWO)
    verdicts = Verdicts()
    with pytest.raises(WorkError, match="the tests of 'odd' could not be run"):
        verdicts.passes("hidden", [unfit, program_and_tests])
    assert Verdicts().passes("hidden", [program_and_tests]) == [True]
    assert len(next((tmp_path / "ponder").iterdir()).read_bytes().splitlines()) == 1


def test_options() -> None:
    for options in ({"sources": ["shelves"]}, {"visible": "no"}, {"each": 0}):
        with pytest.raises(ConfigError):
            tasks.get("bugs", **options)


def test_instances(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PONDER_DATA", str(data))
    found = [instance_of(p) for p in tasks.get("quixbugs").problems("test")]
    gcd = next(i for i in found if "gcd.py" in i.files)
    assert gcd.files["gcd.py"].startswith(
        "def gcd(a, b):\n    if b == 0:\n        return a\n    else:\n        return gcd(a % b, b)\n"
    )
    assert gcd.messages[0].content.count("assert gcd(") == len(gcd.reference["visible"]["cases"])
    assert all(i.has_visible and i.entry for i in found)
    with pytest.raises(DataError, match="no buggy programs"):
        instance_of(tasks.get("humaneval").problems("test", 1)[0])


def test_a_reference_with_files_that_are_none() -> None:
    with pytest.raises(DataError, match="mapping of names"):
        instance_of(Problem.from_text("x", {"files": [1]}))
    assert without_files(None) == {}
