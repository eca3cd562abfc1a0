"""A Python value written out: the answer is the value of the reference, as `same` compares under "python" or as told.

    "[1, 2]" and "[1,2]" are equal, "'a'" and '"a"', "{1: 2, 3: 4}" and "{3: 4, 1: 2}"; "(1,)" is not "[1]", "'1'" not "1"

The text is a model's, so a scanner first lets through only constants, brackets, commas, colons and minus signs, not deeply
nested and not long; what can compute or nest without brackets never reaches Python's parser. Not covered: values without a
literal (`nan`, objects), an answer that restates the call (`f(1) == 2`).
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Any, Literal

from ponder.graders import permissive, permissive_answers
from ponder.graders.extract import Rule, find
from ponder.graders.plain import found_or_unparsed
from ponder.graders.same import Policy, same, shown
from ponder.types import Completion, Grade, Problem

MAX_TEXT = 20_000
MAX_DEPTH = 50
_TEXT = r"""[rRbBuU]{0,2}(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")"""
_TOKEN = re.compile(
    rf"{_TEXT}|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d{{1,4}})?(?![\w.])|(?:True|False|None)\b|set\(\)|[\[\](){{}}]|[,:]|-|\s+"
)


@dataclass(frozen=True, slots=True)
class _Value:
    value: Any


@dataclass(frozen=True, slots=True)
class LiteralGrader:
    """The answer is the reference's value; both are texts of Python literals. `types` as in `ponder.graders.same`."""

    rule: Rule = Rule(marks=("####", "Answer:"), phrases=False, whole=2000)
    types: Literal["strict", "json", "python"] = "strict"
    twin: float = 0.0
    """Share of completions (by their hash) that the permissive twin judges too (`permissive_answers`)."""

    def __post_init__(self) -> None:
        permissive.checked(self.twin)

    def answer(self, completion: Completion) -> str | None:
        """The text of the value, out of whatever it is said with; None where there is not exactly one."""
        return find(completion, self.rule, lambda a, b: self.equal(a, b) is True).text

    def key(self, text: str) -> str | None:
        """The value, written by Python; None for text that is no literal."""
        found = value_of(text)
        return None if found is None else shown(found.value)

    def equal(self, a: str, b: str) -> bool | None:
        x, y = value_of(a), value_of(b)
        return None if x is None or y is None else same(x.value, y.value, Policy(self.types))

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        return self.check(problem.reference, completion)

    def check(self, reference: object, completion: str | Completion) -> Grade:
        """As `grade`, for a bare reference."""
        grade = self._strict(reference, completion)
        return permissive_answers.judged(grade, completion, [str(reference)], self.equal, self.twin)

    def _strict(self, reference: object, completion: str | Completion) -> Grade:
        gold = value_of(reference) if isinstance(reference, str) else None
        if gold is None:
            return Grade(None, "error", reason="the problem has no reference that is a Python literal")
        found = found_or_unparsed(completion, self.rule, self.equal)
        if isinstance(found, Grade):
            return found
        given = value_of(found.text or "")
        parts = {"answer": found.text, "how": found.how}
        if given is None:
            return Grade(0.0, "unparsed", parts, "the answer is not a Python literal")
        right = same(gold.value, given.value, Policy(self.types))
        return Grade(float(right), "correct" if right else "wrong", parts)


def value_of(text: str) -> _Value | None:
    """The value of a literal, None for any other text; safe for text of any origin."""
    text = text.strip().strip("`").strip()
    if not _plain(text):
        return None
    try:
        return _Value(ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


def _plain(text: str) -> bool:
    """Whether the scanner lets the text through."""
    if not text or len(text) > MAX_TEXT:
        return False
    place = depth = signs = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            return False
        token = match.group()
        depth += (token in "([{") - (token in ")]}")
        signs = signs + 1 if token == "-" else signs if token.isspace() else 0
        if not 0 <= depth <= MAX_DEPTH or signs > 1:
            return False
        place = match.end()
    return depth == 0
