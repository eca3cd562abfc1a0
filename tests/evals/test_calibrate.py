"""`ponder calibrate` from settings to files: honest levels, resuming, the table and who reads it, bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from calibrate_fakes import START, Uneven

from ponder import cli, config, efforts
from ponder.cli import solve
from ponder.cli.solve import SolveConfig
from ponder.efforts import OPERATING, OperatingPoint, OperatingTable, operating, operating_point
from ponder.engines.load import WEIGHTS
from ponder.errors import CheckpointError, ConfigError, DataError
from ponder.evals import calibrate, measure
from ponder.evals.calibrate import CalibrateConfig
from ponder.evals.frontier import Levels
from ponder.evals.points import Point, SweepFile
from ponder.evals.pools import FILE
from ponder.evals.sweep import Fresh, judge, repeats
from ponder.progress import set_quiet

TASK = "calibrate_fakes:Sums"


@pytest.fixture(autouse=True)
def quiet() -> Any:
    set_quiet(True)
    yield
    set_quiet(False)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Uneven:
    made = Uneven(hard=0.3)
    monkeypatch.setattr(measure, "open_engine", lambda *_: made)
    return made


def settings(folder: Path, **more: Any) -> CalibrateConfig:
    return CalibrateConfig(
        task=TASK, out=str(folder / "run"), **{"problems": 60, "fresh": 60, "most": 8, "probe": 3, "alone": 1, **more}
    )


def test_levels_rise_on_problems_not_used_to_choose_them(tmp_path: Path, engine: Uneven) -> None:
    found = calibrate.run(settings(tmp_path))
    rows = list(found["levels"].values())
    assert len(rows) >= 2
    for field in ("accuracy", "tokens"):
        values = [row[field] for row in rows]
        assert values == sorted(values) and len(set(values)) == len(values)
    assert found["rises"] is True
    assert "rise strictly" in found["verdict"]
    assert all(row["interval"][0] <= row["accuracy"] <= row["interval"][1] for row in rows)
    assert all(row["latency"] > 0 for row in rows)
    assert rows[-1]["attempts"] == 1 < rows[0]["attempts"] <= 4
    # true values: a sample is right 60 % of the time; the prompt has 8 tokens and each sample 10
    assert rows[0]["tokens"] == pytest.approx(19.0)
    assert {START["dev"] <= n < START["dev"] + 60 or START["test"] <= n < START["test"] + 60 for n in engine.drawn} == {
        True
    }


def test_files(tmp_path: Path, engine: Uneven) -> None:
    found = calibrate.run(settings(tmp_path))
    run = tmp_path / "run"
    report = json.loads((run / "report.json").read_text())
    assert report["headline"]["levels"] == json.loads(json.dumps(found["levels"]))
    assert {row["level"] for row in report["points"]} >= set(found["levels"])
    held, chosen = report["cross_validated"], [row for row in report["points"] if row["level"]]
    assert [row["level"] for row in held] == [row["level"] for row in report["levels"]]
    assert held[-1]["accuracy"] <= max(row["accuracy"] for row in chosen) + 1e-9  # the maximum of noise is not reported
    page = (run / "report.html").read_text()
    assert "rise strictly" in page and "<script" not in page
    assert ElementTree.fromstring((run / "frontier.svg").read_text()).tag.endswith("svg")
    table = operating(run)
    assert table is not None and table.default == TASK
    assert found["operating"] == str(run / OPERATING)
    point = next(iter(table.tasks[TASK].levels.values()))
    assert point.accuracy == next(iter(found["levels"].values()))["accuracy"]
    shown = calibrate.show(found)
    assert "tokens" in shown and found["verdict"] in shown


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_to_the_same_end(tmp_path: Path, engine: Uneven) -> None:
    whole = calibrate.run(settings(tmp_path / "a"))
    total = len(engine.drawn)
    engine.drawn.clear()
    engine.fail_after = total // 3
    with pytest.raises(KeyboardInterrupt):
        calibrate.run(settings(tmp_path / "b"))
    kept = (tmp_path / "b" / "run" / FILE).read_text().count("\n")
    assert kept > 0
    engine.drawn.clear()
    engine.fail_after = None
    again = calibrate.run(settings(tmp_path / "b"))
    assert len(engine.drawn) < total
    timed = ("seconds", "latency")
    for name, row in whole["levels"].items():
        assert {k: v for k, v in again["levels"][name].items() if k not in timed} == {
            k: v for k, v in row.items() if k not in timed
        }
    engine.drawn.clear()
    calibrate.run(settings(tmp_path / "b", alone=0))
    assert engine.drawn == []
    calibrate.run(settings(tmp_path / "b", alone=0, problems=70))
    assert {n for n in engine.drawn if n < START["test"]} == set(range(START["dev"] + 60, START["dev"] + 70))


@pytest.mark.slow
def test_a_seed_is_repeatable(tmp_path: Path, engine: Uneven) -> None:
    first, second, other = (
        calibrate.run(settings(tmp_path / name, seed=seed, alone=0)) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first["levels"].keys() == second["levels"].keys()
    assert [r["accuracy"] for r in first["levels"].values()] == [r["accuracy"] for r in second["levels"].values()]
    assert [r["accuracy"] for r in first["levels"].values()] != [r["accuracy"] for r in other["levels"].values()]


def test_one_level_where_nothing_helps(tmp_path: Path, engine: Uneven) -> None:
    engine.easy = engine.hard = 1.0
    found = calibrate.run(settings(tmp_path))
    assert list(found["levels"]) == ["medium"]
    assert found["verdict"].startswith("One level: no second one could be told apart")
    assert found["levels"]["medium"]["tokens"] == pytest.approx(19.0)
    assert "No level costs enough to pay for a probe" in found["routing"]


def test_recipe(tmp_path: Path, engine: Uneven) -> None:
    recipe = tmp_path / "sweep.toml"
    recipe.write_text(
        '[[sweep]]\nstrategy = "vote"\nn = [1, 6]\n[[sweep]]\nstrategy = "vote"\nn = [6]\nbudget = [49]\n'
    )
    found = calibrate.run(settings(tmp_path, recipe=str(recipe)))
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert {row["point"] for row in report["points"]} == {"vote n=1", "vote n=6", "vote n=6 within 49 tokens"}
    limited = next(row for row in report["points"] if "within" in row["point"])
    assert limited["tokens"] == 49
    assert "low" in found["levels"]
    recipe.write_text("[[sweep]]\nstratgy = 'vote'\n")
    with pytest.raises(ConfigError, match="stratgy"):
        calibrate.run(settings(tmp_path / "b", recipe=str(recipe)))
    recipe.write_text("")
    with pytest.raises(ConfigError, match=r"has no \[\[sweep\]\] tables"):
        calibrate.run(settings(tmp_path / "b", recipe=str(recipe)))


def test_shipped_recipe_parses() -> None:
    folder = Path(__file__).parents[2] / "recipes" / "calibrate"
    files = sorted(folder.glob("*.toml"))
    assert files
    for file in files:
        assert config.load(SweepFile, file).sweep


def test_a_verifier_joins_the_sweep(tmp_path: Path, engine: Uneven) -> None:
    found = calibrate.run(settings(tmp_path, verifier="calibrate_fakes:plausible", most=4, alone=0))
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    points = {row["point"]: row for row in report["points"]}
    assert points["best_of_n n=4"]["accuracy"] > points["vote n=4"]["accuracy"] + 0.1
    assert points["best_of_n n=4"]["accuracy"] >= points["weighted_vote n=4"]["accuracy"]
    top = list(found["levels"].values())[-1]
    assert top["point"] == "best_of_n n=4"
    chance = (1 - 0.1**4 + 1 - 0.7**4) / 2  # any of four right, at even and at odd numbers
    assert points["best_of_n n=4"]["accuracy"] == pytest.approx(chance, abs=0.1)
    table = operating(tmp_path / "run")
    assert table is not None
    assert list(table.tasks[TASK].levels.values())[-1].verifier == "calibrate_fakes:plausible"


def test_folders_of_verifiers_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prm").mkdir()
    monkeypatch.chdir(tmp_path)
    assert calibrate.anywhere("prm") == str(tmp_path / "prm")
    assert calibrate.anywhere("qwen:prm+confidence") == f"qwen:{tmp_path / 'prm'}+confidence"
    assert calibrate.anywhere("judge:mini") == "judge:mini"
    assert calibrate.anywhere("") == ""


def test_into_the_models_folder(tmp_path: Path, engine: Uneven) -> None:
    model = tmp_path / "model"
    model.mkdir()
    engine.path = str(model)
    calibrate.install(model, "chain", OperatingTable(levels={"low": OperatingPoint(strategy="greedy")}))
    found = calibrate.run(settings(tmp_path))
    assert found["operating"] == str(model / OPERATING)
    table = operating(model)
    assert table is not None
    assert (set(table.tasks), table.default) == ({"chain", TASK}, TASK)
    assert efforts.operating_point(model, "low", "chain") == ("low", OperatingPoint(strategy="greedy"))
    calibrate.run(settings(tmp_path, install=False, seed=0))
    engine.path = None
    with pytest.raises(ConfigError, match="--install: mini has no folder"):
        calibrate.run(settings(tmp_path, install=True))


def test_reading_a_table(tmp_path: Path) -> None:
    assert operating(tmp_path) is None
    assert operating_point(tmp_path, "high") is None
    levels = {name: OperatingPoint(strategy="vote", n=i + 1) for i, name in enumerate(("low", "medium", "xhigh"))}
    calibrate.install(tmp_path, "a", OperatingTable(levels=levels))
    calibrate.install(tmp_path, "b", OperatingTable(levels={"medium": OperatingPoint(strategy="greedy")}))

    def named(level: str, task: str = "a") -> str | None:
        found = operating_point(tmp_path, level, task)
        return None if found is None else found[0]

    assert [named(level) for level in efforts.NAMES] == ["low", "low", "low", "medium", "medium", "xhigh"]
    assert named("xhigh", "b") == named("xhigh", "") == named("none", "unheard-of") == "medium"
    with pytest.raises(ConfigError, match="unknown effort 'hihg'; did you mean 'high'"):
        operating_point(tmp_path, "hihg")
    (tmp_path / OPERATING).write_text('{"default": "a"}')
    with pytest.raises(CheckpointError, match="not a table of operating points"):
        operating(tmp_path)


def test_solve_runs_what_the_effort_stands_for(tmp_path: Path) -> None:
    """A model's table decides strategy, samples and thinking; who names a strategy gets that."""
    model = tmp_path / "mini"
    shutil.copytree(WEIGHTS / "mini", model)
    levels = {
        "low": OperatingPoint(strategy="greedy", effort="low"),
        "high": OperatingPoint(strategy="vote", n=3, effort="high", accuracy=0.75),
    }
    calibrate.install(model, "chain", OperatingTable(levels=levels))
    calibrate.install(model, "countdown", OperatingTable(levels={"low": OperatingPoint(strategy="sample")}))

    def run(text: str = "(3+4)*5-6", **more: Any) -> dict[str, Any]:
        return solve.run(SolveConfig(text=text, model=str(model), **more))

    top = run(effort="xhigh")
    assert (top["strategy"], top["completions"], top["effort"], top["answer"]) == ("vote", 3, "high", "29")
    assert top["operating"] == {"level": "high", "task": "chain", "accuracy": 0.75, "interval": None, "tokens": None}
    assert "effort high: 75.0 % right on the chain problems it was measured on" in solve.show(top)
    least = run(effort="none")
    assert (least["strategy"], least["completions"], least["effort"]) == ("greedy", 1, "low")
    assert run("3, 7, 12 -> 33", effort="xhigh")["strategy"] == "sample"
    assert run("47 + 85", effort="high")["operating"]["task"] in ("chain", "countdown")
    told = run(strategy="vote", n=2, effort="xhigh")
    assert (told["completions"], told["effort"], told["operating"]) == (2, "high", None)
    usual = run(n=2)
    assert (usual["strategy"], usual["effort"], usual["operating"]) == ("vote", "medium", None)


