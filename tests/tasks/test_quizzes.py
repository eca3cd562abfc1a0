"""Choice, yes or no, facts and steps: readers on the public files, on hand-written rows of the public formats, on bad rows."""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ponder import tasks
from ponder.errors import ConfigError, DataError
from ponder.graders.base import as_completion
from ponder.search import grader_of
from ponder.tasks.files import FileTask
from ponder.tasks.named import NAMED
from ponder.tasks.rows import Row, read_lines, read_rows, read_under
from ponder.types import Problem

DATA = Path(os.environ.get("PONDER_DATA") or Path(__file__).parents[3] / "shared" / "data")
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the public data sets are not here; set PONDER_DATA")
COUNTS = {
    ("aqua", "dev"): 254,
    ("aqua", "test"): 254,
    ("strategyqa", "train"): 1850,
    ("strategyqa", "dev"): 211,
    ("strategyqa", "test"): 229,
    ("bbh", "test"): 2500,
    ("processbench", "test"): 3400,
    ("simpleqa", "test"): 4326,
}
HERE = sorted({name for name, _ in COUNTS})


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PONDER_DATA", str(DATA))


def said(name: str, reference: Any) -> str:
    """How a completion gives an answer; brackets can not stand in a box."""
    return f"<think>hm</think>Answer: {reference}" if name == "bbh" else f"<think>hm</think>\\boxed{{{reference}}}"


@needs_data
@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(("name", "split"), COUNTS)
def test_counts_and_every_reference_is_graded_correct(name: str, split: Any) -> None:
    task = NAMED[name]()
    problems = task.problems(split)
    assert len(problems) == COUNTS[name, split] == len({p.id for p in problems})
    assert {p.task for p in problems} == {name}
    bad = [p.reference for p in problems if not task.grader.grade(p, as_completion(said(name, p.reference))).correct]
    assert bad == []


@needs_data
@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("name", HERE)
def test_another_answer_is_wrong(name: str) -> None:
    """Each reference against the others of its kind (BBH: of its subtask)."""
    task = NAMED[name]()
    by_kind: dict[Any, list[Problem]] = {}
    for problem in task.problems("test"):
        by_kind.setdefault(problem.tags.get("subset"), []).append(problem)
    grades = [
        task.grader.grade(p, as_completion(said(name, q.reference)))
        for group in by_kind.values()
        for p, q in zip(group, group[1:] + group[:1], strict=True)
        if p.reference != q.reference
    ]
    assert len(grades) > 100
    assert Counter(g.outcome for g in grades)["correct"] == 0


@needs_data
@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("name", HERE)
def test_a_grader_is_found_from_the_problem_alone_and_can_vote(name: str) -> None:
    problem = NAMED[name]().problems("test", 1)[0]
    grader: Any = grader_of(problem)
    assert grader.equal(problem.reference, problem.reference) is True


@needs_data
@pytest.mark.usefixtures("data")
def test_known_rows() -> None:
    car = next(p for p in NAMED["aqua"]().problems("test") if "towards the base of a vertical tower" in p.text)
    assert "A) 5(√3 + 1)\nB) 6(√3 + √2)\n" in car.text
    assert car.text.endswith("\nPut the letter of the right option in \\boxed{}.")
    albany = next(p for p in NAMED["strategyqa"]().problems("test") if "Albany in Georgia" in p.text)
    assert albany.reference == "no"
    award = next(p for p in NAMED["simpleqa"]().problems("test") if "Frank Rosenblatt Award in 2010" in p.text)
    assert (award.reference, award.tags) == (
        "Michio Sugeno",
        {"topic": "Science and technology", "answer_type": "Person"},
    )


