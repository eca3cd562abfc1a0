"""Strategies measured: every solution stored with its tree, nothing searched twice, nothing lost."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from eval_fakes import CoinEngine, Doubling
from search_fakes import Likes, step_engine

from ponder.errors import ConfigError, DataError, WorkError
from ponder.evals import searching
from ponder.evals.attempts import AttemptStore
from ponder.evals.runner import Plan, evaluate
from ponder.evals.searching import plan_search, run_search
from ponder.evals.trees import TreeRow, TreeStore
from ponder.types import Completion, Request, Sampling

TASK = Doubling()


def plan(problems: int = 6, attempts: int = 1, **more) -> Plan:
    return Plan(tuple(TASK.problems("test", problems)), attempts, **more)


def search(engine, stores, strategy="vote", n=4, verifier=None, wanted=None, log=None, **more):
    made = plan_search(strategy, n, verifier="" if verifier is None else "likes", **more)
    return run_search(engine, verifier, TASK, wanted or plan(), made, *stores, model="m", log=log)


def memory() -> tuple[AttemptStore, TreeStore]:
    return AttemptStore(), TreeStore()


def on_disk(folder: Path) -> tuple[AttemptStore, TreeStore]:
    return AttemptStore(folder / "attempts.jsonl"), TreeStore(folder / "trees.jsonl")


def timeless(rows: Sequence[TreeRow]) -> list[TreeRow]:
    """Rows without what the clock decides."""
    return [msgspec.structs.replace(row, wall=0.0, ledger=dataclasses.replace(row.ledger, seconds=0.0)) for row in rows]


def test_every_solution_has_an_attempt_and_a_tree() -> None:
    attempts, trees = memory()
    found = search(CoinEngine(), (attempts, trees), wanted=plan(attempts=2))
    assert found.drawn == len(found.rows) == len(trees) == 12
    for row in found.rows:
        tree = trees.get(row.key)
        assert tree is not None
        assert tree.flat
        assert len(tree.ends) == 4
        assert tree.right == row.correct
        assert tree.given.answer == row.answer
        told = row.parts["search"]
        assert (told["branches"], told["ended"]) == (4, "done")
        assert told["ledger"].decoded == 4 * 4 == tree.ledger.decoded
        assert [end.correct for end in tree.ends] == [end.answer == str(2 * n_of(row)) for end in tree.ends]


def n_of(row) -> int:
    return next(p.tags["n"] for p in TASK.problems("test", 20) if p.id == row.problem)


def test_chosen_answer_is_the_vote_over_the_stored_ends() -> None:
    attempts, trees = memory()
    search(CoinEngine(), (attempts, trees), n=9, wanted=plan(12))
    for tree in trees:
        votes = [end.name for end in tree.ends]
        assert votes.count(tree.given.name) == max(map(votes.count, votes))


def test_strategies_share_their_first_samples() -> None:
    """What is drawn depends on seed, problem and attempt, not on the strategy: differences are paired."""
    stores = memory()
    search(CoinEngine(), stores, "vote", 4)
    search(CoinEngine(), stores, "best_of_n", 2, verifier=Likes())
    by_key = {(row.name, row.problem): [end.answer for end in row.ends] for row in stores[1]}
    for problem in plan().problems:
        assert by_key["best_of_n", problem.id] == by_key["vote", problem.id][:2]


def test_attempts_of_one_problem_differ_and_never_repeat() -> None:
    attempts, trees = memory()
    search(CoinEngine(), (attempts, trees), n=8, wanted=plan(1, attempts=3))
    answers = {tuple(end.answer for end in tree.ends) for tree in trees}
    assert len(answers) == 3


def test_more_attempts_or_problems_search_only_the_difference() -> None:
    stores, engine = memory(), CoinEngine()
    for wanted, drawn in ((plan(4), 4), (plan(4), 0), (plan(4, attempts=3), 8), (plan(6, attempts=3), 6)):
        assert search(engine, stores, wanted=wanted).drawn == drawn
    assert sum(engine.calls) == 18 * 4


def test_samples_and_searches_share_a_store_without_meeting() -> None:
    stores = memory()
    evaluate(CoinEngine(), TASK, plan(attempts=2), stores[0], model="m")
    assert search(CoinEngine(), stores).drawn == 6
    assert {row.strategy for row in stores[0]} == {"sample", "vote(n=4);select=vote"}
    assert len(stores[0]) == 6 * 2 + 6


def test_steps_are_nodes_with_texts_and_scores() -> None:
    verifier, stores = Likes("2+2", "value"), memory()
    search(step_engine(), stores, "beam", 4, verifier=verifier, wanted=plan(2, sampling=Sampling(max_tokens=40)))
    for row in stores[1]:
        assert not row.flat
        texts = [node.get("text", "") for node in row.nodes]
        assert any(text.startswith("<think>1+") for text in texts)
        for end in row.ends:
            branch = row.tree().nodes[end.node].branch
            assert "".join(texts[node.index] for node in branch) == end.full_text
        assert row.verifier == "likes"
        assert row.semantics == "value"
        scored = {i: node["score"] for i, node in enumerate(row.nodes) if "score" in node}
        assert scored == row.tree().scores
    assert sum(row.ledger.verified for row in stores[1]) == verifier.ledger.verified > 0


# ---- what goes wrong


class Dying(CoinEngine):
    """Fails at its third call."""

    def generate(self, requests: Sequence[Request], on_done=None) -> list[Completion]:
        if len(self.calls) == 2:
            raise RuntimeError("the card fell off the bus")
        return super().generate(requests, on_done)


@pytest.fixture
def two_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "LIVE", 2)
    monkeypatch.setattr(searching, "LEAST_LIVE", 2)


@pytest.mark.usefixtures("two_at_once")
def test_an_engine_that_dies_keeps_what_had_ended(tmp_path: Path) -> None:
    log: list[dict] = []
    with pytest.raises(WorkError, match=r"problem \w{16} .*the card fell off the bus"):
        search(Dying(), on_disk(tmp_path), log=log.append)
    stores = on_disk(tmp_path)
    assert len(stores[0]) == len(stores[1]) == 4
    assert log[0]["solutions"] == 4
    assert search(CoinEngine(), stores).drawn == 2


@pytest.mark.usefixtures("two_at_once")
def test_a_verifier_that_dies_keeps_what_had_ended(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=r"verifier 'likes' failed .*the verifier is gone"):
        search(CoinEngine(), on_disk(tmp_path), "best_of_n", verifier=Likes(die_after=16))
    assert len(on_disk(tmp_path)[1]) == 4


@pytest.mark.usefixtures("two_at_once")
def test_an_interrupt_leaves_a_run_to_go_on_with(tmp_path: Path) -> None:
    engine = CoinEngine()
    inner = engine.generate

    def interrupted(requests, on_done=None):
        if len(engine.calls) == 1:
            raise KeyboardInterrupt
        return inner(requests, on_done)

    engine.generate = interrupted
    with pytest.raises(KeyboardInterrupt):
        search(engine, on_disk(tmp_path))
    assert search(CoinEngine(), on_disk(tmp_path)).drawn == 4


def test_a_tree_without_its_attempt_is_searched_again_to_the_same_end(tmp_path: Path) -> None:
    """Killed between the two lines: the tree is there, the attempt is not."""
    search(CoinEngine(), on_disk(tmp_path))
    before = timeless(list(on_disk(tmp_path)[1]))
    file = tmp_path / "attempts.jsonl"
    file.write_bytes(file.read_bytes()[:-40])
    assert search(CoinEngine(), on_disk(tmp_path)).drawn == 1
    assert timeless(list(on_disk(tmp_path)[1])) == before


def test_a_prompt_that_fills_the_context_is_refused_before_anything_is_drawn() -> None:
    engine = CoinEngine(context=6)
    with pytest.raises(DataError, match=r"problem \w{16}: its \d tokens fill the context of 6"):
        search(engine, memory())
    assert engine.calls == []


def test_no_branch_within_the_budget_is_an_attempt_without_an_answer() -> None:
    attempts, trees = memory()
    search(CoinEngine(), (attempts, trees), budget=5, wanted=plan(1))
    (row,), (tree,) = list(attempts), list(trees)
    assert (row.outcome, row.answer, row.parts["search"]["ended"]) == ("unparsed", None, "budget")
    assert tree.ends == ()
    assert not tree.right
    assert "no branch was finished" in row.reason


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"strategy": "voet"}, "unknown strategy 'voet'; did you mean 'vote'"),
        ({"strategy": "vote", "options": ["m"]}, "option 'm' of the strategy: write it as NAME=VALUE"),
        ({"strategy": "vote", "options": ["width=4"]}, "unknown option of strategy 'vote' 'width'"),
        ({"strategy": "vote", "options": ["n=4", "n=5"]}, "'n' of the strategy is given twice"),
        ({"strategy": "vote", "select": "votes"}, "unknown selection 'votes'; did you mean 'vote'"),
        ({"strategy": "best_of_n"}, "needs a verifier"),
        ({"strategy": "vote", "select": "best"}, "needs a verifier"),
        ({"strategy": "greedy", "n": 3}, "draws exactly 1"),
    ],
)
def test_impossible_searches_are_one_line(settings: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        plan_search(**settings)


def test_the_key_spells_every_option() -> None:
    made = plan_search("best_of_n", 8, ["stepwise=true"], "weighted", 500, "orm@12345678")
    assert made.key == "best_of_n(n=8,stepwise=true);select=weighted;verifier=orm@12345678;budget=500"
    assert plan_search("vote", options={"n": 3}).key == plan_search("vote", 3).key == "vote(n=3);select=vote"
    assert plan_search("greedy").key == "greedy;select=first"


# ---- kill -9

SLOW = """
import sys, time
sys.path[:0] = {path!r}
from eval_fakes import CoinEngine, Doubling
from ponder.evals import searching
from test_searching import TASK, on_disk, plan, search
from pathlib import Path

