"""Labelled samples as training examples: from files of `ponder label`, or drawn and labelled on the fly.

Example number i is a pure function of the settings and i, as in `sources`: a checkpoint needs one number to go on. On the fly
sample g of problem n is drawn by a seed of its own, graded by the task, and its steps get the task's exact labels.
Not covered: samples drawn by the verifier's own trunk while it trains, files larger than memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ponder.errors import ConfigError, DataError
from ponder.graders.memory import grade_all
from ponder.models.heads import features_of
from ponder.search.solve import default_effort, sampling_for
from ponder.text.steps import cut, last_tokens, step_ids
from ponder.text.tokenizer import Tokenizer
from ponder.training.examples import Example
from ponder.training.sources import BLOCK, Problems, Shuffled, check_entry, fits, place, random_for, schedule
from ponder.types import Completion, Effort, Engine, Grade, Problem, Request
from ponder.verifiers import samples as files
from ponder.verifiers.labels import exact
from ponder.verifiers.samples import LabelKind, LabelledSample, tokenized

FILE_KEYS = ("file", "held_out", "weight", "limit")


@dataclass(frozen=True, slots=True)
class Ask:
    """What the head learns from a sample. `steps`: at the last token of each labelled step; else at every token of the
    completion whether its answer is right. `language`: right completions are also learned as text."""

    steps: bool = False
    features: bool = False
    language: bool = False


def to_example(sample: LabelledSample, ask: Ask, tokenizer: Tokenizer, where: str = "") -> Example:
    """The example of a sample; without targets where it has none."""
    sample = tokenized(sample, tokenizer, where)
    start, length = len(sample.prompt_ids), len(sample.token_ids)
    if max((*sample.prompt_ids, *sample.token_ids)) >= tokenizer.vocab_size:
        raise DataError(f"{where}: token ids reach beyond the model's vocabulary of {tokenizer.vocab_size}")
    ids = np.array([*sample.prompt_ids, *sample.token_ids], dtype=np.int32)
    targets = np.full(len(ids), np.nan, dtype=np.float32)
    if ask.steps and sample.labels:
        for last, label in zip(last_tokens(sample.starts, length), sample.labels, strict=True):
            targets[start + last] = np.nan if label is None else label
    elif not ask.steps and sample.correct is not None:
        targets[start:] = float(sample.correct)
    trainable = np.zeros(len(ids), dtype=bool)
    trainable[max(1, start) :] = ask.language and sample.correct is True
    features = None
    if ask.features:
        if len(sample.logprobs) != length:
            raise DataError(f"{where}: the head reads log-probabilities (inputs), and this sample has none")
        features = np.concatenate((np.zeros((start, 4)), features_of(np.array(sample.logprobs, dtype=np.float32))))
        features = features.astype(np.float32)
    return Example(ids, trainable, targets=targets, features=features)


class Part(Protocol):
    """One entry of `data`."""

    def make(self, counts: Sequence[int]) -> list[tuple[LabelledSample, str]]:
        """Samples number `counts`, each with where it comes from."""
        ...

    def held_out(self, problems: int, samples: int) -> list[LabelledSample]:
        """Samples of dev problems."""
        ...


class FilePart:
    """Rows of a JSONL file in shuffled epochs. Held out are its rows of split dev, or all rows of the file `held_out` names."""

    def __init__(self, entry: Mapping[str, Any], seed: int, kind: LabelKind | None) -> None:
        for key in entry:
            if key not in FILE_KEYS:
                raise ConfigError(f"data: unknown key '{key}' beside file; known: {', '.join(FILE_KEYS)}")
        self.path = str(entry["file"])
        usable, total = _usable(self.path, kind)
        self.rows = [pair for pair in usable if pair[0].split == "train"][: entry.get("limit")]
        self.dev = [row for row, _ in usable if row.split == "dev"]
        if "held_out" in entry:
            self.dev = [row for row, _ in _usable(str(entry["held_out"]), kind)[0]]
            both = {row.problem for row in self.dev} & {row.problem for row, _ in self.rows}
            if both:
                raise DataError(f"{entry['held_out']}: {len(both)} of its problems are in {self.path} too")
        if not self.rows:
            what = "labelled steps" if kind is not None else "known correctness"
            raise DataError(f"{self.path}: no training rows with {what} among its {total} rows")
        self.shuffled = Shuffled(len(self.rows), (Path(self.path).name, seed))

    def make(self, counts: Sequence[int]) -> list[tuple[LabelledSample, str]]:
        return [self.rows[self.shuffled[count]] for count in counts]

    def held_out(self, problems: int, samples: int) -> list[LabelledSample]:
        groups: dict[str, list[LabelledSample]] = defaultdict(list)
        for row in self.dev:
            groups[row.problem].append(row)
        return [row for group in list(groups.values())[:problems] for row in group[:samples]]


def _usable(path: str, kind: LabelKind | None) -> tuple[list[tuple[LabelledSample, str]], int]:
    """The rows of a file that can be learned from, each with its place, and how many there are in all."""
    rows = list(files.read(path))
    if kind is not None:
        wrong = next((r for r in rows if r.labels and r.kind != kind), None)
        if wrong is not None:
            raise DataError(
                f"{path}: step labels of kind '{wrong.kind}' where labels = '{kind}'; use one kind per model"
            )
    found = [
        (row, f"{path}, row {i + 1}")
        for i, row in enumerate(rows)
        if (any(x is not None for x in row.labels) if kind is not None else row.correct is not None)
    ]
    return found, len(rows)


class DrawnPart:
    """Fresh samples of a task's problems: `samples` completions each, graded; steps labelled where `labels` says how."""

    def __init__(
        self,
        entry: Mapping[str, Any],
        seed: int,
        engine: Engine,
        labels: LabelKind | None,
        samples: int,
        temperature: float,
        max_tokens: int | None,
    ) -> None:
        check_entry(entry)
        self.problems, self.engine, self.seed = Problems(entry, seed), engine, seed
        self.labels: LabelKind | None = labels
        self.samples, self.temperature, self.max_tokens = samples, temperature, max_tokens
        self.efforts = list(entry["efforts"]) if "efforts" in entry else [default_effort(engine)]
        self.ends = step_ids(getattr(engine, "tokenizer", None))

    def make(self, counts: Sequence[int]) -> list[tuple[LabelledSample, str]]:
        drawn = {n: self.problems.draw(n) for n in dict.fromkeys(count // self.samples for count in counts)}
        efforts = {n: rng.choice(self.efforts) for n, (_, rng) in drawn.items()}
        asked = [(drawn[n][0], efforts[n], f"{n}/{g}") for n, g in (divmod(count, self.samples) for count in counts)]
        return [(s, f"task {s.task}, problem {s.problem}") for s in self._sample(asked)]

    def held_out(self, problems: int, samples: int) -> list[LabelledSample]:
        asked: list[tuple[Problem, Any, str]] = []
        for n, problem in enumerate(self.problems.task.problems("dev", problems, self.seed)):
            effort = random_for("held out", self.seed, n).choice(self.efforts)
            asked += [(problem, effort, f"dev/{n}/{g}") for g in range(samples)]
        return self._sample(asked)

    def _sample(self, asked: Sequence[tuple[Problem, Any, str]]) -> list[LabelledSample]:
        requests: list[Request] = []
        for problem, effort, key in asked:
            prompt = self.engine.encode(problem.messages, effort)
            sampling = sampling_for(self.engine, len(prompt), effort, self.temperature, self.max_tokens)
            seed = random_for("labelled", self.problems.name, self.seed, key).getrandbits(62)
            requests.append(Request(prompt, sampling.with_seed(seed), key, problem.id))
        done = self.engine.generate(requests)
        pairs = [(problem, completion) for (problem, _, _), completion in zip(asked, done, strict=True)]
        grades = grade_all(self.problems.task.grader, pairs)
        return [
            self._labelled(*pair, effort, grade)
            for pair, (_, effort, _), grade in zip(pairs, asked, grades, strict=True)
        ]

    def _labelled(
        self, problem: Problem, completion: Completion, effort: Effort | None, grade: Grade
    ) -> LabelledSample:
        """A fresh completion, graded by its task, its steps labelled by what the task knows exactly (`labels.exact`)."""
        task, ids = self.problems.task, completion.token_ids
        correct = None if grade.score is None else bool(grade.correct)
        finished = completion.finish == "stop"
        starts = cut(ids, self.ends)
        labels: tuple[float | None, ...] = ()
        if self.labels and self.ends and hasattr(task, "steps"):
            decode = self.engine.tokenizer.decode  # type: ignore[attr-defined]
            texts = [decode(ids[a:b]) for a, b in zip(starts, (*starts[1:], len(ids)), strict=True)]
            ended = correct if finished else None
            labels = tuple(
                exact.labels(task.steps, problem, texts, ended, self.labels, getattr(task, "answer_steps", None))
            )
        return LabelledSample(
            problem=problem.id,
            messages=problem.messages,
            task=problem.task,
            effort=effort,
            prompt_ids=completion.prompt_ids,
            token_ids=ids,
            logprobs=completion.logprobs,
            starts=starts,
            labels=labels,
            kind=self.labels or "value",
            correct=correct,
            finished=finished,
            source="exact" if labels else "",
            model=self.engine.name,
            split=problem.split,
        )


class LabelledSource:
    """All entries of `data` in exact proportion to their weights; a `Source` of examples."""

    def __init__(
        self, parts: Sequence[Part], weights: Sequence[float], seed: int, ask: Ask, tokenizer: Tokenizer, context: int
    ) -> None:
        self.parts, self.ask, self.tokenizer, self.context = parts, ask, tokenizer, context
        self.order = schedule(list(weights), seed)

    def block(self, number: int) -> list[Example]:
        places = [place(self.order, i) for i in range(number * BLOCK, (number + 1) * BLOCK)]
        made: dict[int, list[tuple[LabelledSample, str]]] = {}
        for part in sorted({p for p, _ in places}):
            made[part] = self.parts[part].make([count for p, count in places if p == part])
        queues = {part: iter(found) for part, found in made.items()}
        return [self.example(*next(queues[part])) for part, _ in places]

    def example(self, sample: LabelledSample, where: str) -> Example:
        """The example of a sample."""
        return fits(to_example(sample, self.ask, self.tokenizer, where), self.context, where)
