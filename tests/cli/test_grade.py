"""`ponder grade`: columns, broken rows, resuming, recorded verdicts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ponder import config
from ponder.cli import grade, grade_rows
from ponder.cli.grade import GradeConfig, run, show
from ponder.errors import ConfigError, DataError
from ponder.types import Grade

ROWS = [
    {"completion": "<think>1</think>\\boxed{1/2}", "reference": "0.5", "recorded": {"ok": True}},
    {"completion": "<think>1</think>\\boxed{3}", "reference": "0.5", "recorded": {"ok": True}},
    {"completion": "<think>0.5", "reference": "0.5", "recorded": {"ok": False}},
]


def write(folder: Path, rows: list[Any], name: str = "c.jsonl") -> Path:
    path = folder / name
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


def settings(path: Path, **changes: Any) -> GradeConfig:
    return config.load(GradeConfig, None, {"file": str(path), **changes})


def graded(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_summary_and_rows(tmp_path: Path) -> None:
    result = run(settings(write(tmp_path, ROWS), flag="recorded.ok"))
    assert result["outcomes"] == {"correct": 1, "wrong": 1, "unparsed": 1}
    assert result["accuracy"] == pytest.approx(1 / 3)
    assert result["interval"][0] < 1 / 3 < result["interval"][1]
    assert (result["agreement"], result["disagreements"]) == (pytest.approx(2 / 3), 1)
    rows = graded(Path(result["out"]))
    assert Path(result["out"]).name == "c.graded.jsonl"
    assert [r["line"] for r in rows] == [1, 2, 3]
    assert rows[0]["row"] == ROWS[0]
    assert rows[0]["grade"]["parts"]["answer"] == "1/2"
    assert rows[2]["grade"]["reason"] == "thinking was not closed"
    assert "accuracy" in show(result)


def test_lists_of_completions_and_compressed_files(tmp_path: Path) -> None:
    row = {"answers": ["1", "2", "one half"], "gold": 1, "flags": [True, True, False]}
    path = tmp_path / "c.jsonl.gz"
    path.write_bytes(gzip.compress((json.dumps(row) + "\n").encode()))
    result = run(settings(path, completion="answers", reference="gold", flag="flags"))
    assert (result["graded"], result["rows"], result["disagreements"]) == (3, 1, 1)
    assert [g["outcome"] for g in graded(tmp_path / "c.graded.jsonl")[0]["grade"]][:2] == ["correct", "wrong"]


def test_broken_rows_are_named_counted_and_not_fatal(tmp_path: Path) -> None:
    bad = ["{", "[1]", {"complete": "1", "reference": "1"}, {"completion": 7, "reference": "1"}, "", "\x00", ROWS[0]]
    path = write(tmp_path, bad)
    result = run(settings(path))
    assert (result["broken"], result["graded"], result["rows"]) == (5, 1, 6)
    assert result["first_broken"][0].startswith(f"{path}:1: ")
    assert "did you mean 'complete'" in result["first_broken"][2]
    assert result["ok"]
    assert not run(settings(write(tmp_path, ["{"], "d.jsonl")))["ok"]


def test_resumes_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, ROWS * 4)
    whole = run(settings(path, out=str(tmp_path / "whole.jsonl")))
    monkeypatch.setattr(grade_rows, "BATCH", 2)
    calls = 0
    judge = grade_rows.judge

    def interrupted(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt
        return judge(*args)

    monkeypatch.setattr(grade_rows, "judge", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(settings(path))
    out = tmp_path / "c.graded.jsonl"
    assert len(graded(out)) == 5  # everything graded so far is kept
    with out.open("a") as stream:
        stream.write('{"line": 6, "half')  # what a kill may leave
    monkeypatch.setattr(grade_rows, "judge", judge)
    result = run(settings(path))
    assert result["resumed_rows"] == 5
    assert result["outcomes"] == whole["outcomes"]
    assert out.read_text() == (tmp_path / "whole.jsonl").read_text()


def test_other_settings_do_not_mix(tmp_path: Path) -> None:
    path = write(tmp_path, ROWS)
    run(settings(path))
    with pytest.raises(ConfigError, match="other settings"):
        run(settings(path, options=["percent=drop"]))
    assert run(settings(path, options=["percent=drop"], fresh=True))["rows"] == 3


def test_what_is_wrong_with_the_settings_is_said(tmp_path: Path) -> None:
    path = write(tmp_path, ROWS)
    with pytest.raises(DataError, match="no such file"):
        run(settings(tmp_path / "none.jsonl"))
    with pytest.raises(ConfigError, match="choose another --out"):
        run(settings(path, out=str(path)))
    with pytest.raises(ConfigError, match="did you mean 'math'"):
        run(settings(path, grader="maht"))
    with pytest.raises(ConfigError, match="key=value"):
        run(settings(path, options=["percent"]))
    assert path.read_text().count("\n") == len(ROWS)


def test_solutions_as_references_and_options(tmp_path: Path) -> None:
    row = {"completion": "so\nA: 7", "reference": "it is 3+4.\nA: 7"}
    result = run(
        settings(write(tmp_path, [row]), options=['marks=["A:"]', "phrases=false"], reference_is_solution=True)
    )
    assert result["accuracy"] == 1.0


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ponder.cli import main

    path = write(tmp_path, ROWS)
    assert main(["grade", str(path), "--json", "--quiet", "--options", "percent=drop", "whole=100"]) == 0
    assert json.loads(capsys.readouterr().out)["graded"] == 3
    assert main(["grade", str(tmp_path / "none.jsonl")]) == 2
    assert main(["grade", str(path), "--refrence", "x"]) == 2
    assert "did you mean 'reference'" in capsys.readouterr().err
    assert main(["grade", str(write(tmp_path, ["{"], "d.jsonl")), "--quiet"]) == 1
    assert main(["grade"]) == 2


PROBLEMS = [
    {
        "task_id": f"test/{i}",
        "prompt": f"def add{i}(x):\n",
        "canonical_solution": f"    return x + {i}",
        "test": f"def check(candidate):\n    assert candidate(1) == {1 + i}",
        "entry_point": f"add{i}",
    }
    for i in range(2)
]


def test_programs_are_graded_in_batches_on_the_problems_of_a_task(tmp_path: Path) -> None:
    problems = write(tmp_path, PROBLEMS, "problems.jsonl")
    equal = "    class A:\n        def __eq__(self, o): return True\n    return A()"
    samples = [
        {"task_id": "test/0", "completion": "    return x"},
        {"task_id": "test/1", "completion": "\treturn x + 1"},
        {"task_id": "test/1", "completion": equal},
        {"task_id": "test/7", "completion": "    return 1"},
        {"completion": "    return 1"},
    ]
    path = write(tmp_path, samples)
    given = {"task": "humaneval", "task_options": (f"path={problems}",)}
    result = run(settings(path, options=["twin=1"], **given))
    assert (result["outcomes"], result["broken"], result["ungraded"]) == ({"correct": 2, "wrong": 1}, 2, 0)
    assert result["hack_rate"] == {"rate": pytest.approx(1 / 3), "hacked": 1, "decided": 3}
    assert "1 of 3 fool the permissive twin" in show(result)
    assert "task 'humaneval' has no problem 'test/7'; the nearest is" in result["first_broken"][0]
    assert "no column 'task_id'" in result["first_broken"][1]
    rows = graded(tmp_path / "c.graded.jsonl")
    assert rows[1]["grade"]["parts"]["level"].startswith("L")
    with pytest.raises(ConfigError, match="did you mean 'twin'"):
        run(settings(path, options=["twinn=1"], **given))


class Failing:
    """A grader of many whose harness fails for some of them."""

    calls = 0

    def check_many(self, pairs: Any) -> list[Grade]:
        type(self).calls += 1
        return [Grade(1.0, "correct") if text == "1" else Grade(None, "error", reason="no worker") for _, text in pairs]


def test_what_could_not_be_graded_is_neither_right_nor_wrong(tmp_path: Path) -> None:
    rows = [{"completion": text, "reference": None} for text in ("1", "1", "2")]
    result = run(settings(write(tmp_path, rows), grader=f"{__name__}:Failing"))
    assert (result["accuracy"], result["graded"], result["ungraded"], Failing.calls) == (1.0, 2, 1, 1)
    assert "ungraded  1, neither right nor wrong" in show(result)
    assert graded(tmp_path / "c.graded.jsonl")[2]["grade"]["score"] is None


class Breaks:
    """A grader of exact text that can be broken."""

    broken = True

    def check(self, reference: object, completion: str) -> Grade:
        if self.broken and completion == "b":
            return Grade(None, "error", reason="the sandbox is gone")
        return Grade(float(completion == reference), "correct" if completion == reference else "wrong")


def test_what_could_not_be_graded_is_tried_again_by_the_same_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grader = Breaks()
    monkeypatch.setattr(grade, "make", lambda name: grader)
    path = write(tmp_path, [{"completion": list(c), "reference": "b"} for c in ("ab", "bb", "aa")])
    result = run(settings(path, grader="breaks"))
    assert (result["graded"], result["ungraded"], result["accuracy"]) == (3, 3, 0.0)
    assert result["ungraded_reasons"] == {"the sandbox is gone": 3}
    assert "3 x the sandbox is gone" in show(result)
    out = tmp_path / "c.graded.jsonl"
    before = out.read_bytes()
    assert run(settings(path, grader="breaks"))["graded_again"] == 0 and out.read_bytes() == before
    grader.broken = False
    result = run(settings(path, grader="breaks"))
    assert (result["graded_again"], result["graded"], result["ungraded"]) == (2, 6, 0)
    assert result["accuracy"] == pytest.approx(0.5)
    assert [row["line"] for row in graded(out)] == [1, 2, 3]
    whole = run(settings(path, grader="breaks", out=str(tmp_path / "whole.jsonl")))
    assert out.read_bytes() == Path(whole["out"]).read_bytes()
