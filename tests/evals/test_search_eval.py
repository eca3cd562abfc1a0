"""`ponder eval --strategy`, `ponder replay`, `ponder curves` and the report, on run directories."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import search_fakes
from eval_fakes import CoinEngine, Doubling
from search_fakes import Likes, step_engine
from test_report import Balance

from ponder import engines, tasks, verifiers
from ponder.errors import ConfigError, RunError
from ponder.evals import cli, curve_figures, curves_cli, page, replay_cli, report_figures
from ponder.evals.search_views import view
from ponder.evals.searching import verifier_identity
from ponder.evals.trees import TreeStore
from ponder.files import read_rows
from ponder.types import Step

HOSTILE = "<script>alert(1)</script>\x00\x1b[31m\u202e"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> CoinEngine:
    """Without drawing: figures are the slowest part of a report, and have tests of their own."""
    for module in (curve_figures, report_figures):
        for name in ("line_figure", "bar_figure"):
            monkeypatch.setattr(module, name, lambda *_, **__: '<svg viewBox="0 0 1 1"></svg>', raising=False)
    return use(monkeypatch, CoinEngine())


def use(monkeypatch: pytest.MonkeyPatch, made):
    monkeypatch.setattr(engines, "load", lambda spec, **_: made, raising=False)
    monkeypatch.setitem(tasks.TASKS.entries, "doubling", Doubling)
    monkeypatch.setitem(verifiers.VERIFIERS.entries, "likes", Likes)
    return made


def config(out: Path, **changes) -> cli.EvalConfig:
    base = {"task": "doubling", "limit": 12, "out": str(out), "strategy": "vote", "n": 6}
    return cli.EvalConfig(**(base | changes))


def test_result_has_what_other_projects_rely_on(engine: CoinEngine, tmp_path: Path) -> None:
    result = cli.run(config(tmp_path / "run"))
    rows = list(TreeStore(tmp_path / "run/trees.jsonl"))
    assert result["accuracy"] == pytest.approx(sum(row.right for row in rows) / 12)
    assert result["interval"][0] < result["accuracy"] < result["interval"][1]
    assert result["pass_at_1"] == pytest.approx(sum(sum(row.correct) for row in rows) / 72)
    assert (result["problems"], result["attempts"], result["branches"]) == (12, 1, 6)
    assert result["ended"] == {"done": 12}
    ledger = result["ledger"]
    assert set(ledger) >= {"cached", "prefilled", "decoded", "verified", "flops", "seconds"}
    assert ledger["decoded"] == engine.ledger.decoded == 72 * 10
    assert ledger["prefilled"] == sum(len(row.prompt) for row in rows) < engine.ledger.prefilled
    assert 0 <= result["overhead"]["share"] <= 1
    assert result["overhead"]["seconds"] >= ledger["seconds"] * 0.5
    assert "accuracy" in cli.show(result)
    json.dumps(result)
    assert (
        json.loads((tmp_path / "run/report.json").read_bytes())["searches"]["strategies"][0]["accuracy"]
        == (result["accuracy"])
    )


def test_the_same_line_again_searches_nothing(engine: CoinEngine, tmp_path: Path) -> None:
    cli.run(config(tmp_path / "run"))
    calls, page = list(engine.calls), (tmp_path / "run/report.html").read_bytes()
    cli.run(config(tmp_path / "run"))
    assert engine.calls == calls
    assert (tmp_path / "run/report.html").read_bytes() == page
    assert cli.run(config(tmp_path / "run", attempts=2, limit=14))["attempts"] == 2
    assert sum(engine.calls) == (12 + 12 + 4) * 6


def test_samples_and_strategies_share_a_run(engine: CoinEngine, tmp_path: Path) -> None:
    cli.run(config(tmp_path / "run"))
    plain = cli.run(config(tmp_path / "run", strategy="", n=None, attempts=4))
    cli.run(config(tmp_path / "run", strategy="best_of_n", verifier="likes", limit=10))
    found = report_of(tmp_path / "run")
    assert found["headline"]["pass_at_1"] == plain["pass_at_1"]
    assert found["headline"]["ledger"] == plain["ledger"]  # searches are not in it
    assert [row["label"] for row in found["searches"]["strategies"]] == ["vote", "best_of_n"]
    assert [row["problems"] for row in found["searches"]["strategies"]] == [12, 10]
    assert {curve["label"] for curve in found["searches"]["curves"]} == {"vote", "best of n"}
    assert len(found["searches"]["worth"]) == 1
    assert found["attempts"]["total"] == 12 * 5
    calls = list(engine.calls)
    shown = cli.render(cli.ReportConfig(run=str(tmp_path / "run")))
    assert engine.calls == calls
    assert shown["headline"]["pass_at_1"] == plain["pass_at_1"]


def report_of(path: Path) -> dict:
    return json.loads((path / "report.json").read_bytes())


def test_other_settings_of_the_same_run_are_refused(engine: CoinEngine, tmp_path: Path) -> None:
    cli.run(config(tmp_path / "run"))
    with pytest.raises(RunError, match="other settings"):
        cli.run(config(tmp_path / "run", temperature=0.5))


def test_settings_of_a_search_without_a_strategy(engine: CoinEngine, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--n belongs to a search: name a strategy too"):
        cli.run(config(tmp_path / "run", strategy=""))
    with pytest.raises(ConfigError, match="unknown verifier 'liks'; did you mean 'likes'"):
        cli.run(config(tmp_path / "run", strategy="best_of_n", verifier="liks"))
    assert not (tmp_path / "run").exists()


def test_an_interrupted_search_has_no_report_yet(engine: CoinEngine, tmp_path: Path) -> None:
    engine.stop_after = 20
    with pytest.raises(KeyboardInterrupt):
        cli.run(config(tmp_path / "run"))
    with pytest.raises(RunError, match="not finished"):
        cli.render(cli.ReportConfig(run=str(tmp_path / "run")))
    engine.stop_after = None
    assert cli.run(config(tmp_path / "run"))["problems"] == 12


def test_budget_that_ends_searches_is_counted(engine: CoinEngine, tmp_path: Path) -> None:
    result = cli.run(config(tmp_path / "run", budget=8, limit=6))
    assert result["ended"]["budget"] == 6
    assert result["ledger"]["decoded"] > 0
    assert "budget" in cli.show(result)


def test_regrading_reaches_every_branch(engine: CoinEngine, tmp_path: Path) -> None:
    before = cli.run(config(tmp_path / "run"))
    for name in ("trees.jsonl", "attempts.jsonl"):
        path = tmp_path / "run" / name
        path.write_text(path.read_text().replace('"outcome":"correct","score":1.0', '"outcome":"wrong","score":0.0'))
    assert cli.run(config(tmp_path / "run"))["accuracy"] == 0.0
    after = cli.run(config(tmp_path / "run", regrade=True))
    assert (after["accuracy"], after["pass_at_1"]) == (before["accuracy"], before["pass_at_1"])
    assert after["ledger"] == before["ledger"]


# ---- the page


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a beam and a vote over steps, one of them hostile, with its figures."""
    lines = [*search_fakes.LINES, "<think>1+1=3?;2<b>=4\n</think>5"]
    out = tmp_path_factory.mktemp("grown") / "run"
    with pytest.MonkeyPatch.context() as patch:
        use(patch, step_engine(lines))
        patch.setattr(Likes, "semantics", "value", raising=False)
        cli.run(config(out, limit=8, max_tokens=60))
        cli.run(config(out, limit=8, max_tokens=60, strategy="beam", n=4, verifier="likes"))
    return out


