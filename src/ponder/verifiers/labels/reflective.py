"""Labels from what a judge says of each step, with the rules of error propagation and cessation. Pure functions.

    the step itself has an error                                                     0
    an earlier error stands, and the step neither corrects it nor opens
      a sound new approach (propagation)                                             0
    an earlier error stands, and the step corrects it or opens a sound new approach  1, and the error no longer stands (cessation)
    no error stands                                                                  1
    the last step of a finished solution                                             1 if its answer is right, else 0

Yang et al. 2025 (arXiv 2505.14391): labels that fall to 0 at the first error for good punish a model for noticing it.
A step the judge could not tell about has no label and changes nothing. The answer, not the judge, decides the last step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Word = Literal["sound", "builds", "error", "corrects", "new"]
WORDS: tuple[Word, ...] = ("sound", "builds", "error", "corrects", "new")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was said of one step: does it hold an error of its own, does it correct an earlier one, does it open a sound
    new approach that needs nothing of what was wrong?"""

    error: bool = False
    corrects: bool = False
    opens: bool = False


SAID: dict[str, Judgement] = {
    "sound": Judgement(),
    "builds": Judgement(),
    "error": Judgement(error=True),
    "corrects": Judgement(corrects=True),
    "new": Judgement(opens=True),
}
"""A judge's one word as a judgement. "builds" has no error of its own; the rule makes it 0, because an error stands."""


def labels(judgements: Sequence[Judgement | None], correct: bool | None = None) -> list[float | None]:
    """A label per step. `correct` is about the answer in the last step; None (none yet, or not known) leaves it to the rules."""
    found: list[float | None] = []
    standing = False
    for judgement in judgements:
        if judgement is None:
            found.append(None)
            continue
        if judgement.error:
            standing = True
        elif judgement.corrects or judgement.opens:
            standing = False
        found.append(0.0 if standing else 1.0)
    if found and correct is not None:
        found[-1] = float(correct)
    return found


def read(words: Sequence[str | None]) -> list[Judgement | None]:
    """The judgements of a judge's words, None where it gave none.

    A step said to build on an error, where none was named before, names one itself: the judge saw an error it did not place.
    """
    found: list[Judgement | None] = []
    standing = False
    for word in words:
        judgement = None if word is None else SAID[word]
        if word == "builds" and not standing:
            judgement = Judgement(error=True)
        if judgement is not None:
            standing = judgement.error or (standing and not (judgement.corrects or judgement.opens))
        found.append(judgement)
    return found