def level(name: str, right: list[float], tokens: float) -> Fresh:
    return Fresh(name, Point("sample"), right, 1, {"tokens": tokens}, None)


def test_a_level_that_does_not_rise_on_fresh_problems_is_left_out() -> None:
    found = Levels((0, 1, 2), ("low", "medium", "high"), None, ())
    fresh = [level("low", [0, 1, 0, 0], 10), level("medium", [0, 1, 0, 0], 20), level("high", [1, 1, 1, 0], 30)]
    kept, verdict = judge(fresh, found, 0.95)
    assert [one.name for one in kept] == ["low", "high"]
    assert verdict == "On 4 fresh problems medium did not rise above the level below: left out of the table."
    cheaper = [level("low", [0.0] * 4, 10), level("medium", [1.0] * 4, 10)]
    assert [one.name for one in judge(cheaper, found, 0.95)[0]] == ["low"]


def test_what_is_not_certain_is_said() -> None:
    found = Levels((0, 1), ("low", "high"), None, ())
    unsure = [level("low", [0, 1, 0, 0] * 5, 10), level("high", [0, 1, 0, 0] * 4 + [0, 1, 0, 1], 20)]
    assert "whether high over low gains is not certain" in judge(unsure, found, 0.95)[1]
    sure = [level("low", [0, 1, 0, 0] * 5, 10), level("high", [1, 1, 1, 0] * 5, 20)]
    assert judge(sure, found, 0.95)[1].endswith("over 2 levels, every gain with 95 % confidence.")