def test_page_is_whole_escaped_and_shows_the_numbers(grown: Path) -> None:
    found, html = report_of(grown), (grown / "report.html").read_text()
    checker = Balance()
    checker.feed(html)
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids))
    assert not {"script", "link", "img", "iframe"} & set(checker.seen)
    assert not re.search(r"(src|href)=\"(?!#)", html.replace("xlink:", ""))
    words = " ".join(checker.words)
    for row in found["searches"]["strategies"]:
        assert page.percent(row["accuracy"]) in words
        assert page.percent(row["coverage"]["mean"]) in words
    assert "2<b>" not in html
    assert "2&lt;b&gt;" in html


def test_trees_show_scores_labels_and_the_chosen_branch(grown: Path) -> None:
    html = (grown / "report.html").read_text()
    assert 'class="onpath"' in html
    assert re.search(r'class="step" style="--s:0\.\d{3}"', html)
    assert '<span class="unsound">1+1=3?' in html
    assert "says so" in html
    assert '<span class="sound">' in html
    assert "<circle" in html
    tree = report_of(grown)["searches"]["trees"][0]
    chosen = [node for node in tree["nodes"] if node["chosen"]]
    assert chosen[-1]["end"]["outcome"] == tree["outcome"]
    assert all(node["parent"] in {other["index"] for other in chosen} for node in chosen if node["parent"])


