"""`ponder solve` with strategies, verifiers, budgets and trees, on engines written down."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ponder import cli
from ponder.cli import watch
from ponder.cli.outline import outline
from ponder.cli.terminal import printable, shortened
from ponder.search.select import SELECTORS
from ponder.search.strategies import STRATEGIES
from ponder.types import Ledger, Semantics, Trace

LINES = ["<think>a</think>29", "<think>b</think>30", "<think>c</think>29", "<think>dd"]


class Longest:
    """Likes the answer 30."""

    name = "longest"
    semantics: Semantics = "outcome"
    ledger = Ledger()

    def score(self, traces: Sequence[Trace]) -> list[float | None]:
        return [0.75 if trace.answer == "30" else 0.25 for trace in traces]


@pytest.fixture(autouse=True)
def verifier(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(sys.modules, "solve_fakes", sys.modules[__name__])
    return "solve_fakes:Longest"


@pytest.fixture
def script(tmp_path: Path) -> str:
    return written(tmp_path, LINES)


def written(folder: Path, lines: list[str]) -> str:
    file = folder / "script.jsonl"
    file.write_text(json.dumps({"prompt": "*", "completions": lines}) + "\n")
    return f"scripted:{file}"


def found(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert cli.main(["solve", "(3+4)*5-6", *arguments, "--json", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def test_a_verifier_chooses(capsys: pytest.CaptureFixture[str], script: str, verifier: str) -> None:
    result = found(capsys, "--model", script, "--strategy", "best_of_n", "--n", "12", "--verifier", verifier)
    assert result["answer"] == "30"
    assert result["grade"]["outcome"] == "wrong"
    assert result["candidates"][result["chosen"]]["score"] == 0.75
    assert {c["answer"] for c in result["candidates"]} == {"29", "30", None}
    assert {c["said"] for c in result["candidates"] if c["answer"] is None} == {None}
    assert len(result["candidates"]) == result["completions"] == 12
    assert result["ended"] == "done"
    assert result["tree"] is None


def test_selection_can_be_told(capsys: pytest.CaptureFixture[str], script: str, verifier: str) -> None:
    line = ["--model", script, "--strategy", "best_of_n", "--n", "12", "--verifier", verifier]
    assert found(capsys, *line, "--select", "vote")["answer"] == "29"


def test_options_of_the_strategy(capsys: pytest.CaptureFixture[str], script: str) -> None:
    result = found(capsys, "--model", script, "--strategy", "adaptive", "--options", "batch=2", "level=0.4", "--n", "8")
    assert result["notes"]["samples"] % 2 == 0
    assert result["notes"]["stopped"] in ("safe", "decided", "limit")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--strategy", "adaptive", "--options", "bach=2"], "unknown option of strategy 'adaptive' 'bach'; did you mean 'batch'"),
        (["--strategy", "adaptive", "--options", "batch"], "write it as NAME=VALUE"),
        (["--strategy", "adaptive", "--options", "batch=many"], "batch = 'many': strategy 'adaptive' expects int"),
        (["--strategy", "adaptve"], "unknown strategy 'adaptve'; did you mean 'adaptive'"),
        (["--select", "vot"], "unknown selection 'vot'; did you mean 'vote'"),
        (["--strategy", "best_of_n"], "strategy 'best_of_n' needs a verifier"),
        (["--verifier", "confidenc"], "unknown verifier 'confidenc'"),
        (["--budget", "0"], "--budget 0 is not allowed: expected int from 1"),
        (["--budget-seconds", "0"], "--budget-seconds 0.0 is not allowed: expected number above 0"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line(
    capsys: pytest.CaptureFixture[str], script: str, arguments: list[str], said: str
) -> None:
    assert cli.main(["solve", "3+4", "--model", script, "--quiet", *arguments]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_token_budget_is_kept_and_said(capsys: pytest.CaptureFixture[str], script: str) -> None:
    result = found(capsys, "--model", script, "--n", "500", "--budget", "200", "--max-tokens", "8")
    ledger = result["ledger"]
    assert ledger["prefilled"] + ledger["decoded"] + ledger["verified"] <= 200
    assert result["ended"] == "budget"
    assert result["answer"] == "29"
    line = ["solve", "(3+4)*5-6", "--model", script, "--n", "500", "--budget", "200", "--max-tokens", "8", "--quiet"]
    assert cli.main(line) == 0
    assert "\nthe budget ended the search\n" in capsys.readouterr().out


def test_a_budget_of_seconds(capsys: pytest.CaptureFixture[str], script: str) -> None:
    result = found(capsys, "--model", script, "--n", "4000", "--budget-seconds", "0.002")
    assert result["ended"] == "budget"
    assert result["completions"] < 4000


def test_a_budget_too_small_for_the_prompt(capsys: pytest.CaptureFixture[str], script: str) -> None:
    assert cli.main(["solve", "(3+4)*5-6", "--model", script, "--budget", "3", "--quiet", "--show-tree"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("no answer (no branch came to its end)\n0 tokens")


def test_what_is_shown(capsys: pytest.CaptureFixture[str], script: str, verifier: str) -> None:
    line = ["solve", "(3+4)*5-6", "--model", script, "--n", "12", "--quiet"]
    assert cli.main(line) == 0
    first, second, third, *rest = capsys.readouterr().out.splitlines()
    agree = re.fullmatch(r"29   (\d+) of 12 agree   correct", first)
    assert agree is not None
    assert 6 <= int(agree.group(1)) <= 9, "every fourth never comes to an end, every fourth says 30"
    assert re.fullmatch(r"more samples would change it with probability \d+\.\d %", second)
    assert re.fullmatch(r"\d+ tokens: 19 of prompts, \d+ drawn", third)
    assert rest == []
    assert cli.main([*line, "--strategy", "weighted_vote", "--verifier", verifier]) == 0
    assert "score 0." in capsys.readouterr().out
    assert cli.main([*line, "--strategy", "adaptive"]) == 0
    assert re.search(r"\nsamples \d+  looks \d+  doubt \S+  stopped \w+\n", capsys.readouterr().out)


def test_the_tree_is_printed_with_what_the_strategy_did(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = written(tmp_path, ["<think>ab</think>29"])
    line = ["solve", "(3+4)*5-6", "--model", model, "--strategy", "forcing", "--options", "max_thinking=2", "waits=0"]
    assert cli.main([*line, "--quiet", "--show-tree"]) == 0
    tree = capsys.readouterr().out.partition("\n\n")[2]
    assert (
        tree
        == "    -  <think>a\n      -  b\n        -  </think>  [written by the strategy]\n          -  29<|end|>  [the answer]\n"
    )
    result = found(capsys, *line[2:], "--show-tree")
    assert [row["text"] for row in result["tree"]] == ["<think>a", "b", "</think>", "29<|end|>"]
    assert [row["depth"] for row in result["tree"]] == [1, 2, 3, 4]
    assert [row["chosen"] for row in result["tree"]] == [False, False, False, True]
    assert result["tree"][2]["forced"]


def test_siblings_stand_under_their_parent() -> None:
    """Depth first: a node's children before its next sibling."""
    from search_lines import HARD, Marks, lines

    from ponder import search
    from ponder.cli.outline import rows

    texts = ["<think>a\nb</think>1", "<think>c\nd</think>2"]
    engine = lines(texts)
    solution = search.solve(HARD, engine, "best_of_n", n=2, stepwise=True, verifier=Marks({"1": 0.5, "2": 0.25}))
    made = rows(solution, engine.tokenizer)
    assert [(row["place"], row["score"]) for row in made] == [(".0", None), (".0.0", 0.5), (".1", None), (".1.0", 0.25)]
    assert outline(made).splitlines() == [
        "    -  <think>a\\n",
        "   0.50  b</think>1<|end|>  [the answer]",
        "    -  <think>c\\n",
        "   0.25  d</think>2<|end|>",
    ]
    assert rows(solution, None)[1]["text"] == "<think>a\nb</think>1", (
        "an engine without a tokenizer knows whole texts only"
    )