def test_cheap_levels_are_tried_more_often() -> None:
    points = [Point("greedy"), Point("sample"), Point("vote", 4), Point("vote", 8)]
    assert repeats(points, [10, 10, 40, 100]) == [1, 4, 2, 1]


def test_bad_input(tmp_path: Path, engine: Uneven) -> None:
    def refused(error: type[Exception], message: str, **more: Any) -> None:
        with pytest.raises(error, match=message):
            calibrate.run(settings(tmp_path, **more))
        assert engine.drawn == []

    refused(DataError, "60 problems are both in dev and in test|only", task_options=("spare=5",))
    refused(ConfigError, "unknown option of task", task_options=("sprae=5",))
    refused(ConfigError, "write it as NAME=VALUE", task_options=("spare",))
    refused(ConfigError, "unknown recipe 'no-such'", recipe="no-such")
    with pytest.raises(ConfigError, match="unknown task 'countdwn'"):
        calibrate.run(CalibrateConfig(task="countdwn"))


def test_problems_that_are_not_fresh_are_refused(tmp_path: Path, engine: Uneven) -> None:
    with pytest.raises(DataError, match="20 problems are both in dev and in test"):
        calibrate.run(CalibrateConfig(task="eval_fakes:Doubling", problems=20, fresh=20, out=str(tmp_path)))


def test_one_split_is_divided(tmp_path: Path, engine: Uneven) -> None:
    calibrate.run(settings(tmp_path, split="test", fresh_split="test", problems=30, fresh=25))
    assert set(engine.drawn) == set(range(START["test"], START["test"] + 55))


def test_on_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path, engine: Uneven) -> None:
    given = [
        "calibrate",
        TASK,
        "--problems",
        "40",
        "--fresh",
        "40",
        "--most",
        "4",
        "--alone",
        "0",
        "--out",
        str(tmp_path / "r"),
    ]
    assert cli.main([*given, "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["levels"] and found["report"].endswith("report.html")
    assert cli.main(["calibrate", TASK, "--problems", "5"]) == 2
    assert "expected int from 20" in capsys.readouterr().err
    assert cli.main([*given, "--task-options", "spare=30"]) == 2
    assert "other settings" in capsys.readouterr().err
