"""Multiple choice: the letter of the chosen option, in the forms models write it.

Read as B: "B", "(B)", "B.", "B) text", "**B**", "\\text{(B)}", "option B", "answer: B", "B because ...".
A letter that may be a word ("A cat") is not a choice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ponder.graders import permissive, permissive_answers
from ponder.graders.extract import Rule
from ponder.graders.plain import found_or_unparsed
from ponder.types import Completion, Grade, Problem

_LETTER = re.compile(
    r"(?:option|choice|answer|the|is|:|\s)*[\s*$({\[]*(?:\\(?:text|textbf|mathrm|mathbf)\s*\{)?[\s({\[]*"
    r"([A-Za-z])(?![A-Za-z])[\s*})\].:,$]*(?:$|(?<=[)\].:}*])|(?=because\b|since\b|as\b|-|–|—))",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ChoiceGrader:
    """The chosen letter equals the reference: a letter, or an option's position counted from 0."""

    rule: Rule = Rule(whole=400)
    letters: str = "ABCDE"
    twin: float = 0.0
    """Share of completions (by their hash) that the permissive twin judges too (`permissive_answers`)."""

    def __post_init__(self) -> None:
        permissive.checked(self.twin)

    def key(self, text: str) -> str | None:
        """The letter chosen in a short text, None when there is none."""
        match = _LETTER.match(text.strip()[:400])
        letter = match.group(1) if match else ""
        if not letter or letter.upper() not in self.letters or (letter.islower() and letter != text.strip(" ().*$")):
            return None
        return letter.upper()

    def equal(self, a: str, b: str) -> bool | None:
        x, y = self.key(a), self.key(b)
        return None if x is None or y is None else x == y

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        return self.check(problem.reference, completion)

    def check(self, reference: object, completion: str | Completion) -> Grade:
        """As `grade`, for a bare reference."""
        grade = self._strict(reference, completion)
        return permissive_answers.judged(grade, completion, [self._gold(reference) or ""], self.equal, self.twin)

    def _strict(self, reference: object, completion: str | Completion) -> Grade:
        gold = self._gold(reference)
        if gold is None:
            return Grade(None, "error", reason=f"the reference is not one of {self.letters} nor a position")
        found = found_or_unparsed(completion, self.rule, self.equal)
        if isinstance(found, Grade):
            return found
        chosen = self.key(found.text or "")
        parts = {"answer": chosen or found.text, "how": found.how}
        if chosen is None:
            return Grade(0.0, "unparsed", parts, f"no letter of {self.letters} chosen")
        return Grade(float(chosen == gold), "correct" if chosen == gold else "wrong", parts)

    def _gold(self, reference: object) -> str | None:
        if isinstance(reference, int) and not isinstance(reference, bool):
            return self.letters[reference] if 0 <= reference < len(self.letters) else None
        return self.key(reference) if isinstance(reference, str) else None
