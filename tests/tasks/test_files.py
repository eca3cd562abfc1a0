"""Reading problems from files: formats, column maps, splits, order, and every way a file can be wrong."""

from __future__ import annotations

import gzip
import json
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder import tasks
from ponder.errors import ConfigError, DataError
from ponder.tasks.columns import reference_of
from ponder.tasks.files import FileTask, grader_of
from ponder.tasks.rows import Row, read_rows

ROWS = [{"question": f"What is {i} + {i}?", "answer": str(2 * i)} for i in range(200)]


def write(path: Path, rows: list[Any]) -> Path:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(lines.encode()))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=1))
    elif path.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        path.write_text(lines)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json", "a.parquet", "a.ndjson"])
def test_every_format_gives_the_same_problems(tmp_path: Path, name: str) -> None:
    task = FileTask(write(tmp_path / name, ROWS), name="sums", split="test")
    expected = FileTask(write(tmp_path / "b.jsonl", ROWS), name="sums", split="test").problems("test")
    assert task.problems("test") == expected
    assert {p.reference for p in expected} == {str(2 * i) for i in range(200)}
    assert len({p.id for p in expected}) == 200


def test_splits_divide_the_file_and_do_not_depend_on_its_order(tmp_path: Path) -> None:
    task = FileTask(write(tmp_path / "a.jsonl", ROWS), name="sums")
    parts = {s: {p.id for p in task.problems(s)} for s in ("train", "dev", "test")}
    assert sum(map(len, parts.values())) == 200 == len(set.union(*parts.values()))
    assert all(10 <= len(parts[s]) <= 35 for s in ("dev", "test"))
    turned = FileTask(write(tmp_path / "other.jsonl", ROWS[::-1]), name="sums")
    assert {p.id for p in turned.problems("test")} == parts["test"]
    assert turned.problems("test", seed=3) == task.problems("test", seed=3)


def test_template_changes_the_prompt_and_neither_id_nor_split(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"question": "{x} + {question}", "answer": 1}])
    plain = FileTask(path, split="test").problems("test")[0]
    boxed = FileTask(path, split="test", template="{question} Use \\boxed{}.").problems("test")[0]
    assert boxed.text == "{x} + {question} Use \\boxed{}."
    assert plain.text == "{x} + {question}"
    assert boxed.id == plain.id


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_longer_limit_extends_shorter(tmp_path_factory: pytest.TempPathFactory, a: int, b: int, seed: int) -> None:
    path = tmp_path_factory.getbasetemp() / "prefix.jsonl"
    if not path.exists():
        write(path, ROWS)
    task = FileTask(path, split="train")
    short, long = sorted((a, b))
    assert task.problems("train", long, seed)[:short] == task.problems("train", short, seed)


def test_seeds_order_differently(tmp_path: Path) -> None:
    task = FileTask(write(tmp_path / "a.jsonl", ROWS), split="train")
    first, second = task.problems("train", seed=0), task.problems("train", seed=1)
    assert first != second
    assert sorted(p.id for p in first) == sorted(p.id for p in second)


@pytest.mark.slow
def test_choosing_few_of_many_holds_few(tmp_path: Path) -> None:
    path = tmp_path / "big.jsonl"
    with path.open("w") as out:
        for i in range(20_000):
            out.write(json.dumps({"question": f"{i} " + "x" * 1000, "answer": i}) + "\n")
    task = FileTask(path, split="train")
    tracemalloc.start()
    assert len(task.problems("train", 10)) == 10
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 20e6 > 4 * peak


def test_nested_columns_tags_ids_and_messages(tmp_path: Path) -> None:
    row = {
        "chat": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}],
        "meta": {"gold": [3, 4], "level": "easy", "more": {"kind": "sum"}},
        "key.with.dots": "k1",
    }
    columns = {
        "messages": "chat",
        "reference": "meta.gold.1",
        "tags": ["meta.level", "meta.more"],
        "id": "key.with.dots",
    }
    problem = FileTask(write(tmp_path / "a.jsonl", [row]), columns=columns, split="dev").problems("dev")[0]
    assert [m.role for m in problem.messages] == ["system", "user"]
    assert problem.text == "2+2?"
    assert problem.reference == "4"
    assert problem.tags == {"level": "easy", "kind": "sum", "source_id": "k1"}


def test_several_question_columns_are_joined_and_the_rest_guessed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"Body": "A cat.", "Question": "How many?", "target": 1.0}])
    problem = FileTask(path, columns={"question": ["Body", "Question"]}, split="test").problems("test")[0]
    assert (problem.text, problem.reference) == ("A cat. How many?", "1")


def test_reference_can_be_absent_when_said_so(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"question": "Hello?"}])
    assert FileTask(path, columns={"reference": None}, split="test").problems("test")[0].reference is None


