"""The attempt store: every graded completion is appended once, every number is computed from the rows.

A row is found by its key (task, problem, attempt, model, strategy, effort, sampling). Asking for attempts 0..63 where
0..15 are stored draws only the missing 48. Rows are never changed: grading again appends a row with the same key, and
the last one counts. The file is JSONL; a partial last line, all that a kill can leave, is passed over and cut off by
the next append.
Not covered: several processes appending at once (the run's lock keeps them out), files larger than memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ponder.errors import DataError
from ponder.files import append_line
from ponder.graders.memory import Memory
from ponder.text.tokenizer import THINK_CLOSE, THINK_OPEN
from ponder.types import Completion, Effort, Finish, Grade, Grader, Outcome, Problem, Sampling

FILE = "attempts.jsonl"
REGRADED = 256  # rows graded again and stored at once

Key = tuple[str, str, int, str, str, str, str]


class Attempt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One graded completion. `text` is None where think tags, `thinking` and `answer` spell it out."""

    task: str
    problem: str
    attempt: int
    model: str
    outcome: Outcome
    score: float | None
    strategy: str = "sample"
    effort: Effort | None = None
    sampling: str = ""
    thinking: str | None = None
    answer: str | None = None
    text: str | None = None
    finish: Finish = "stop"
    tokens: tuple[int, ...] = ()
    logprob: float = 0.0
    reason: str = ""
    parts: dict[str, Any] = {}

    @property
    def key(self) -> Key:
        return key(
            self.task, self.problem, self.attempt, self.model, self.effort, self.sampling, strategy=self.strategy
        )

    @property
    def correct(self) -> bool:
        return self.outcome == "correct"

    @property
    def graded(self) -> bool:
        """Does the grade say anything? Without a score the attempt is neither right nor wrong."""
        return self.score is not None

    @property
    def completion_text(self) -> str:
        """What the model wrote, think tags included."""
        return self.text if self.text is not None else joined(self.thinking, self.answer)

    def completion(self) -> Completion:
        """The completion to grade again; per-token log-probabilities are not stored, only their sum."""
        return Completion(
            self.tokens, (), self.finish, self.completion_text, self.thinking, self.answer, problem_id=self.problem
        )


def key(
    task: str, problem: str, attempt: int, model: str, effort: Effort | None, sampling: str, *, strategy: str = "sample"
) -> Key:
    """What makes two attempts the same."""
    return (task, problem, attempt, model, strategy, effort or "", sampling)


def joined(thinking: str | None, answer: str | None) -> str:
    """The text that thinking and answer come from when nothing else surrounds them."""
    if thinking is None:
        return answer or ""
    return THINK_OPEN + thinking + ("" if answer is None else THINK_CLOSE + answer)


def sampling_key(sampling: Sampling) -> str:
    """Settings that decide what is drawn, as text: those that differ from the defaults, the seed always."""
    plain = msgspec.to_builtins(sampling)
    default = msgspec.to_builtins(Sampling())
    parts = [f"{name}={plain[name]}" for name in plain if plain[name] != default[name] and name != "seed"]
    return ",".join([*parts, f"seed={sampling.seed}"])


def make_attempt(
    task: str,
    problem: Problem,
    number: int,
    model: str,
    effort: Effort | None,
    sampling: str,
    completion: Completion,
    grade: Grade,
    strategy: str = "sample",
) -> Attempt:
    """The row of one graded completion."""
    plain = joined(completion.thinking, completion.answer)
    return Attempt(
        task=task,
        problem=problem.id,
        attempt=number,
        model=model,
        outcome=grade.outcome,
        score=grade.score,
        strategy=strategy,
        effort=effort,
        sampling=sampling,
        thinking=completion.thinking,
        answer=completion.answer,
        text=None if completion.text == plain else completion.text,
        finish=completion.finish,
        tokens=completion.token_ids,
        logprob=sum(completion.logprobs),
        reason=grade.reason,
        parts=dict(grade.parts),
    )


class AttemptStore:
    """The rows of one `attempts.jsonl`, in memory by key and on disk; `path` None keeps them in memory only."""

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = Path(path) if path is not None else None
        self._rows: dict[Key, Attempt] = {}
        if self.path is not None:
            self._rows = {row.key: row for row in read_attempts(self.path)}

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Attempt]:
        return iter(self._rows.values())

    def get(self, wanted: Key) -> Attempt | None:
        """The row of a key, None when it has not been drawn."""
        return self._rows.get(wanted)

    def add(self, rows: Sequence[Attempt]) -> None:
        """Append rows in one write; WorkError when the disk is full, and then none of them is kept."""
        if not rows:
            return
        if self.path is not None:
            append_line(self.path, b"\n".join(msgspec.json.encode(row, enc_hook=str) for row in rows))
        self._rows.update((row.key, row) for row in rows)

    def select(self, **wanted: Any) -> list[Attempt]:
        """Rows whose fields equal `wanted`, such as model="rl", effort="high"."""
        return [row for row in self if all(getattr(row, name) == value for name, value in wanted.items())]

    def regrade(self, problems: Iterable[Problem], grader: Grader, among: Iterable[Attempt] | None = None) -> int:
        """Grade the stored completions of `problems` again, or those `among` them; append and count rows whose grade changed."""
        known = {problem.id: problem for problem in problems}
        rows = [row for row in (self if among is None else among) if row.problem in known]
        memory, changed = Memory(), 0
        for start in range(0, len(rows), REGRADED):
            part = rows[start : start + REGRADED]
            grades = memory.grade(grader, [(known[row.problem], row.completion()) for row in part])
            pairs = zip(part, grades, strict=True)
            new = [_regraded(row, g) for row, g in pairs if (g.outcome, g.score) != (row.outcome, row.score)]
            self.add(new)
            changed += len(new)
        return changed


def _regraded(row: Attempt, grade: Grade) -> Attempt:
    told = {name: row.parts[name] for name in ("search",) if name in row.parts}  # what the search spent stays
    parts = {**grade.parts, **told}
    return msgspec.structs.replace(row, outcome=grade.outcome, score=grade.score, reason=grade.reason, parts=parts)


def read_attempts(path: Path) -> list[Attempt]:
    """Rows of a store in the order written, a partial last line passed over; DataError naming any other broken line."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    decoder = msgspec.json.Decoder(Attempt)
    rows: list[Attempt] = []
    for number, line in enumerate(lines[:-1], 1):
        try:
            rows.append(decoder.decode(line))
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise DataError(f"{path}:{number}: not an attempt ({error}); remove the line to go on") from None
    return rows