searching.LIVE = searching.LEAST_LIVE = 2

class Slow(CoinEngine):
    def generate(self, requests, on_done=None):
        time.sleep(0.05)
        return super().generate(requests, on_done)

search(Slow(), on_disk(Path({folder!r})), wanted=plan(20))
"""


@pytest.mark.slow
def test_killed_in_the_middle_nothing_is_lost_or_repeated(tmp_path: Path) -> None:
    here = Path(__file__).parent
    path = [str(here), str(here.parents[1] / "src")]
    script = SLOW.format(path=path, folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", script], env=os.environ | {"OMP_NUM_THREADS": "1"})
    file, deadline = tmp_path / "trees.jsonl", time.monotonic() + 30
    while not file.exists() or file.read_bytes().count(b"\n") < 4:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with file.open("ab") as handle:
        handle.write(b'{"task":"doubl')  # and the last line was half written
    stores, engine = on_disk(tmp_path), CoinEngine()
    kept = len(stores[0])
    assert 3 <= kept < 20
    assert search(engine, stores, wanted=plan(20)).drawn == 20 - kept
    fresh = memory()
    search(CoinEngine(), fresh, wanted=plan(20))
    again = {row.key: row for row in timeless(list(on_disk(tmp_path)[1]))}
    assert again == {row.key: row for row in map_json(timeless(list(fresh[1])))}
    lines = [json.loads(line) for line in file.read_bytes().splitlines()]
    assert len(lines) in (20, 21)  # a tree whose attempt was not written yet is written again


def map_json(rows: Sequence[TreeRow]) -> list[TreeRow]:
    """Rows as they come back from disk."""
    return [msgspec.json.decode(msgspec.json.encode(row), type=TreeRow) for row in rows]
