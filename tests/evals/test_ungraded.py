"""A grade without a score is neither right nor wrong: left out of every number, counted, tried again by the same line."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import msgspec
import pytest
from eval_fakes import CoinEngine, Doubling, ExactGrader
from search_fakes import flat_row

from ponder import engines, tasks
from ponder.cli import main
from ponder.errors import DataError, WorkError
from ponder.evals import cli, compare, curves, replay, search_numbers, summary, traces, ungraded
from ponder.evals.attempts import FILE, Attempt, AttemptStore
from ponder.evals.replay_cli import ReplayConfig
from ponder.evals.replay_cli import run as run_replay
from ponder.evals.replay_cli import show as show_replay
from ponder.evals.searched import Group
from ponder.evals.trees import TreeRow
from ponder.types import Completion, Grade, Problem

LOST = Grade(None, "error", reason="the sandbox is gone")


@dataclass
class Failing:
    """The exact grader, failing at the problems (by n) it is told to, and at right answers to 2*1 only where `half`."""

    broken: set[int] = field(default_factory=set)
    half: bool = False
    asked: int = 0

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        self.asked += 1
        found = ExactGrader().grade(problem, completion)
        if problem.tags["n"] in self.broken or (self.half and problem.tags["n"] == 1 and not found.correct):
            return LOST
        return found

    def key(self, answer: str) -> int:
        return int(answer)


@dataclass(frozen=True)
class Fragile(Doubling):
    inner: Failing = field(default_factory=Failing)

    @property
    def grader(self) -> Failing:
        return self.inner


@pytest.fixture
def grader(monkeypatch: pytest.MonkeyPatch) -> Failing:
    made = Failing()
    monkeypatch.setattr(engines, "load", lambda spec, **_: CoinEngine(), raising=False)
    monkeypatch.setitem(tasks.TASKS.entries, "fragile", lambda: Fragile(inner=made))
    return made


def config(out: Path, **changes) -> cli.EvalConfig:
    return cli.EvalConfig(**({"task": "fragile", "limit": 6, "attempts": 8, "out": str(out)} | changes))


def attempts(*scores: float | None, problem: str = "p") -> list[Attempt]:
    outcome = {None: "error", 0.0: "wrong", 1.0: "correct"}
    return [
        Attempt(task="t", problem=problem, attempt=i, model="m", outcome=outcome[s], score=s, reason="why" * (s is None))
        for i, s in enumerate(scores)
    ]  # fmt: skip


def test_left_out_of_n_and_counted() -> None:
    rows = [
        *attempts(1.0, None, 0.0, 1.0),
        *attempts(0.0, 0.0, 0.0, 0.0, problem="q"),
        *attempts(None, None, problem="r"),
    ]
    found = summary.summarize(rows, lambda group: [row.attempt for row in group])
    assert found.pass_at_1.mean == pytest.approx((2 / 3 + 0) / 2)
    assert list(found.pass_at) == [1, 2]
    assert found.pass_at[2].mean == pytest.approx(0.5)  # any two of right, wrong, right hold a right one
    assert (found.problems, found.attempts, found.ungraded, found.ungraded_problems) == (2, 10, 3, 1)
    assert found.reasons == {"why": 3}
    assert found.least == pytest.approx((2 / 4 + 0 + 0) / 3)
    told = ungraded.sentence(summary.plain(found))
    assert told == "3 left out, 1 problem without any grade; 16.7 % were they all wrong: 3 x why"
    assert not ungraded.sentence(summary.plain(summary.summarize(attempts(0.0, 1.0), lambda g: [None] * len(g))))
    with pytest.raises(WorkError, match="none of the 2 attempts could be graded: why"):
        summary.summarize(attempts(None, None), lambda group: [None] * len(group))


def test_evaluation_says_what_it_left_out_and_the_same_line_tries_it_again(grader: Failing, tmp_path: Path) -> None:
    whole = cli.run(config(tmp_path / "whole"))
    assert whole["ungraded"] == whole["ungraded_problems"] == 0
    grader.broken, grader.half = {3}, True
    first = cli.run(config(tmp_path / "run"))
    rows = [row for row in AttemptStore(tmp_path / "run" / FILE) if "temperature" not in row.sampling]
    lost = [row for row in rows if row.score is None]
    assert first["ungraded"] == len(lost) > 8 and first["ungraded_problems"] == 1
    assert first["problems"] == 5 and first["ungraded_reasons"] == {"the sandbox is gone": len(lost)}
    assert first["pass_at_1"] > first["least"]
    assert f"ungraded {len(lost)} left out" in cli.show(first)
    page = (tmp_path / "run/report.html").read_text()
    assert f"could not be graded: {len(lost)} left out" in page and "the sandbox is gone" in page

    grader.asked = 0
    again = cli.run(config(tmp_path / "run"))  # still broken: asked again, nothing changes
    assert again["ungraded"] == first["ungraded"] and 0 < grader.asked <= len(lost) + 6
    grader.broken, grader.half = set(), False
    mended = cli.run(config(tmp_path / "run"))
    assert mended["ledger"]["decoded"] == first["ledger"]["decoded"]
    names = ("pass_at_1", "interval", "pass_at", "cons_at", "outcomes", "ungraded", "tags", "greedy")
    assert {name: mended[name] for name in names} == {name: whole[name] for name in names}


def test_nothing_graded_is_an_error_and_the_completions_stay(
    grader: Failing, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grader.broken = set(range(6))
    line = ["eval", "fragile", "--limit", "6", "--attempts", "2", "--out", str(tmp_path / "run"), "--json", "--quiet"]
    assert main(line) == 1
    assert "none of the 12 attempts could be graded: the sandbox is gone" in capsys.readouterr().err
    grader.broken = set()
    assert main(line) == 0
    assert len(AttemptStore(tmp_path / "run" / FILE)) == 18


def test_a_search_is_graded_again_without_a_token(grader: Failing, tmp_path: Path) -> None:
    search = {"strategy": "vote", "n": 4, "attempts": 1}
    whole = cli.run(config(tmp_path / "whole", **search))
    grader.broken = {2}
    first = cli.run(config(tmp_path / "run", **search))
    assert (first["ungraded"], first["ungraded_branches"], first["ungraded_problems"]) == (1, 4, 1)
    assert first["problems"] == 5 and "ungraded 1 answers and 4 branches left out" in cli.show(first)
    assert "could not be graded: 1 answers and 4 branches" in (tmp_path / "run/report.html").read_text()
    told = run_replay(ReplayConfig(run=str(tmp_path / "run"), k=(1, 2)))
    assert {(row["problems"], row["left_out"], row["ungraded_branches"]) for row in told["rows"]} == {(5, 1, 4)}
    assert "ungraded  " in show_replay(told)
    grader.broken = set()
    mended = cli.run(config(tmp_path / "run", **search))
    names = ("accuracy", "interval", "pass_at_1", "coverage", "selections", "outcomes", "ungraded")
    assert {name: mended[name] for name in names} == {name: whole[name] for name in names}
    assert mended["ledger"]["decoded"] == whole["ledger"]["decoded"]
    (searched,) = [r for r in AttemptStore(tmp_path / "run" / FILE) if r.problem == Doubling().problems("test")[2].id]
    assert searched.graded and searched.parts["search"]["branches"] == 4


def lost(row: TreeRow, *places: int) -> TreeRow:
    ends = [
        msgspec.structs.replace(end, score=None, outcome="error", reason="gone") if i in places else end
        for i, end in enumerate(row.ends)
    ]
    return msgspec.structs.replace(row, ends=tuple(ends))


@pytest.mark.parametrize("select", ["best", "likelihood"])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_fewer_branches_given_that_the_choice_was_graded(select: str, k: int) -> None:
    """Against enumeration: of the subsets whose choice was graded, the share that is right."""
    values = [0.1, 0.9, 0.5, 0.7, 0.3]
    given = {"scores": values} if select == "best" else {"logprobs": [v - 1 for v in values]}
    row = lost(flat_row(["a", "b", "a", "c", "a"], select=select, **given), 1, 3)
    chosen = [max(subset, key=lambda i: values[i]) for subset in combinations(range(5), k)]
    known = [row.ends[i].correct for i in chosen if row.ends[i].score is not None]
    assert replay.rates_at([row], select, k)["p"] == pytest.approx(sum(known) / len(known))


def test_any_right_looks_at_the_graded_branches() -> None:
    row = lost(flat_row(["a", "b", "b", "b"]), 1)
    assert replay.rates([row], replay.ANY) == {"p": 1.0}
    assert replay.rates_at([row], replay.ANY, 2)["p"] == pytest.approx(1 - math.comb(2, 2) / math.comb(3, 2))
    with pytest.raises(WorkError, match="none of the 1 searches of 'vote' could be graded: gone"):
        replay.rates([lost(flat_row(["a", "b"]), 0, 1)], "vote")


def test_curves_and_numbers_leave_a_problem_out() -> None:
    rows = [flat_row(["a", "b", "a", "b"], problem=f"p{i}") for i in range(3)]
    group = Group("vote(n=4)", "none", [*rows, lost(flat_row(["a", "b", "a", "b"], problem="q"), 0, 1, 2, 3)])
    (curve,) = curves.curves([group])
    assert [(p["k"], p["problems"], p["left_out"]) for p in curve.plain()["points"]] == [
        (1, 3, 1),
        (2, 3, 1),
        (4, 3, 1),
    ]
    found = search_numbers.numbers(group)
    assert (found["problems"], found["ungraded_problems"], found["pass_at_1"]) == (3, 1, 0.5)


def test_compare_pairs_what_was_graded_on_both_sides(grader: Failing, tmp_path: Path) -> None:
    runs = []
    for name, broken in (("a", {0}), ("b", {1})):
        grader.broken = broken
        cli.run(config(tmp_path / name))
        runs.append(str(tmp_path / name))
    found = compare.run(compare.CompareConfig(runs=tuple(runs)))
    sampled = found["rows"][0]
    assert (sampled["problems"], sampled["ungraded_problems"]) == (4, 2) and sampled["ungraded"] == [8, 8]
    assert sampled["difference"]["mean"] == 0.0
    assert "2 left out, not graded" in compare.show(found)
    assert found["left_out"] == []
    path = tmp_path / "b" / FILE
    rows = [msgspec.structs.replace(r, score=None) if "temperature" in r.sampling else r for r in AttemptStore(path)]
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    found = compare.run(compare.CompareConfig(runs=tuple(runs)))
    assert [row["strategy"] for row in found["rows"]] == [["sample", "sample"]]
    assert "left out  doubling, greedy, effort medium: no problem could be graded on both" in compare.show(found)
    for name in ("c", "d"):
        grader.broken = {0, 1, 2} if name == "c" else {3, 4, 5}
        cli.run(config(tmp_path / name))
    with pytest.raises(DataError, match=r"no problem could be graded on both sides \(the sandbox is gone\)"):
        compare.run(compare.CompareConfig(runs=(str(tmp_path / "c"), str(tmp_path / "d"))))


def test_a_trace_that_was_not_graded_is_not_shown_as_wrong() -> None:
    problem = Problem.from_text("1+1", "2")
    row = msgspec.structs.replace(attempts(None)[0], problem=problem.id)
    assert traces.single_traces([problem], [row], None)["counts"] == {"right": 0, "wrong": 0, "not graded": 1}
    both = traces.compare_traces([problem], [row], [msgspec.structs.replace(row, outcome="correct", score=1.0)], None)
    assert both["counts"]["became right"] == 0 and both["counts"]["not graded"] == 1
