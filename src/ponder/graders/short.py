"""Short answers of mixed kinds: an option's letter, yes or no, one number, closing brackets, a few words.

Which kind an answer is can be read off the answer itself, so answers have keys and can vote without the reference.
Same key, same answer:

    "(B)", "B", "B.", "**B**", "option B"           the letter B
    "Yes", "yes, because ...", "True"               yes        ("No", "False": no)
    "8", "8 fruits", "8.0"                          the number 8
    "] )", "])", "\\] )"                              the brackets "])"
    "barn, damp dot", "Barn damp dot"               the words, without case, commas and final stop

Not covered: an option answered by its text instead of its letter, numbers spelt in words, dates written in two ways.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ponder.graders import permissive, permissive_answers
from ponder.graders.choice import ChoiceGrader
from ponder.graders.extract import Rule
from ponder.graders.plain import found_or_unparsed, number
from ponder.types import Completion, Grade, Problem

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_WORD = re.compile(r"(yes|no|true|false)(?=$|[.,;:!]|\s*[-–—]|\s+(?:because|since|as)\b)", re.IGNORECASE)
_TRUTH = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}
_BRACKETS = re.compile(r"(?:\\?[()<>{}\[\]]\s*)+")
_NUMERIC = re.compile(
    r"[^\w\s]{0,2}\s*[-−]?\s?(?:\d|\.\d)[\d.,/{}!\\]*\s*(?:[^\W\d]+[\s.]*){0,4}[%$*]{0,3}", re.UNICODE
)
_CHOICE = ChoiceGrader(letters=LETTERS)


@dataclass(frozen=True, slots=True)
class ShortGrader:
    """The answer has the reference's key; see the module for what is told apart."""

    rule: Rule = Rule(marks=("####", "Answer:"), whole=400)
    twin: float = 0.0
    """Share of completions (by their hash) that the permissive twin judges too (`permissive_answers`)."""

    def __post_init__(self) -> None:
        permissive.checked(self.twin)

    def key(self, text: str) -> str | None:
        """What is compared; None when nothing is left of the text."""
        text = text.strip().strip("$").strip()
        if _BRACKETS.fullmatch(text):
            return re.sub(r"[\\\s]", "", text)
        bare = text.strip(" *`\"'")
        truth = _WORD.match(bare)
        if truth:
            return _TRUTH[truth.group(1).lower()]
        letter = _CHOICE.key(bare)
        if letter is not None:
            return letter
        if _NUMERIC.fullmatch(bare):
            found = number(bare)
            if not isinstance(found, str):
                return str(found)
        words = re.sub(r"[,;]", " ", bare).casefold().rstrip(".! ").split()
        return " ".join(words) or None

    def equal(self, a: str, b: str) -> bool | None:
        x, y = self.key(a), self.key(b)
        return None if x is None or y is None else x == y

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        return self.check(problem.reference, completion)

    def check(self, reference: object, completion: str | Completion) -> Grade:
        """As `grade`, for a bare reference."""
        grade = self._strict(reference, completion)
        return permissive_answers.judged(grade, completion, [str(reference)], self.equal, self.twin)

    def _strict(self, reference: object, completion: str | Completion) -> Grade:
        gold = self.key(reference) if isinstance(reference, str) else None
        if gold is None:
            return Grade(None, "error", reason="the problem has no reference that can be read")
        found = found_or_unparsed(completion, self.rule, self.equal)
        if isinstance(found, Grade):
            return found
        given = self.key(found.text or "")
        parts = {"answer": found.text, "how": found.how}
        if given is None:
            return Grade(0.0, "unparsed", parts, "nothing is left of the answer")
        return Grade(float(given == gold), "correct" if given == gold else "wrong", parts)
