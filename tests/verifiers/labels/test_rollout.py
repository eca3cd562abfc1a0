from __future__ import annotations

from typing import Any

import pytest
from verifier_fakes import Letters, letters, letters_engine

from ponder.engines import ScriptedEngine
from ponder.errors import ConfigError, WorkError
from ponder.text.steps import cut, step_ids
from ponder.types import Problem, Sampling
from ponder.verifiers.labels import rollout
from ponder.verifiers.labels.rollout import Estimate, Place, Roller, Rollout, Solved, estimate

TASK = Letters()
PROBLEM = Problem.from_text("letters 1")


def roller(engine: Any, k: int = 8, **sampling: Any) -> Roller:
    return Roller(engine, TASK.grader, Sampling(**{"max_tokens": 100, **sampling}), k)


def start(engine: Any, text: str = "") -> Place:
    ids = tuple(engine.tokenizer.encode(text))
    return Place(PROBLEM, engine.encode(PROBLEM.messages), ids, (-1.0,) * len(ids))


def solved(engine: Any, text: str, correct: bool | None) -> Solved:
    ids = tuple(engine.tokenizer.encode(text + "<|end|>"))
    starts = cut(ids, step_ids(engine.tokenizer))
    return Solved(PROBLEM, engine.encode(PROBLEM.messages), Rollout(ids, (-1.0,) * len(ids), correct), starts)


def test_estimates() -> None:
    rolls = [Rollout((1,), (), correct) for correct in (True, False, None, False)]
    assert estimate(rolls) == Estimate(1, 3)
    assert (estimate(rolls).soft, estimate(rolls).hard) == (pytest.approx(1 / 3), 1.0)
    assert (Estimate(0, 4).soft, Estimate(0, 4).hard) == (0.0, 0.0)
    assert (Estimate(0, 0).soft, Estimate(0, 0).hard) == (None, None)


def test_a_hand_worked_tree() -> None:
    """Three steps; after "a" two of four endings are right, after "a b" none: hard 1, 0; soft 1/2, 0."""
    endings = {"": ["a\na\na"], "a\n": ["a\na", "x\na", "a\nx", "c\nc"], "a\nb\n": ["x", "xx", "xxx", "xa"]}
    counts = dict.fromkeys(endings, 0)

    def script(text: str, seed: int) -> str:
        begun = text.rpartition("<|assistant|>")[2]
        counts[begun] += 1
        return endings[begun][(counts[begun] - 1) % len(endings[begun])] + "<|end|>"

    engine = ScriptedEngine(script)
    wrong = solved(engine, "a\nb\nx", False)
    assert rollout.labels([wrong], roller(engine, 4)) == [[1.0, 0.0, 0.0]]
    assert rollout.labels([wrong], roller(engine, 4), soft=True) == [[0.5, 0.0, 0.0]]
    assert counts == {"": 0, "a\n": 8, "a\nb\n": 8}


def test_a_right_solution_is_its_own_witness() -> None:
    engine = letters_engine(odds=1.0)
    right = solved(engine, "a\na\na", True)
    rolls = roller(engine)
    assert rollout.labels([right], rolls) == [[1.0, 1.0, 1.0]]
    assert rolls.decoded == 0
    assert rollout.labels([right], rolls, witness=False) == [[0.0, 0.0, 1.0]]
    assert rollout.labels([right], rolls, soft=True) == [[0.0, 0.0, 1.0]]
    assert rolls.decoded > 0


def test_what_can_not_be_graded_counts_for_nothing() -> None:
    engine = ScriptedEngine({"*": ["a\n?", "a\nx"]})
    rolls = roller(engine, 16)
    (made,) = rolls([start(engine, "a\n")])
    assert {r.correct for r in made} == {None, False}
    assert 0 < estimate(made).graded < 16
    only = ScriptedEngine({"*": ["a\n?"]})
    assert rollout.labels([solved(only, "a\n?", None)], roller(only)) == [[None, None]]


def test_draws_follow_from_seed_problem_and_place_alone() -> None:
    engine = letters_engine()
    one, two = start(engine, "a\n"), start(engine, "a\na\n")
    alone = roller(engine)([two])[0]
    both = roller(engine)([one, two, one])
    assert both[1] == alone
    assert both[0] == both[2]
    assert Roller(engine, TASK.grader, Sampling(max_tokens=100), 8, seed=1)([two])[0] != alone
    assert roller(engine, 4)([two])[0] == alone[:4]  # fewer are a prefix of more
    other = Place(Problem.from_text("letters 2"), two.prompt_ids, two.written)
    assert roller(engine)([other])[0] != alone


def test_equal_places_are_finished_once_and_everything_is_counted() -> None:
    engine = letters_engine()
    rolls = roller(engine, 4)
    rolls([start(engine, "a\n")] * 3)
    assert rolls.decoded == engine.ledger.decoded > 0


def test_a_place_that_has_ended_is_its_own_rollout() -> None:
    engine = letters_engine()
    rolls = roller(engine)
    (ended,) = rolls([start(engine, "a\na<|end|>")])
    assert [(r.correct, r.finish) for r in ended] == [(True, "stop")]
    (full,) = rolls([start(engine, "a\n" * 50)])
    assert [r.finish for r in full] == ["length"]
    assert rolls.decoded == 0


def test_limits_of_the_whole_solution_hold_from_the_prompt_on() -> None:
    asked: list[Any] = []
    engine = ScriptedEngine(lambda text, seed: "a\na")
    generate = engine.generate
    engine.generate = lambda requests, on_done=None: asked.extend(requests) or generate(requests)  # type: ignore[method-assign]
    budget = {"max_tokens": 30, "think_budget": 10, "answer_reserve": 5}
    rolls = roller(engine, 1, **budget)
    rolls([start(engine), start(engine, "<think>a\n"), start(engine, "<think>a</think>")])
    limits = [(r.sampling.max_tokens, r.sampling.think_budget, r.sampling.answer_reserve) for r in asked]
    assert limits == [(30, 10, 5), (27, 8, 5), (27, None, 0)]


def test_failures_name_the_problem() -> None:
    engine = letters_engine()

    def broken(requests: Any, on_done: Any = None) -> Any:
        raise OSError("gone")

    engine.generate = broken  # type: ignore[method-assign]
    with pytest.raises(WorkError, match=rf"problem {PROBLEM.id}: engine 'scripted' failed .OSError: gone"):
        roller(engine)([start(engine)])
    engine.generate = lambda requests, on_done=None: []  # type: ignore[method-assign]
    with pytest.raises(WorkError, match="0 completions for 8 requests"):
        roller(engine)([start(engine)])
    with pytest.raises(ConfigError, match="at least 1"):
        roller(engine, 0)
    with pytest.raises(ConfigError, match="no tokenizer"):
        Roller(object.__new__(type("Bare", (), {"name": "bare"})), TASK.grader, Sampling())


def test_labels_of_many_solutions_are_one_call() -> None:
    calls: list[int] = []
    engine = letters_engine()
    generate = engine.generate
    engine.generate = lambda requests, on_done=None: calls.append(len(requests)) or generate(requests)  # type: ignore[method-assign]
    some = [solved(engine, "a\nx\na", False), solved(engine, "a\na\nx\nx", False)]
    rollout.labels(some, roller(engine, 4))
    assert calls == [4 * (2 + 3 - 1)]  # "a\n" is a prefix of both


def test_scripts_of_letters_continue_what_stands() -> None:
    assert letters(3, 0.0)("<|assistant|>a\n", 0) == "a\na<|end|>"
