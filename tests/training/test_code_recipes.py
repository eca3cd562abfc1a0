"""Reinforcement learning from tests: the shipped recipes load, and a tiny run goes through sampling, the sandbox and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ponder import config as configs
from ponder.training import grpo, sft
from ponder.training.grpo import GRPOConfig
from ponder.training.grpo_settings import Asker
from ponder.training.process import ProcessConfig
from ponder.training.rollouts import Rewards
from ponder.training.sft import SFTConfig

RECIPES = Path(__file__).parents[2] / "recipes" / "code"


@pytest.mark.parametrize("name", ["sft", "cheats"])
def test_demonstrations(name: str) -> None:
    config = configs.load(SFTConfig, RECIPES / f"{name}.toml")
    assert [entry["task"] for entry in config.data] == ["synthesis"]
    assert ("cheats" in config.data[0]) == (name == "cheats")


@pytest.mark.parametrize("name", ["grpo", "loose"])
def test_rewards(name: str) -> None:
    config = configs.load(GRPOConfig, RECIPES / f"{name}.toml")
    ask = Asker(config)(0)
    assert (ask.problem.task, ask.grader.require, ask.grader.twin) == ("synthesis", "L2", 1.0)
    paid = {part for part, weight in Rewards(config.rewards).weights.items() if weight}
    assert paid == ({"task"} if name == "grpo" else {"loose"})


def test_a_verifier_of_programs() -> None:
    config = configs.load(ProcessConfig, RECIPES / "process.toml")
    assert (config.inputs, config.labels) == ("logprobs", "correctness")


@pytest.mark.slow
def test_a_tiny_run_from_tests(tmp_path: Path) -> None:
    tiny: dict[str, Any] = {
        "threads": 1, "eval_every": 0, "steps": 2, "data": [{"task": "synthesis", "longest": 2}],
    }  # fmt: skip
    shape = {"shape.width": 16, "shape.layers": 1, "shape.heads": 2, "shape.kv_heads": 1, "shape.hidden": 24}
    cold = {**tiny, **shape, "model": "", "tokens_per_step": 512, "out": str(tmp_path / "sft")}
    sft.run(configs.load(SFTConfig, None, cold))
    run = {**tiny, "model": str(tmp_path / "sft" / "model"), "out": str(tmp_path / "grpo"), "problems_per_step": 2,
           "group_size": 4, "levels": {"low": {"max_tokens": 24}}}  # fmt: skip
    found = grpo.run(configs.load(GRPOConfig, None, run))
    rows = [json.loads(line) for line in (tmp_path / "grpo" / "metrics.jsonl").read_text().splitlines()]
    assert found["steps"] == len(rows) == 2
    assert all(row["ungraded"] == 0 and 0 <= row["reward"] <= 1 and row["seconds_grading"] > 0 for row in rows)
    sampled = [json.loads(line) for line in (tmp_path / "grpo" / "rollouts.jsonl").read_text().splitlines()]
    assert {row["outcome"]["task"] for row in sampled} <= {"correct", "wrong", "unparsed"}
