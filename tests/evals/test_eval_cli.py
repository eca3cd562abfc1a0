"""`ponder eval` and `ponder report` on a run directory."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from eval_fakes import CoinEngine, Doubling

from ponder import engines, tasks
from ponder.errors import ConfigError, RunError
from ponder.evals import cli
from ponder.files import read_rows


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> CoinEngine:
    made = CoinEngine()
    monkeypatch.setattr(engines, "load", lambda spec, **_: made, raising=False)
    monkeypatch.setitem(tasks.TASKS.entries, "doubling", Doubling)
    return made


def config(out: Path, **changes) -> cli.EvalConfig:
    return cli.EvalConfig(**({"task": "doubling", "limit": 12, "attempts": 4, "out": str(out)} | changes))


def test_result_has_what_other_projects_rely_on(engine: CoinEngine, tmp_path: Path) -> None:
    result = cli.run(config(tmp_path / "run"))
    rows = [r for r in read_rows(tmp_path / "run/attempts.jsonl") if "temperature" not in r["sampling"]]
    assert result["pass_at_1"] == pytest.approx(sum(r["outcome"] == "correct" for r in rows) / 48)
    assert result["interval"][0] < result["pass_at_1"] < result["interval"][1]
    assert (result["problems"], result["attempts"]) == (12, 4)
    assert set(result["ledger"]) >= {"cached", "prefilled", "decoded", "verified", "seconds"}
    assert result["ledger"]["decoded"] == engine.ledger.decoded == 10 * 60
    assert "pass@1" in cli.show(result)
    json.dumps(result)


def test_more_attempts_cost_only_the_difference(engine: CoinEngine, tmp_path: Path) -> None:
    cli.run(config(tmp_path / "run"))
    first = (tmp_path / "run/report.json").read_bytes()
    cli.run(config(tmp_path / "run"))
    assert engine.calls == [48, 12]
    assert (tmp_path / "run/report.json").read_bytes() == first
    result = cli.run(config(tmp_path / "run", attempts=6))
    assert engine.calls == [48, 12, 24]
    assert result["attempts"] == 6
    assert result["ledger"]["decoded"] == engine.ledger.decoded


def test_report_needs_no_engine_and_changes_nothing(
    engine: CoinEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.run(config(tmp_path / "run"))
    kept = {name: (tmp_path / "run" / name).read_bytes() for name in ("report.json", "report.html")}
    for name in kept:
        (tmp_path / "run" / name).unlink()
    monkeypatch.delattr(engines, "load")
    found = cli.render(cli.ReportConfig(run=str(tmp_path / "run")))
    assert {name: (tmp_path / "run" / name).read_bytes() for name in kept} == kept
    assert found["title"] in cli.show_report(found)


def test_the_figure_is_an_svg_file(engine: CoinEngine, tmp_path: Path) -> None:
    cli.run(config(tmp_path / "run", efforts=("low", "high"), limit=6))
    cli.render(cli.ReportConfig(run=str(tmp_path / "run"), figure=str(tmp_path / "f.svg")))
    root = ElementTree.parse(tmp_path / "f.svg").getroot()
    assert root.tag.endswith("svg")
    assert {"low", "high"} <= {node.text for node in root.iter() if node.tag.endswith("text")}
    assert "--c1: #" in "".join(node.text or "" for node in root.iter() if node.tag.endswith("style"))


def test_regrading_uses_the_grader_of_today(engine: CoinEngine, tmp_path: Path) -> None:
    before = cli.run(config(tmp_path / "run"))
    path = tmp_path / "run/attempts.jsonl"
    path.write_text(path.read_text().replace('"outcome":"correct","score":1.0', '"outcome":"wrong","score":0.0'))
    spoiled = cli.render(cli.ReportConfig(run=str(tmp_path / "run")))
    assert spoiled["headline"]["pass_at_1"] == 0.0
    again = cli.run(config(tmp_path / "run", regrade=True))
    assert again["pass_at_1"] == before["pass_at_1"]
    assert again["regraded"] == sum(r["outcome"] == "correct" for r in read_rows(path))
    assert engine.calls == [48, 12]


def test_bad_input_is_one_clear_error(engine: CoinEngine, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown task 'dubling'"):
        cli.run(config(tmp_path / "a", task="dubling"))
    with pytest.raises(ConfigError, match="at least one of low"):
        cli.run(config(tmp_path / "b", efforts=()))
    with pytest.raises(RunError, match="no run here"):
        cli.render(cli.ReportConfig(run=str(tmp_path / "missing")))
    cli.run(config(tmp_path / "c"))
    with pytest.raises(RunError, match="other settings"):
        cli.run(config(tmp_path / "c", temperature=0.5))
    assert not (tmp_path / "a").exists()


def test_interrupted_evaluation_goes_on(engine: CoinEngine, tmp_path: Path) -> None:
    engine.stop_after = 20
    with pytest.raises(KeyboardInterrupt):
        cli.run(config(tmp_path / "run"))
    with pytest.raises(RunError, match="not finished"):
        cli.render(cli.ReportConfig(run=str(tmp_path / "run")))
    engine.stop_after = None
    result = cli.run(config(tmp_path / "run"))
    assert engine.calls == [48, 28, 12]
    assert result["ledger"]["decoded"] == engine.ledger.decoded
