"""Arithmetic: addition, subtraction and multiplication of long numbers, column by column, carries written out.

Digits carry their place as a letter (a = ones, b = tens, …), `b4a7+b8a5`, so that every look-up is by name, not by
counting. A column line is `a:7+5+0=12>a2,1`: place, the sum with the carry, the digit at its place, the next carry.
Subtraction borrows, `a:3-8-0+10=5>a5,1` (the +10 is the borrow). A product with a factor of several digits writes one
partial product per digit, then adds them. The last line gathers the result, `=c1b3a2`; the answer is the plain number.
Effort low leaves out the leading place and the carry; high adds a second computation of each column, `~5+7+0=12`.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from ponder.errors import ConfigError
from ponder.tasks.base import draw, grade_integer
from ponder.types import Completion, Demonstration, Effort, Grade, Message, Problem, Split, Step

PLACES = "abcdefghijklmnop"
_PROBLEM = re.compile(r"\s*(\d{1,8})\s*([-+*×])\s*(\d{1,8})\s*=?\s*\??")
_PLACED = re.compile(r"((?:[a-p]\d)+)([-+*])((?:[a-p]\d)+)")


def placed(number: int) -> str:
    """`407` → `c4b0a7`."""
    digits = str(number)
    return "".join(f"{PLACES[len(digits) - 1 - i]}{d}" for i, d in enumerate(digits))


def unplaced(text: str) -> int:
    """`c4b0a7` → 407."""
    return int(re.sub(r"[a-p]", "", text))


class ArithmeticGrader:
    """Compares whole numbers."""

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        return grade_integer(problem, completion)

    def key(self, answer: str) -> str | None:
        """Answers with the same key are the same answer in a vote; None abstains."""
        text = answer.replace(",", "").replace(" ", "")
        return str(int(text)) if text.isdecimal() and len(text) < 40 else None


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The task. Numbers of `shortest` to `longest` digits; the second factor of a product has at most `factor` digits."""

    shortest: int = 2
    longest: int = 4
    factor: int = 1
    operations: str = "+-*"
    words: bool = False
    name: str = "arithmetic"

    def __post_init__(self) -> None:
        if not 1 <= self.shortest <= self.longest <= 8 or not 1 <= self.factor <= 4:
            raise ConfigError(
                f"arithmetic: digits {self.shortest} to {self.longest} must lie in 1 to 8 and factor {self.factor} in 1 to 4"
            )
        if not self.operations or set(self.operations) - set("+-*"):
            raise ConfigError(f"arithmetic: operations '{self.operations}' must be taken from '+-*'")

    @property
    def grader(self) -> ArithmeticGrader:
        return ArithmeticGrader()

    def problems(self, split: Split, limit: int | None = None, seed: int = 0) -> list[Problem]:
        return draw(self.make, self.name, split, limit, seed)

    def make(self, rng: random.Random) -> Problem | None:
        """One random problem, of any split."""
        op = rng.choice(self.operations)
        left = _number(rng.randint(self.shortest, self.longest), rng)
        right = _number(rng.randint(1 if op == "*" else self.shortest, self.factor if op == "*" else self.longest), rng)
        if op == "*" and right < 2:
            return None
        if op == "-" and left < right:
            left, right = right, left
        return self.problem(left, op, right)

    def problem(self, left: int, op: str, right: int) -> Problem:
        """The problem `left op right`."""
        reference = left + right if op == "+" else left - right if op == "-" else left * right
        text = f"{placed(left)}{op}{placed(right)}"
        shown = (
            f"What is {left} {op} {right}? Work column by column and put the result in \\boxed{{}}."
            if self.words
            else text
        )
        tags = {"operation": op, "digits": max(len(str(left)), len(str(right)))}
        return Problem((Message("user", shown),), reference=reference, task=self.name, tags=tags, canonical=text)

    def demonstrate(self, problem: Problem, effort: Effort | None, rng: random.Random) -> Demonstration:
        """The written calculation in the style of `effort`."""
        match = _PLACED.fullmatch(problem.canonical)
        assert match is not None
        lines = write(unplaced(match[1]), match[2], unplaced(match[3]), effort or "medium")
        return Demonstration(problem, f"<think>{chr(10).join(lines)}\n</think>{problem.reference}", effort)

    def steps(self, problem: Problem, thinking: str) -> list[Step]:
        """Exact labels: a line is sound when it is the line that the calculation wants at this place."""
        match = _PLACED.fullmatch(problem.canonical)
        assert match is not None
        lines = thinking.strip("\n").split("\n")
        ways = [write(unplaced(match[1]), match[2], unplaced(match[3]), e) for e in ("low", "medium", "high")]
        best = max(ways, key=lambda way: sum(a == b for a, b in zip(way, lines, strict=False)))
        return [_label(i, line, best) for i, line in enumerate(lines)]


