"""`ponder label` from the outside: files, resuming, kill -9, wrong input; and the ways to label against each other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from verifier_fakes import Letters, byte_pairs, letters_engine

from ponder import cli, tasks
from ponder.engines import ScriptedEngine
from ponder.errors import ConfigError, RunError, WorkError
from ponder.types import Sampling
from ponder.verifiers import samples
from ponder.verifiers.labels.book import Book
from ponder.verifiers.labels.work import Work, tally
from ponder.verifiers.samples import LabelledSample

BASE = ["label", "countdown", "--problems", "12", "--samples", "3", "--batch", "3", "--quiet"]


def label(out: Path, *more: str, base: list[str] = BASE, code: int = 0) -> None:
    assert cli.main([*base, "--out", str(out), *more]) == code


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("labels") / "exact.jsonl"
    label(out)
    return out


def test_rows_are_labelled_samples(exact: Path) -> None:
    rows = list(samples.read(exact))
    problems = tasks.get("countdown").problems("train", 12)
    assert {row.problem for row in rows} == {p.id for p in problems}
    assert {(row.task, row.effort, row.source, row.kind, row.model, row.split) for row in rows} == {
        ("countdown", "medium", "exact", "correctness", "mini", "train")
    }
    for row in rows:
        assert len(row.labels) == len(row.starts)
        assert len(row.logprobs) == len(row.token_ids)
        assert row.labels[-1] == float(row.correct is True)
    assert len({row.token_ids for row in rows}) == len(rows)


def test_the_summary_counts_what_the_file_holds(
    exact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.jsonl"
    label(out, "--json")
    found, rows = told(capsys), list(samples.read(out))
    labels = [x for row in rows for x in row.labels if x is not None]
    assert out.read_bytes() == exact.read_bytes()
    assert (found["samples"], found["labelled"], found["problems"]) == (len(rows), len(labels), 12)
    assert found["positive_share"] == pytest.approx(sum(labels) / len(labels))
    assert found["samples"] + found["repeats"] == 36
    assert found["tokens"]["decoded"] > 0
    label(out)
    assert "written to" in capsys.readouterr().out


def test_batches_and_more_problems_change_nothing(
    exact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.jsonl"
    label(out, "--problems", "5", "--batch", "2")
    label(out, "--json", "--batch", "7")
    assert told(capsys)["resumed"] == 5
    assert out.read_bytes() == exact.read_bytes()
    label(out, "--json")
    assert told(capsys)["resumed"] == 12
    assert out.read_bytes() == exact.read_bytes()


def test_a_batch_that_was_not_noted_is_done_again(exact: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    label(out, "--problems", "6")
    notes = out.with_name("a.jsonl.progress")
    lines = notes.read_bytes().splitlines(keepends=True)
    notes.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])  # killed while noting the second batch
    with out.open("ab") as stream:
        stream.write(b'{"problem":"half a ro')
    label(out)
    assert out.read_bytes() == exact.read_bytes()


@pytest.mark.slow
def test_kill_9_and_the_same_line_again(tmp_path: Path) -> None:
    """Killed wherever it is, three times; in the end the file is that of an undisturbed run."""
    line = ["label", "countdown", "--how", "rollout", "--problems", "60", "--samples", "4", "--batch", "2", "--quiet"]
    whole, out = tmp_path / "whole.jsonl", tmp_path / "a.jsonl"
    label(whole, base=line)
    command = [
        sys.executable,
        "-c",
        "import sys; from ponder.cli import main; sys.exit(main())",
        *line,
        "--out",
        str(out),
    ]
    sizes: list[int] = []
    for round_ in range(3):
        process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
        before, began = out.stat().st_size if out.exists() else 0, time.monotonic()
        while process.poll() is None and time.monotonic() - began < 60:
            if out.exists() and out.stat().st_size > before + 1000 * (round_ + 1):
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        sizes.append(out.stat().st_size)
    assert sizes[0] < whole.stat().st_size
    label(out, base=line)
    assert out.read_bytes() == whole.read_bytes()


def test_stopped_by_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.jsonl"
    label(out, "--json", "--tokens", "1")
    found = told(capsys)
    assert (found["ended"], found["problems"]) == ("tokens", 3)
    label(out, "--json")
    assert told(capsys)["problems"] == 12


# ---- wrong input


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--samples", "4"], "was begun with other settings (samples was 3, now 4)"),
        (["--seed", "1"], "was begun with other settings (seed was 0, now 1)"),
        (["--how", "judge", "--kind", "value"], "labels by judge are of kind 'correctness'"),
        (["--how", "roll"], "is not allowed"),
        (["--convert", "x.jsonl"], "needs a task, or --convert FILE"),
        (["--model", "mnii"], "did you mean 'mini'"),
    ],
)
def test_wrong_settings(exact: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = exact.read_bytes()
    label(exact, *more, code=2)
    assert message in capsys.readouterr().err
    assert exact.read_bytes() == before


def test_what_is_not_ours_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.jsonl"
    out.write_text("mine\n")
    label(out, code=2)
    assert "was not begun here" in capsys.readouterr().err
    assert out.read_text() == "mine\n"
    label(out, "--fresh", "--problems", "1")
    assert list(samples.read(out))
    assert cli.main(["label", "--quiet"]) == 2


def test_a_book_is_for_one(tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    with Book(out, {"a": 1}) as book, pytest.raises(RunError, match="in use by another process"):
        Book(out, {"a": 1})
    book.close()
    with Book(out, {"a": 1}) as again:
        again.add(["k"], [], {"n": 1})
        again.add(["l"], [], {"n": 2})
    with Book(out, {"a": 1}) as again:
        assert (again.done, again.counts, again.resumed) == ({"k", "l"}, {"n": 3}, True)
    with pytest.raises(ConfigError, match="a was 1, now 2"):
        Book(out, {"a": 2})
    row = LabelledSample(problem="p", messages=(), texts=("a",))
    with Book(out, {"a": 1}) as book:
        book.add(["m"], [row], {})
    out.write_bytes(b"")
    with pytest.raises(RunError, match="is shorter than it was"):
        Book(out, {"a": 1})


# ---- converting


def test_converting_resumes_by_row(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = data / "prm_samples/samples_prm800k.jsonl"
    out, part, rows = tmp_path / "a.jsonl", tmp_path / "part.jsonl", source.read_bytes().splitlines(keepends=True)
    base = ["label", "--format", "prm800k", "--quiet", "--json"]
    label(out, "--convert", str(source), base=base)
    found = told(capsys)
    assert (found["rows"], found["samples"], found["repeats"], found["resumed"]) == (6, 35, 2, 0)
    assert len(list(samples.read(out))) == 35
    part.write_bytes(b"".join(rows[:3]) + b"{}\n")
    whole = out.read_bytes()
    out.unlink()
    out.with_name("a.jsonl.progress").unlink()
    label(out, "--convert", str(part), base=base, code=2)
    assert f"{part}:4: no field 'question'" in capsys.readouterr().err
    assert 0 < out.stat().st_size < len(whole)  # the rows before the fault are kept
    part.write_bytes(b"".join(rows))
    label(out, "--convert", str(part), base=base)
    assert told(capsys)["resumed"] == 3
    assert out.read_bytes() == whole
    label(out, "--convert", str(out), base=base, code=2)
    assert "is the file that is read" in capsys.readouterr().err


# ---- ways of labelling


def work(how: Any, engine: ScriptedEngine | None = None, **more: Any) -> Work:
    given: dict[str, Any] = {"samples": 6, "rollouts": 8, **more}
    return Work(engine or letters_engine(5, 0.25), Letters(), how, lambda used: Sampling(max_tokens=60), **given)


def truth(row: LabelledSample, engine: ScriptedEngine) -> list[float]:
    """What is true of letters: alive until the first "x"."""
    text = engine.tokenizer.decode(row.token_ids)
    first = next((i for i, line in enumerate(text.split("\n")) if "x" in line), 99)
    return [float(i < first) for i in range(row.steps)]


@pytest.mark.parametrize("how", ["rollout", "bisect"])
def test_rollouts_find_what_is_true(how: str) -> None:
    made = work(how, rollouts=16)
    rows = made.label(Letters().problems("train", 6))
    assert all(list(row.labels) == truth(row, made.engine) for row in rows)  # type: ignore[arg-type]
    assert {row.correct for row in rows} == {True, False}
    assert made.counts["labelled"] == made.counts["steps"] == sum(row.steps for row in rows)


def test_bisection_costs_less_than_the_scan() -> None:
    costs: dict[str, int] = {}
    for how in ("rollout", "bisect"):
        made = work(how, letters_engine(20, 0.06), samples=8)
        made.sampling = lambda used: Sampling(max_tokens=200)
        rows = made.label(Letters().problems("train", 2))
        wrong = sum(row.correct is False for row in rows)
        costs[how] = made.engine.ledger.decoded // wrong
    assert costs["bisect"] * 3 < costs["rollout"]


def test_repeats_and_blank_solutions_are_passed_over() -> None:
    made = work("rollout", ScriptedEngine({"*": ["a\na", "<|end|>"]}))
    rows = made.label(Letters().problems("train", 2))
    assert len(rows) == 2
    assert made.counts["empty"] + made.counts["repeats"] == 10
    assert tally(rows)["labelled"] == 4


def test_an_engine_that_returns_nothing_is_named() -> None:
    engine = letters_engine()
    generate = engine.generate

    def empty(requests: Any, on_done: Any = None) -> Any:
        from dataclasses import replace

        return [replace(done, token_ids=(), logprobs=()) for done in generate(requests)]

    engine.generate = empty  # type: ignore[method-assign]
    problem = Letters().problems("train", 1)[0]
    with pytest.raises(WorkError, match=rf"problem {problem.id}: engine 'scripted' returned an empty completion"):
        work("rollout", engine).label([problem])


def test_steps_by_meaning_or_as_a_search_cuts_them() -> None:
    engine = ScriptedEngine(lambda text, seed: "Step 1: a\nStep 2: b.\n\nc x", byte_pairs())
    (problem,) = Letters().problems("train", 1)
    for meaning, steps in ((True, 3), (False, 2)):
        (row,) = work("rollout", engine, meaning=meaning).label([problem])
        assert row.steps == steps == len(row.labels)


def test_what_can_not_work_is_said_before() -> None:
    with pytest.raises(ConfigError, match="knows no exact labels"):
        work("exact")
    with pytest.raises(ConfigError, match="need a judge"):
        work("consensus")
