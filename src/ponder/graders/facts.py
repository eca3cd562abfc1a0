"""Short facts: names, dates, numbers, places; correct, wrong, or not attempted.

SimpleQA (Wei et al. 2024, arXiv 2411.04368) lets a model judge. This grader is a rule instead, so it costs nothing, never
changes its mind, and can not be talked into anything. It departs from the judge on the strict side: a name in another
spelling, a fact put in other words, a number in another unit are wrong here. `tests/graders/test_facts.py` compares it
with the released judgements of one model.

correct         the reference, or its part outside or inside brackets, stands in the answer as a run of words; a date in any
                order; a number equal up to the reference's last significant digit
not attempted   no answer, or words of not knowing and no reference: outcome "unparsed", parts["verdict"] "not attempted"
wrong           anything else; also an answer that offers an alternative ("x or y")

Not covered: aliases, transliteration, conversion of units, answers that contradict themselves.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

from ponder.graders import extract
from ponder.graders.extract import Rule
from ponder.types import Completion, Grade, Problem

MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_MONTH = {name[:k]: i for i, name in enumerate(MONTHS, 1) for k in (3, len(name))} | {"sept": 9}
_TOKEN = re.compile(r"\d{1,3}(?:[,\u00a0\u202f ]\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|[^\W\d_]+", re.UNICODE)
_AMOUNT = re.compile(
    r"[$€£]?\s*(-?\d[\d,]*(?:\.\d+)?)\s*(k|bn|thousand|million|billion)?\b\s*[^\d]{0,40}", re.IGNORECASE
)
_SCALE = {"k": 10**3, "thousand": 10**3, "million": 10**6, "bn": 10**9, "billion": 10**9}
_SKIP = {"the", "a", "an", "of", "and", "in", "at", "on"}
_UNKNOWN = re.compile(
    r"\b(?:do(?:es)?\s?n[o']t (?:know|have)|not (?:sure|certain|aware|known)|unknown|unsure|unable to|cannot|"
    r"can(?: no|')t (?:say|answer|tell|find|determine|provide|confirm)|no (?:information|idea|answer)|n/a)\b",
    re.IGNORECASE,
)
_OTHERS = re.compile(r"\b(?:either|or|alternatively|possibly|maybe|perhaps)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FactGrader:
    """Correct, wrong or not attempted by the rules of this module; `longest` words may stand around the reference."""

    rule: Rule = Rule(whole=600)
    longest: int = 60

    def key(self, text: str) -> str | None:
        """Answers with the same key are the same answer in a vote; not knowing abstains."""
        words = tokens(text)
        return None if not words or _UNKNOWN.search(text) else " ".join(words)

    def equal(self, a: str, b: str) -> bool | None:
        x, y = self.key(a), self.key(b)
        return None if x is None or y is None else x == y

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        return self.check(problem.reference, completion)

    def check(self, reference: object, completion: str | Completion) -> Grade:
        """As `grade`, for a bare reference (or a list of those that are right)."""
        given = cast("list[object]", reference) if isinstance(reference, list | tuple) else [reference]
        golds = [gold for gold in given if isinstance(gold, str) and tokens(gold)]
        if not golds:
            return Grade(None, "error", reason="the problem has no reference that can be read")
        found = extract.find(completion, self.rule, lambda a, b: self.equal(a, b) is True)
        text = found.text or ""
        parts = {"answer": found.text, "how": found.how}
        if any(states(gold, text, self.longest) for gold in golds):
            return Grade(1.0, "correct", parts | {"verdict": "correct"})
        if not tokens(text) or _UNKNOWN.search(text):
            reason = found.reason or "says that it does not know"
            return Grade(0.0, "unparsed", parts | {"verdict": "not attempted"}, reason)
        return Grade(0.0, "wrong", parts | {"verdict": "wrong"})


def states(gold: str, answer: str, longest: int = 60) -> bool:
    """Does `answer` state the fact `gold`?"""
    words = tokens(answer)
    if not words or len(words) > longest + len(tokens(gold)):
        return False
    for form in forms(gold):
        wanted = tokens(form)
        if wanted == words:
            return True
        rivals = {word for word in words if word.isdecimal()} - set(wanted)
        if len(wanted) == 1 and wanted[0].isdecimal() and len(wanted[0]) < 4 and rivals:
            continue  # a small number among others may count something else
        if _within(wanted, words) and not (_OTHERS.search(answer) and not _OTHERS.search(gold)):
            return True
    amount = _amount(gold)
    return amount is not None and _agrees(amount, answer)


def forms(gold: str) -> list[str]:
    """The reference, without what stands in brackets, and what stands there alone ("Right Here (Remix)")."""
    outside = re.sub(r"\([^()]*\)", " ", gold)
    inside: list[str] = re.findall(r"\(([^()]*)\)", gold)
    return [form for form in dict.fromkeys([gold, outside, *inside]) if len("".join(tokens(form))) > 1 or form == gold]


def tokens(text: str) -> list[str]:
    """Words without case, accents, punctuation and small words; a date as one word, numbers without thousands marks."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).casefold()
    words = [
        re.sub(r"(?<=\d)[,\s](?=\d{3})", "", word) for word in _TOKEN.findall(plain.replace("’", "'").replace("'s", ""))
    ]
    return _dated([word for word in words if word not in _SKIP and word not in {"st", "nd", "rd", "th"}] or words)


