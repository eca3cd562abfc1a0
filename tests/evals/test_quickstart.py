"""The stages of the quickstart, with training replaced by writing a model folder: skipping, resuming, re-rendering."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from eval_fakes import CoinEngine, Doubling

from ponder import tasks
from ponder.errors import ConfigError, RunError
from ponder.evals import quickstart, quickstart_report, report
from ponder.evals.cli import ReportConfig, render
from ponder.evals.measure import prepare
from ponder.evals.quickstart import QuickstartConfig
from ponder.files import read_rows

RECIPE = """
planted = ["the coin is biased"]

[sft]
steps = 7

[grpo]
steps = 9

[eval]
task = "doubling"
problems = 20
attempts = 16
max_tokens = 32
"""
SKILLS = {"sft": {"low": 0.2, "medium": 0.4, "high": 0.5}, "grpo": {"low": 0.5, "medium": 0.7, "high": 0.9}}


class Stages:
    """Stands in for training and loading; remembers what was asked of it."""

    def __init__(self) -> None:
        self.trained: list[str] = []
        self.settings: dict[str, Any] = {}
        self.engines: dict[str, CoinEngine] = {}
        self.fail = ""

    def train(self, stage: str, settings: Any) -> dict[str, Any]:
        if self.fail == stage:
            raise KeyboardInterrupt
        if stage == "grpo":
            assert (Path(settings.model) / "model.safetensors").exists()
        self.trained.append(stage)
        self.settings[stage] = settings
        folder = Path(settings.out) / "model"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(stage.encode() + bytes([settings.seed]))
        rows = [{"step": i, "loss": 1 / (i + 1), "reward": i / 10, "eval_pass1": 0.5} for i in range(5)]
        (folder.parent / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return {"steps": settings.steps}

    def engine(self, folder: Path) -> CoinEngine:
        stage = folder.parent.name
        self.engines.setdefault(stage, CoinEngine(SKILLS[stage]))
        return self.engines[stage]


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Stages:
    made = Stages()
    monkeypatch.setattr(report, "render", lambda found: json.dumps(found["headline"]))  # the page has its own tests
    monkeypatch.setattr(quickstart, "_train", made.train)
    monkeypatch.setattr(quickstart, "_engine", made.engine)
    monkeypatch.setitem(tasks.TASKS.entries, "doubling", Doubling)
    return made


def config(folder: Path, **changes) -> QuickstartConfig:
    (folder / "mine.toml").write_text(RECIPE)
    return QuickstartConfig(preset=str(folder / "mine.toml"), out=str(folder / "run"), **changes)


def test_headline_has_the_promised_numbers(stages: Stages, tmp_path: Path) -> None:
    result = quickstart.run(config(tmp_path, seed=3))
    found = json.loads((tmp_path / "run/report.json").read_text())["headline"]
    for key in (
        "pass1_sft",
        "pass1_rl",
        "cons16_sft",
        "cons16_rl",
        "pass16_sft",
        "pass16_rl",
        "greedy_sft",
        "greedy_rl",
    ):
        assert 0 <= found["intervals"][key][0] <= found[key] <= found["intervals"][key][1] <= 1
        assert result[key] == found[key]
    assert list(found["effort"]) == ["low", "medium", "high"]
    assert found["effort"]["medium"]["accuracy"] == found["pass1_rl"]
    assert found["effort_sft"]["medium"]["accuracy"] == found["pass1_sft"]
    assert [row["tokens"] for row in found["effort"].values()] == [7, 10, 8]
    assert found["problems"] == 20
    assert found["seconds"] > 0
    assert found["gain"]["mean"] == pytest.approx(found["pass1_rl"] - found["pass1_sft"])
    assert (stages.settings["sft"].steps, stages.settings["sft"].seed) == (7, 3)
    assert (stages.settings["grpo"].steps, stages.settings["grpo"].seed) == (9, 3)
    assert (tmp_path / "run/model/model.safetensors").read_bytes() == b"grpo\x03"


def test_effort_may_be_measured_apart(stages: Stages, tmp_path: Path) -> None:
    made = config(tmp_path, problems=10)
    more = '\n[effort]\ntask = "doubling"\nattempts = 2\nefforts = ["low", "high"]\nheadline = "high"\ngreedy = false\n'
    (tmp_path / "mine.toml").write_text(RECIPE + 'efforts = ["medium"]\n' + more)
    result = quickstart.run(made)
    assert list(result["effort"]) == ["low", "high"]
    assert result["problems"] == 10
    found = json.loads((tmp_path / "run/report.json").read_text())
    assert [part["effort_level"] for part in found["parts"]] == ["medium", "high"]
    assert stages.engines["sft"].calls == [160, 10, 40]


def test_finished_run_only_renders(stages: Stages, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = quickstart.run(config(tmp_path))
    kept = {name: (tmp_path / "run" / name).read_bytes() for name in ("report.json", "report.html")}
    (tmp_path / "run/report.html").unlink()
    again = quickstart.run(config(tmp_path))
    assert again == first
    assert stages.trained == ["sft", "grpo"]
    assert {name: (tmp_path / "run" / name).read_bytes() for name in kept} == kept
    assert "is finished" in capsys.readouterr().err
    assert render(ReportConfig(run=str(tmp_path / "run")))["headline"]["pass1_rl"] == first["pass1_rl"]


@pytest.mark.parametrize("place", ["grpo", "measure sft", "measure grpo"])
def test_interrupted_anywhere_and_resumed_gives_the_same(stages: Stages, tmp_path: Path, place: str) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    straight = quickstart.run(config(whole))
    stages.engines.clear()
    stages.trained.clear()
    if place == "grpo":
        stages.fail = place
    else:
        stages.engines[place.split()[1]] = CoinEngine(SKILLS[place.split()[1]], stop_after=100)
    with pytest.raises(KeyboardInterrupt):
        quickstart.run(config(tmp_path))
    with pytest.raises(RunError, match="not finished"):
        render(ReportConfig(run=str(tmp_path / "run")))
    stages.fail = ""
    for engine in stages.engines.values():
        engine.stop_after = None
    resumed = quickstart.run(config(tmp_path))
    assert stages.trained == ["sft", "grpo"]
    for key in ("pass1_sft", "pass1_rl", "cons16_rl", "effort"):
        assert resumed[key] == straight[key]
    if place == "measure sft":
        assert stages.engines["sft"].calls == [960, 860, 60]


def test_terminal_text_has_table_traces_and_what_was_planted(stages: Stages, tmp_path: Path) -> None:
    result = quickstart.run(config(tmp_path))
    text = quickstart.show(result)
    assert "cons@16" in text
    assert quickstart_report.percent(result["pass1_rl"]) in text
    assert "planted on purpose: the coin is biased" in text
    assert "[wrong: says so]" in text
    assert str(tmp_path / "run/report.html") in text


def test_wrong_input_is_said_before_any_work(stages: Stages, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'small'"):
        quickstart.run(QuickstartConfig(preset="smal", out=str(tmp_path / "run")))
    bad = config(tmp_path)
    (tmp_path / "mine.toml").write_text(RECIPE.replace("attempts = 16", "atempts = 16"))
    with pytest.raises(
        ConfigError, match=r"mine\.toml: unknown setting 'eval\.atempts'; did you mean 'eval\.attempts'"
    ):
        quickstart.run(bad)
    (tmp_path / "mine.toml").write_text(RECIPE + 'efforts = ["low"]\n')
    with pytest.raises(ConfigError, match="headline effort 'medium' is not measured"):
        quickstart.run(bad)
    assert not (tmp_path / "run").exists()
    assert stages.trained == []


@pytest.mark.parametrize("preset", quickstart.PRESETS)
def test_every_preset_names_settings_that_exist(preset: str, tmp_path: Path) -> None:
    made = QuickstartConfig(preset=preset, out=str(tmp_path / "run"), seed=5)
    recipe = quickstart.read_recipe(made)
    assert recipe.planted
    settings = {stage: quickstart.stage_settings(stage, made, recipe) for stage in quickstart.STAGES}
    assert settings["grpo"].model == str(tmp_path / "run/sft/model")
    for wanted in recipe.measures:
        part = prepare(msgspec.structs.replace(wanted, problems=3), 5)
        assert set(wanted.efforts) <= set(wanted.levels)
        assert all(problem.split == "test" for problem in part.problems)


@pytest.mark.parametrize("table", ["sft", "grpo"])
def test_a_wrong_training_key_is_said_before_training(stages: Stages, tmp_path: Path, table: str) -> None:
    bad = config(tmp_path)
    (tmp_path / "mine.toml").write_text(RECIPE.replace(f"[{table}]", f"[{table}]\nstepz = 3"))
    with pytest.raises(ConfigError, match=rf"\[{table}\] of the recipe: .*did you mean"):
        quickstart.run(bad)
    assert stages.trained == []


def test_measuring_obeys_the_limits_of_training(stages: Stages, tmp_path: Path) -> None:
    bad = config(tmp_path)
    levels = "[grpo.levels]\nlow = { max_tokens = 9, think_budget = 5, answer_reserve = 2, share = 0.5 }\n\n[eval]"
    (tmp_path / "mine.toml").write_text(RECIPE.replace("[eval]", levels))
    quickstart.run(bad)
    rows = read_rows(tmp_path / "run/attempts.jsonl")
    limits = {row.get("effort"): row["sampling"] for row in rows if "temperature" not in row["sampling"]}
    assert limits["low"] == "max_tokens=9,think_budget=5,answer_reserve=2,seed=0"
    assert limits["high"] == "max_tokens=32,seed=0"
