"""Public files of step labels, row by row, as `LabelledSample`s of text: PRM800K, Math-Shepherd, ProcessBench.

    prm800k          ratings -1, 0, +1 → 0, `neutral`, 1. The chosen path is one sample; every alternative at a step is a sample
                     of its own that ends there, its earlier steps unlabelled so that none counts twice. A step a person
                     wrote has no rating and no label. The answer ("# Answer") is compared with the row's own.
    math-shepherd    the marks + and - behind each step of `label`, which must be `input` with its marker replaced. They say
                     whether any rollout came out right, so they are values, and the last one is about the answer.
    processbench     `label` is the first wrong step: 1 before it, 0 at it, None behind it; -1 means that all are right.

Rows keep their order. A field that is missing or of another kind is a DataError naming `path:line` and the field. Rows without
a step (PRM800K's given-up ones) and exact repeats are passed over and counted. The problem's id is the hash of its text.
Not covered: PRM800K's quality-control flags, rows whose question is not text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

from ponder.errors import DataError, nearest, unknown
from ponder.tasks.rows import Row, kind, read_rows
from ponder.types import Message, Problem, content_hash
from ponder.verifiers.samples import LabelKind, LabelledSample, check

MARKER = "ки"
ANSWER = "# Answer"


@dataclass(slots=True)
class Reading:
    """What a pass over a file met; `neutral` is the label of PRM800K's rating 0 (Lightman et al. count it as right)."""

    neutral: float | None = 1.0
    rows: int = 0
    samples: int = 0
    empty: int = 0
    repeats: int = 0


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a row and its dotted name, for reading nested rows with errors that say where."""

    where: str
    name: str
    value: Any

    def at(self, key: str) -> Field:
        """The value under `key`; DataError when there is none."""
        row = self.row()
        if key not in row:
            near = nearest(key, row)
            hint = f"; did you mean '{near}'?" if near else f"; it has {', '.join(list(row)[:8])}"
            raise DataError(f"{self.where}: no field '{self._named(key)}'{hint}")
        return Field(self.where, self._named(key), row[key])

    def get(self, key: str) -> Field | None:
        """As `at`, None when the value is missing or null."""
        value = self.row().get(key)
        return None if value is None else Field(self.where, self._named(key), value)

    def row(self) -> Mapping[str, Any]:
        """The value as an object."""
        value: object = self.value
        return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else self.wrong("an object")

    def items(self) -> list[Field]:
        """The values of a list."""
        held: object = self.value
        values = cast("list[Any]", held) if isinstance(held, list) else self.wrong("a list")
        return [Field(self.where, f"{self.name}[{i}]", value) for i, value in enumerate(values)]

    def text(self) -> str:
        """The value as text with something in it."""
        if not isinstance(self.value, str):
            self.wrong("text")
        if not self.value.strip():
            raise DataError(f"{self.where}: field '{self.name}' is empty")
        return self.value

    def number(self) -> int:
        """The value as a whole number."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float) or self.value != int(self.value):
            self.wrong("a whole number")
        return int(self.value)

    def flag(self) -> bool:
        """The value as true or false."""
        return self.value if isinstance(self.value, bool) else self.wrong("true or false")

    def wrong(self, wanted: str) -> NoReturn:
        """The error for a value of another kind."""
        raise DataError(f"{self.where}: field '{self.name}' must be {wanted}, not {kind(self.value)}")

    def _named(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key


def convert(path: str | Path, form: str, reading: Reading | None = None) -> Iterator[tuple[int, list[LabelledSample]]]:
    """For each row of the file its number (from 1) and its samples, possibly none; what was met is counted in `reading`."""
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    reading = Reading() if reading is None else reading
    seen: set[str] = set()
    for number, item in enumerate(read_rows(path), 1):
        if isinstance(item, DataError):
            raise item
        yield number, _row(item, form, reading, seen)


def _row(item: Row, form: str, reading: Reading, seen: set[str]) -> list[LabelledSample]:
    reading.rows += 1
    fresh: list[LabelledSample] = []
    made = [check(sample, item.where) for sample in FORMATS[form](Field(item.where, "", item.data), reading)]
    for sample in made:
        key = content_hash([sample.problem, sample.texts, sample.labels])
        if key in seen:
            reading.repeats += 1
        else:
            seen.add(key)
            fresh.append(sample)
    reading.empty += not made
    reading.samples += len(fresh)
    return fresh


def sample(
    name: str,
    question: str,
    steps: Sequence[str],
    labels: Sequence[float | None],
    correct: bool | None,
    meaning: LabelKind,
    model: str = "",
) -> LabelledSample:
    """A sample of text; `steps` joined are the completion."""
    problem = Problem((Message("user", question),), task=name)
    return LabelledSample(
        problem=problem.id,
        messages=problem.messages,
        task=name,
        texts=tuple(steps),
        labels=tuple(labels),
        kind=meaning,
        correct=correct,
        finished=correct is not None,
        source=name,
        model=model,
        split=problem.split,
    )


def apart(steps: Sequence[str], between: str) -> list[str]:
    """The steps with `between` behind each but the last, where it does not stand already."""
    return [s if s.endswith(between) else s + between for s in steps[:-1]] + list(steps[-1:])


# ---- ProcessBench


def processbench(row: Field, reading: Reading) -> Iterable[LabelledSample]:
    """`problem`, `steps`, `label`, `final_answer_correct`."""
    question, steps = row.at("problem").text(), [step.text() for step in row.at("steps").items()]
    first, correct = row.at("label").number(), row.at("final_answer_correct").flag()
    if not -1 <= first < len(steps):
        raise DataError(f"{row.where}: field 'label' is {first}; there are {len(steps)} steps, counted from 0")
    if not steps:
        return
    labels = [1.0 if first < 0 or i < first else 0.0 if i == first else None for i in range(len(steps))]
    generator = row.get("generator")
    model = generator.text() if generator is not None else ""
    yield sample("processbench", question, apart(steps, "\n\n"), labels, correct, "correctness", model)


# ---- Math-Shepherd


def math_shepherd(row: Field, reading: Reading) -> Iterable[LabelledSample]:
    """`input` with a marker behind every step, `label` the same text with + or - in its place."""
    written, marked = row.at("input").text(), row.at("label").text()
    pieces = written.split(MARKER)
    if pieces.pop().strip() or not pieces:
        raise DataError(f"{row.where}: field 'input' must end every step with '{MARKER}'")
    signs: list[str] = []
    place = 0
    for number, piece in enumerate(pieces, 1):
        sign = marked[place + len(piece) : place + len(piece) + 1]
        if not marked.startswith(piece, place) or sign not in ("+", "-"):
            raise DataError(f"{row.where}: field 'label' differs from 'input' at step {number}, or has no + or - there")
        signs.append(sign)
        place += len(piece) + 1
    head, opener, rest = pieces[0].partition("Step 1:")
    if not opener or not head.strip():
        raise DataError(f"{row.where}: field 'input' must hold a question and 'Step 1:'")
    steps = [f"{piece.strip()}\n" for piece in (opener + rest, *pieces[1:])]
    steps[-1] = steps[-1].rstrip("\n")
    if not all(step.strip() for step in steps):
        raise DataError(f"{row.where}: field 'input' holds an empty step")
    labels = [float(sign == "+") for sign in signs]
    yield sample("math-shepherd", head.strip(), steps, labels, signs[-1] == "+", "value")


# ---- PRM800K


def prm800k(row: Field, reading: Reading) -> Iterable[LabelledSample]:
    """`question.problem`, `label.steps[].completions[]` with `text` and `rating`, `chosen_completion`, `human_completion`."""
    question = row.at("question")
    asked, truth = question.at("problem").text(), question.get("ground_truth_answer")
    reference = None if truth is None else str(truth.value)
    path: list[str] = []
    labels: list[float | None] = []
    for step in row.at("label").at("steps").items():
        options = [] if step.get("completions") is None else step.at("completions").items()
        chosen = step.get("chosen_completion")
        number = None if chosen is None else chosen.number()
        if number is not None and not 0 <= number < len(options):
            raise DataError(f"{row.where}: field '{step.name}.chosen_completion' is {number} of {len(options)}")
        for i, option in enumerate(options):
            if i != number:
                text, rating = option.at("text").text(), _rating(option, reading)
                yield _path(asked, [*path, text], [*[None] * len(path), rating], reference)
        human = step.get("human_completion")
        if number is not None:
            path, labels = [*path, options[number].at("text").text()], [*labels, _rating(options[number], reading)]
        elif human is not None:
            path, labels = [*path, human.at("text").text()], [*labels, None]
        else:
            break
    if any(label is not None for label in labels):
        yield _path(asked, path, labels, reference)


def _rating(option: Field, reading: Reading) -> float | None:
    found = option.at("rating")
    if found.value is None:
        return None
    rating = found.number()
    if rating not in (-1, 0, 1):
        raise DataError(f"{option.where}: field '{found.name}' is {rating}; a rating is -1, 0 or 1")
    return reading.neutral if rating == 0 else float(rating > 0)


def _path(asked: str, steps: list[str], labels: list[float | None], reference: str | None) -> LabelledSample:
    return sample("prm800k", asked, apart(steps, "\n"), labels, _answered(steps[-1], reference), "correctness")


def _answered(last: str, reference: str | None) -> bool | None:
    """Whether the answer in the last step is the reference; None when there is none, or it can not be decided."""
    _, mark, answer = last.rpartition(ANSWER)
    if not mark or reference is None or not answer.strip():
        return None
    from ponder.graders.math import equal

    return equal(reference, answer.strip())


FORMATS: Mapping[str, Callable[[Field, Reading], Iterable[LabelledSample]]] = {
    "prm800k": prm800k,
    "math-shepherd": math_shepherd,
    "processbench": processbench,
}
