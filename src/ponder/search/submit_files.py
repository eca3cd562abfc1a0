"""Stored samples for `submit`: a JSONL row per program and, where a problem has parts, a row per part.

    {"id": "p1", "problem": "7A", "subtask": "a", "code": "…", "public": [true], "learned": 0.7,
     "outputs": {"i1": {"status": "ok", "text": "4"}}, "earned": {"a": 1.0}}
    {"part": "a", "problem": "7A", "points": 30, "difficulty": 1, "inputs": ["i1"], "includes": []}
    {"task_id": "HumanEval/0", "completion": "…"}

The first two are what `write` writes, and all that choosing needs: `earned`, where it is known, goes to the truth that only the
judge and the report read. The third is what others store, an answer and its problem (`problem`, `task_id` or `question_id`;
`completion` or `code`; a `subtask`, a `learned` score): its program has to be run first. A partial last line is passed over.
Not covered: files larger than memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ponder.errors import DataError
from ponder.files import append_line
from ponder.graders.programs import program_of
from ponder.search.submit import Output, Program, Subtask


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    id: str
    subtask: str
    code: str
    problem: str = ""
    public: tuple[bool | None, ...] = ()
    outputs: dict[str, Output] = {}
    learned: float | None = None
    earned: dict[str, float] | None = None


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    part: str
    problem: str = ""
    points: float = 1.0
    difficulty: float = 0.0
    inputs: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    problem: str | int | None = None
    task_id: str | int | None = None
    question_id: str | int | None = None
    completion: str | None = None
    code: str | None = None
    subtask: str = ""
    learned: float | None = None


@dataclass(slots=True)
class Stored:
    """One problem's stored programs, their hidden verdicts where known, its parts (none: each subtask counts one point)."""

    programs: list[Program] = field(default_factory=list[Program])
    truth: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    parts: list[Subtask] = field(default_factory=list[Subtask])

    @property
    def subtasks(self) -> tuple[Subtask, ...]:
        """The parts; without any, the subtasks that programs were written for, on all inputs they have outputs on."""
        if self.parts:
            return tuple(self.parts)
        names = dict.fromkeys(p.subtask for p in self.programs)
        inputs = {n: dict.fromkeys(i for p in self.programs if p.subtask == n for i in p.outputs) for n in names}
        return tuple(Subtask(name, inputs=tuple(inputs[name])) for name in names)


@dataclass(frozen=True, slots=True)
class Answer:
    """Somebody's answer to a problem, not run yet; `code` is the program in it, None when there is none."""

    problem: str
    subtask: str
    code: str | None
    text: str
    learned: float | None = None


def write(
    path: str | Path,
    programs: Sequence[Program],
    truth: Mapping[str, Mapping[str, float]] | None = None,
    problem: str = "",
    parts: Sequence[Subtask] = (),
) -> int:
    """Append the programs of a problem, with what `truth` knows of them, and its parts; returns how many programs."""
    rows: list[_Row | _Part] = [
        _Part(
            part=s.name,
            problem=problem,
            points=s.points,
            difficulty=s.difficulty,
            inputs=s.inputs,
            includes=s.includes,
        )
        for s in parts
    ]
    for p in programs:
        earned = None if truth is None or p.id not in truth else dict(truth[p.id])
        row = _Row(
            id=p.id,
            problem=problem,
            subtask=p.subtask,
            code=p.code,
            public=p.public,
            outputs=dict(p.outputs),
            learned=p.learned,
            earned=earned,
        )
        rows.append(row)
    if rows:
        append_line(Path(path), b"\n".join(map(msgspec.json.encode, rows)))
    return len(programs)


def read_problems(path: str | Path) -> dict[str, Stored]:
    """The stored problems of a file by name; DataError names path and line."""
    program, part = msgspec.json.Decoder(_Row).decode, msgspec.json.Decoder(_Part).decode
    found: dict[str, Stored] = {}
    for number, line, keys in _lines(path):
        try:
            row = part(line) if "part" in keys else program(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DataError(f"{path}:{number}: not a stored program ({error})") from None
        stored = found.setdefault(row.problem, Stored())
        if isinstance(row, _Part):
            stored.parts.append(Subtask(row.part, row.points, row.difficulty, row.inputs, row.includes))
            continue
        stored.programs.append(Program(row.id, row.subtask, row.code, row.public, row.outputs, row.learned))
        if row.earned is not None:
            stored.truth[row.id] = row.earned
    return found


def read(path: str | Path) -> tuple[list[Program], dict[str, dict[str, float]]]:
    """The programs of a file of one problem and what is known of their hidden tests; DataError names path and line."""
    found = read_problems(path)
    if len(found) > 1:
        raise DataError(f"{path}: holds {len(found)} problems; read them with read_problems")
    stored = next(iter(found.values()), Stored())
    return stored.programs, stored.truth


def read_answers(path: str | Path) -> list[Answer]:
    """The answers of a file, whoever stored them; DataError names path and line."""
    decode = msgspec.json.Decoder(_Answer).decode
    found: list[Answer] = []
    for number, line, keys in _lines(path):
        if "part" in keys:
            continue
        try:
            row = decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DataError(f"{path}:{number}: not a stored answer ({error})") from None
        names = [name for name in (row.problem, row.task_id, row.question_id) if name is not None]
        text = row.completion if row.completion is not None else row.code
        if not names or text is None:
            raise DataError(
                f"{path}:{number}: an answer names its problem (problem, task_id or question_id) and holds completion or code"
            )
        code = program_of(text if row.completion is not None else f"```python\n{text}\n```")
        found.append(Answer(str(names[0]), row.subtask, code, text, row.learned))
    return found


def is_complete(path: str | Path) -> bool:
    """Are these rows that `write` wrote, with ids and parts or outputs, so that nothing has to be run?"""
    return all("part" in keys or {"id", "subtask", "code"} <= keys for _, _, keys in _lines(path))


def _lines(path: str | Path) -> Iterator[tuple[int, bytes, frozenset[str]]]:
    """Every line with its number and its keys; a broken last one without an end is passed over."""
    try:
        with Path(path).open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    yield number, line, frozenset(msgspec.json.decode(line, type=dict[str, msgspec.Raw]))
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    if not line.endswith(b"\n"):
                        return
                    raise DataError(f"{path}:{number}: not a stored program ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: can not be read ({error.strerror or error}); give a JSONL file of programs") from None
