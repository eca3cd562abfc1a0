"""A task whose problems differ in difficulty, and an engine that is right with a known chance at each."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from eval_fakes import CoinEngine, ExactGrader

from ponder.types import Completion, Ledger, Message, Problem, Request, Split

START = {"train": 0, "dev": 1000, "test": 2000}


@dataclass(frozen=True)
class Sums:
    """n+n=? for other n in every split."""

    spare: int = 1000
    name: str = "sums"

    @property
    def grader(self) -> ExactGrader:
        return ExactGrader()

    def problems(self, split: Split, limit: int | None = None, seed: int = 0) -> list[Problem]:
        count = min(self.spare, 20 if limit is None else limit)
        return [self.problem(START[split] + n) for n in range(count)]

    def problem(self, n: int) -> Problem:
        return Problem((Message("user", f"2*{n}=?"),), str(2 * n), self.name, canonical=str(n))


@dataclass
class Uneven(CoinEngine):
    """Right with probability `easy` at even numbers and `hard` at odd ones; wrong answers are spread over `wrong` values."""

    easy: float = 0.9
    hard: float = 0.4
    wrong: int = 9
    fail_after: int | None = None
    drawn: list[int] = field(default_factory=list)

    def _write(self, request: Request) -> Completion:
        number = int(bytes(request.prompt_ids[1:]).decode()[2:-2])
        if self.fail_after is not None and len(self.drawn) >= self.fail_after:
            raise KeyboardInterrupt
        self.drawn.append(number)
        rng = random.Random(request.sampling.seed)
        chance = self.easy if number % 2 == 0 else self.hard
        answer = 2 * number if rng.random() < chance else 2 * number + rng.randint(1, self.wrong)
        self.spent += Ledger(prefilled=len(request.prompt_ids), decoded=10)
        return Completion(tuple(range(10)), (-0.5,) * 10, "stop", f"<think>x</think>{answer}", "x", str(answer))


def plausible(question: str, completion: str) -> float:
    """Likes the right sum best, and the others the less the farther off they are."""
    number = int(question[2:-2])
    return 1 / (1 + abs(int(completion.rpartition(">")[2]) - 2 * number))