def test_completions_become_demonstrations(tmp_path: Path) -> None:
    rows = [{"question": "1+1?", "answer": "2", "solution": "<think>two</think>2"}]
    task = FileTask(write(tmp_path / "a.jsonl", rows), columns={"completion": "solution"}, split="train")
    problem = task.problems("train")[0]
    shown = task.demonstrate(problem, "low")
    assert (shown.text, shown.effort, shown.problem) == ("<think>two</think>2", "low", problem)
    with pytest.raises(DataError, match="no completion to imitate"):
        FileTask(write(tmp_path / "b.jsonl", rows), split="train").demonstrate(problem)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, "3"), (-4.0, "-4"), (0.1, "0.1"), (1e-7, "0.0000001"), (1e22, "10000000000000000000000"),
        (True, "true"), (" x ", "x"), ([1, 2], [1, 2]), ({"a": 1}, {"a": 1}),
    ],
)  # fmt: skip
def test_reference_of(value: Any, expected: Any) -> None:
    assert reference_of(value) == expected


@pytest.mark.parametrize("value", [None, "", "  ", float("nan"), float("inf"), [], {}, b"2"])
def test_reference_of_refuses(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        reference_of(value)


GOOD = json.dumps(ROWS[0])
BROKEN = {
    "cut off": ('{"question": "x", "ans', "not valid JSON"),
    "not an object": ('["x", "y"]', "expected an object with named columns, found a list"),
    "a number": ("3", "found a number"),
    "NaN": ('{"question": "x", "answer": NaN}', "not valid JSON"),
    "no answer": ('{"question": "x", "solution": "3"}', "no column 'answer'; the row has: question, solution"),
    "null answer": ('{"question": "x", "answer": null}', "column 'answer' is no reference: empty"),
    "empty question": ('{"question": "  ", "answer": "1"}', "column 'question' is empty"),
    "question is a number": ('{"question": 7, "answer": "1"}', "should hold a text, found a number"),
    "question is a list": ('{"question": ["a"], "answer": "1"}', "should hold a text, found a list"),
    "deep": ('{"question": ' + "[" * 100_000, "nested too deeply"),
    "lone surrogate": ('{"question": "\\ud800 x", "answer": "1"}', ":2:"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_rows_name_their_line_or_are_counted(tmp_path: Path, case: str) -> None:
    line, message = BROKEN[case]
    path = tmp_path / "a.jsonl"
    path.write_text(f"{GOOD}\n{line}\n\n{json.dumps(ROWS[1])}\n")
    with pytest.raises(DataError) as caught:
        FileTask(path, split="test").problems("test")
    text = str(caught.value)
    assert text.startswith(f"{path}:2: ")
    assert message in text
    assert "\n" not in text
    assert len(text) < 400
    notes: list[str] = []
    task = FileTask(path, split="test", broken="skip", note=notes.append)
    assert len(task.problems("test")) == 2
    assert (task.reading.skipped, task.reading.rows) == (1, 3)
    assert len(notes) == 1
    assert "skipped 1 of 3 rows" in notes[0]
    assert f"{path}:2" in notes[0]


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"question": "caf\xe9", "answer": "1"}\n')
    with pytest.raises(DataError, match=r"a.jsonl:1: not UTF-8"):
        FileTask(path, split="test").problems("test")


def test_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode() + b"\r\n\r\n")
    assert len(FileTask(path, split="test").problems("test")) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", ":1: expected an object with named columns, found a number"),
        ('{"a": 1}', ":1: expected an array of objects; one object per line belongs in a file named .jsonl"),
        (f"[{GOOD},\n{GOOD}", ":2: not valid JSON (the array ends here"),
        (f"[{GOOD},\n\n{{bad}}]", ":3: not valid JSON"),
        (f"[{GOOD},\nNaN]", ":2: not valid JSON (NaN is not a JSON value)"),
        (f"[{GOOD},\n" + "[" * 100_000, ":2: nested too deeply"),
        (f"[{GOOD} {GOOD}]", ":1: not valid JSON"),
        ("", ": holds no rows"),
        ("[]", ": holds no rows"),
    ],
)
def test_broken_arrays(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        FileTask(path, split="test").problems("test")
    assert str(caught.value).startswith(f"{path}{message}")
    assert "\n" not in str(caught.value)


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    whole = gzip.compress((GOOD + "\n").encode() * 2000)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "fake.jsonl.gz").write_text(GOOD)
    (tmp_path / "train.jsonl").write_text("\n \n")
    (tmp_path / "folder.jsonl").mkdir()
    cases = {
        "cut.jsonl.gz": "damaged file",
        "fake.jsonl.gz": ":1: damaged file",
        "trian.jsonl": "no such file; did you mean 'train.jsonl'?",
        "train.jsonl": "holds no rows",
        "folder.jsonl": "is a folder",
        "data.tsv": "unknown kind of file; use one of .jsonl",
    }
    for name, message in cases.items():
        with pytest.raises(DataError) as caught:
            FileTask(tmp_path / name, split="test").problems("test")
        assert message in str(caught.value)
        assert str(tmp_path / name) in str(caught.value)