@needs_data
@pytest.mark.usefixtures("data")
def test_bbh_by_subset() -> None:
    task = NAMED["bbh"](subset="dyck_languages")
    assert len(task.problems("test")) == 250
    assert {p.tags["subset"] for p in task.problems("test")} == {"dyck_languages"}
    two = NAMED["bbh"](subset=["navigate", "web_of_lies"]).problems("test")
    assert Counter(p.tags["subset"] for p in two) == {"navigate": 250, "web_of_lies": 250}
    with pytest.raises(ConfigError, match=r"unknown subset of 'bbh' 'navigation'.*navigate"):
        NAMED["bbh"](subset="navigation")
    with pytest.raises(DataError, match=r"snarks.json: no such file"):
        NAMED["bbh"](subset="snarks").problems("test")
    assert tasks.get("bbh", subset="navigate").problems("test", 3) == NAMED["bbh"](subset="navigate").problems(
        "test", 3
    )
    one = NAMED["bbh"](path=DATA / "bbh" / "navigate.json").problems("test")
    assert [p.id for p in one] == [p.id for p in NAMED["bbh"](subset="navigate").problems("test")]
    assert (
        len(NAMED["bbh"](path=DATA / "bbh").problems("test")) == 2500 == len(NAMED["bbh"](path=DATA).problems("test"))
    )


@needs_data
@pytest.mark.usefixtures("data")
def test_processbench_keeps_its_pieces() -> None:
    problems = NAMED["processbench"](subset="gsm8k").problems("test")
    raw = {
        row["problem"] + "".join(row["steps"]): row
        for row in json.loads((DATA / "processbench/gsm8k.json").read_text())
    }
    for problem in problems:
        row = raw[problem.tags["ask"] + "".join(problem.tags["solution"])]
        assert problem.reference == str(row["label"])
        assert problem.tags["flawed"] == ("no" if row["label"] == -1 else "yes")
        assert f"Step {len(row['steps']) - 1}:\n{row['steps'][-1].strip()}" in problem.text
    assert Counter(p.tags["flawed"] for p in problems) == {"no": 193, "yes": 207}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


ARC = {
    "id": "M1",
    "question": {"stem": "Ice is", "choices": [{"text": "solid", "label": "1"}, {"text": "gas", "label": "2"}]},
    "answerKey": "2",
}
ARC_HUB = {"question": "Ice is", "choices": {"text": ["solid", "gas"], "label": ["A", "B"]}, "answerKey": "B"}
AIME = {"ID": "2024-I-1", "problem": "Find n.", "answer": "025", "solution": "n is 25."}


def test_arc_in_both_public_formats(tmp_path: Path) -> None:
    found = [
        NAMED["arc_challenge"](path=write(tmp_path / f"{i}.jsonl", [row])).problems("test")
        for i, row in enumerate((ARC, ARC_HUB))
    ]
    assert found[0] == found[1]
    assert found[0][0].text.startswith("Ice is\nA) solid\nB) gas\n")
    assert found[0][0].reference == "B"
    for split, file in {"train": "Train", "dev": "Dev", "test": "Test"}.items():
        write(tmp_path / "arc" / f"ARC-Easy-{file}.jsonl", [{**ARC_HUB, "question": f"{split}?"}])
    easy = NAMED["arc_easy"](path=tmp_path)
    assert easy.splits == ("train", "dev", "test")
    assert [easy.problems(s)[0].text.split("?")[0] for s in easy.splits] == ["train", "dev", "test"]
    assert NAMED["arc_easy"](path=tmp_path / "arc" / "ARC-Easy-Dev.jsonl").splits == ("dev",)


@pytest.mark.parametrize("name", ["aime24", "aime25"])
def test_aime(tmp_path: Path, name: str) -> None:
    rows = [AIME, {"problem": "Find m.", "answer": 0}, {"question": "Find k.", "answer": 999}]
    task = NAMED[name](path=write(tmp_path / "a.jsonl", rows))
    problems = {p.text.split("\n")[0]: p for p in task.problems("test")}
    assert {text: p.reference for text, p in problems.items()} == {"Find n.": "25", "Find m.": "0", "Find k.": "999"}
    for text in ("\\boxed{25}", "\\boxed{025}"):
        assert task.grader.grade(problems["Find n."], as_completion(text)).correct
    assert not task.grader.grade(problems["Find n."], as_completion("\\boxed{250}")).correct


