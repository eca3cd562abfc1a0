"""Answers of completions, and which of them are the same answer; compared by equivalence class, never as text."""

from __future__ import annotations

from collections.abc import Sequence

from ponder.types import Completion, Grader


def answers_of(completions: Sequence[Completion], grader: Grader | None = None) -> list[str | None]:
    """The final answer of each completion, None where there is not exactly one to be read."""
    if hasattr(grader, "key"):
        plain = [None if c.answer is None else c.answer.strip() for c in completions]
        if not any(text and "\\boxed" in text for text in plain):
            return plain
    from ponder.graders import extract

    return [extract.find(completion).text for completion in completions]


def classes(answers: Sequence[str | None], grader: Grader | None = None) -> list[str | None]:
    """The equivalence class of each answer, None where it abstains.

    A grader that can name the class without the reference (`key(answer)`) decides; otherwise answers are one class when
    its `equal`, or `graders.math.equal`, says so, and named by its first member. What can not be decided stays apart.
    """
    name = getattr(grader, "key", None)
    if name is not None:
        return [None if answer is None else name(answer) for answer in answers]
    from ponder import graders

    numbers = graders.classes(answers, getattr(grader, "equal", None))
    return [None if number is None else answers[numbers.index(number)] for number in numbers]
