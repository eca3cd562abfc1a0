from __future__ import annotations

import copy
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ponder.errors import ConfigError, DataError
from ponder.types import Message, Problem
from ponder.verifiers.labels.convert import Reading, convert
from ponder.verifiers.samples import LabelledSample

SHEPHERD = {
    "input": "How much is 2+2+2? Step 1: 2+2=4 ки\nStep 2: 4+2=7. The answer is: 7 ки",
    "label": "How much is 2+2+2? Step 1: 2+2=4 +\nStep 2: 4+2=7. The answer is: 7 -",
    "task": "GSM8K",
}
BENCH = {"id": "x-0", "generator": "M", "problem": "2+2+2?", "steps": ["2+2=4", "4+2=7", "So 7"],
         "final_answer_correct": False, "label": 1}  # fmt: skip


def rating(text: str, value: int | None) -> dict[str, Any]:
    return {"text": text, "rating": value, "flagged": False}


PRM: dict[str, Any] = {
    "question": {"problem": "2+2+2?", "ground_truth_answer": "6"},
    "label": {
        "steps": [
            {"completions": [rating("2+2=4.", 1)], "human_completion": None, "chosen_completion": 0},
            {"completions": [rating("4+2=7.", -1), rating("Hm.", 0)], "human_completion": rating("4+2=6.", None),
             "chosen_completion": None},
            {"completions": [rating("So 7.\n\n# Answer\n\n7", -1), rating("So 6.\n\n# Answer\n\n6.0", 1)],
             "human_completion": None, "chosen_completion": 1},
        ],
        "finish_reason": "solution",
    },
}  # fmt: skip


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def read(path: Path, form: str, reading: Reading | None = None) -> list[LabelledSample]:
    return [sample for _, samples in convert(path, form, reading) for sample in samples]


def test_prm800k(tmp_path: Path) -> None:
    """The chosen path with its ratings (the person's step unrated), and every alternative where it parts from it."""
    samples = read(write(tmp_path / "a.jsonl", PRM), "prm800k")
    found = [("".join(s.texts), s.labels, s.correct) for s in samples]
    path = "2+2=4.\n4+2=6.\n"
    assert found == [
        ("2+2=4.\n4+2=7.", (None, 0.0), None),
        ("2+2=4.\nHm.", (None, 1.0), None),
        (f"{path}So 7.\n\n# Answer\n\n7", (None, None, 0.0), False),
        (f"{path}So 6.\n\n# Answer\n\n6.0", (1.0, None, 1.0), True),
    ]
    problem = Problem((Message("user", "2+2+2?"),), task="prm800k")
    assert {(s.problem, s.split, s.kind, s.source) for s in samples} == {
        (problem.id, problem.split, "correctness", "prm800k")
    }
    assert [s.finished for s in samples] == [False, False, True, True]
    neutral = [s.labels[-1] for s in read(tmp_path / "a.jsonl", "prm800k", Reading(neutral=None))]
    assert neutral == [0.0, None, 0.0, 1.0]


def test_math_shepherd(tmp_path: Path) -> None:
    (sample,) = read(write(tmp_path / "a.jsonl", SHEPHERD), "math-shepherd")
    assert sample.messages == (Message("user", "How much is 2+2+2?"),)
    assert sample.texts == ("Step 1: 2+2=4\n", "Step 2: 4+2=7. The answer is: 7")
    assert (sample.labels, sample.correct, sample.kind) == ((1.0, 0.0), False, "value")


@pytest.mark.parametrize(
    ("first", "labels"), [(-1, (1.0, 1.0, 1.0)), (0, (0.0, None, None)), (1, (1.0, 0.0, None)), (2, (1.0, 1.0, 0.0))]
)
def test_processbench(tmp_path: Path, first: int, labels: tuple[float | None, ...]) -> None:
    path = write(tmp_path / "a.jsonl", BENCH | {"label": first})
    (sample,) = read(path, "processbench")
    assert sample.texts == ("2+2=4\n\n", "4+2=7\n\n", "So 7")
    assert (sample.labels, sample.correct, sample.model) == (labels, False, "M")


def changed(row: dict[str, Any], path: str, value: Any = None, drop: bool = False) -> dict[str, Any]:
    """`row` with the value at a dotted path replaced or dropped."""
    row = copy.deepcopy(row)
    at: Any = row
    *parts, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    for part in parts:
        at = at[part]
    if drop:
        del at[last]
    else:
        at[last] = value
    return row


