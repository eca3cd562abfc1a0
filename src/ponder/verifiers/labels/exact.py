"""Exact labels: the generated tasks know every intermediate value, so they say of each step what is true of it.

`correctness` is whether the step is sound given what stands before it; `value` is whether the problem can still be solved
after it, as far as its task can tell (`Step.sound`, `Step.alive`). A step without a line of its own, such as a blank one, has
no label; one behind a fault that its task does not read past has label 0, as has an unsound step whose value is not known.
The last step of a finished solution is labelled by its answer. No token is spent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from ponder.types import Problem, Step

Kind = Literal["correctness", "value"]
Stepper = Callable[[Problem, str], list[Step]]
SEPARATORS = ";"


def labels(
    stepper: Stepper, problem: Problem, steps: Sequence[str], correct: bool | None, kind: Kind = "correctness"
) -> list[float | None]:
    """A label per step of a solution's text `steps` (think tags included). `correct` None: it never came to an answer.

    The task is asked about the thinking up to each step's end, so no step is judged by what comes after it.
    """
    found: list[float | None] = []
    written, before = "", list[Step]()
    for text in steps:
        written += text
        thinking = written.removeprefix("<think>").split("</think>")[0]
        lines = stepper(problem, thinking.rstrip(SEPARATORS)) if thinking.strip("\n" + SEPARATORS) else []
        if not text.removeprefix("<think>").strip("\n " + SEPARATORS) or "</think>" in text:
            found.append(None)
        elif len(lines) > len(before) or lines[-1:] != before[-1:]:
            found.append(label(lines[-1], kind))
        else:
            found.append(0.0)
        before = lines
    if found:
        found[-1] = None if correct is None else float(correct)
    return found


def label(step: Step, kind: Kind) -> float | None:
    """The label of one step."""
    if kind == "correctness":
        return float(step.sound)
    if step.alive is not None:
        return float(step.alive)
    return None if step.sound else 0.0
