"""`ponder solve` and `ponder doctor` on a written-down engine and on a small model made on the spot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ponder import cli, models
from ponder.cli import doctor
from ponder.models import ModelConfig, Transformer
from ponder.text import Tokenizer


@pytest.fixture
def script(tmp_path: Path) -> str:
    """Thinks one line; says 29 twice out of three times, and once never comes to an end."""
    completions = ["<think>3+4=7</think>29", "<think>3+4=7</think>29", "<think>3+4=8", "<think>so</think>30"]
    file = tmp_path / "script.jsonl"
    file.write_text(json.dumps({"prompt": "*", "completions": completions}) + "\n")
    return f"scripted:{file}"


@pytest.fixture
def model(tmp_path: Path) -> str:
    tokenizer = Tokenizer.mini()
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, width=32, layers=2, heads=2, kv_heads=1, head_width=16, hidden=64, context=96
    )
    models.save(Transformer(config, seed=1), tmp_path / "model", tokenizer)
    return str(tmp_path / "model")


def test_solve_streams_thinking_and_prints_the_answer(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["solve", "(3+4)*5-6", "--model", script, "--strategy", "greedy"]) == 0
    out, err = capsys.readouterr()
    assert out == "29   correct\n28 tokens: 19 of prompts, 9 drawn\n"
    assert err == "(3+4)*5-6\n3+4=7\n"


def test_solve_quietly_by_vote(script: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "solution.json"
    line = ["solve", "(3+4)*5-6", "--model", script, "--n", "40", "--json", "--quiet", "--out", str(file)]
    assert cli.main(line) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    assert json.loads(file.read_text()) == found
    assert (found["answer"], found["completions"], found["grade"]["outcome"]) == ("29", 40, "correct")
    assert found["votes"]["29"] > found["votes"]["30"] > 0
    assert sum(found["votes"].values()) < 40, "whoever never stops thinking abstains"
    assert found["ledger"]["decoded"] > 40


def test_the_seed_decides_a_vote(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    thoughts: list[str] = []
    for seed in ("1", "1", "2"):
        assert cli.main(["solve", "3+4", "--model", model, "--seed", seed, "--n", "2", "--json", "--quiet"]) == 0
        found = json.loads(capsys.readouterr().out)
        thoughts.append(json.dumps([found["thinking"], found["answer"], found["ledger"]["decoded"]]))
    assert thoughts[0] == thoughts[1]
    assert thoughts[0] != thoughts[2]


def test_what_the_miniature_can_not_read(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["solve", "who was Plato?", "--model", script]) == 2
    assert "the miniature can not read 'who was Plato?'" in capsys.readouterr().err


def test_unknown_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["solve", "3+4", "--model", "minni"]) == 2
    assert "did you mean 'mini'" in capsys.readouterr().err


def test_doctor_finds_sampler_and_trainer_in_agreement(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["doctor", "--model", model, "--json"])
    found = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check for check in found["checks"]}
    assert checks["sampler = trainer"]["ok"], checks["sampler = trainer"]
    assert checks["sampler = trainer"]["tokens"] > 50
    assert (code == 0) == found["ok"] == all(check["ok"] for check in found["checks"])


def test_doctor_notices_disagreement(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sampler that runs on other weights than the trainer is found out."""
    load = models.load

    def drifted(*arguments: object, **options: object) -> Transformer:
        loaded = load(*arguments, **options)  # type: ignore[arg-type]
        with torch.no_grad():
            loaded.embed.weight.mul_(1.5)
        return loaded

    monkeypatch.setattr(doctor, "trainer_model", drifted)
    check = doctor.agreement(doctor.DoctorConfig(model=model))
    assert not check["ok"]
    assert check["gap"] > 0.1


def test_doctor_without_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--model", "/nowhere/model"]) == 1
    out = capsys.readouterr().out
    assert "BAD  sampler = trainer" in out
    assert out.endswith("not ready: see the lines marked BAD\n")