AQUA = {"question": "2+2?", "options": ["A)3", "B)4"], "rationale": "", "correct": "B"}
STEPS = {"problem": "p", "steps": ["one", "two"], "label": 1}
BAD = [
    ("aime24", {"problem": "x", "answer": "1000"}, "the answer '1000' is not a whole number from 0 to 999"),
    ("aime24", {"problem": "x", "answer": "-3"}, "the answer '-3' is not a whole number from 0 to 999"),
    ("aime24", {"problem": "x"}, "no column 'answer'; the row has: problem"),
    ("aqua", {**AQUA, "correct": "C"}, "the answer 'C' is none of its options A to B"),
    ("aqua", {**AQUA, "options": ["A)3"]}, "1 options; a choice has 2 to 26"),
    ("aqua", {**AQUA, "options": ["A)3", "C)4"]}, r"option 'C\)4' does not begin with 'B\)'"),
    ("aqua", {**AQUA, "options": "A)3"}, "column 'options' should hold a list, found 'A"),
    ("aqua", {"question": "x", "correct": "A"}, "no column 'options'; the row has: question, correct"),
    ("strategyqa", {"question": "x?", "answer": "maybe"}, "the answer 'maybe' is neither true nor false"),
    ("strategyqa", {"question": "x?"}, "no column 'answer'"),
    ("arc_easy", {**ARC_HUB, "answerKey": "D"}, "the answer 'D' is none of the labels A, B"),
    ("arc_easy", {**ARC_HUB, "choices": {"text": ["a"], "label": ["A", "B"]}}, "2 labels for 1 options"),
    ("bbh", {"input": "x", "target": ""}, "column 'target' should hold a text"),
    ("bbh", {"target": "x"}, "no column 'input'"),
    ("processbench", {**STEPS, "label": 2}, "label 2 is no step of 2; steps count from 0, -1 is none"),
    ("processbench", {**STEPS, "label": True}, "label True is no step"),
    ("processbench", {**STEPS, "steps": []}, "column 'steps' should hold a list"),
    ("processbench", {"problem": "p", "label": 0}, "no column 'steps'"),
    ("simpleqa", {"problem": "x", "answer": " "}, "column 'answer' should hold a text"),
    ("simpleqa", {"answer": "x"}, "no column 'problem'"),
]


@pytest.mark.parametrize(("name", "row", "message"), BAD)
def test_bad_rows(tmp_path: Path, name: str, row: dict[str, Any], message: str) -> None:
    good = {
        "aime24": AIME, "aqua": AQUA, "strategyqa": {"question": "a?", "answer": True}, "arc_easy": ARC,
        "bbh": {"input": "a", "target": "(A)"}, "processbench": STEPS, "simpleqa": {"problem": "a", "answer": "b"},
    }[name]  # fmt: skip
    path = write(tmp_path / "rows.jsonl", [good, row])
    with pytest.raises(DataError, match=rf"^{path}:2: {message}") as caught:
        NAMED[name](path=path).problems("test")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "row"),
    [("aime24", AIME), ("arc_easy", ARC), ("processbench", STEPS), ("simpleqa", {"problem": "a", "answer": "b"})],
)
def test_a_problem_asked_twice(tmp_path: Path, name: str, row: dict[str, Any]) -> None:
    path = write(tmp_path / "rows.jsonl", [row, row])
    with pytest.raises(DataError, match=rf"^{path}:2: asks the question of {path}:1 again; remove one of them"):
        NAMED[name](path=path).problems("test")