def test_labels_fall_on_the_nodes_that_wrote_the_step(grown: Path) -> None:
    rows = [row for row in TreeStore(grown / "trees.jsonl") if row.name == "beam"]
    problem = next(p for p in Doubling().problems("test", 8) if p.id == rows[0].problem)
    shown = view(rows[0], problem, Doubling().steps)
    for node, stored in zip(shown["nodes"], rows[0].nodes, strict=True):
        assert "".join(piece["text"] for piece in node["pieces"]) == stored.get("text", "")
        for piece in node["pieces"]:
            if "sound" in piece:
                assert piece["sound"] == ("?" not in piece["text"])


def test_a_label_over_two_nodes_gives_its_reason_once() -> None:
    row = search_fakes.flat_row(
        ["a"],
        nodes=[
            {"parent": None, "tokens": [], "logprobs": [], "finish": None},
            {"parent": 0, "tokens": [1], "logprobs": [-1], "finish": None, "text": "<think>wrong st"},
            {"parent": 1, "tokens": [2], "logprobs": [-1], "finish": "stop", "text": "ep;rest</think>a"},
        ],
        ends=(search_fakes.End(node=2, outcome="correct", score=1.0, name="a", answer="a"),),
    )
    problem = Doubling().problems("test", 1)[0]
    shown = view(row, problem, lambda _, __: [Step("wrong step", False, None, "because")])
    pieces = [node["pieces"] for node in shown["nodes"][1:]]
    assert [[p["text"] for p in own] for own in pieces] == [["<think>", "wrong st"], ["ep", ";rest", "</think>a"]]
    assert [p.get("reason") for own in pieces for p in own if "sound" in p] == ["because", ""]


def test_control_characters_are_shown_and_do_nothing() -> None:
    shown = page.text(HOSTILE)
    assert shown == "&lt;script&gt;alert(1)&lt;/script&gt;\u2400\u241b[31m\u27e8U+202E\u27e9"
    assert page.text("a\tb\n\u00e9\u4e2d") == "a\tb\n\u00e9\u4e2d"


def test_what_does_not_fit_is_said(engine: CoinEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ponder.evals import search_report

    monkeypatch.setattr(search_report, "VIEW_BYTES", 8000)
    cli.run(config(tmp_path / "run"))
    found = report_of(tmp_path / "run")["searches"]["attempts"]
    assert 0 < len(found["shown"]) < found["total"] == 12
    assert f"The first {len(found['shown'])} of 12 searches" in (tmp_path / "run/report.html").read_text()


def test_a_report_without_searches_has_no_section(engine: CoinEngine, tmp_path: Path) -> None:
    cli.run(config(tmp_path / "run", strategy="", n=None, attempts=2))
    assert report_of(tmp_path / "run")["searches"] is None
    assert "Strategies on" not in (tmp_path / "run/report.html").read_text()
    assert "Every attempt" in (tmp_path / "run/report.html").read_text()


# ---- replay and curves


def test_replay_command(engine: CoinEngine, tmp_path: Path) -> None:
    result = cli.run(config(tmp_path / "run"))
    calls = list(engine.calls)
    out = tmp_path / "again.json"
    found = replay_cli.run(
        replay_cli.ReplayConfig(run=str(tmp_path / "run"), select=("vote", "any"), k=(1, 6), out=str(out))
    )
    assert [(row["select"], row["k"]) for row in found["rows"]] == [("vote", 1), ("vote", 6), ("any", 1), ("any", 6)]
    by = {(row["select"], row["k"]): row["accuracy"] for row in found["rows"]}
    assert by["vote", 6] == result["accuracy"]
    assert by["vote", 1] == pytest.approx(result["pass_at_1"])
    assert by["any", 1] == pytest.approx(result["pass_at_1"])
    assert by["any", 6] == result["coverage"]["mean"]
    assert engine.calls == calls
    assert json.loads(out.read_bytes())["rows"] == found["rows"]
    assert "vote" in replay_cli.show(found)


def test_replay_with_a_verifier_costs_only_its_tokens(engine: CoinEngine, tmp_path: Path) -> None:
    cli.run(config(tmp_path / "run"))
    calls = list(engine.calls)
    found = replay_cli.run(replay_cli.ReplayConfig(run=str(tmp_path / "run"), verifier="likes"))
    assert {row["select"] for row in found["rows"]} == {"vote", "weighted", "best", "likelihood", "any"}
    assert found["ledger"].verified == 72 * 10
    assert engine.calls == calls
    assert "scored again by likes" in replay_cli.show(found)


def test_replay_of_what_is_not_there(engine: CoinEngine, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run here"):
        replay_cli.run(replay_cli.ReplayConfig(run=str(tmp_path / "none")))
    cli.run(config(tmp_path / "run", strategy="", n=None, attempts=2))
    with pytest.raises(RunError, match="no search has finished here"):
        replay_cli.run(replay_cli.ReplayConfig(run=str(tmp_path / "run")))
    cli.run(config(tmp_path / "run"))
    with pytest.raises(ConfigError, match="unknown selection 'wote'"):
        replay_cli.run(replay_cli.ReplayConfig(run=str(tmp_path / "run"), select=("wote",)))
    with pytest.raises(ConfigError, match="needs scores"):
        replay_cli.run(replay_cli.ReplayConfig(run=str(tmp_path / "run"), select=("best",)))
    with pytest.raises(ConfigError, match=r"unknown strategy of .* 'beam'"):
        replay_cli.run(replay_cli.ReplayConfig(run=str(tmp_path / "run"), strategy="beam"))
    with pytest.raises(ConfigError, match="nothing to replay"):
        replay_cli.run(replay_cli.ReplayConfig(run=str(tmp_path / "run"), k=(7,)))


def test_curves_of_several_runs(engine: CoinEngine, tmp_path: Path) -> None:
    cli.run(config(tmp_path / "a", limit=16))
    cli.run(config(tmp_path / "b", limit=16, strategy="best_of_n", verifier="likes"))
    cli.run(config(tmp_path / "c", limit=16, strategy="", n=None, attempts=8, seed=5))
    made = curves_cli.CurvesConfig(
        runs=(str(tmp_path / "a"), str(tmp_path / "b")),
        by="parity",
        reference=str(tmp_path / "c"),
        bins=2,
        out=str(tmp_path / "out"),
    )
    result = curves_cli.run(made)
    assert [curve["label"] for curve in result["curves"]] == ["vote", "best of n"]
    assert {"parity 0", "parity 1"} <= set(result["bins"])
    assert len(result["worth"]) == 1
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"curves.json", "curves.html", "accuracy-forwarded.svg", "accuracy-seconds.svg"} <= files
    assert set(result["files"]) == files
    checker = Balance()
    checker.feed((tmp_path / "out/curves.html").read_text())
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids))
    assert "vote" in curves_cli.show(result)


