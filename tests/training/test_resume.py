"""A run killed with SIGKILL goes on to the bit: same metrics (times aside), same weights."""

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
from safetensors.torch import load_file

from ponder.training.loop import TIMES

MARK = "PONDER_TEST_MARK"
SCRIPT = """
import json, os, sys
from ponder import config, progress
from ponder.training import {module}
progress.set_quiet(True)
settings = config.load({module}.{kind}, None, json.loads(sys.argv[1]))
stop_at = int(sys.argv[2])
from ponder.training import loop
log = loop.Trainer.log
def logged(self, row):
    log(self, row)
    if self.step == stop_at:
        os.kill(os.getpid(), {number})
loop.Trainer.log = logged
{module}.run(settings)
"""

TINY: dict[str, Any] = {
    "shape.width": 16, "shape.layers": 1, "shape.heads": 2, "shape.kv_heads": 1, "shape.hidden": 24, "model": "",
    "steps": 6, "save_every": 2, "tokens_per_step": 400, "row_tokens": 128, "threads": 1, "eval_every": 3,
}  # fmt: skip


def launch(
    module: str, kind: str, settings: dict[str, Any], stop_at: int = -1, signal_number: int = signal.SIGKILL
) -> int:
    script = SCRIPT.format(module=module, kind=kind, number=int(signal_number))
    command = [sys.executable, "-c", script, json.dumps(settings), str(stop_at)]
    mark = str(Path(settings["out"]).parent)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", MARK: mark}
    return subprocess.run(command, check=False, env=environment, timeout=300).returncode


def without_times(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in TIMES and not k.startswith("seconds")} for row in rows]


CASES = {
    "pretrain": ("pretrain", "PretrainConfig", {**TINY, "mixture": {"copy": 1.0, "compare": 2.0}}),
    "sft": ("sft", "SFTConfig", {**TINY, "data": [{"task": "countdown"}, {"task": "chain", "weight": 2.0}]}),
    "muon": ("sft", "SFTConfig", {**TINY, "optimizer.kind": "muon", "data": [{"task": "arithmetic", "limit": 30}]}),
}
GRPO: dict[str, Any] = {k: v for k, v in TINY.items() if k not in ("tokens_per_step", "row_tokens")}
GRPO |= {
    "data": [{"task": "chain", "longest": 2, "shortest": 1}],
    "problems_per_step": 3, "group_size": 4, "kl_coef": 0.01, "eval_problems": 3, "minibatches": 2, "reference_every": 3,
    "rewards": {"task": 1.0, "length": {"soft": 2, "hard": 19, "weight": 0.1}},
    "levels": {"low": {"max_tokens": 12}, "high": {"max_tokens": 20}},
}  # fmt: skip
CASES["grpo"] = ("grpo", "GRPOConfig", GRPO)
CASES["process"] = (
    "process",
    "ProcessConfig",
    {
        "data": [{"task": "countdown", "efforts": ["low", "medium"]}], "steps": 6, "save_every": 2, "tokens_per_step": 900,
        "inputs": "logprobs", "lm_coef": 0.5, "threads": 1, "eval_every": 3, "eval_problems": 4, "eval_samples": 2,
    },
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_killed_run_resumes_to_the_bit(case: str, tmp_path: Path) -> None:
    module, kind, settings = CASES[case]
    assert launch(module, kind, {**settings, "out": str(tmp_path / "whole")}) == 0
    broken = {**settings, "out": str(tmp_path / "broken")}
    assert launch(module, kind, broken, stop_at=5) == -signal.SIGKILL
    assert not (tmp_path / "broken/model").exists()
    assert launch(module, kind, broken) == 0
    assert without_times(tmp_path / "whole") == without_times(tmp_path / "broken")
    assert any(row.get("grad_norm", 0) > 0 for row in without_times(tmp_path / "whole"))
    if case == "grpo":
        assert (tmp_path / "whole/rollouts.jsonl").read_text() == (tmp_path / "broken/rollouts.jsonl").read_text()
    last = "checkpoints/step-0000006/weights.safetensors"
    whole, resumed = load_file(tmp_path / "whole" / last), load_file(tmp_path / "broken" / last)
    assert whole.keys() == resumed.keys()
    assert all(whole[name].equal(resumed[name]) for name in whole)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["sft", "grpo"])
def test_interrupted_run_saves_its_step_and_resumes_to_the_bit(case: str, tmp_path: Path) -> None:
    """Ctrl-C during step 3, far from the next checkpoint."""
    module, kind, settings = CASES[case]
    settings = {**settings, "save_every": 0}
    assert launch(module, kind, {**settings, "out": str(tmp_path / "whole")}) == 0
    broken = {**settings, "out": str(tmp_path / "broken")}
    assert launch(module, kind, broken, stop_at=3, signal_number=signal.SIGINT) != 0
    assert (tmp_path / "broken/checkpoints/step-0000003/state.json").exists()
    assert launch(module, kind, broken) == 0
    assert without_times(tmp_path / "whole") == without_times(tmp_path / "broken")


@pytest.mark.slow
def test_killed_parent_leaves_no_worker(tmp_path: Path) -> None:
    module, kind, settings = CASES["pretrain"]
    assert settings.get("worker", True)
    assert launch(module, kind, {**settings, "out": str(tmp_path / "run")}, stop_at=2) == -signal.SIGKILL
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and running(tmp_path):
        time.sleep(0.2)
    assert not running(tmp_path)


def running(mark: Path) -> list[str]:
    """Command lines of the processes that were started with `mark` in their environment."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().decode())
        except OSError:
            continue
    return found
