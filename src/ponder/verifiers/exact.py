"""A fresh completion as a labelled sample: graded by its task, its steps labelled by what the task knows exactly.

Tasks label their own units (`task.steps`: a move, a line); here those labels are put onto the steps of the token ids, where
search cuts them. What a label says:

    correctness   the step is sound: right given what stands before it
    value         the answer can still be right after it in the attempt under way: the step is sound and, where the task can
                  tell (`alive`), the target is in reach; where it can not, no step before was unsound either

An attempt of countdown that misses has value 0 at its last move; the next line starts afresh, so values are about the
attempt, not about what a stream of attempts may still find. A step the task passes over, since it stands behind an error in
its line, is wrong like the error. The step in which the answer is given has the answer's grade. A step cut off by the
length limit, and what is not thinking, has no label.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from ponder.text.steps import cut
from ponder.types import Completion, Effort, Problem, Step
from ponder.verifiers.samples import LabelKind, LabelledSample

Label = float | None


def labelled(
    task: Any,
    problem: Problem,
    completion: Completion,
    ends: Sequence[int],
    engine: Any,
    effort: Effort | None = None,
    kind: LabelKind = "value",
) -> LabelledSample:
    """The sample of `completion`; steps stay without labels where the task has none or nothing says where steps end."""
    grade = task.grader.grade(problem, completion)
    correct = None if grade.score is None else bool(grade.correct)
    starts = cut(completion.token_ids, ends)
    labels: tuple[Label, ...] = ()
    if hasattr(task, "steps") and ends:
        labels = labels_of(task, problem, completion, starts, engine.tokenizer, kind, correct)
    return LabelledSample(
        problem=problem.id,
        messages=problem.messages,
        task=problem.task,
        effort=effort,
        prompt_ids=completion.prompt_ids,
        token_ids=completion.token_ids,
        logprobs=completion.logprobs,
        starts=starts,
        labels=labels,
        kind=kind,
        correct=correct,
        finished=completion.finish == "stop",
        source="exact" if labels else "",
        model=engine.name,
        split=problem.split,
    )


def labels_of(
    task: Any,
    problem: Problem,
    completion: Completion,
    starts: Sequence[int],
    tokenizer: Any,
    kind: LabelKind,
    correct: bool | None,
) -> tuple[Label, ...]:
    """A label for every token step of `completion`."""
    thinking = completion.thinking or ""
    known = labels_of_steps(task.steps(problem, thinking), kind) if thinking.strip() else []
    places = _places(thinking, [text for text, _ in known])
    edges = _edges(completion.token_ids, starts, tokenizer)
    found: list[Label] = []
    for number, (begin, end) in enumerate(edges):
        inside = [label for place, (_, label) in zip(places, known, strict=True) if begin <= place < end]
        if inside:
            found.append(min(inside))
        else:  # passed over by the task: wrong where the step before is, and nothing where it is not thinking
            found.append(0.0 if begin < end and number and found[-1] == 0.0 else None)
    found[-1] = None if completion.finish != "stop" or correct is None else float(correct)
    return tuple(found)


def labels_of_steps(steps: Sequence[Step], kind: LabelKind) -> list[tuple[str, float]]:
    """(text, label) of the task's own steps."""
    honest = accumulate((step.sound for step in steps), lambda before, now: before and now)
    if kind == "correctness":
        return [(step.text, float(step.sound)) for step in steps]
    return [
        (step.text, float(step.sound and (clean if step.alive is None else step.alive)))
        for step, clean in zip(steps, honest, strict=True)
    ]


def _places(thinking: str, texts: Sequence[str]) -> list[int]:
    """Where each text begins in the thinking, one after the other; -1 for one that is not found."""
    places: list[int] = []
    at = 0
    for text in texts:
        place = thinking.find(text, at) if text else -1
        places.append(place)
        at = place + len(text) if place >= 0 else at
    return places


def _edges(token_ids: Sequence[int], starts: Sequence[int], tokenizer: Any) -> list[tuple[int, int]]:
    """The characters of the thinking that each token step covers."""
    thought = tokenizer.split(token_ids).thinking or ()
    first = 1 if token_ids and token_ids[0] == tokenizer.think_open else 0
    last = first + len(thought)
    edges: list[tuple[int, int]] = []
    place = 0
    for begin, end in zip(starts, (*starts[1:], len(token_ids)), strict=True):
        text: str = tokenizer.decode(token_ids[max(begin, first) : min(end, last)])
        edges.append((place, place + len(text)))
        place += len(text)
    return edges
