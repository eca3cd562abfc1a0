from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ponder import files, runs
from ponder.errors import RunError, WorkError
from ponder.runs import Run

LOGGER = """
import sys
from ponder.runs import Run
run = Run.open(sys.argv[1], "grpo", {"seed": 1})
print("open", flush=True)
step = len(run.rows())
while True:
    step += 1
    run.log({"step": step, "text": "x" * 3000})
    run.write_json("report.json", {"step": step, "text": "y" * 100_000})
"""


def opened(path: Path, **more: Any) -> Run:
    return Run.open(path, "grpo", {"seed": 3, "optim": {"lr": 0.1}}, **more)


def start(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", LOGGER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    process.stdout.close()
    return process


def test_config_json_says_what_ran(tmp_path: Path) -> None:
    with opened(tmp_path / "run") as run:
        record = json.loads((run.path / "config.json").read_text())
    assert record["command"] == "grpo"
    assert record["seed"] == 3
    assert record["config"] == {"seed": 3, "optim": {"lr": 0.1}}
    assert record["versions"]["torch"][0].isdigit()
    assert {"ponder", "started", "commit"} <= set(record)


def test_rows_in_order_with_plain_values(tmp_path: Path) -> None:
    with opened(tmp_path / "run") as run:
        run.log({"step": 1, "loss": float("nan"), "numpy": np.float32(0.5)})
        run.log({"step": 2, "array": np.arange(3), "path": tmp_path})
        assert run.rows() == [
            {"step": 1, "loss": None, "numpy": 0.5},
            {"step": 2, "array": [0, 1, 2], "path": str(tmp_path)},
        ]
        assert run.rows("attempts.jsonl") == []


def test_truncate_metrics_drops_later_steps(tmp_path: Path) -> None:
    with opened(tmp_path / "run") as run:
        for step in range(5):
            run.log({"step": step})
        run.log({"note": "no step"})
        run.truncate_metrics(2)
        run.log({"step": 3})
        assert [row.get("step") for row in run.rows()] == [0, 1, 2, None, 3]


def test_resume_keeps_rows_and_cuts_a_partial_line(tmp_path: Path) -> None:
    with opened(tmp_path / "run") as run:
        run.log({"step": 1})
        assert not run.resumed
    with (tmp_path / "run" / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 2, "los')
    with opened(tmp_path / "run") as run:
        assert run.resumed
        assert run.rows() == [{"step": 1}]
        run.log({"step": 2})
        assert run.rows() == [{"step": 1}, {"step": 2}]


def test_damage_in_the_middle_is_named(tmp_path: Path) -> None:
    with opened(tmp_path / "run") as run:
        run.log({"step": 1})
        (run.path / "metrics.jsonl").write_bytes(b'{"step": 1}\n{"st\n{"step": 3}\n')
        with pytest.raises(RunError, match=r"metrics\.jsonl:2: damaged row"):
            run.rows()


def test_resume_demands_the_same_settings(tmp_path: Path) -> None:
    with opened(tmp_path / "run") as run:
        run.log({"step": 1})
    changed = {"seed": 3, "optim": {"lr": 0.2}}
    with pytest.raises(RunError, match=r"other settings \(optim\.lr was 0\.1, now 0\.2\)"):
        Run.open(tmp_path / "run", "grpo", changed)
    Run.open(tmp_path / "run", "grpo", changed, may_change=["optim.lr"]).close()
    with pytest.raises(RunError, match="is a run of 'grpo', not 'sft'"):
        Run.open(tmp_path / "run", "sft", changed)


def test_a_run_that_did_nothing_refuses_nothing(tmp_path: Path) -> None:
    opened(tmp_path / "run").close()
    changed = {"seed": 3, "optim": {"lr": 0.2}}
    with Run.open(tmp_path / "run", "sft", changed) as run:
        assert run.record["config"] == changed
        assert runs.read_record(tmp_path / "run") == run.record


def test_resume_true_needs_a_run_and_false_moves_it_aside(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run to resume"):
        opened(tmp_path / "run", resume=True)
    with opened(tmp_path / "run") as run:
        run.log({"step": 1})
    for count in (1, 2):
        with opened(tmp_path / "run", resume=False) as run:
            assert run.rows() == []
        assert (tmp_path / f"run.{count}" / "config.json").exists()
    assert runs.read_rows(tmp_path / "run.1" / "metrics.jsonl") == [{"step": 1}]


@pytest.mark.parametrize("name", ["notes.txt", "config.json"])
def test_foreign_directory_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"model_type": "qwen3"}')
    for resume in (None, False):
        with pytest.raises(RunError, match="not a"):
            opened(tmp_path, resume=resume)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(RunError, match="is a file"):
        opened(tmp_path / "run")
    with pytest.raises(RunError, match="can not be written"):
        opened(tmp_path / "run" / "inner")


def test_second_opening_in_this_process_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "run"):
        for resume in (None, False):
            with pytest.raises(RunError, match=f"in use by process {os.getpid()}"):
                opened(tmp_path / "run", resume=resume)
    opened(tmp_path / "run").close()


def test_in_use_by_another_process_and_kill_at_any_moment(tmp_path: Path) -> None:
    """A writer is killed over and over: never a lost or broken row, never a torn report, the lock always freed."""
    folder, before = tmp_path / "run", 0
    for round_number in range(6):
        process = start(folder)
        with pytest.raises(RunError, match=f"in use by process {process.pid}"):
            Run.open(folder, "grpo", {"seed": 1})
        time.sleep(0.02 + 0.013 * round_number)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with Run.open(folder, "grpo", {"seed": 1}) as run:
            steps = [row["step"] for row in run.rows()]
            assert steps == list(range(1, len(steps) + 1))
            assert len(steps) > before
            before = len(steps)
            assert json.loads((folder / "report.json").read_text())["step"] >= steps[-1] - 1
            assert not list(folder.glob(f"{files.TEMP}*"))


def test_killed_before_its_config_was_written(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("1")
    (tmp_path / f"{files.TEMP}1-config.json").write_text("{")
    with opened(tmp_path) as run:
        assert not run.resumed


FORKER = """
import os, sys
from ponder.runs import Run
run = Run.open(sys.argv[1], "grpo", {"seed": 1})
if os.fork() == 0:
    print(os.getpid(), flush=True)
os.read(0, 1)
"""


def test_forked_child_does_not_keep_the_lock_of_a_dead_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FORKER, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        os.kill(child, 0)
        Run.open(tmp_path / "run", "grpo", {"seed": 1}).close()


def full(*_: Any) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_disk_full_while_logging_damages_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path / "run") as run:
        run.log({"step": 1})
        real = os.write
        with monkeypatch.context() as patch:
            written: list[int] = []

            def half(handle: int, data: bytes) -> int:
                return written[0] if written and full() else written.append(real(handle, data[:5])) or 5

            patch.setattr(files.os, "write", half)
            with pytest.raises(WorkError, match=r"metrics\.jsonl: the disk is full"):
                run.log({"step": 2, "loss": 1.0})
        assert (run.path / "metrics.jsonl").read_bytes() == b'{"step":1}\n'
        run.log({"step": 2})
        assert [row["step"] for row in run.rows()] == [1, 2]


def test_disk_full_while_replacing_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path / "run") as run:
        run.write_text("report.html", "old")
        with monkeypatch.context() as patch:
            patch.setattr(files.os, "fsync", full)
            with pytest.raises(WorkError) as caught:
                run.write_text("report.html", "new")
        assert "\n" not in str(caught.value)
        assert (run.path / "report.html").read_text() == "old"
        assert sorted(p.name for p in run.path.iterdir()) == [".lock", "config.json", "report.html"]


def test_staged_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "checkpoints" / "step-1"
    with pytest.raises(KeyError), files.staged(target) as folder:
        folder.mkdir()
        (folder / "weights").write_text("half")
        raise KeyError
    assert not target.exists()
    for content in ("one", "two"):
        with files.staged(target) as folder:
            folder.mkdir()
            (folder / "weights").write_text(content)
        assert (target / "weights").read_text() == content
    assert [p.name for p in target.parent.iterdir()] == ["step-1"]
