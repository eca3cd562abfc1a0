"""Whether two mathematical answers are equal, and the grader built on it.

Design, cheapest first: identical text; plain numbers as exact rationals; normal forms (`values`, `normal`), which
decide everything without opaque functions; last, symbolic work in killable worker processes (`symbolic`). No text is
ever evaluated: sympy sees objects built from our own tree. Policies are fields of `Policy`; docs/grading.md has them.
Not covered: conversion of units, sets given by a rule, calculus.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import cast

from ponder.graders import extract, permissive, permissive_answers, symbolic
from ponder.graders.extract import Rule
from ponder.graders.forms import fresh_work
from ponder.graders.reading import plain, read
from ponder.graders.values import DEFAULT, Policy, Truth, Value, same
from ponder.types import Completion, Grade, Problem

__all__ = ["DEFAULT", "MathGrader", "Policy", "Verdict", "compare", "equal"]

_NUMBER = re.compile(r"\s*(-?)(\d{1,15})(?:\.(\d{1,15}))?\s*", re.ASCII)
MAX_TEXT = 20_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """A comparison of two answers: `truth` (None: undecided), the `method` that decided, or the `reason` none did."""

    truth: Truth
    method: str
    reason: str = ""


_SAME_TEXT = Verdict(True, "text")
_NUMBERS = {truth: Verdict(truth, "number") for truth in (True, False)}


def equal(a: str, b: str, policy: Policy = DEFAULT) -> bool | None:
    """Whether two answers are equal in mathematics; None when undecidable. Never raises, never hangs."""
    return compare(a, b, policy).truth


def compare(a: str, b: str, policy: Policy = DEFAULT) -> Verdict:
    """As `equal`, with the method ("text", "number", "normal", "symbolic", "") and a reason when undecided."""
    if not (isinstance(a, str) and isinstance(b, str)):  # pyright: ignore[reportUnnecessaryIsInstance]
        return Verdict(None, "", "an answer is not text")
    x, y = _NUMBER.fullmatch(a), _NUMBER.fullmatch(b)
    if x and y and not policy.tolerance:
        return _NUMBERS[a == b or _value(x) == _value(y)]
    if not a.strip() or not b.strip():
        return Verdict(None, "", "an answer is empty")
    if a == b:
        return _SAME_TEXT
    if len(a) > MAX_TEXT or len(b) > MAX_TEXT:
        return Verdict(None, "", "limit: an answer is too long to read")
    left, right = read(a, policy), read(b, policy)
    if isinstance(left, str) or isinstance(right, str):
        if plain(a).casefold() == plain(b).casefold() != "":
            return _SAME_TEXT
        return Verdict(None, "", left if isinstance(left, str) else str(right))
    return _compare_values(left, right, policy)


def _value(match: re.Match[str]) -> tuple[int, int]:
    """A decimal as (integer, zeros behind the point), equal for equal numbers."""
    sign, whole, decimals = match.groups()
    decimals = decimals.rstrip("0") if decimals else ""
    number = int(whole + decimals)
    return (-number if sign else number, len(decimals))


def _compare_values(left: Value, right: Value, policy: Policy) -> Verdict:
    asked: list[symbolic.Answer] = []
    fresh_work()

    def decide(x: Value, y: Value) -> Truth:
        if x.node is None or y.node is None or not policy.symbolic:
            return None
        left = policy.deadline - sum(a.seconds for a in asked)  # one deadline for all parts of an answer
        if left <= 0:
            return None
        answer = symbolic.decide(x.node, y.node, left)
        asked.append(answer)
        return answer.truth

    try:
        truth = same(left, right, policy, decide)
    except (ArithmeticError, RecursionError, MemoryError, ValueError, RuntimeError) as error:
        return Verdict(None, "", f"limit: {type(error).__name__}")
    if truth is None:
        reason = next((a.reason for a in asked if a.truth is None), "not decided without symbolic work")
        if sum(a.seconds for a in asked) >= policy.deadline:
            reason = f"deadline of {policy.deadline:g} s"
        return Verdict(None, "symbolic" if asked else "", reason)
    return Verdict(truth, "symbolic" if asked else "normal")


@dataclass(frozen=True, slots=True)
class MathGrader:
    """Grades the final answer of a completion against `problem.reference` by `equal`.

    A completion without one readable answer is "unparsed" and earns 0; a comparison that ran out of time, or a
    reference that can not be read, earns no score (None).
    """

    policy: Policy = DEFAULT
    rule: Rule = extract.DEFAULT
    several: bool = False
    """Whether `reference` may be a list of acceptable answers."""
    twin: float = 0.0
    """Share of completions (by their hash) that the permissive twin judges too (`permissive_answers`)."""

    def __post_init__(self) -> None:
        permissive.checked(self.twin)

    def equal(self, a: str, b: str) -> bool | None:
        return equal(a, b, self.policy)

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        """As `check`; an answer that copies an expression of the question, longer than the reference, is wrong."""
        grade = self.check(problem.reference, completion)
        if grade.correct and self._restates(grade.parts["answer"], problem):
            return Grade(0.0, "wrong", grade.parts, "the answer repeats the question instead of working it out")
        return grade

    def _restates(self, answer: str, problem: Problem) -> bool:
        golds = cast("Sequence[object]", problem.reference) if self.several else [problem.reference]
        question = plain("".join(m.content for m in problem.messages))
        if isinstance(golds, str) or plain(answer) not in question:
            return False
        return all(_parts(answer, self.policy) > _parts(_as_text(gold), self.policy) for gold in golds)

    def check(self, reference: object, completion: str | Completion) -> Grade:
        """As `grade`, for a bare reference (text or number)."""
        grade = self._strict(reference, completion)
        if not self.twin:
            return grade
        quick = replace(self.policy, symbolic=False)
        return permissive_answers.judged(
            grade, completion, self._golds(reference), lambda a, b: equal(a, b, quick), self.twin
        )

    def _strict(self, reference: object, completion: str | Completion) -> Grade:
        if reference is None:
            return Grade(None, "error", reason="the problem has no reference")
        found = extract.find(completion, self.rule, self._agree)
        if found.text is None:
            return Grade(0.0, "unparsed", {"how": found.how}, found.reason)
        return self._judge(found, self._golds(reference))

    def _golds(self, reference: object) -> list[str]:
        if self.several and isinstance(reference, (list, tuple)):
            return [_as_text(gold) for gold in cast("list[object]", reference)]
        return [_as_text(reference)]

    def _agree(self, a: str, b: str) -> bool:
        return compare(a, b, self.policy).truth is True

    def _judge(self, found: extract.Found, golds: list[str]) -> Grade:
        text = found.text or ""
        verdicts = [compare(text, gold, self.policy) for gold in golds]
        best = next((v for v in verdicts if v.truth), None) or next(
            (v for v in verdicts if v.truth is None), verdicts[0]
        )
        parts = {"answer": text, "how": found.how, "method": best.method}
        if best.truth is not None:
            return Grade(float(best.truth), "correct" if best.truth else "wrong", parts)
        if "deadline" in best.reason:
            return Grade(None, "timeout", parts, best.reason)
        if isinstance(read(text, self.policy), str):
            return Grade(0.0, "unparsed", parts, f"the answer can not be read: {best.reason}")
        return Grade(None, "error", parts, best.reason)


def _parts(text: str, policy: Policy) -> int:
    """How many parts the expression of an answer has; 0 for what is no expression."""

    def count(node: object) -> int:
        return 1 + sum(map(count, cast("tuple[object, ...]", node))) if isinstance(node, tuple) else 0

    value = read(text, policy)
    return 0 if isinstance(value, str) or value.node is None else count(value.node)


def _as_text(reference: object) -> str:
    if isinstance(reference, float) and reference.is_integer() and abs(reference) < 1e15:
        return str(int(reference))
    return str(reference) if not isinstance(reference, Fraction) else f"{reference.numerator}/{reference.denominator}"
