"""Named benchmarks: counts, references, tags, splits; every reference, handed in as the answer, is graded correct."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ponder.errors import DataError
from ponder.graders.base import as_completion
from ponder.tasks.benchmarks import boxed, exact, gsm8k
from ponder.tasks.files import unsound
from ponder.tasks.named import NAMED, Benchmark
from ponder.types import Problem

DATA = Path(os.environ.get("PONDER_DATA") or Path(__file__).parents[3] / "shared" / "data")
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the public data sets are not here; set PONDER_DATA")
COUNTS = {
    "gsm8k": {"train": 6735, "dev": 738, "test": 1319},
    "math": {"train": 6744, "dev": 752, "test": 5000},
    "math500": {"test": 500},
    "svamp": {"test": 1000},
    "multiarith": {"test": 600},
    "addsub": {"test": 395},
    "singleeq": {"test": 508},
    "gsm_hard": {"test": 1319},
}


@pytest.fixture(autouse=True)
def use_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PONDER_DATA", str(DATA))


def everything(name: str) -> list[Problem]:
    task = NAMED[name]()
    return [p for split in task.splits for p in task.problems(split)]


@needs_data
@pytest.mark.parametrize("name", COUNTS)
def test_counts_and_no_problem_twice(name: str) -> None:
    task = NAMED[name]()
    assert {s: len(task.problems(s)) for s in task.splits} == COUNTS[name]
    problems = everything(name)
    assert len({p.id for p in problems}) == len(problems)
    assert all(isinstance(p.reference, str) and p.reference and p.task == name for p in problems)
    assert all(p.text.endswith("\nPut the final answer in \\boxed{}.") for p in problems)


@needs_data
@pytest.mark.parametrize("name", [n for n in COUNTS if n != "math"])
def test_every_reference_is_graded_correct(name: str) -> None:
    bad = unsound(NAMED[name]().grader, everything(name))
    assert [(p.reference, why) for p, why in bad] == []


@needs_data
@pytest.mark.parametrize("name", [n for n in COUNTS if n != "math"])
def test_the_next_problems_reference_is_wrong(name: str) -> None:
    """Identical text is equal whatever it says; this shows that the references are understood."""
    task = NAMED[name]()
    problems = task.problems("test")
    pairs = [(p, q.reference) for p, q in pairwise(problems) if p.reference != q.reference]
    grades = [task.grader.grade(p, as_completion(f"\\boxed{{{other}}}")) for p, other in pairs]
    odd = [(p.reference, other, g) for (p, other), g in zip(pairs, grades, strict=True) if g.outcome != "wrong"]
    assert odd == []
    assert len(pairs) > 0.9 * len(problems)


@needs_data
@pytest.mark.slow
def test_every_reference_of_math_is_graded_correct() -> None:
    bad = unsound(NAMED["math"]().grader, everything("math"))
    assert [(p.reference, why) for p, why in bad] == []


@needs_data
def test_whole_training_files_on_request() -> None:
    assert len(NAMED["gsm8k"](dev=False).problems("train")) == 7473
    assert len(NAMED["math"](dev=False).problems("train")) == 7496
    with pytest.raises(DataError, match="gsm8k: has no dev split; it has: train, test"):
        NAMED["gsm8k"](dev=False).problems("dev")


@needs_data
@pytest.mark.parametrize(("train", "test"), [("gsm8k", "gsm8k"), ("math", "math"), ("math", "math500")])
def test_no_training_question_is_asked_in_the_test(train: str, test: str) -> None:
    def key(problem: Problem) -> str:
        return re.sub(r"\s+", "", problem.text)

    trained = {key(p) for s in ("train", "dev") for p in NAMED[train]().problems(s)}
    assert not trained & {key(p) for p in NAMED[test]().problems("test")}


@needs_data
def test_readers_by_known_rows() -> None:
    first = {name: json.loads((DATA / file).read_text().splitlines()[0]) for name, file in FILES.items()}
    found = {name: {p.text.splitlines()[0]: p for p in NAMED[name]().problems("test")} for name in FILES}
    robe = found["gsm8k"][
        "A robe takes 2 bolts of blue fiber and half that much white fiber.  How many bolts in total does it take?"
    ]
    assert (robe.reference, robe.tags) == ("3", {"steps": 2})
    polar = found["math500"][first["math500"]["problem"].splitlines()[0]]
    assert polar.reference == "\\left( 3, \\frac{\\pi}{2} \\right)"
    assert polar.tags == {"subject": "Precalculus", "level": 2}
    bananas = next(p for text, p in found["svamp"].items() if "290 bananas" in text and "each group of bananas" in text)
    assert "into 93 groups. How big is each group of bananas?" in bananas.text
    assert bananas.reference == "145"
    assert bananas.tags == {"type": "Common-Division"}
    assert found["multiarith"][first["multiarith"]["input"]].reference == "39"


FILES = {
    "gsm8k": "gsm8k/test.jsonl",
    "math500": "math/math500_test.jsonl",
    "svamp": "math_misc/svamp_normalised.jsonl",
    "multiarith": "math_misc/multiarith.jsonl",
}


@needs_data
def test_solution_boxes_agree_with_published_answers() -> None:
    answers = {p.text: p.reference for p in NAMED["math500"]().problems("test")}
    from_boxes = {p.text: p.reference for p in NAMED["math"]().problems("test")}
    assert {text: from_boxes[text] for text in answers} == answers


@needs_data
def test_limit_is_a_prefix_and_template_and_grader_are_options() -> None:
    task = NAMED["gsm8k"](template="Q: {question}")
    assert task.problems("dev", 5, 7) == task.problems("dev", 20, 7)[:5] != task.problems("dev", 5, 8)
    assert task.problems("dev", 1)[0].text.startswith("Q: ")
    same = NAMED["gsm8k"]().problems("dev", 5, 7)
    assert [p.id for p in same] == [p.id for p in task.problems("dev", 5, 7)]


@needs_data
def test_solutions_can_be_imitated() -> None:
    task = NAMED["gsm8k"]()
    for problem in task.problems("train", 50):
        text = task.demonstrate(problem).text
        assert text.startswith("<think>")
        assert text.endswith(f"</think>\\boxed{{{problem.reference}}}")
        assert "<<" not in text
        assert "####" not in text


def small(folder: Path) -> Path:
    rows = [{"question": f"q{i}?", "answer": f"It is <<1+1=2>>2.\n#### 1,{i:03}"} for i in range(40)]
    for name in ("train.jsonl", "test.jsonl"):
        offset = 40 if name == "test.jsonl" else 0
        lines = [json.dumps({**row, "question": f"{row['question']} {offset}"}) for row in rows]
        (folder / name).write_text("\n".join(lines))
    return folder


def test_by_folder_and_by_file(tmp_path: Path) -> None:
    folder = NAMED["gsm8k"](path=small(tmp_path))
    assert {p.reference for p in folder.problems("test")} == {f"1{i:03}" for i in range(40)}
    one = NAMED["gsm8k"](path=tmp_path / "test.jsonl")
    assert one.splits == ("test",)
    assert one.problems("test") == folder.problems("test")
    shutil.copy(tmp_path / "train.jsonl", tmp_path / "my-train-set.jsonl")
    mine = NAMED["gsm8k"](path=tmp_path / "my-train-set.jsonl")
    assert mine.splits == ("train", "dev")
    assert mine.problems("train") == folder.problems("train")
    assert mine.problems("dev") == folder.problems("dev")
    with pytest.raises(DataError, match="looks like a train split; this benchmark has only test"):
        NAMED["math500"](path=tmp_path / "train.jsonl")
    with pytest.raises(DataError, match=r"math500_test.jsonl: no such file"):
        NAMED["math500"](path=tmp_path).problems("test")


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PONDER_DATA", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError) as caught:
        NAMED["gsm8k"]().problems("test")
    text = str(caught.value)
    for part in (
        "gsm8k/test.jsonl",
        str(tmp_path),
        "path=",
        "PONDER_DATA",
        "pip install 'ponder[hub,parquet]'",
        "openai/gsm8k",
    ):
        assert part in text
    monkeypatch.delenv("PONDER_DATA")
    with pytest.raises(DataError, match=r"math_misc/addsub.jsonl PONDER_DATA is not set; give its file or folder"):
        NAMED["addsub"]().problems("test")
    with pytest.raises(DataError, match="math500: has no train split; it has: test"):
        NAMED["math500"]().problems("train")


def test_rows_that_are_not_the_benchmarks(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text('{"question": "x", "answer": "no mark"}\n')
    with pytest.raises(DataError, match=r"test.jsonl:1: the answer has no '#### ' line"):
        NAMED["gsm8k"](path=tmp_path / "test.jsonl").problems("test")
    (tmp_path / "test.jsonl").write_text('{"prompt": "x"}\n')
    for name, column in (("gsm8k", "answer"), ("math500", "solution"), ("svamp", "Body"), ("multiarith", "input")):
        with pytest.raises(DataError, match=rf"test.jsonl:1: no column '{column}'; the row has: prompt"):
            NAMED[name](path=tmp_path / "test.jsonl").problems("test")


def test_public_name_fetches_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    asked: list[tuple[Any, ...]] = []

    def hf_hub_download(repo: str, file: str, *, repo_type: str, revision: str) -> str:
        asked.append((repo, file, repo_type, revision))
        if repo != "ChilleD/SVAMP":
            raise ConnectionError("no route to host\nand more")
        row = {"Body": f"There are 3 cats in {file}", "Question": "How many?", "Answer": "3.0", "Type": "Sum"}
        path = tmp_path / f"{len(asked)}.parquet"
        parquet.write_table(pyarrow.Table.from_pylist([row]), path)
        return str(path)

    monkeypatch.setenv("PONDER_DATA", str(tmp_path))
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=hf_hub_download))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    problems = NAMED["svamp"]().problems("test")
    assert [p.reference for p in problems] == ["3", "3"]
    assert [a[1] for a in asked] == ["default/train/0000.parquet", "default/test/0000.parquet"]
    assert {a[2:] for a in asked} == {("dataset", "refs/convert/parquet")}
    with pytest.raises(DataError) as caught:
        NAMED["math500"]().problems("test")
    assert "can not be fetched (no route to host); give its file with path=" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (145.0, "145"), (-9867630.0, "-9867630"), (5.3333333333, "16/3"), (14053029.666666666, "42159089/3"),
        (0.0016791648, "0.0016791648"), (3244047.0999999996, "3244047.1"), (36.0000102016, "36.0000102016"),
        (0.33, "0.33"), (0.0, "0"), (1.9752e-06, "0.0000019752"), (0.5, "0.5"),
    ],
)  # fmt: skip
def test_exact(value: float, expected: str) -> None:
    assert exact(value) == expected


@pytest.mark.parametrize(
    ("solution", "expected"),
    [
        ("so $\\boxed{\\frac{1}{2}}$.", "\\frac{1}{2}"),
        ("$\\boxed{3}$ in the box, so the sum is $\\boxed{7}$.", "7"),
        ("are $\\boxed{-2}$ and $\\boxed{1}$.", "-2, 1"),
        ("$a = \\boxed{-1}$ and $a = \\boxed{2}$", "-1, 2"),
        ("$\\boxed{(1,2)} \\text{ and } \\boxed{(3,4)}$", "(1,2), (3,4)"),
        ("$\\boxed{5}$, or $\\boxed{5.0}$", "5.0"),
        ("a $\\boxed{5}$ b. And so again $\\boxed{5}$", "5"),
    ],
)
def test_boxed(solution: str, expected: str) -> None:
    assert boxed(solution) == expected


def test_gsm8k_takes_out_commas_and_calculator_marks() -> None:
    row = gsm8k({"question": "q", "answer": "She has 2*3=<<2*3=6>>6.\nThen 1,000 more.\n#### 1,006"})
    assert row["answer"] == "1006"
    assert row["tags"] == {"steps": 2}
    assert row["completion"] == "<think>She has 2*3=6.\nThen 1,000 more.</think>\\boxed{1006}"


def test_options_are_checked() -> None:
    assert isinstance(NAMED["gsm8k"](template="{question}"), Benchmark)
    with pytest.raises(TypeError):
        NAMED["gsm8k"](tempalte="{question}")
