"""A task and an engine small enough to know every number by hand."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ponder.types import (
    Completion,
    DoneEvent,
    Effort,
    Engine,
    Event,
    Grade,
    Ledger,
    Message,
    Problem,
    Request,
    Split,
    Step,
)  # fmt: skip


class ExactGrader:
    def grade(self, problem: Problem, completion: Completion) -> Grade:
        if completion.answer is None:
            return Grade(0.0, "unparsed", reason="no answer")
        good = completion.answer == problem.reference
        return Grade(float(good), "correct" if good else "wrong")

    def key(self, answer: str) -> int:
        return int(answer)


@dataclass(frozen=True)
class Doubling:
    """2n=? for n from 0."""

    name: str = "doubling"

    @property
    def grader(self) -> ExactGrader:
        return ExactGrader()

    def problems(self, split: Split, limit: int | None = None, seed: int = 0) -> list[Problem]:
        return [
            Problem((Message("user", f"2*{n}=?"),), str(2 * n), self.name, {"parity": n % 2, "n": n})
            for n in range(20 if limit is None else limit)
        ]

    def steps(self, problem: Problem, thinking: str) -> list[Step]:
        return [Step(line, "?" not in line, None, "says so") for line in thinking.split(";")]


@dataclass
class CoinEngine:
    """Answers right with probability `skill[effort]`, decided by the request's seed alone."""

    skill: dict[str, float] = field(default_factory=lambda: {"": 0.5, "low": 0.2, "medium": 0.5, "high": 0.9})
    name: str = "coin"
    path: str | None = None
    context: int = 256
    calls: list[int] = field(default_factory=list)
    stop_after: int | None = None
    spent: Ledger = field(default_factory=Ledger)

    def encode(self, messages: Sequence[Message], effort: Effort | None = None) -> tuple[int, ...]:
        level = ("", "low", "medium", "high").index(effort or "")
        return (level, *messages[-1].content.encode())

    def generate(
        self, requests: Sequence[Request], on_done: Callable[[DoneEvent], None] | None = None
    ) -> list[Completion]:
        self.calls.append(len(requests))
        out: list[Completion] = []
        for index, request in enumerate(requests):
            if self.stop_after is not None and index == self.stop_after:
                raise KeyboardInterrupt
            out.append(self._write(request))
            if on_done is not None:
                on_done(DoneEvent(index, out[-1]))
        return out

    def _write(self, request: Request) -> Completion:
        effort = ("", "low", "medium", "high")[request.prompt_ids[0]]
        number = int(bytes(request.prompt_ids[1:]).decode()[2:-2])
        rng = random.Random(request.sampling.seed)
        right = 2 * number if rng.random() < self.skill[effort] else 2 * number + rng.randint(1, 3)
        count = 4 + len(effort)
        self.spent += Ledger(prefilled=len(request.prompt_ids), decoded=count)
        thinking = f"{number}+{number}" + ("" if right == 2 * number else "?") + f"={right};<b>"
        return Completion(
            tuple(range(count)), (-0.5,) * count, "stop", f"<think>{thinking}</think>{right}", thinking, str(right)
        )

    def stream(self, requests: Sequence[Request]) -> Iterable[Event]:
        return [DoneEvent(i, self._write(r)) for i, r in enumerate(requests)]

    def cancel(self, request_id: str) -> None: ...

    def logprobs(self, token_ids: Sequence[Sequence[int]]) -> list[list[float]]:
        return [[0.0] * len(row) for row in token_ids]

    @property
    def ledger(self) -> Ledger:
        return self.spent


def engine_is_an_engine(engine: CoinEngine) -> Engine:
    return engine
