"""Graders of plain answers: exact text, and single numbers.

Not covered: fuzzy text similarity; numbers spelt in words.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

from ponder.graders import extract, permissive, permissive_answers
from ponder.graders.extract import Rule
from ponder.types import Completion, Grade, Problem

_NUMBER = re.compile(
    r"-?\s?(?:(?:[1-9]\d{0,2}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d{1,3})?(?:\s?/\s?\d+)?", re.ASCII
)
_MAX_NUMBER = 400


def found_or_unparsed(
    completion: str | Completion, rule: Rule, same: Callable[[str, str], bool | None]
) -> extract.Found | Grade:
    """The final answer, or the grade of a completion that has none."""
    found = extract.find(completion, rule, lambda a, b: same(a, b) is True)
    return found if found.text is not None else Grade(0.0, "unparsed", {"how": found.how}, found.reason)


@dataclass(frozen=True, slots=True)
class ExactGrader:
    """The answer's text equals the reference's (or one of a list), up to what the options forgive."""

    rule: Rule = Rule(phrases=False, marks=())
    ignore_case: bool = True
    ignore_space: bool = True
    ignore_punctuation: bool = False

    def key(self, text: str) -> str:
        """The text that is compared."""
        if self.ignore_case:
            text = text.casefold()
        if self.ignore_punctuation:
            text = text.translate(str.maketrans("", "", string.punctuation))
        return " ".join(text.split()) if self.ignore_space else text

    def equal(self, a: str, b: str) -> bool | None:
        return self.key(a) == self.key(b)

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        return self.check(problem.reference, completion)

    def check(self, reference: object, completion: str | Completion) -> Grade:
        """As `grade`, for a bare reference."""
        if reference is None:
            return Grade(None, "error", reason="the problem has no reference")
        found = found_or_unparsed(completion, self.rule, self.equal)
        if isinstance(found, Grade):
            return found
        golds = cast("list[object]", reference) if isinstance(reference, (list, tuple)) else [reference]
        right = any(self.equal(found.text or "", str(gold)) for gold in golds)
        return Grade(float(right), "correct" if right else "wrong", {"answer": found.text, "how": found.how})


def number(text: str) -> Fraction | str:
    """The one number in a short text ("$1,234.50 per day" → 1234.5), or why there is none. Equal repeats are one."""
    if len(text) > _MAX_NUMBER:
        return "too long to be a number"
    text = text.replace("{,}", ",").replace("\\!", "").replace("−", "-")
    text = re.sub(r"(?<=\d),\s(?=\d{3}\b)", ",", text) if text.count(",") else text
    found: set[Fraction] = set()
    for match in _NUMBER.finditer(text):
        raw = match.group().replace(",", "").replace(" ", "")
        if match.start() and (text[match.start() - 1].isalnum() or text[match.start() - 1] == "_") and raw[0] == "-":
            raw = raw[1:]  # a hyphen, not a sign
        if match.start() and text[match.start() - 1] == "/":
            return "a quotient without its dividend"
        top, _, bottom = raw.partition("/")
        if bottom and int(bottom) == 0:
            return "division by zero"
        found.add(Fraction(top) / int(bottom or 1))
    if not found:
        return "no number"
    return found.pop() if len(found) == 1 else "several numbers"


@dataclass(frozen=True, slots=True)
class NumberGrader:
    """The answer's one number equals the reference's, exactly or within a relative `tolerance`; units are ignored."""

    rule: Rule = Rule(marks=("####", "A:"))
    tolerance: float = 0.0
    twin: float = 0.0
    """Share of completions (by their hash) that the permissive twin judges too (`permissive_answers`)."""

    def __post_init__(self) -> None:
        permissive.checked(self.twin)

    def equal(self, a: str, b: str) -> bool | None:
        x, y = number(a), number(b)
        if isinstance(x, str) or isinstance(y, str):
            return True if a.strip() == b.strip() != "" else None
        return x == y or (self.tolerance > 0 and abs(x - y) <= Fraction(self.tolerance) * max(abs(x), abs(y)))

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        return self.check(problem.reference, completion)

    def check(self, reference: object, completion: str | Completion) -> Grade:
        """As `grade`, for a bare reference."""
        grade = self._strict(reference, completion)
        return permissive_answers.judged(grade, completion, [str(reference)], self.equal, self.twin)

    def _strict(self, reference: object, completion: str | Completion) -> Grade:
        gold = number(str(reference)) if reference is not None else "the problem has no reference"
        if isinstance(gold, str):
            return Grade(None, "error", reason=f"the reference can not be read: {gold}")
        found = found_or_unparsed(completion, self.rule, self.equal)
        if isinstance(found, Grade):
            return found
        given = number(found.text or "")
        parts = {"answer": found.text, "how": found.how}
        if isinstance(given, str):
            return Grade(0.0, "unparsed", parts, given)
        right = self.equal(found.text or "", str(reference)) is True
        return Grade(float(right), "correct" if right else "wrong", parts)