def parse_text(text: str) -> tuple[int, str, int] | None:
    """`347+285` → (347, '+', 285)."""
    match = _PROBLEM.fullmatch(text)
    return None if match is None else (int(match[1]), match[2].replace("×", "*"), int(match[3]))


def write(left: int, op: str, right: int, effort: Effort) -> list[str]:
    """The lines of the written calculation, ending in the result by places, `=c1b3a2`."""
    if op == "+":
        lines = _add([left, right], effort)
    elif op == "-":
        lines = _subtract(left, right, effort)
    else:
        lines = _multiply(left, right, effort)
    result = left + right if op == "+" else left - right if op == "-" else left * right
    return [*lines, f"={placed(result)}"]


def _digit(number: int, place: int) -> int:
    return number // 10**place % 10


def _written(place: int, work: str, total: int, check: str, effort: Effort, mark: str = "", shift: int = 0) -> str:
    """One column line in the style of `effort`; `place + shift` is where the digit goes."""
    digit = f">{PLACES[place + shift]}{total % 10}"
    if effort == "low":
        return f"{mark}{work}={total}{digit}"
    second = f"~{check}" if effort == "high" else ""
    return f"{mark}{PLACES[place]}:{work}={total}{second}{digit},{total // 10}"


def _add(numbers: list[int], effort: Effort) -> list[str]:
    lines, carry = [], 0
    for place in range(max(len(str(n)) for n in numbers)):
        terms = [_digit(n, place) for n in numbers if place < len(str(n))]
        total = sum(terms) + carry
        work, check = ("+".join(map(str, [*t, carry])) for t in (terms, terms[::-1]))
        lines.append(_written(place, work, total, f"{check}={total}", effort))
        carry = total // 10
    return lines


def _subtract(left: int, right: int, effort: Effort) -> list[str]:
    lines, borrow = [], 0
    for place in range(len(str(left))):
        top, bottom = _digit(left, place), _digit(right, place) if place < len(str(right)) else 0
        lent = 1 if top - bottom - borrow < 0 else 0
        value = top - bottom - borrow + 10 * lent
        work = f"{top}-{bottom}-{borrow}{'+10' if lent else ''}"
        check = f"{value}+{bottom}+{borrow}={value + bottom + borrow}"
        line = _written(place, work, value, check, effort)
        lines.append(line if effort == "low" else f"{line[:-1]}{lent}")
        borrow = lent
    return lines


def _multiply(left: int, right: int, effort: Effort) -> list[str]:
    lines: list[str] = []
    partials: list[int] = []
    factors = [int(d) for d in reversed(str(right))]
    for shift, factor in enumerate(factors):
        mark = PLACES[shift] if len(factors) > 1 else ""
        carry = 0
        for place in range(len(str(left))):
            top = _digit(left, place)
            total = top * factor + carry
            check = f"{factor}*{top}+{carry}={total}"
            lines.append(_written(place, f"{top}*{factor}+{carry}", total, check, effort, mark, shift))
            carry = total // 10
        partials.append(left * factor * 10**shift)
        if mark:
            lines.append(f"{mark}={placed(partials[-1])}")
    return lines if len(partials) == 1 else [*lines, *_add(partials, effort)]


def _number(digits: int, rng: random.Random) -> int:
    return rng.randint(10 ** (digits - 1), 10**digits - 1) if digits > 1 else rng.randint(1, 9)


def _label(at: int, line: str, wanted: list[str]) -> Step:
    if at < len(wanted) and line == wanted[at]:
        return Step(line, True)
    return Step(line, False, None, f"expected {wanted[at]}" if at < len(wanted) else "the calculation is over")
