"""Exact labels: the generated tasks know every intermediate value, so they say of each step what is true of it.

    correctness   the step is sound given what stands before it (`Step.sound`)
    value         the problem can still be solved after it (`Step.alive`); where the task can not tell, no step was unsound yet

In countdown a line that misses has value 0 at its last move and the next line starts afresh: values are about the attempt
under way, not about what a stream of attempts may still find. A step without a line of its own, such as a blank one, has no
label; one behind a fault that its task does not read past has label 0. The last step of a finished solution is labelled by
its answer; of one that was cut off it has none. No token is spent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from ponder.types import Problem, Step

Kind = Literal["correctness", "value"]
Stepper = Callable[[Problem, str], list[Step]]
SEPARATORS = ";"


def labels(
    stepper: Stepper,
    problem: Problem,
    steps: Sequence[str],
    correct: bool | None,
    kind: Kind = "correctness",
    answers: Stepper | None = None,
) -> list[float | None]:
    """A label per step of a solution's text `steps` (think tags included). `correct` None: it never came to an answer.
    `answers` is the task's `answer_steps`, where it has one.

    The task is asked about the text up to each step's end, so no step of a wrong solution is judged by what comes after it.
    """
    found: list[float | None] = []
    written, before = "", list[Step]()
    for text in steps:
        written += text
        thinking, closed, answer = written.removeprefix("<think>").partition("</think>")
        if closed:
            found.append(_in_answer(answers, problem, answer, correct, kind) if text.strip() else None)
            continue
        lines = stepper(problem, thinking.rstrip(SEPARATORS)) if thinking.strip("\n" + SEPARATORS) else []
        if not text.removeprefix("<think>").strip("\n " + SEPARATORS):
            found.append(None)
        elif len(lines) > len(before) or lines[-1:] != before[-1:]:
            found.append(label(lines, kind))
        else:
            found.append(0.0)
        before = lines
    if found:
        found[-1] = None if correct is None else float(correct)
    return found


def _in_answer(
    answers: Stepper | None, problem: Problem, answer: str, correct: bool | None, kind: Kind
) -> float | None:
    """The label of the last step of `answer`, a beginning of the whole."""
    if answers is None or not answer.strip():
        return None
    return 1.0 if correct else label(answers(problem, answer), kind)


def label(lines: Sequence[Step], kind: Kind) -> float:
    """The label of the last of `lines`."""
    last = lines[-1]
    if kind == "correctness":
        return float(last.sound)
    return float(all(line.sound for line in lines) if last.alive is None else last.alive)
