"""The quickstart from nothing to report, really run: a random model of 20,000 weights, a few steps of each stage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ponder import engines
from ponder.cli import main
from ponder.files import read_rows

RECIPE = """
planted = ["everything: this model has learned nothing"]

[sft]
model = ""
steps = 3
tokens_per_step = 512
micro_tokens = 512
row_tokens = 128
device = "cpu"
data = [{ task = "chain", shortest = 1, longest = 2, noise = 0.2 }]

[sft.shape]
width = 32
layers = 1
heads = 2
kv_heads = 1
hidden = 64
context = 192

[grpo]
steps = 2
problems_per_step = 2
group_size = 2
eval_every = 1
eval_problems = 2
eval_attempts = 1
device = "cpu"
data = [{ task = "chain", shortest = 1, longest = 2 }]

[grpo.levels]
low = { max_tokens = 24, think_budget = 16, answer_reserve = 4 }
high = { max_tokens = 32 }

[eval]
task = "chain"
options = { shortest = 1, longest = 2 }
problems = 5
attempts = 4
efforts = ["low", "high"]
headline = "high"
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quickstart")
    (folder / "tiny.toml").write_text(RECIPE)
    line = ["quickstart", "--preset", str(folder / "tiny.toml"), "--out", str(folder / "run"), "--threads", "1"]
    assert main(line) == 0
    return folder / "run"


def test_a_run_leaves_everything_it_promises(finished: Path) -> None:
    for name in ("config.json", "attempts.jsonl", "metrics.jsonl", "report.html", "model/model.safetensors"):
        assert (finished / name).stat().st_size > 0, name
    headline = json.loads((finished / "report.json").read_text())["headline"]
    assert {"pass1_sft", "pass1_rl", "cons4_rl", "pass4_rl", "greedy_rl", "effort", "seconds", "problems"} <= set(
        headline
    )
    assert headline["effort"]["low"]["tokens"] <= 24
    rows = read_rows(finished / "attempts.jsonl")
    assert len(rows) == 2 * 2 * 5 * (4 + 1)
    assert all(row["tokens"] for row in rows)


def test_the_final_model_answers(finished: Path) -> None:
    engine = engines.load(str(finished / "model"))
    found = json.loads((finished / "report.json").read_text())
    assert engine.path == str(finished / "model")
    assert (finished / "grpo/model/model.safetensors").read_bytes() == (
        finished / "model/model.safetensors"
    ).read_bytes()
    assert len(found["training"]["grpo"]) >= 2


def test_once_more_only_renders(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    attempts = (finished / "attempts.jsonl").read_bytes()
    line = ["quickstart", "--preset", str(finished.parent / "tiny.toml"), "--out", str(finished), "--threads", "1"]
    assert main([*line, "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["model"] == str(finished / "model")
    assert "is finished" in said.err
    assert (finished / "attempts.jsonl").read_bytes() == attempts
    assert main(["report", str(finished)]) == 0
    assert "report.html" in capsys.readouterr().out


def test_evaluating_the_model_by_itself(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(finished.parent / "eval")
    line = ["eval", "chain", "--model", str(finished / "model"), "--limit", "3", "--attempts", "2", "--out", out]
    assert main([*line, "--max-tokens", "24", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {"pass_at_1", "interval", "problems", "attempts", "ledger"} <= set(result)
    assert result["ledger"]["decoded"] > 0


def test_evaluation_obeys_the_limits_the_model_was_trained_under(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = finished.parent / "limits"
    line = ["eval", "chain", "--model", str(finished / "model"), "--limit", "2", "--attempts", "1", "--out", str(out)]
    assert main([*line, "--efforts", "low", "high"]) == 0
    rows = read_rows(out / "attempts.jsonl")
    assert all(len(row["tokens"]) <= {"low": 24, "high": 32}[row["effort"]] for row in rows)
    assert {row["sampling"].split(",")[-2] for row in rows if row["effort"] == "low"} == {"answer_reserve=4"}
