"""Evaluation draws exactly what is missing, with seeds that depend on nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from eval_fakes import CoinEngine, Doubling

from ponder.errors import ConfigError
from ponder.evals import summary
from ponder.evals.attempts import Attempt, AttemptStore
from ponder.evals.runner import Plan, attempt_seed, evaluate
from ponder.progress import Progress
from ponder.types import Grade, Ledger, Sampling

TASK = Doubling()


def plan(problems: int = 6, attempts: int = 4, **changes) -> Plan:
    return Plan(tuple(TASK.problems("test", problems)), attempts, **changes)


def test_one_call_draws_everything_and_a_second_draws_nothing(tmp_path: Path) -> None:
    engine, store = CoinEngine(), AttemptStore(tmp_path / "a.jsonl")
    first = evaluate(engine, TASK, plan(efforts=("low", "high")), store, model="m")
    assert (first.drawn, engine.calls) == (48, [48])
    assert first.ledger.decoded == sum(len(r.tokens) for r in first.rows)
    again = evaluate(engine, TASK, plan(efforts=("low", "high")), AttemptStore(tmp_path / "a.jsonl"), model="m")
    assert (again.drawn, again.ledger, engine.calls) == (0, Ledger(), [48])
    assert again.rows == first.rows


def test_extending_repeats_nothing_and_equals_drawing_all_at_once() -> None:
    engine, store = CoinEngine(), AttemptStore()
    evaluate(engine, TASK, plan(attempts=2), store, model="m")
    extended = evaluate(engine, TASK, plan(problems=8, attempts=5), store, model="m")
    assert engine.calls == [12, 8 * 5 - 12]
    assert extended.rows == evaluate(CoinEngine(), TASK, plan(problems=8, attempts=5), AttemptStore(), model="m").rows


def test_interrupted_work_is_stored_and_resumed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with pytest.raises(KeyboardInterrupt):
        evaluate(CoinEngine(stop_after=13), TASK, plan(), AttemptStore(path), model="m")
    assert len(AttemptStore(path)) == 13
    engine = CoinEngine()
    rows = evaluate(engine, TASK, plan(), AttemptStore(path), model="m").rows
    assert engine.calls == [11]
    assert rows == evaluate(CoinEngine(), TASK, plan(), AttemptStore(), model="m").rows


def test_seed_depends_on_each_part_of_the_name() -> None:
    names = [(0, "p", None, 0), (1, "p", None, 0), (0, "q", None, 0), (0, "p", "low", 0), (0, "p", None, 1)]
    seeds = [attempt_seed(*name) for name in names]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_sampling_seed_makes_other_attempts() -> None:
    store = AttemptStore()
    one = evaluate(CoinEngine(), TASK, plan(20, 8), store, model="m").rows
    two = evaluate(CoinEngine(), TASK, plan(20, 8, sampling=Sampling(seed=1)), store, model="m").rows
    assert len(store) == 320
    assert [r.outcome for r in one] != [r.outcome for r in two]


@pytest.mark.parametrize("changes", [{"attempts": 0}, {"problems": 0}, {"efforts": ()}])
def test_empty_plans_are_refused(changes: dict) -> None:
    with pytest.raises(ConfigError, match="nothing to measure"):
        plan(**changes)


def test_progress_shows_accuracy_speed_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("title", quiet=False, live=False) as progress:
        evaluate(CoinEngine(), TASK, plan(), AttemptStore(), model="m", bar=progress.bar("coin", 24))
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("coin 24/24")
    assert "accuracy" in line
    assert "tokens per s" in line
    assert "left 0s" in line


def test_summary_by_hand() -> None:
    rows = evaluate(CoinEngine(), TASK, plan(20, 16, efforts=("low", "high")), AttemptStore(), model="m").rows
    levels = summary.by_effort(rows, summary.classifier(TASK.grader))
    assert list(levels) == ["low", "high"]
    low, high = levels["low"], levels["high"]
    assert low.pass_at_1.mean == pytest.approx(sum(r.correct for r in rows if r.effort == "low") / 320)
    assert low.pass_at_1.high < high.pass_at_1.low
    assert high.tokens.mean == 8
    assert high.cons_at[16].mean == 1.0
    assert low.pass_at[16].mean > low.pass_at[4].mean > low.pass_at_1.mean
    assert low.cons_at[1].mean == pytest.approx(low.pass_at_1.mean)
    assert sum(low.outcomes.values()) == low.attempts == 320


def test_hack_rate_is_over_problems_and_over_what_both_decided() -> None:
    def row(problem: str, attempt: int, outcome: str, twin: bool | None, score: float | None = 0.0) -> Attempt:
        parts = {} if twin is None else {"permissive": twin}
        return Attempt(task="t", problem=problem, attempt=attempt, model="m", score=score, outcome=outcome, parts=parts)

    rows = [
        row("a", 0, "wrong", True),
        row("a", 1, "correct", True, 1.0),
        row("b", 0, "wrong", False),
        row("b", 1, "wrong", None),
    ]
    rows += [row("c", 0, "error", True, None), row("c", 1, "wrong", None)]
    found = summary.summarize(rows, lambda group: [None] * len(group)).hacks
    assert found is not None and (found.rate.mean, found.hacked, found.decided) == (0.25, 1, 3)
    written = summary.plain(summary.summarize(rows, lambda group: [None] * len(group)))["hack_rate"]
    assert written == {"mean": 0.25, "low": found.rate.low, "high": found.rate.high, "hacked": 1, "decided": 3}
    none = summary.summarize([row("a", 0, "wrong", None)], lambda group: [None] * len(group))
    assert none.hacks is None and summary.plain(none)["hack_rate"] is None


def test_completions_of_a_moment_are_graded_together() -> None:
    calls: list[int] = []

    class Batches:
        def check_many(self, pairs: list) -> list[Grade]:
            calls.append(len(pairs))
            return [Grade(1.0, "correct") for _ in pairs]

    class Together(Doubling):
        grader = Batches()  # type: ignore[assignment]

    task = Together()
    rows = evaluate(CoinEngine(), task, plan(), AttemptStore(), model="m").rows
    assert len(rows) == 24 and all(row.correct for row in rows)
    assert len(calls) == 1 and calls[0] < 24  # some answers are alike


def test_by_tag_splits_problems() -> None:
    problems = TASK.problems("test", 20)
    rows = evaluate(CoinEngine(), TASK, plan(20, 4), AttemptStore(), model="m").rows
    table = summary.by_tag(rows, problems)
    assert list(table) == ["parity"]  # n has 20 values: too many for a table
    assert sum(row["problems"] for row in table["parity"].values()) == 20
    even = [r.correct for r in rows if int(next(p for p in problems if p.id == r.problem).tags["n"]) % 2 == 0]
    assert table["parity"]["0"]["mean"] == pytest.approx(sum(even) / len(even))


def test_an_unreadable_answer_abstains_and_equal_answers_vote_together() -> None:
    classify = summary.classifier(TASK.grader)
    values = {"task": "t", "problem": "p", "model": "m", "score": 0.0, "outcome": "wrong"}
    answers = ["4", " 4", "04", "5", None]
    rows = [Attempt(attempt=i, answer=a, **values) for i, a in enumerate(answers)]
    rows.append(Attempt(attempt=5, answer="4", **(values | {"outcome": "unparsed"})))
    assert classify(rows) == [4, 4, 4, 5, None, None]