FAULTS: list[tuple[str, dict[str, Any], str]] = [
    ("processbench", changed(BENCH, "label", drop=True), "no field 'label'"),
    ("processbench", {**changed(BENCH, "steps", drop=True), "step": []}, "no field 'steps'; did you mean 'step'"),
    ("processbench", changed(BENCH, "label", 3), "field 'label' is 3; there are 3 steps"),
    ("processbench", changed(BENCH, "label", "1"), "field 'label' must be a whole number, not a text"),
    ("processbench", changed(BENCH, "label", 0.5), "field 'label' must be a whole number"),
    ("processbench", changed(BENCH, "steps", "2+2"), "field 'steps' must be a list, not a text"),
    ("processbench", changed(BENCH, "steps.1", ""), "field 'steps[1]' is empty"),
    ("processbench", changed(BENCH, "steps.1", 7), "field 'steps[1]' must be text, not a number"),
    ("processbench", changed(BENCH, "final_answer_correct", 1), "must be true or false, not a number"),
    ("processbench", changed(BENCH, "problem", " "), "field 'problem' is empty"),
    ("math-shepherd", changed(SHEPHERD, "label", drop=True), "no field 'label'"),
    ("math-shepherd", changed(SHEPHERD, "input", "no marker"), "field 'input' must end every step"),
    ("math-shepherd", changed(SHEPHERD, "input", "Q? Step 1: a ки b"), "field 'input' must end every step"),
    ("math-shepherd", changed(SHEPHERD, "label", SHEPHERD["label"].replace("-", "?")), "at step 2"),
    ("math-shepherd", changed(SHEPHERD, "label", "other text +"), "field 'label' differs from 'input' at step 1"),
    ("math-shepherd", {"input": "2+2=4 ки", "label": "2+2=4 +"}, "must hold a question and 'Step 1:'"),
    ("math-shepherd", {"input": "Q Step 1: a ки ки", "label": "Q Step 1: a + -"}, "holds an empty step"),
    ("prm800k", changed(PRM, "question", drop=True), "no field 'question'"),
    ("prm800k", changed(PRM, "question.problem", drop=True), "no field 'question.problem'"),
    ("prm800k", changed(PRM, "label.steps", drop=True), "no field 'label.steps'"),
    ("prm800k", changed(PRM, "label.steps.0.completions.0.rating", drop=True), "'label.steps[0].completions[0].rating'"),
    ("prm800k", changed(PRM, "label.steps.0.completions.0.rating", 2), "is 2; a rating is -1, 0 or 1"),
    ("prm800k", changed(PRM, "label.steps.0.completions.0.text", ""), "'label.steps[0].completions[0].text' is empty"),
    ("prm800k", changed(PRM, "label.steps.0.chosen_completion", 5), "chosen_completion' is 5 of 1"),
    ("prm800k", changed(PRM, "label", []), "field 'label' must be an object, not a list"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "row", "message"), FAULTS)
def test_what_is_wrong_is_said_with_line_and_field(tmp_path: Path, form: str, row: Any, message: str) -> None:
    good = {"processbench": BENCH, "math-shepherd": SHEPHERD, "prm800k": PRM}[form]
    path = write(tmp_path / "rows.jsonl", good, row)
    with pytest.raises(DataError) as error:
        read(path, form)
    assert str(error.value).startswith(f"{path}:2: ")
    assert message in str(error.value)


def test_broken_files(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(BENCH) + "\nnot json\n")
    with pytest.raises(DataError, match=r"rows.jsonl:2: not valid JSON"):
        read(path, "processbench")
    with pytest.raises(DataError, match=r"no such file; did you mean 'rows.jsonl'"):
        read(tmp_path / "row.jsonl", "processbench")
    with pytest.raises(ConfigError, match="unknown format 'prm900k'; did you mean 'prm800k'"):
        read(path, "prm900k")


def test_repeats_and_rows_without_steps_are_counted(tmp_path: Path) -> None:
    given_up = changed(PRM, "label.steps", [])
    twice = changed(PRM, "label.steps", [PRM["label"]["steps"][0]] * 1)
    unrated = changed(twice, "label.steps.0.completions.0.rating", None)
    reading = Reading()
    samples = read(write(tmp_path / "a.jsonl", twice, given_up, twice, unrated), "prm800k", reading)
    assert len(samples) == 1
    assert (reading.rows, reading.samples, reading.empty, reading.repeats) == (4, 1, 2, 1)


# ---- the real files


def test_files_of_prm800k_and_math_shepherd(data: Path) -> None:
    reading = Reading()
    samples = read(data / "prm_samples/samples_prm800k.jsonl", "prm800k", reading)
    assert (reading.rows, len(samples), reading.repeats) == (6, 35, 2)
    assert Counter(label for s in samples for label in s.labels) == {None: 139, 1.0: 56, 0.0: 15}
    solutions = [s for s in samples if sum(label is not None for label in s.labels) > 1]
    assert solutions[0].texts[-1].endswith("# Answer\n\n29")
    assert solutions[0].correct is True
    shepherd = read(data / "prm_samples/samples_math-shepherd.jsonl", "math-shepherd")
    assert len(shepherd) == 7
    assert Counter(label for s in shepherd for label in s.labels) == {0.0: 20, 1.0: 5}


@pytest.mark.parametrize(("name", "rows", "sound"), [("gsm8k", 400, 193), ("math", 1000, 406), ("omnimath", 1000, 241)])
def test_files_of_processbench(data: Path, name: str, rows: int, sound: int) -> None:
    samples = read(data / f"processbench/{name}.json", "processbench")
    assert len(samples) == rows
    assert sum(0.0 not in s.labels for s in samples) == sound
    assert sum(s.correct is True for s in samples) == rows // 2
    raw = json.loads((data / f"processbench/{name}.json").read_text())
    for sample, row in zip(samples, raw, strict=True):
        assert (0.0 in sample.labels and sample.labels.index(0.0)) == (row["label"] if row["label"] >= 0 else False)
        assert [t.removesuffix("\n\n") for t in sample.texts[:-1]] == [
            t.removesuffix("\n\n") for t in row["steps"][:-1]
        ]