def _dated(words: Sequence[str]) -> list[str]:
    """Day, month and year beside each other, in either order, as one word each time."""
    out: list[str] = []
    i = 0
    while i < len(words):
        day, month = (words[i], words[i + 1]) if i + 1 < len(words) else ("", "")
        if month.isdecimal() and day in _MONTH and len(month) <= 2:
            day, month = month, day
        if day.isdecimal() and len(day) <= 2 and month in _MONTH:
            out.append(f"{_MONTH[month]}-{int(day)}")
            i += 2
        else:
            out.append(MONTHS[_MONTH[words[i]] - 1] if words[i] in _MONTH and words[i] != "may" else words[i])
            i += 1
    return out


def _within(wanted: Sequence[str], words: Sequence[str]) -> bool:
    n = len(wanted)
    return n > 0 and any(list(words[i : i + n]) == list(wanted) for i in range(len(words) - n + 1))


def _amount(text: str) -> tuple[Fraction, Fraction] | None:
    """A reference that is one number: its value and half a unit of its last significant digit."""
    match = _AMOUNT.fullmatch(text.strip())
    if match is None or re.fullmatch(r"\d{4}", text.strip()):  # a year is exact
        return None
    digits = match.group(1).replace(",", "")
    scale = _SCALE.get((match.group(2) or "").lower(), 1)
    decimals = len(digits.partition(".")[2])
    if not decimals and scale == 1:
        return Fraction(digits), Fraction(0)
    zeros = 0 if decimals else len(digits) - len(digits.rstrip("0"))
    return Fraction(digits) * scale, Fraction(10) ** (zeros - decimals) * scale / 2


def _agrees(amount: tuple[Fraction, Fraction], answer: str) -> bool:
    """Is the one number of the answer the reference, to the precision that has?"""
    value, half = amount
    found = {
        Fraction(match.group(1).replace(",", "")) * _SCALE.get((match.group(2) or "").lower(), 1)
        for match in _AMOUNT.finditer(answer)
    }
    return len(found) == 1 and abs(found.pop() - value) <= half


def tally(grades: Sequence[Grade]) -> dict[str, float]:
    """Shares of correct, wrong and not attempted, accuracy among those attempted, and `f`, the harmonic mean of that accuracy
    and the share correct (Wei et al. 2024, section 4). Grades that could not be given are left out; ValueError when none stay."""
    kept = [grade for grade in grades if grade.score is not None]
    if not kept:
        raise ValueError("tally: no grades")
    correct = sum(grade.correct for grade in kept) / len(kept)
    silent = sum(grade.parts.get("verdict") == "not attempted" for grade in kept) / len(kept)
    attempted = correct / (1 - silent) if silent < 1 else 0.0
    both = correct + attempted
    return {
        "correct": correct,
        "wrong": 1 - correct - silent,
        "not_attempted": silent,
        "accuracy_attempted": attempted,
        "f": 2 * correct * attempted / both if both else 0.0,
    }
