"""`ponder compare` on stores whose every number is known, and on runs made by `ponder eval`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from eval_fakes import CoinEngine, Doubling

from ponder import cli as commands
from ponder import engines, tasks
from ponder.errors import ConfigError, DataError, RunError
from ponder.evals import cli, compare, paired
from ponder.evals.attempts import Attempt, AttemptStore
from ponder.evals.compare import CompareConfig
from ponder.evals.sides import matched, read_side


def stored(path: Path, verdicts: dict[str, list[int]], *, append: bool = False, **changes: Any) -> Path:
    """A run directory holding the given verdicts by problem; `changes` go to every attempt."""
    path.mkdir(exist_ok=True)
    if not append:
        record = {"ponder": "0", "command": "eval", "config": {"task": "nowhere"}}
        (path / "config.json").write_text(json.dumps(record))
    fields = {"task": "sums", "model": "m@1", "sampling": "seed=0", "tokens": (1, 2, 3)} | changes
    rows = [
        Attempt(problem=name, attempt=i, outcome="correct" if good else "wrong", score=float(good), **fields)
        for name, found in verdicts.items()
        for i, good in enumerate(found)
    ]
    AttemptStore(path / "attempts.jsonl").add(rows)
    return path


def compared(*runs: Any, **settings: Any) -> list[dict[str, Any]]:
    return compare.run(CompareConfig(runs=tuple(map(str, runs)), draws=400, **settings))["rows"]


def test_several_attempts_hand_worked(tmp_path: Path) -> None:
    """Rates 0, .5, 1 against .5, .5, 1, 0 on the three shared problems: differences .5, 0, 0."""
    a = stored(tmp_path / "a", {"p": [0, 0], "q": [1, 0], "r": [1, 1], "x": [1]})
    b = stored(tmp_path / "b", {"r": [1, 1], "q": [0, 1], "p": [1, 0], "y": [0], "z": [0]}, tokens=(1,) * 7)
    (row,) = compared(a, b)
    assert (row["problems"], row["only_a"], row["only_b"], row["attempts"]) == (3, 1, 2, [6, 6])
    assert [side["mean"] for side in row["accuracy"]] == pytest.approx([0.5, 2 / 3])
    want = paired.difference([0, 0.5, 1], [0.5, 0.5, 1])
    assert row["difference"]["mean"] == pytest.approx(1 / 6)
    assert [row["difference"]["low"], row["difference"]["high"]] == pytest.approx(want.interval.pair)
    assert (row["p"], row["test"], row["mcnemar"]) == (want.p, "t", None)
    deviation = paired.deviation_of([0, 0.5, 1], [0.5, 0.5, 1])
    assert row["mde"] == pytest.approx(paired.detectable(deviation, 3))
    assert row["problems_needed"] == paired.problems_needed(1 / 6, deviation)
    assert row["spread"]["within_a"] == pytest.approx(0.5 / 3)
    assert (row["tokens"]["a"], row["tokens"]["b"], row["tokens"]["difference"]) == (3.0, 7.0, 4.0)
    assert row["verified"] is None
    assert row["per_problem"] == [["p", 0.0, 0.5], ["q", 0.5, 0.5], ["r", 1.0, 1.0]]


def test_single_attempts_are_tested_by_mcnemar(tmp_path: Path) -> None:
    """30 both, 2 only a, 9 only b, 9 neither: p = 2 (1 + 11 + 55)/2^11; mid-p takes 55/2^11 off."""
    cells = [(1, 1)] * 30 + [(1, 0)] * 2 + [(0, 1)] * 9 + [(0, 0)] * 9
    sides = [{f"p{i}": [cell[k]] for i, cell in enumerate(cells)} for k in (0, 1)]
    (row,) = compared(stored(tmp_path / "a", sides[0]), stored(tmp_path / "b", sides[1]))
    assert row["mcnemar"] == {
        "both": 30, "only_a": 2, "only_b": 9, "neither": 9, "p": 2 * 67 / 2**11, "p_mid": (2 * 67 - 55) / 2**11
    }  # fmt: skip
    assert (row["p"], row["test"]) == (2 * 67 / 2**11, "mcnemar")
    found = paired.newcombe(30, 2, 9, 9)
    assert [row["difference"][k] for k in ("mean", "low", "high")] == pytest.approx([0.14, found.low, found.high])
    assert row["spread"] is None


def test_every_run_against_the_first_corrected_together(tmp_path: Path) -> None:
    a = stored(tmp_path / "a", {f"p{i}": [0, i % 2] for i in range(12)})
    b = stored(tmp_path / "b", {f"p{i}": [1, i % 3 == 0] for i in range(12)})
    c = stored(tmp_path / "c", {f"p{i}": [0, i % 5 == 0] for i in range(12)})
    rows = compared(a, b, c)
    assert [(row["a"], row["b"]) for row in rows] == [(str(a), str(b)), (str(a), str(c))]
    assert [row["p_holm"] for row in rows] == paired.holm([row["p"] for row in rows])
    assert rows[0]["p_holm"] == pytest.approx(2 * rows[0]["p"])


def test_a_run_against_itself_is_no_difference(tmp_path: Path) -> None:
    a = stored(tmp_path / "a", {f"p{i}": [i % 2, 1] for i in range(8)})
    (row,) = compared(a, a)
    assert (row["difference"]["mean"], row["p"], row["mde"], row["problems_needed"]) == (0.0, 1.0, None, None)
    assert row["difference"]["low"] < 0 < row["difference"]["high"]


def test_strategies_efforts_and_greedy_are_paired(tmp_path: Path) -> None:
    """Equal names pair; the one strategy left on each side too; what pairs with nothing is left out."""
    one, two = {"p": [1, 0], "q": [1, 1]}, {"p": [0, 1], "q": [1, 0]}
    a = stored(tmp_path / "a", one, effort="low")
    stored(a, one, append=True, effort="high")
    stored(a, {"p": [1], "q": [0]}, append=True, effort="low", sampling="temperature=0.0,seed=0")
    stored(a, one, append=True, effort="low", strategy="beam(n=4);select=best")
    b = stored(tmp_path / "b", two, effort="low")
    stored(b, {"p": [1], "q": [1]}, append=True, effort="low", sampling="temperature=0.0,seed=0")
    stored(b, two, append=True, effort="low", strategy="vote(n=4);select=vote")
    pairs = matched(read_side(str(a)), read_side(str(b)))
    assert [(s[1:], t[1:]) for s, t in pairs] == [
        (("sample", "low"), ("sample", "low")),
        (("greedy", "low"), ("greedy", "low")),
        (("beam(n=4);select=best", "low"), ("vote(n=4);select=vote", "low")),
    ]
    across = matched(read_side(f"{a}:strategy=beam"), read_side(f"{b}:strategy=greedy"))
    assert [(s[1], t[1]) for s, t in across] == [("beam(n=4);select=best", "greedy")]
    efforts = matched(read_side(f"{a}:strategy=sample,effort=low"), read_side(f"{a}:strategy=sample,effort=high"))
    assert [(s[2], t[2]) for s, t in efforts] == [("low", "high")]
    with pytest.raises(DataError, match="say which to compare"):
        matched(read_side(f"{a}:effort=low"), read_side(str(stored(tmp_path / "c", two, strategy="hgs"))))


def test_a_search_costs_what_its_ledger_says(tmp_path: Path) -> None:
    spent = {"search": {"ledger": {"decoded": 640, "verified": 120, "prefilled": 9}}}
    a = stored(tmp_path / "a", {"p": [1], "q": [0]})
    b = stored(tmp_path / "b", {"p": [1], "q": [1]}, strategy="beam", parts=spent)
    (row,) = compared(a, b)
    assert (row["tokens"]["a"], row["tokens"]["b"], row["verified"]["b"]) == (3.0, 640.0, 120.0)
    assert "verified +120.0" in compare.show(compare.run(CompareConfig(runs=(str(a), str(b)))))


def test_models_are_chosen_by_name(tmp_path: Path) -> None:
    run = stored(tmp_path / "a", {"p": [0], "q": [0]}, model="sft@1")
    stored(run, {"p": [1], "q": [1]}, append=True, model="rl@2")
    with pytest.raises(ConfigError, match="choose one"):
        read_side(str(run))
    (run / "finished.json").write_text('{"models": {"sft": "sft@1", "rl": "rl@2"}}')
    assert read_side(str(run)).model == "rl@2"
    (row,) = compared(f"{run}:sft", run)
    assert row["difference"]["mean"] == 1.0
    assert (row["a"], row["b"]) == (f"{run}:sft", str(run))
    for wrong, said in ((":sfd", "did you mean 'sft'"), (":effort=high", "unknown effort"), (":modle=sft", "'model'")):
        with pytest.raises(ConfigError, match=said):
            read_side(f"{run}{wrong}")


def test_clear_refusals(tmp_path: Path) -> None:
    a = stored(tmp_path / "a", {"p": [1]})
    with pytest.raises(DataError, match=r"measured on sums, .* on chain"):
        compared(a, stored(tmp_path / "b", {"p": [1]}, task="chain"))
    with pytest.raises(DataError, match="no problem of sums in common"):
        compared(a, stored(tmp_path / "c", {"z": [1]}))
    with pytest.raises(RunError, match="no run here"):
        compared(a, tmp_path / "none")
    with pytest.raises(ConfigError, match="two runs or more, not 1"):
        compared(a)
    mixed = stored(tmp_path / "d", {"p": [1]})
    stored(mixed, {"p": [0]}, append=True, sampling="temperature=0.5,seed=0")
    with pytest.raises(DataError, match="sampled in two ways"):
        compared(a, mixed)
    (tmp_path / "e").mkdir()
    (tmp_path / "e/config.json").write_text('{"ponder": "0", "command": "train sft", "config": {}}')
    with pytest.raises(RunError, match="stores no attempts"):
        compared(a, tmp_path / "e")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> CoinEngine:
    made = CoinEngine()
    monkeypatch.setattr(engines, "load", lambda spec, **_: made, raising=False)
    monkeypatch.setitem(tasks.TASKS.entries, "doubling", Doubling)
    return made


def test_two_evaluations_by_the_command(
    engine: CoinEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bare words, tags of the task, JSON, the file and the figure; and no engine is asked for."""
    for name, skill, limit in (("weak", 0.2, 24), ("strong", 0.8, 20)):
        engine.skill["medium"] = skill
        cli.run(cli.EvalConfig(task="doubling", limit=limit, attempts=4, out=str(tmp_path / name), seed=1))
    monkeypatch.delattr(engines, "load")
    runs = [str(tmp_path / "weak"), str(tmp_path / "strong")]
    files = ["--out", str(tmp_path / "o.json"), "--figure", str(tmp_path / "f.svg"), "--draws", "500"]
    capsys.readouterr()
    assert commands.main(["compare", *runs, *files, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads((tmp_path / "o.json").read_text())
    sampled, greedy = result["rows"]
    assert [row["strategy"] for row in result["rows"]] == [["sample"] * 2, ["greedy"] * 2]
    assert (sampled["problems"], sampled["only_a"], sampled["only_b"]) == (20, 4, 0)
    assert sampled["difference"]["low"] > 0.2
    assert sampled["p_holm"] < 0.01
    assert greedy["mcnemar"] is not None
    parity = sampled["tags"]["parity"]
    assert [parity[v]["problems"] for v in ("0", "1")] == [10, 10]
    mean = sum(parity[v]["difference"]["mean"] for v in ("0", "1")) / 2
    assert mean == pytest.approx(sampled["difference"]["mean"])
    assert ElementTree.parse(tmp_path / "f.svg").getroot().tag.endswith("svg")
    assert commands.main(["compare", "--draws", "500", *runs]) == 0
    text = capsys.readouterr().out
    for said in ("20 problems in common, 4 only in", "paired t", "McNemar", "detectable", "by parity", "Holm"):
        assert said in text


def test_the_same_line_gives_the_same_bytes(tmp_path: Path) -> None:
    a = stored(tmp_path / "a", {f"p{i}": [i % 2, i % 7 < 3, 0] for i in range(60)})
    b = stored(tmp_path / "b", {f"p{i}": [i % 3 == 0, i % 5 < 3, 0] for i in range(60)})
    first = [compare.run(CompareConfig(runs=(str(a), str(b)), seed=s)) for s in (0, 0, 1)]
    assert first[0] == first[1]
    assert first[0]["rows"][0]["bootstrap"] != first[2]["rows"][0]["bootstrap"]
    assert first[0]["rows"][0]["difference"] == first[2]["rows"][0]["difference"]