def test_repeats_of_ones_own_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"question": "1+1?", "answer": 2}, {"question": "1+1?", "answer": 2}])
    with pytest.raises(DataError, match=r":2: asks the question of .*:1 again"):
        FileTask(path, split="test", repeats="error").problems("test")
    assert len(FileTask(path, split="test").problems("test")) == 2
    task = FileTask(path, split="test", repeats="error", broken="skip", note=lambda text: None)
    assert (len(task.problems("test")), task.reading.skipped) == (1, 1)
    assert len(task.problems("test")) == 1  # a second reading begins anew
    with pytest.raises(ConfigError, match="unknown way to treat repeated questions 'eror'"):
        FileTask(path, repeats="eror")  # pyright: ignore[reportArgumentType]


def rows_of(items: Any) -> list[tuple[str, dict[str, Any]]]:
    return [
        (item.where.rpartition(":")[2], dict(item.data)) if isinstance(item, Row) else ("error", {"": str(item)})
        for item in items
    ]


def test_csv(tmp_path: Path) -> None:
    text = '\ufeffproblem,answer\n"Who, and\nwhen?","Ann, 1907"\nx,y\n'
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("a.csv", "a.csv.gz"):
        assert rows_of(read_rows(tmp_path / name)) == [
            ("3", {"problem": "Who, and\nwhen?", "answer": "Ann, 1907"}),
            ("4", {"problem": "x", "answer": "y"}),
        ]
    (tmp_path / "b.csv").write_text("a,b\n1\n1,2,3\n1,2\n")
    found = rows_of(read_rows(tmp_path / "b.csv"))
    assert [where for where, _ in found] == ["error", "error", "4"]
    assert found[0][1][""] == f"{tmp_path / 'b.csv'}:2: 1 cells under 2 column names"
    assert "3: 3 cells under 2" in found[1][1][""]
    (tmp_path / "c.csv").write_text('a,b\n"1"x,2\n')
    with pytest.raises(DataError, match=r"c\.csv:2: not valid CSV"):
        list(read_rows(tmp_path / "c.csv"))
    (tmp_path / "d.csv").write_bytes(b"a,b\n\xff,2\n")
    with pytest.raises(DataError, match=r"d\.csv: not UTF-8"):
        list(read_rows(tmp_path / "d.csv"))


def test_files_that_are_not_what_they_are_called(tmp_path: Path) -> None:
    write(tmp_path / "lines.json", [{"a": 1}, {"a": 2}])
    assert rows_of(read_lines(tmp_path / "lines.json")) == [("1", {"a": 1}), ("2", {"a": 2})]
    (tmp_path / "under.json").write_text('{"canary": "x", "examples": [{"a": 1},\n {"a": 2}]}')
    found = rows_of(read_under("examples", tmp_path / "under.json"))
    assert found == [("1 (row 1)", {"a": 1}), ("2 (row 2)", {"a": 2})]
    with pytest.raises(DataError, match="expected an object with its rows in the array 'rows'"):
        list(read_under("rows", tmp_path / "under.json"))
    (tmp_path / "list.json").write_text('[{"a": 1}]')
    assert rows_of(read_under("rows", tmp_path / "list.json")) == [("1", {"a": 1})]


def test_public_name_of_a_benchmark_with_subsets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    asked: list[str] = []

    def hf_hub_download(repo: str, file: str, *, repo_type: str, revision: str) -> str:
        asked.append(f"{repo}/{file}")
        parquet.write_table(
            pyarrow.Table.from_pylist([{"input": f"in {file}", "target": "Yes"}]), tmp_path / "x.parquet"
        )
        return str(tmp_path / "x.parquet")

    monkeypatch.delenv("PONDER_DATA", raising=False)
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=hf_hub_download))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    problems = NAMED["bbh"](subset=["navigate", "snarks"]).problems("test")
    assert asked == ["lukaemon/bbh/navigate/test/0000.parquet", "lukaemon/bbh/snarks/test/0000.parquet"]
    assert {p.tags["subset"] for p in problems} == {"navigate", "snarks"}
