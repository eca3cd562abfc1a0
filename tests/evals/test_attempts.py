"""The store: keys, torn lines, grading again, full disks."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_sandbox import FakeSandbox

from ponder.errors import DataError
from ponder.evals.attempts import Attempt, AttemptStore, joined, make_attempt, read_attempts, sampling_key
from ponder.graders.code import CodeGrader
from ponder.types import Completion, Grade, Problem, Sampling


def row(problem: str = "p", attempt: int = 0, **changes) -> Attempt:
    values = {"task": "t", "model": "m", "outcome": "wrong", "score": 0.0, "answer": "4", "thinking": "2+2=4"}
    return Attempt(problem=problem, attempt=attempt, **(values | changes))


def test_rows_come_back_equal(tmp_path: Path) -> None:
    rows = [row(attempt=i, tokens=(1, 2, i), logprob=-0.5, parts={"format": 1.0}, effort="high") for i in range(3)]
    AttemptStore(tmp_path / "a.jsonl").add(rows)
    assert list(AttemptStore(tmp_path / "a.jsonl")) == rows


def test_partial_last_line_is_dropped_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    AttemptStore(path).add([row(attempt=0), row(attempt=1)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    store = AttemptStore(path)
    assert [r.attempt for r in store] == [0]
    store.add([row(attempt=1)])
    assert path.read_bytes() == whole


def test_a_broken_line_inside_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    AttemptStore(path).add([row()])
    path.write_bytes(b'{"task": "t"}\n' + path.read_bytes())
    with pytest.raises(DataError, match=r"a\.jsonl:1"):
        read_attempts(path)


def test_key_tells_models_efforts_and_sampling_apart(tmp_path: Path) -> None:
    store = AttemptStore(tmp_path / "a.jsonl")
    store.add([row(), row(model="n"), row(effort="low"), row(sampling="temperature=0.0,seed=0"), row(attempt=1)])
    assert len(store) == 5
    store.add([row(outcome="correct", score=1.0)])
    assert len(store) == 5
    assert store.get(row().key).correct
    assert [r.model for r in store.select(model="n")] == ["n"]


def test_regrade_appends_only_what_changed(tmp_path: Path) -> None:
    problem = Problem.from_text("2+2", reference="4")
    store = AttemptStore(tmp_path / "a.jsonl")
    store.add([row(problem.id, 0, answer="4"), row(problem.id, 1, answer="5"), row("other", 0)])

    class Exact:
        def grade(self, problem: Problem, completion: Completion) -> Grade:
            good = completion.answer == problem.reference
            return Grade(float(good), "correct" if good else "wrong")

    assert store.regrade([problem], Exact()) == 1
    again = AttemptStore(tmp_path / "a.jsonl")
    assert [r.outcome for r in again] == ["correct", "wrong", "wrong"]
    assert len(read_attempts(tmp_path / "a.jsonl")) == 4
    assert again.regrade([problem], Exact()) == 0


def test_regrade_runs_programs_together_and_equal_ones_once(tmp_path: Path) -> None:
    problem = Problem.from_text("f", {"entry": "f", "cases": [[[1], 2]]})
    store, box = AttemptStore(tmp_path / "a.jsonl"), FakeSandbox()
    programs = ["def f(x): return 2", "def f(x): return 3", "def f(x): return 2"]
    store.add([row(problem.id, n, answer=program) for n, program in enumerate(programs)])
    assert store.regrade([problem], CodeGrader(sandbox=box)) == 2
    assert (box.batches, len(box.seen)) == (1, 2)
    assert [r.outcome for r in store] == ["correct", "wrong", "correct"]
    assert store.select(attempt=2)[0].parts["passed"] == 1


@pytest.mark.parametrize(
    ("thinking", "answer", "text"),
    [
        ("a", "b", "<think>a</think>b"),
        ("a", None, "<think>a"),
        (None, "b", "b"),
        (None, None, ""),
        ("a", "b", "odd <think>a</think>b"),
    ],
)
def test_text_survives(thinking: str | None, answer: str | None, text: str) -> None:
    completion = Completion((1,), (-1.0,), "stop", text, thinking, answer)
    made = make_attempt("t", Problem.from_text("q"), 0, "m", None, "", completion, Grade(None, "error"))
    assert made.completion_text == text
    assert (made.text is None) == (joined(thinking, answer) == text)


def test_sampling_key_holds_what_decides_the_draw() -> None:
    assert sampling_key(Sampling()) == "seed=0"
    assert sampling_key(Sampling(temperature=0.0, max_tokens=96, seed=3)) == "temperature=0.0,max_tokens=96,seed=3"