def test_damaged_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = write(tmp_path / "a.parquet", ROWS)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match="not a readable parquet file"):
        FileTask(path, split="test").problems("test")


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.parquet", ROWS)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(DataError, match=r"pip install 'ponder\[parquet\]'"):
        FileTask(path, split="test").problems("test")


def test_parquet_rows_are_numbered_across_batches(tmp_path: Path) -> None:
    rows = [{"question": f"q{i}", "answer": "1"} for i in range(1500)]
    rows[1400]["question"] = ""
    path = write(tmp_path / "a.parquet", rows)
    with pytest.raises(DataError, match=r"a.parquet:row 1401: column 'question' is empty"):
        FileTask(path, split="test").problems("test")


def test_repeats_are_dropped_between_splits_and_kept_in_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [*ROWS, ROWS[0], {"question": "What  is 1 + 1?", "answer": "3"}])
    notes: list[str] = []
    divided = FileTask(path, note=notes.append)
    assert sum(len(divided.problems(s)) for s in ("train", "dev", "test")) == 200
    assert notes == [f"{path}: dropped 2 repeated questions of 202 rows"] * 3
    whole = FileTask(path, split="test").problems("test")
    assert len(whole) == 202 == len({p.id for p in whole})


def test_wrong_requests(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ROWS[:3])
    test = FileTask(path, split="test")
    with pytest.raises(DataError, match="is declared to be the test split and has no train split"):
        test.problems("train")
    with pytest.raises(ConfigError, match="limit: 0"):
        test.problems("test", 0)
    with pytest.raises(ConfigError, match="unknown split 'tset'; did you mean 'test'"):
        test.problems("tset")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="unknown entry in the column map 'refrence'; did you mean 'reference'"):
        FileTask(path, columns={"refrence": "answer"}, split="test").problems("test")
    with pytest.raises(DataError, match=r"no column 'gold'; the row has: question, answer. Name one with columns="):
        FileTask(path, columns={"reference": "gold"}, split="test").problems("test")
    with pytest.raises(ConfigError, match=r"has no \{question\}"):
        FileTask(path, template="Answer in \\boxed{}.")
    one = write(tmp_path / "one.jsonl", ROWS[:1])
    other = "dev" if FileTask(one, split="test").problems("test")[0].split == "test" else "test"
    with pytest.raises(
        DataError, match=f"none of its 1 rows falls into the {other} split.*: split='{other}', or .*one.jsonl#{other}"
    ):
        FileTask(one).problems(other)


def test_the_path_may_declare_the_split(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ROWS[:7])
    task = tasks.get(f"file:{path}#dev")
    assert task.problems("dev") == FileTask(path, split="dev").problems("dev")
    assert len(task.problems("dev")) == 7
    with pytest.raises(ConfigError, match="dev split by its ending, but split is 'test'"):
        FileTask(f"{path}#dev", split="test")
    odd = write(tmp_path / "b.jsonl", ROWS[:3]).rename(tmp_path / "b.jsonl#test")
    with pytest.raises(DataError, match="unknown kind of file"):
        FileTask(odd).problems("test")


def test_options_of_a_file_task_are_checked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ROWS[:7])
    with pytest.raises(ConfigError, match="did you mean 'columns'"):
        tasks.get(f"file:{path}", colums={"reference": "answer"})


def test_all_rows_broken_is_an_error_even_when_skipping(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"question": "", "answer": 1}] * 3)
    with pytest.raises(DataError, match=r"none of its 3 rows can be used; the first: .*a.jsonl:1"):
        FileTask(path, split="test", broken="skip", note=lambda _: None).problems("test")


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_rows_or_data_errors(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    for name in ("any.jsonl", "any.json", "any.jsonl.gz"):
        path = tmp_path_factory.getbasetemp() / name
        path.write_bytes(body)
        try:
            found = list(read_rows(path))
        except DataError as error:
            found = [error]
        assert all(isinstance(item, Row) or "\n" not in str(item) for item in found)


def test_a_grader_with_options() -> None:
    math: Any = grader_of({"grader": "math", "twin": 0.5, "percent": "drop"})
    assert (math.twin, math.policy.percent) == (0.5, "drop")
    literal: Any = grader_of({"twin": 1}, "literal")
    assert (type(literal).__name__, literal.twin) == ("LiteralGrader", 1)
    with pytest.raises(ConfigError, match="did you mean 'twin'"):
        grader_of({"twinn": 1})
    with pytest.raises(ConfigError, match="name one"):
        grader_of({"twin": 1}, literal)
