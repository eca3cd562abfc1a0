"""Choosing again: against the runs themselves, against enumeration of every subset, and with other verifiers."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path
from statistics import mean

import msgspec
import pytest
from eval_fakes import CoinEngine, Doubling
from hypothesis import given, settings
from hypothesis import strategies as st
from search_fakes import Likes, flat_row, step_engine

from ponder.errors import ConfigError, DataError, WorkError
from ponder.evals.attempts import AttemptStore
from ponder.evals.replay import ANY, check, exact, rates, rates_at, rescored, trace
from ponder.evals.runner import Plan
from ponder.evals.searching import plan_search, run_search
from ponder.evals.trees import TreeRow, TreeStore
from ponder.types import Sampling

TASK = Doubling()
NAMES = ["a", "b", "b", None, "a", "c"]
SCORES = [0.3, 0.9, 0.1, 0.8, 0.7, 0.2]


def searched(engine, strategy: str, verifier=None, problems: int = 8, **more) -> list[TreeRow]:
    trees = TreeStore()
    made = plan_search(strategy, verifier="" if verifier is None else "likes", **more)
    plan = Plan(tuple(TASK.problems("test", problems)), 1, sampling=Sampling(max_tokens=40))
    run_search(engine, verifier, TASK, plan, made, AttemptStore(), trees, model="m")
    return list(trees)


def only(found: dict[str, float]) -> float:
    (value,) = found.values()
    return value


@pytest.mark.parametrize("select", ["vote", "likelihood", "first", "last"])
def test_replaying_equals_having_searched_so(select: str) -> None:
    """A stored vote replayed under another selection is that strategy run from the start."""
    stored = searched(CoinEngine(), "vote", n=7)
    rerun = searched(CoinEngine(), "vote", n=7, select=select)
    assert rates(stored, select) == {row.problem: float(row.right) for row in rerun}


@pytest.mark.parametrize("select", ["best", "weighted", "vote"])
def test_another_verifier_equals_having_searched_with_it(select: str) -> None:
    problems = {p.id: p for p in TASK.problems("test", 8)}
    stored = searched(CoinEngine(), "best_of_n", Likes("1"), n=6)
    made, spent = rescored(stored, problems, other := Likes("8"), "other")
    rerun = searched(CoinEngine(), "best_of_n", Likes("8"), n=6, select=select)
    assert rates(made, select) == {row.problem: float(row.right) for row in rerun}
    assert [row.tree().scores for row in made] == [row.tree().scores for row in rerun]
    assert spent == other.ledger
    assert sum(row.ledger.verified for row in made) == spent.verified
    assert {row.verifier for row in made} == {"other"}
    assert [row.ledger.decoded for row in made] == [row.ledger.decoded for row in stored]


def test_a_stored_trace_is_the_one_the_search_showed() -> None:
    """Texts, steps and tokens are what the verifier saw while searching."""
    seen = Likes("2+2", "value")
    rows = searched(step_engine(), "beam", seen, problems=3, n=4)
    problems = {p.id: p for p in TASK.problems("test", 3)}
    again = Likes("2+2", "value")
    made, _ = rescored(rows, problems, again, "likes")
    shown = {(t.problem_id, t.token_ids): t for t in seen.seen}
    replayed = {(t.problem_id, t.token_ids): t for t in again.seen}
    assert replayed == {name: one for name, one in shown.items() if name in replayed}
    assert set(replayed) == set(shown)
    assert [row.tree().scores for row in made] == [row.tree().scores for row in rows]
    assert [row.chosen for row in made] == [row.chosen for row in rows]


def test_an_outcome_verifier_reads_only_finished_branches() -> None:
    rows = searched(step_engine(), "beam", Likes("2+2", "value"), problems=2, n=4)
    problems = {p.id: p for p in TASK.problems("test", 2)}
    judge = Likes("4")
    rescored(rows, problems, judge, "judge")
    assert len(judge.seen) == sum(len(row.ends) for row in rows)
    assert all(t.finished for t in judge.seen)
    assert all(t.answer is not None for t in judge.seen)


# ---- k of n branches


def brute(row: TreeRow, select: str, k: int) -> float:
    """Every k-subset, every tie with equal chance."""
    found = []
    for subset in itertools.combinations(range(len(row.ends)), k):
        names, right = [row.ends[i].name for i in subset], [row.ends[i].correct for i in subset]
        candidates = [row.candidates()[i] for i in subset]
        if select == ANY:
            found.append(float(any(right)))
            continue
        if select in ("vote", "weighted"):
            weight = Counter()
            for name, c in zip(names, candidates, strict=True):
                if name is not None:
                    weight[name] += 1 if select == "vote" else c.score
            tied = [name for name in weight if math.isclose(weight[name], max(weight.values()))]
            found.append(mean(name == "a" for name in tied) if tied else 0.0)
        else:
            values = [c.score if select == "best" else c.logprob for c in candidates]
            able = [i for i, name in enumerate(names) if name is not None]
            found.append(float(right[max(able, key=lambda i: values[i])]) if able else 0.0)
    return mean(found)


@pytest.mark.parametrize("select", ["vote", "weighted", "best", "likelihood", ANY])
@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_fewer_branches_against_enumeration(select: str, k: int) -> None:
    row = flat_row(NAMES, scores=SCORES, logprobs=[-3.0, -1.0, -2.0, -0.5, -4.0, -5.0])
    assert only(rates_at([row], select, k)) == pytest.approx(brute(row, select, k), abs=1e-12)


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=7), st.integers(0, 3))
def test_k_of_all_is_the_replay_itself(names: list[str | None], seed: int) -> None:
    row = flat_row(names, seed=seed)
    for select in ("vote", "likelihood", ANY):
        assert rates_at([row], select, len(names)) == rates([row], select)


def test_a_class_is_compared_and_not_its_text() -> None:
    """Two spellings of one class vote together."""
    ends = [msgspec.structs.replace(e, answer=f"spelling {i}") for i, e in enumerate(flat_row(["a", "a", "b"]).ends)]
    row = flat_row(["a", "a", "b"], ends=tuple(ends))
    assert only(rates_at([row], "vote", 3)) == 1.0


def test_attempts_of_a_problem_are_averaged() -> None:
    rows = [flat_row(["a", "a"]), flat_row(["b", "b"], attempt=1), flat_row(["a", "a"], problem="q")]
    assert rates_at(rows, "vote", 1) == {"p": 0.5, "q": 1.0}


def test_what_is_exact_says_so() -> None:
    row = flat_row(NAMES, scores=SCORES)
    assert exact([row], "vote", 3)
    assert exact([row], "weighted", 6)
    assert not exact([row], "weighted", 3)


@pytest.mark.parametrize(
    ("row", "select", "k", "said"),
    [
        (flat_row(["a", "b"]), "vote", 3, "k = 3: the searches of 'vote' have 2 branches"),
        (flat_row(["a", "b"]), "best", 1, "selection 'best' needs scores, and 'vote' has none"),
        (flat_row(["a", "b"]), "wote", 1, "unknown selection 'wote'; did you mean 'vote'"),
        (flat_row(["a", "b"], options={"n": 4}), "vote", 1, "did not draw its branches alike"),
    ],
)
def test_what_can_not_be_replayed(row: TreeRow, select: str, k: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        rates_at([row], select, k)


def test_a_search_that_stopped_by_itself_is_not_flat() -> None:
    """Fewer branches than asked for: how many there are depends on what they say, so no subset stands for a smaller n."""
    assert flat_row(["a", "b"]).flat
    assert not flat_row(["a", "b"], options={"n": 4}).flat
    assert not flat_row([], options={"n": 4}).flat


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([0.5], "returned 1 scores for 3 branches"),
        ([float("nan")] * 3, "returned nan"),
        ([0.1, 2.0, 0.1], "returned 2.0"),
    ],
)
def test_a_verifier_that_answers_nonsense(bad: list[float], said: str) -> None:
    problem = TASK.problems("test", 1)[0]
    with pytest.raises(WorkError, match=said):
        rescored([flat_row(["a", "b", "c"], problem=problem.id)], {problem.id: problem}, Likes(bad=bad), "x")
    with pytest.raises(WorkError, match="verifier 'likes' failed"):
        rescored([flat_row(["a"], problem=problem.id)], {problem.id: problem}, Likes(die_after=0), "x")


def test_texts_of_a_branch_that_took_tokens_away() -> None:
    """The whole text stands with the node that dropped tokens; what follows is added to it."""
    nodes = [
        {"parent": None, "tokens": [], "logprobs": [], "finish": None},
        {"parent": 0, "tokens": [1, 2], "logprobs": [-1, -1], "finish": None, "text": "<think>ab"},
        {"parent": 1, "tokens": [3], "logprobs": [0], "finish": None, "forced": True, "dropped": 1, "text": "W",
         "branch": "<think>aW"},
        {"parent": 2, "tokens": [4], "logprobs": [-1], "finish": None, "text": "c"},
    ]  # fmt: skip
    problem = TASK.problems("test", 1)[0]
    row = flat_row([], nodes=nodes, problem=problem.id)
    seen = trace(row, row.tree().nodes[3], problem)
    assert (seen.text, seen.thinking, seen.token_ids) == ("<think>aWc", "aWc", (1, 3, 4))


# ---- the file


def test_rows_come_back_from_disk_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / "trees.jsonl"
    store = TreeStore(file)
    rows = [flat_row(NAMES, scores=SCORES, problem=name) for name in "pqr"]
    for row in rows:
        store.add(row)
    again = TreeStore(file)
    assert list(again) == rows
    assert rows[0].key in again
    assert again.get(("t", "x", 0, "m", "s", "", "")) is None


def test_the_last_of_two_rows_counts_and_a_partial_line_is_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "trees.jsonl"
    store = TreeStore(file)
    store.add(flat_row(["a"]))
    store.add(flat_row(["b"], strategy="vote(n=1)"))
    with file.open("ab") as handle:
        handle.write(b'{"task": "t", "pro')
    again = TreeStore(file)
    assert [row.ends[0].name for row in again] == ["b"]
    again.add(flat_row(["c"], problem="q"))
    assert [row.ends[0].name for row in TreeStore(file)] == ["b", "c"]


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "trees.jsonl"
    store = TreeStore(file)
    store.add(flat_row(["a"]))
    whole = file.read_text()
    file.write_text("{}\n" + whole)
    with pytest.raises(DataError, match=r"trees.jsonl:1: not a search tree"):
        TreeStore(file)
    file.write_text(whole.replace('"nodes":[', '"nodes":[7,'))
    with pytest.raises(DataError, match="remove the line"):
        TreeStore(file).get(flat_row(["a"]).key)


def test_regrading_changes_ends_and_nothing_else(tmp_path: Path) -> None:
    problem = TASK.problems("test", 2)[1]  # 2*1=?
    store = TreeStore(tmp_path / "trees.jsonl")
    store.add(flat_row(["2", "3"], problem=problem.id))
    assert store.regrade([problem], TASK.grader) == 1
    (row,) = TreeStore(tmp_path / "trees.jsonl")
    assert row.correct == [True, False]
    assert row.ends[1].outcome == "wrong"
    assert store.regrade([problem], TASK.grader) == 0


def test_check_knows_the_oracle() -> None:
    check([flat_row(["a"])], ANY)
