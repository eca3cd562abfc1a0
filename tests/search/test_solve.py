from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder import efforts, search
from ponder.errors import ConfigError
from ponder.search.answers import classes
from ponder.search.select import Candidate, vote
from ponder.types import (
    Completion,
    DoneEvent,
    Effort,
    Engine,
    Event,
    Ledger,
    Message,
    Problem,
    Request,
    TokenEvent,
)


@dataclass
class Teller:
    """Gives `answers` in turn, whatever is asked; a None answer means the thinking never closed."""

    answers: Sequence[str | None]
    name: str = "teller"
    path: str | None = None
    context: int = 100
    asked: list[Request] = field(default_factory=list[Request])
    spent: Ledger = Ledger()

    def encode(self, messages: Sequence[Message], effort: Effort | None = None) -> tuple[int, ...]:
        return tuple(messages[-1].content.encode())

    def stream(self, requests: Sequence[Request]) -> Iterable[Event]:
        self.asked += requests
        for index in reversed(range(len(requests))):  # ends in another order than it began
            answer = self.answers[index % len(self.answers)]
            self.spent = self.spent + Ledger(decoded=2)
            yield TokenEvent(index, 1, -0.5, "t")
            text = "<think>t" + ("" if answer is None else f"</think>{answer}")
            finish = "length" if answer is None else "stop"
            yield DoneEvent(index, Completion((1, 2), (-0.5, 0.0), finish, text, "t", answer))

    def generate(
        self, requests: Sequence[Request], on_done: Callable[[DoneEvent], None] | None = None
    ) -> list[Completion]:
        done = {event.index: event.completion for event in self.stream(requests) if isinstance(event, DoneEvent)}
        return [done[index] for index in range(len(requests))]

    def cancel(self, request_id: str) -> None:
        raise NotImplementedError

    def logprobs(self, token_ids: Sequence[Sequence[int]]) -> list[list[float]]:
        raise NotImplementedError

    @property
    def ledger(self) -> Ledger:
        return self.spent


HARD = Problem.from_text("what?")


def solve(answers: Sequence[str | None], **more: Any) -> search.Solution:
    engine: Engine = Teller(answers)
    return search.solve(HARD, engine, **more)


def test_vote_counts_equal_answers_as_one() -> None:
    solution = solve(["7", "1/2", "0.5", "\\boxed{\\frac{2}{4}}", None], n=5)
    assert solution.answer == "1/2"
    assert solution.chosen == 1
    assert solution.completion.answer == "1/2"
    assert dict(solution.votes) == {"1/2": 3, "7": 1}
    assert len(solution.tree.finished()) == 5
    assert solution.ledger.decoded == 10


def test_answer_is_what_was_boxed() -> None:
    assert solve(["So it is \\boxed{42}."], strategy="sample").answer == "42"


def test_everyone_abstains() -> None:
    solution = solve([None], n=3)
    assert solution.answer is None
    assert solution.votes == {}
    assert solution.completion.finish == "length"


def test_tie_is_broken_by_the_seed_and_among_the_tied_only() -> None:
    chosen = [solve(["1", "2", "2", "1", "3"], n=5, seed=seed).answer for seed in range(40)]
    assert set(chosen) == {"1", "2"}
    assert chosen == [solve(["1", "2", "2", "1", "3"], n=5, seed=seed).answer for seed in range(40)]


def test_more_samples_begin_with_the_same_draws() -> None:
    few, many = Teller(["1"]), Teller(["1"])
    search.solve(HARD, few, n=3, seed=5)
    search.solve(HARD, many, n=8, seed=5)
    assert few.asked == many.asked[:3]
    assert len({request.sampling.seed for request in many.asked}) == 8


def test_greedy_and_sample_draw_one() -> None:
    for strategy, temperature in (("greedy", 0.0), ("sample", 0.7)):
        engine = Teller(["1"])
        search.solve(HARD, engine, strategy, temperature=0.7)
        assert [request.sampling.temperature for request in engine.asked] == [temperature]


def test_events_reach_the_listener() -> None:
    seen: list[Event] = []
    solve(["1"], n=2, on_event=seen.append)
    assert [(type(event).__name__, event.index) for event in seen] == [
        ("TokenEvent", 1), ("DoneEvent", 1), ("TokenEvent", 0), ("DoneEvent", 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"strategy": "vot"}, "unknown strategy 'vot'; did you mean 'vote'"),
        ({"n": 0}, "n = 0: strategy 'vote' draws 1 or more"),
        ({"strategy": "greedy", "n": 2}, "n = 2: strategy 'greedy' draws exactly 1"),
        ({"max_tokens": 0}, "max_tokens = 0: at least 1"),
    ],
)
def test_impossible_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        solve(["1"], **settings)


def test_prompt_longer_than_the_context() -> None:
    with pytest.raises(ConfigError, match="prompt has 100 tokens and teller reads 100"):
        search.solve("x" * 100, Teller(["1"]))
    engine = Teller(["1"])
    search.solve("x" * 99, engine, "sample")
    assert engine.asked[0].sampling.max_tokens == 1


def test_the_models_table_says_how_long_an_effort_thinks(tmp_path: Path) -> None:
    efforts.write(tmp_path, {"low": efforts.Level(max_tokens=30, think_budget=10, answer_reserve=5)})
    engine = Teller(["1"], path=str(tmp_path))
    for effort, wanted in (("low", None), ("high", None), ("low", 7), (None, None)):
        search.solve(HARD, engine, "sample", effort=effort, max_tokens=wanted)
    assert [(r.sampling.max_tokens, r.sampling.think_budget) for r in engine.asked] == [
        (30, 10), (95, None), (7, None), (95, None),
    ]  # fmt: skip
    assert engine.asked[0].sampling.answer_reserve == 5


def test_grader_names_the_class() -> None:
    """The tasks' own graders know when two answers are one: 3*(7+4) and (4+7)*3 are the same way to 33."""
    from ponder import tasks

    problem = tasks.translate("3,7,4 -> 33")
    assert problem is not None
    solution = search.solve(problem, Teller(["3*7+4", "3*(7+4)", "(4+7)*3", "junk"]), n=4)
    assert solution.answer == "3*(7+4)"
    assert max(solution.votes.values()) == 2


def test_undecidable_answers_stay_apart() -> None:
    assert classes(["see ???", "what !!!", "see ???", "", None]) == ["see ???", "what !!!", "see ???", None, None]
    assert classes(["x+1", "1+x", "1"]) == ["x+1", "x+1", "1"]


@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=12), st.integers(0, 5))
def test_winner_has_most_votes_whatever_the_order(names: list[str | None], seed: int) -> None:
    """The order of the answers decides nothing but which member of the class speaks for it."""
    chosen, backwards = (vote([Candidate(n) for n in order], seed).index for order in (names, names[::-1]))
    if chosen is None:
        assert backwards is None
        assert set(names) <= {None}
        return
    assert backwards is not None
    winner = names[chosen]
    assert winner == names[::-1][backwards]
    assert names.index(winner) == chosen
    assert all(names.count(winner) >= names.count(other) for other in names if other is not None)
