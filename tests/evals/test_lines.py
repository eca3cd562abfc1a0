"""Line honesty: of a scripted writer, and reported by `ponder train pretrain`."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from ponder import cli, engines, tasks
from ponder.engines.scripted import ScriptedEngine
from ponder.evals.lines import honesty


def test_shares_of_a_known_writer() -> None:
    task = tasks.get("chain")
    problem = task.problems("test", 1)[0]
    *rest, last = (s.text for s in task.steps(problem, _truth(task, problem)))
    broken = "\n".join([*rest, last.replace(":", ":Z", 1)])
    for thinking, right in ((_truth(task, problem), len(rest) + 1), (broken, len(rest))):
        engine = ScriptedEngine(lambda *_, said=thinking: f"<think>{said}</think>0")
        found = honesty(engine, task, [problem])
        assert (found.lines, found.right) == (len(rest) + 1, right)
        assert bool(found.example) == (found.share < 1)


@pytest.mark.slow
def test_pretraining_reports_its_lines(tmp_path: Path) -> None:
    recipe = tmp_path / "base.toml"
    recipe.write_text(
        "steps = 2\ntokens_per_step = 256\neval_every = 1\nworker = false\n[mixture]\nchain = 1.0\nfacts = 1.0\n"
        "[shape]\nwidth = 16\nlayers = 1\nheads = 2\nkv_heads = 1\nhidden = 32\ncontext = 384\n"
    )
    assert cli.main(["train", "pretrain", str(recipe), "--out", str(tmp_path / "run")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["lines_chain"] for row in rows] == [0.0, 0.0]  # random weights write no line of the program
    assert all("lines_countdown" not in row for row in rows)
    assert engines.load(str(tmp_path / "run" / "model")).context == 384


def _truth(task: Any, problem: Any) -> str:
    text = task.demonstrate(problem, "low", random.Random(0)).text
    return text.removeprefix("<think>").partition("\n</think>")[0]
