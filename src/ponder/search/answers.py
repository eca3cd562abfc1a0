"""Answers of completions, and which of them are the same answer; compared by equivalence class, never as text."""

from __future__ import annotations

from collections.abc import Sequence

from ponder.types import Completion, Grader


def answers_of(completions: Sequence[Completion], grader: Grader | None = None) -> list[str | None]:
    """The final answer of each completion, None where there is not exactly one to be read.

    A grader may say itself what the answer is (`answer(completion)`: a program). Without a grader, a completion whose answer is
    a fenced block is read as that program.
    """
    read = getattr(grader, "answer", None)
    if read is not None:
        return [read(completion) for completion in completions]
    if hasattr(grader, "key"):
        plain = [None if c.answer is None else c.answer.strip() for c in completions]
        if not any(text and "\\boxed" in text for text in plain):
            return plain
    from ponder.graders import extract

    found = [extract.find(completion).text for completion in completions]
    if grader is None:
        from ponder.graders.programs import FENCE, program_of

        regions = [extract.parts(completion)[1] or "" for completion in completions]
        programs = [program_of(c) if FENCE in region else None for c, region in zip(completions, regions, strict=True)]
        found = [text if program is None else program for text, program in zip(found, programs, strict=True)]
    return found


def classes(answers: Sequence[str | None], grader: Grader | None = None) -> list[str | None]:
    """The equivalence class of each answer, None where it abstains.

    A grader that can name the class without the reference (`key(answer)`) decides; otherwise answers are one class when
    its `equal`, or `graders.math.equal`, says so, and named by its first member. What can not be decided stays apart.
    """
    name = getattr(grader, "key", None)
    if name is not None:
        return [None if answer is None else name(answer) for answer in answers]
    from ponder import graders

    equal = getattr(grader, "equal", None)
    if equal is None and any(answer is not None and "\n" in answer for answer in answers):
        return list(answers)  # texts of several lines, programs say: the same when they are the same text
    numbers = graders.classes(answers, equal)
    return [None if number is None else answers[numbers.index(number)] for number in numbers]
