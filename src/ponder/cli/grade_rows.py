"""The rows of `ponder grade`: read, graded in batches, appended to the output.

Rows of an earlier call that could not be graded are graded again and the file is written anew, in order.
A grader that takes many at once (`check_many`, programs) gets a batch in one call; what a batch holds is lost to an
interruption and graded again. Others are asked one by one, and everything they have graded is kept.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec

from ponder.errors import ConfigError, DataError, nearest
from ponder.files import append_line, encode, write_atomic
from ponder.graders import extract
from ponder.graders.base import judge
from ponder.types import Grade, Problem

BATCH = 256


@dataclass(slots=True)
class References:
    """Where a row's reference comes from: its column `name` (empty: none), or the problem that the column names."""

    name: str
    problems: dict[str, Problem] = field(default_factory=dict[str, Problem])
    task: str = ""

    def of(self, row: Mapping[str, Any]) -> Any:
        """The reference of a row; `DataError` when it has none."""
        found = column(row, self.name) if self.name else None
        if not self.task:
            return found
        if str(found) not in self.problems:
            near = nearest(str(found), list(self.problems))
            raise DataError(
                f"task '{self.task}' has no problem '{found}'" + (f"; the nearest is '{near}'" if near else "")
            )
        return self.problems[str(found)].reference


@dataclass(frozen=True, slots=True)
class Rows:
    """A file of rows and how they are graded."""

    source: Path
    completion: str
    references: References
    flag: str
    solutions: bool
    grader: Any


@dataclass(frozen=True, slots=True)
class Asked:
    """A row's completions, ready to grade."""

    number: int
    row: dict[str, Any]
    completions: list[str]
    several: bool
    reference: Any
    recorded: Any


def grade_rest(rows: Rows, out: Path, settings: str, done: int, tell: Callable[[list[dict[str, Any]]], None]) -> None:
    """Grade the rows behind line `done` and append them to `out`; `tell` hears of every batch that was written."""
    together = BATCH if hasattr(rows.grader, "check_many") else 1
    waiting: list[Asked | dict[str, Any]] = []
    made: list[dict[str, Any]] = []

    def write() -> None:
        if made:
            append_line(out, b"\n".join(_written(row, settings) for row in made))
            tell(made)
            made.clear()

    try:
        for number, line in lines(rows.source):
            if number <= done:
                continue
            waiting.append(_asked(rows, number, line))
            if len(waiting) >= together:
                made += _graded(rows, waiting)
                waiting.clear()
            if len(made) >= BATCH:
                write()
        made += _graded(rows, waiting)
    finally:
        write()


def grade_again(rows: Rows, out: Path, settings: str, tell: Callable[[int], None]) -> int:
    """Grade the rows of `out` with a completion that has no score once more; how many came out with fewer of them.

    `out` is replaced once, by the same rows in their order, so an interruption leaves it as it was. `tell` hears of progress.
    """
    old = list(kept(out, settings))
    stuck = {row["line"]: _ungraded(row) for row in old if _ungraded(row)}
    asked = [_asked(rows, number, line) for number, line in lines(rows.source) if number in stuck] if stuck else []
    better: dict[int, dict[str, Any]] = {}
    for start in range(0, len(asked), BATCH):
        made = _graded(rows, asked[start : start + BATCH])
        better |= {row["line"]: row for row in made if "grade" in row and _ungraded(row) < stuck[row["line"]]}
        tell(len(made))
    if better:
        write_atomic(out, b"".join(_written(better.get(row["line"], row), settings) + b"\n" for row in old))
    return len(better)


def _ungraded(row: Mapping[str, Any]) -> int:
    """Completions of an output row that have no score."""
    return sum(grade["score"] is None for grade in listed(row["grade"])) if "grade" in row else 0


def _written(row: Mapping[str, Any], settings: str) -> bytes:
    return encode({"line": row["line"], "settings": settings, **row})


def _graded(rows: Rows, waiting: Sequence[Asked | dict[str, Any]]) -> list[dict[str, Any]]:
    """The output rows of a batch, in order."""
    asked = [one for one in waiting if isinstance(one, Asked)]
    pairs = [(one.reference, text) for one in asked for text in one.completions]
    many = getattr(rows.grader, "check_many", None)
    grades = iter([judge(rows.grader, *pair) for pair in pairs] if many is None else many(pairs) if pairs else [])
    found: list[dict[str, Any]] = []
    for one in waiting:
        if not isinstance(one, Asked):
            found.append(one)
            continue
        mine = [_as_row(next(grades)) for _ in one.completions]
        row: dict[str, Any] = {"line": one.number, "grade": mine if one.several else mine[0]}
        if rows.flag:
            row["recorded"] = one.recorded
        found.append({**row, "row": one.row})
    return found


def _asked(rows: Rows, number: int, line: bytes) -> Asked | dict[str, Any]:
    """A row to grade, or the output row that says what is wrong with it."""
    where = f"{rows.source}:{number}"
    try:
        row = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return {"line": number, "broken": f"{where}: not a JSON object ({error})"}
    try:
        given = column(row, rows.completion)
        reference = rows.references.of(row)
        recorded = column(row, rows.flag) if rows.flag else None
        completions = listed(given)
        if not completions or not all(isinstance(c, str) for c in completions):
            raise DataError(f"column '{rows.completion}' must hold text or a list of texts")
        if isinstance(recorded, list) and len(cast("list[Any]", recorded)) != len(completions):
            raise DataError(f"column '{rows.flag}' has another length than '{rows.completion}'")
        if rows.solutions:
            reference = _final_answer(str(reference), getattr(rows.grader, "rule", extract.DEFAULT))
    except DataError as error:
        return {"line": number, "broken": f"{where}: {error}", "row": row}
    return Asked(number, row, completions, isinstance(given, list), reference, recorded)


def listed(value: Any) -> list[Any]:
    """A list as it is, anything else as a list of one."""
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def column(row: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path (a key that itself has dots comes first); `DataError` with the nearest name."""
    if path in row:
        return row[path]
    value: Any = row
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            names = [str(k) for k in cast("Mapping[str, Any]", value)] if isinstance(value, Mapping) else []
            near = nearest(key, names)
            hint = f"; did you mean '{near}'?" if near else f"; it has {', '.join(names)}" if names else ""
            raise DataError(f"no column '{path}'{hint}")
        value = cast("Mapping[str, Any]", value)[key]
    return value


def _final_answer(solution: str, rule: extract.Rule) -> str:
    found = extract.find(solution, rule)
    if found.text is None:
        raise DataError(f"the reference has no final answer: {found.reason}")
    return found.text


def _as_row(grade: Grade) -> dict[str, Any]:
    return {"score": grade.score, "outcome": grade.outcome, "parts": dict(grade.parts), "reason": grade.reason}


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(line number, line) of the lines that are not blank."""
    with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as stream:
        try:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield number, line
        except (EOFError, gzip.BadGzipFile) as error:
            raise DataError(f"{path}: damaged archive ({error})") from None


def kept(out: Path, settings: str) -> Iterator[dict[str, Any]]:
    """The rows `out` already holds; an error when they were graded with other settings."""
    if not out.exists():
        return
    with out.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.endswith(b"\n"):
                return  # a partial last line: the next append cuts it off
            try:
                row = msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.DecodeError:
                row = {}
            if row.get("settings") != settings or not isinstance(row.get("line"), int):
                text = "holds something else, or was graded with other settings; use --fresh or choose another --out"
                raise ConfigError(f"{out}:{number}: {text}")
            yield row