def test_notes_of_the_outline() -> None:
    row = {
        "depth": 1,
        "text": "x",
        "score": None,
        "finish": "length",
        "forced": False,
        "dropped": 0,
        "withdrawn": False,
    }
    assert outline([row | {"chosen": False}]) == "    -  x  [length]"
    assert outline([row | {"chosen": False, "withdrawn": True}]) == "    -  x  [withdrawn]"
    assert outline([row | {"chosen": False, "dropped": 3, "finish": None}]) == "    -  x  [in place of 3 tokens]"
    assert outline([row | {"chosen": False, "text": "y" * 99, "finish": None}], width=9) == "    -  yyyyyyyy…"


def test_what_a_model_writes_can_not_move_the_cursor() -> None:
    assert printable("plain é 数 ≤") == "plain é 数 ≤"
    assert printable("\x1b[2Jgone\r\x9b\u202e\u2028\n") == r"\x1b[2Jgone\r\x9b\u202e\u2028\n"
    assert printable("a\nb\x07", keep="\n") == "a\nb\\x07"
    assert shortened("abcdef", 4) == "abc…"
    assert shortened("abcd", 4) == "abcd"


def test_a_hostile_answer_and_hostile_thinking_are_spelled_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The miniature has no escapes in its vocabulary, so the listener and the headline are asked themselves."""
    from ponder.cli.solve import show
    from ponder.types import TokenEvent

    with watch.Watcher("who\x1b[31m?", thinking=True, quiet=False) as watcher:
        watcher(TokenEvent(0, 1, -1.0, "a\x1b[2J\n"))
    candidate = {"answer": "x", "score": None}
    shown = show(
        {
            "answer": "7\x1b[2J", "finish": "stop", "candidates": [candidate], "chosen": 0, "completions": 1,
            "grade": {"outcome": "wrong", "reason": "not \x07"}, "change": None, "ledger": Ledger(decoded=1),
            "notes": {}, "ended": "done", "tree": None, "operating": None,
        }
    )  # fmt: skip
    assert shown.splitlines()[0] == r"7\x1b[2J   wrong (not \x07)"
    assert capsys.readouterr().err == "who\\x1b[31m?\na\\x1b[2J\n\n"


def test_thinking_streams_for_flat_strategies_only(capsys: pytest.CaptureFixture[str], script: str) -> None:
    for strategy in ("vote", "adaptive", "confidence"):
        assert cli.main(["solve", "(3+4)*5-6", "--model", script, "--strategy", strategy]) == 0
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == "(3+4)*5-6"
        assert lines[1] in ("a", "b", "c", "dd"), "the first sample's thinking and nobody else's"
        assert len(lines) == 2, strategy
    assert cli.main(["solve", "(3+4)*5-6", "--model", script, "--strategy", "forcing", "--options", "waits=0"]) == 0
    assert capsys.readouterr().err == "(3+4)*5-6\n"


def test_a_long_search_shows_how_far_it_is(
    capsys: pytest.CaptureFixture[str], script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ponder import progress

    monkeypatch.setattr(watch, "LONG_SECONDS", 0.0)
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    assert cli.main(["solve", "(3+4)*5-6", "--model", script, "--n", "200"]) == 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(r"tokens \d+ \d+\.\ds completions \d+  speed [\d,]+ tokens/s", last)


def test_help_names_every_strategy_and_selection(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["solve", "--help"]) == 0
    words = set(re.findall(r"[a-z_]+", capsys.readouterr().out))
    assert set(STRATEGIES.entries) | set(SELECTORS) <= words


def test_streamed_strategies_exist() -> None:
    assert set(watch.WHOLE) <= set(STRATEGIES.entries)
    assert "vote" in watch.WHOLE, "what nobody chose"


def test_an_answer_of_several_lines_stands_by_itself(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    says = "def f(x):\n  return x\n9 of 9 agree   correct"
    (tmp_path / "s.jsonl").write_text(json.dumps({"prompt": "*", "completions": [says]}) + "\n")
    model = f"scripted:{tmp_path / 's.jsonl'}"
    question = "-8;*3;2(+i)|f(23)=46;f(31)=70"
    assert cli.main(["solve", question, "--model", model, "--strategy", "vote", "--n", "3", "--quiet"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[:3] == ["    def f(x):", "      return x", "    9 of 9 agree   correct"]
    assert shown[3].startswith("3 of 3 agree   wrong")
