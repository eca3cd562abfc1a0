"""Countdown: reach a target with every given number used once, by + - and *, all values between 1 and 99.

The thinking is a stream of honest attempts, `12-7=5;5*3=15`, one a line; a line that ends in the target closes with `!`
and the answer restates it as one expression, `(12-7)*3`. When nothing was found the answer is `?`. Effort sets how many
attempts a demonstration may make. The demonstrator is deliberately mediocre: each move keeps the target in reach only
with probability `guidance` (else it is blind) and nothing stops it from repeating itself. That is the planted room for
reinforcement learning, and every report says so. `reachable` is the exact solver: it labels every state.

`count_space` counts the distinct problems: 109,507 for the default of 3 numbers up to 50, 278,982 for 4 up to 20.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, combinations_with_replacement

from ponder.errors import ConfigError
from ponder.tasks.base import draw, final_answer
from ponder.tasks.expression import apply, leaves, normal_form, parse
from ponder.types import Completion, Demonstration, Effort, Grade, Message, Problem, Split, Step

HIGHEST_VALUE = 99
ABSTAIN = "?"
Numbers = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """`left op right = value`, leaving `rest` (sorted, `value` included)."""

    left: int
    op: str
    right: int
    value: int
    rest: Numbers

    def __str__(self) -> str:
        return f"{self.left}{self.op}{self.right}={self.value}"


@lru_cache(maxsize=200_000)
def moves(numbers: Numbers) -> tuple[Move, ...]:
    """Every legal move from the sorted `numbers`, larger operand first."""
    found: dict[tuple[int, str, int], Move] = {}
    for i, j in combinations(range(len(numbers)), 2):
        small, large = numbers[i], numbers[j]
        others = numbers[:i] + numbers[i + 1 : j] + numbers[j + 1 :]
        for op in "+-*":
            value = apply(op, large, small)
            if 1 <= value <= HIGHEST_VALUE:
                found[large, op, small] = Move(large, op, small, value, tuple(sorted((*others, value))))
    return tuple(found.values())


@lru_cache(maxsize=200_000)
def reachable(numbers: Numbers) -> frozenset[int]:
    """Every value that the sorted `numbers`, each used once, can end in."""
    if len(numbers) == 1:
        return frozenset(numbers)
    return frozenset().union(*(reachable(m.rest) for m in moves(numbers)))


def count_space(numbers: int, highest: int) -> int:
    """How many distinct problems (multiset of numbers, reachable target) there are."""
    return sum(len(reachable(c)) for c in combinations_with_replacement(range(1, highest + 1), numbers))


class CountdownGrader:
    """Checks that the answer is an expression of exactly the given numbers whose value is the target."""

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        answer = final_answer(completion)
        if answer is None:
            return Grade(0.0, "unparsed", reason="the thinking never closed, so there is no answer")
        if answer == ABSTAIN:
            return Grade(0.0, "wrong", reason="gave up")
        tree = parse(answer.split("=")[0])
        if tree is None:
            return Grade(0.0, "unparsed", reason=f"not an expression: {answer[:60]!r}")
        numbers, target = problem.reference["numbers"], problem.reference["target"]
        if sorted(leaves(tree)) != sorted(numbers):
            return Grade(0.0, "wrong", reason=f"uses {sorted(leaves(tree))}, not {sorted(numbers)}")
        if tree.value != target:
            return Grade(0.0, "wrong", reason=f"makes {tree.value}, not {target}")
        return Grade(1.0, "correct")

    def key(self, answer: str) -> str | None:
        """Answers with the same key are the same answer in a vote; None (no expression) abstains."""
        tree = parse(answer.split("=")[0])
        return None if tree is None else normal_form(tree)


@dataclass(frozen=True, slots=True)
class Countdown:
    """The task. `numbers` are the counts to draw from, `attempts` the most attempts per effort level.

    With `commits` a demonstration never looks whether it hit: it makes one attempt and answers with it. Such a policy can
    not tell its right answers from its wrong ones, which is what a verifier is for.
    """

    numbers: tuple[int, ...] = (3,)
    highest: int = 50
    guidance: float = 0.5
    attempts: tuple[int, int, int] = (1, 4, 10)
    words: bool = False
    commits: bool = False
    name: str = "countdown"

    def __post_init__(self) -> None:
        if not self.numbers or not all(2 <= n <= 6 for n in self.numbers):
            raise ConfigError(f"countdown: numbers {list(self.numbers)} must be counts from 2 to 6")
        if not 2 <= self.highest <= HIGHEST_VALUE:
            raise ConfigError(f"countdown: highest {self.highest} must be from 2 to {HIGHEST_VALUE}")
        if not 0 <= self.guidance <= 1:
            raise ConfigError(f"countdown: guidance {self.guidance} must be from 0 to 1")

    @property
    def grader(self) -> CountdownGrader:
        return CountdownGrader()

    def problems(self, split: Split, limit: int | None = None, seed: int = 0) -> list[Problem]:
        return draw(self.make, f"{self.name}", split, limit, seed)

    def make(self, rng: random.Random) -> Problem | None:
        """One random problem, of any split."""
        given = [rng.randint(1, self.highest) for _ in range(rng.choice(self.numbers))]
        targets = reachable(tuple(sorted(given))) - set(given)
        return self.problem(given, rng.choice(sorted(targets))) if targets else None

    def problem(self, given: Iterable[int], target: int) -> Problem:
        """The problem of making `target` from `given`."""
        given = list(given)
        first = moves(tuple(sorted(given)))
        alive = sum(target in reachable(m.rest) for m in first)
        listed = ",".join(map(str, given))
        text = f"{listed}>{target}"
        if self.words:
            text = (
                f"Use each of the numbers {listed} exactly once, with + - * and parentheses, to make {target}. "
                "Every intermediate value must lie between 1 and 99. Put the final expression in \\boxed{}."
            )
        return Problem(
            (Message("user", text),),
            reference={"numbers": given, "target": target},
            task=self.name,
            tags={
                "numbers": len(given),
                "first_moves": len(first),
                "alive_share": round(alive / max(1, len(first)), 3),
            },
            canonical=f"{','.join(map(str, sorted(given)))}>{target}",
        )

    def demonstrate(
        self, problem: Problem, effort: Effort | None, rng: random.Random, opening: Move | None = None
    ) -> Demonstration:
        """A stream of attempts by the mediocre demonstrator, ending at the first hit or at the effort's limit.

        `opening` is the first attempt's first move where it is not left to the demonstrator.
        """
        limit = 1 if self.commits else self.attempts[("low", "medium", "high").index(effort or "medium")]
        numbers, target = tuple(sorted(problem.reference["numbers"])), problem.reference["target"]
        lines: list[str] = []
        for i in range(limit):
            steps = self._attempt(numbers, target, rng, opening if i == 0 else None)
            lines.append(_line(steps, problem.reference["numbers"]))
            if self.commits:
                return Demonstration(problem, f"<think>{chr(10).join(lines)}\n</think>{restate(steps)}", effort)
            if steps[-1].rest == (target,):
                return Demonstration(problem, f"<think>{chr(10).join(lines)}!</think>{restate(steps)}", effort)
        return Demonstration(problem, f"<think>{chr(10).join(lines)}\n</think>{ABSTAIN}", effort)

    def _attempt(self, numbers: Numbers, target: int, rng: random.Random, opening: Move | None = None) -> list[Move]:
        steps = [opening] if opening else []
        numbers = opening.rest if opening else numbers
        while len(numbers) > 1 and (options := moves(numbers)):  # a dead end (every move leaves 1 to 99) stops early
            good = [m for m in options if target in reachable(m.rest)]
            steps.append(rng.choice(good if good and rng.random() < self.guidance else options))
            numbers = steps[-1].rest
        return steps

    def steps(self, problem: Problem, thinking: str) -> list[Step]:
        """Exact labels of every move: is it honest and legal, and is the target still in reach after it?"""
        start, target = tuple(sorted(problem.reference["numbers"])), problem.reference["target"]
        return [step for line in thinking.strip("\n").split("\n") for step in _label(line, start, target)]


_MOVE = re.compile(r"(\d{1,2})([-+*])(\d{1,2})=(\d{1,2})(?::([\d,]*))?")


def _line(steps: list[Move], given: Iterable[int]) -> str:
    """The attempt in one line; while more than two numbers are left they are listed, the new one last."""
    left = list(given)
    parts: list[str] = []
    for move in steps:
        left.remove(move.left)
        left.remove(move.right)
        left.append(move.value)
        parts.append(f"{move}:{','.join(map(str, left))}" if len(left) > 2 else str(move))
    return ";".join(parts)


def restate(steps: list[Move]) -> str:
    """The attempt as one expression, each earlier result replaced by what made it: `(12-7)*3`."""
    made: list[tuple[int, str]] = []
    expression = ""
    for move in steps:
        expression = f"{_take(made, move.left)}{move.op}{_take(made, move.right)}"
        made.append((move.value, f"({expression})"))
    return expression


def _take(made: list[tuple[int, str]], value: int) -> str:
    for i in range(len(made) - 1, -1, -1):
        if made[i][0] == value:
            return made.pop(i)[1]
    return str(value)


def _label(line: str, numbers: Numbers, target: int) -> list[Step]:
    labels: list[Step] = []
    text = line.removesuffix("!")
    for part in text.split(";"):
        match = _MOVE.fullmatch(part)
        reason = "not a move" if match is None else _fault(match, numbers)
        if match is None or reason:
            labels.append(Step(part, False, False, reason))
            return labels
        numbers = _play(numbers, int(match[1]), int(match[3]), int(match[4]))
        labels.append(Step(part, True, target in reachable(numbers)))
    if line.endswith("!") and numbers != (target,):
        labels[-1] = Step(labels[-1].text + "!", False, False, f"claims a hit at {numbers}, the target is {target}")
    return labels


def _play(numbers: Numbers, left: int, right: int, value: int) -> Numbers:
    rest = list(numbers)
    rest.remove(left)
    rest.remove(right)
    return tuple(sorted([*rest, value]))


def _fault(match: re.Match[str], numbers: Numbers) -> str:
    left, op, right, value = int(match[1]), match[2], int(match[3]), int(match[4])
    if apply(op, left, right) != value:
        return f"{left}{op}{right} is {apply(op, left, right)}"
    if not 1 <= value <= HIGHEST_VALUE:
        return f"{value} is outside 1 to {HIGHEST_VALUE}"
    pool = list(numbers)
    for operand in (left, right):
        if operand not in pool:
            return f"{operand} is not left to use"
        pool.remove(operand)
    left_over = _play(numbers, left, right, value)
    if match[5] is not None and sorted(int(n) for n in match[5].split(",") if n) != list(left_over):
        return f"what is left is {','.join(map(str, left_over))}"
    return ""