def test_figures_as_files_stand_alone(grown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tasks.TASKS.entries, "doubling", Doubling)
    curves_cli.run(curves_cli.CurvesConfig(runs=(str(grown),), out=str(tmp_path / "out")))
    shapes = [ElementTree.parse(path).getroot() for path in (tmp_path / "out").glob("*.svg")]
    assert len(shapes) == 4
    for root in shapes:
        assert root.tag.endswith("svg")
        assert {"vote", "beam"} <= {node.text for node in root.iter() if node.tag.endswith("text")}


def test_a_verifier_is_named_with_its_weights(tmp_path: Path) -> None:
    (tmp_path / "orm/model").mkdir(parents=True)
    file = tmp_path / "orm/model/model.safetensors"
    file.write_bytes(b"one")
    spec = str(tmp_path / "orm")
    first = verifier_identity(spec)
    assert re.fullmatch(re.escape(spec) + "@[0-9a-f]{8}", first)
    file.write_bytes(b"two")
    assert verifier_identity(spec) != first
    assert verifier_identity(f"confidence+qwen:{spec}").startswith(f"confidence+qwen:{spec}@")
    assert verifier_identity("confidence") == "confidence"


def test_difficulty_from_a_run_is_its_samples_at_temperature(engine: CoinEngine, tmp_path: Path) -> None:
    cli.run(config(tmp_path / "c", strategy="", n=None, attempts=8))
    rows = [r for r in read_rows(tmp_path / "c/attempts.jsonl") if "temperature" not in r["sampling"]]
    found = curves_cli.pass_at_1(tmp_path / "c")
    assert found == {
        name: sum(r["outcome"] == "correct" for r in rows if r["problem"] == name) / 8
        for name in {r["problem"] for r in rows}
    }


def test_curves_of_bad_input(engine: CoinEngine, tmp_path: Path) -> None:
    cli.run(config(tmp_path / "a"))
    with pytest.raises(ConfigError, match=r"unknown tag of these problems 'size'. Known: n, parity"):
        curves_cli.run(curves_cli.CurvesConfig(runs=(str(tmp_path / "a"),), by="size", out=str(tmp_path / "o")))
    with pytest.raises(ConfigError, match="no run here to take difficulty from"):
        curves_cli.run(
            curves_cli.CurvesConfig(runs=(str(tmp_path / "a"),), reference=str(tmp_path), out=str(tmp_path / "o"))
        )
    assert not (tmp_path / "o").exists()
