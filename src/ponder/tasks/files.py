"""Problems from your own files: a column map, a grader, a split.

Design: `read_rows` gives located rows, `Columns` turns a row into a problem, `FileTask` chooses and orders. The order
of a seed is the order of hash(seed, problem id), so a longer limit extends a shorter one, adding rows never reshuffles
the others, and choosing a few from many holds only the few in memory. Without a declared split, membership is
`Problem.split`, the hash of the question: rows can be added, moved or reordered and none changes sides.
Not covered: weights between files, tools or documents in messages.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from ponder.errors import ConfigError, DataError, unknown
from ponder.progress import Progress
from ponder.tasks.base import SPLITS
from ponder.tasks.columns import ColumnMap, Columns, missing
from ponder.tasks.rows import Row, read_rows
from ponder.types import Completion, Demonstration, Effort, Grader, Problem, Split

Convert = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]


@dataclass(slots=True)
class Reading:
    """What the last pass over a file met."""

    rows: int = 0
    skipped: int = 0
    repeats: int = 0
    first: str = ""


class FileTask:
    """A task over one file of rows.

    `columns` maps question (or messages), reference, completion, id and tags to column names; what is left out is
    guessed from the usual names. `split` (or an ending of `path`, `a.jsonl#test`) declares the whole file to be one
    split: then only that split exists, and repeated questions are kept, each under its own id. Otherwise rows are
    divided 80/10/10 by hash and repeats are dropped, so that none sits on two sides. `template` wraps a question,
    `{question}` standing for it. `broken` "skip" passes over rows that can not be used and says how many. `convert`
    rewrites a raw row before its columns are read; None leaves it out. `read` is how rows are got from `path`. Raises
    `DataError` naming `path:line`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        columns: ColumnMap | None = None,
        grader: str | Mapping[str, Any] | Grader = "math",
        name: str | None = None,
        split: Split | None = None,
        template: str = "{question}",
        broken: Literal["error", "skip"] = "error",
        convert: Convert | None = None,
        read: Callable[[str | Path], Iterable[Row | DataError]] = read_rows,
        note: Callable[[str], None] | None = None,
        repeats: Literal["usual", "error"] = "usual",
    ) -> None:
        path, split = _declared(str(path), split)
        if repeats not in ("usual", "error"):
            raise unknown("way to treat repeated questions", repeats, ("usual", "error"))
        if broken not in ("error", "skip"):
            raise unknown("way to treat broken rows", broken, ("error", "skip"))
        if "{question}" not in template:
            raise ConfigError(f"template: {template!r} has no {{question}}, so every prompt would be the same")
        self.path, self.columns, self.split, self.template = path, dict(columns or {}), split, template
        self.name = name or Path(path).name.split(".")[0]
        self.reading = Reading()
        self._completions: dict[str, str] = {}
        self._grader, self._broken, self._convert, self._read = grader, broken, convert, read
        self._note = note or _say
        self._repeats = repeats

    @property
    def grader(self) -> Grader:
        """The grader, made on first use when it was given by name."""
        self._grader = grader_of(self._grader)
        return self._grader

    def problems(self, split: Split, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """The first `limit` problems of `split` in the order of `seed`; never an empty list."""
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        if self.split is not None and split != self.split:
            raise DataError(f"{self.path}: is declared to be the {self.split} split and has no {split} split")
        mine = (p for p in self.stream() if self.split is not None or p.split == split)
        chosen = ordered(mine, checked_limit(limit), seed)
        if not chosen:
            raise DataError(
                f"{self.path}: none of its {self.reading.rows} rows falls into the {split} split; "
                f"use more rows, or declare the whole file: split='{split}', or {self.path}#{split}"
            )
        return chosen

    def stream(self) -> Iterator[Problem]:
        """Every usable problem of the file in its order, read as it is asked for."""
        reading = self.reading = Reading()
        seen: dict[str, int] = {}
        places: dict[str, str] = {}
        columns: Columns | None = None
        for item in self._read(self.path):
            reading.rows += 1
            try:
                row = self._raw(item)
                if row is None:
                    continue
                columns = columns or Columns.of(self.columns, row)
                problem, completion = columns.problem(row, self.name, self.template)
                if self._repeats == "error" and places.setdefault(problem.id, row.where) != row.where:
                    raise DataError(f"{row.where}: asks the question of {places[problem.id]} again; remove one of them")
            except DataError as error:
                if self._broken == "error":
                    raise
                reading.skipped += 1
                reading.first = reading.first or str(error)
                continue
            copy = seen[problem.id] = seen.get(problem.id, 0) + 1
            if copy > 1:
                reading.repeats += 1
                if self.split is None:
                    continue
                problem, completion = columns.problem(row, self.name, self.template, copy)
            if completion:
                self._completions[problem.id] = completion
            yield problem
        self._close(reading)

    def _raw(self, item: Row | DataError) -> Row | None:
        if isinstance(item, DataError):
            raise item
        if self._convert is None:
            return item
        try:
            data = self._convert(item.data)
            return None if data is None else Row(item.where, data)
        except KeyError as error:
            raise missing(item, "question", str(error.args[0])) from None
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(f"{item.where}: {error}") from None

    def _close(self, reading: Reading) -> None:
        if not reading.rows:
            raise DataError(f"{self.path}: holds no rows")
        if reading.skipped == reading.rows:
            raise DataError(f"{self.path}: none of its {reading.rows} rows can be used; the first: {reading.first}")
        if reading.skipped:
            self._note(f"{self.path}: skipped {reading.skipped} of {reading.rows} rows; the first: {reading.first}")
        if reading.repeats and self.split is None:
            self._note(f"{self.path}: dropped {reading.repeats} repeated questions of {reading.rows} rows")

    def shows(self, problem: Problem) -> bool:
        """Whether the file's own completion of this problem has been read."""
        return problem.id in self._completions

    def demonstrate(
        self, problem: Problem, effort: Effort | None = None, rng: random.Random | None = None
    ) -> Demonstration:
        """The file's own completion of a problem it gave, where a `completion` column is mapped."""
        text = self._completions.get(problem.id)
        if text is None:
            raise DataError(
                f"{self.path}: no completion to imitate; name the column with columns={{'completion': '…'}}"
            )
        return Demonstration(problem, text, effort)


def _declared(path: str, split: Split | None) -> tuple[str, Split | None]:
    """The file and the split it is declared to be, by `split` or by an ending of the path."""
    if split is not None and split not in SPLITS:
        raise unknown("split", split, SPLITS)
    for name in SPLITS:
        if path.endswith(f"#{name}") and not Path(path).exists():
            if split not in (None, name):
                raise ConfigError(f"{path}: declared to be the {name} split by its ending, but split is '{split}'")
            return path.removesuffix(f"#{name}"), name
    return path, split


def checked_limit(limit: int | None) -> int | None:
    if limit is not None and limit < 1:
        raise ConfigError(f"limit: {limit} is not a number of problems; use 1 or more, or leave it out")
    return limit


def ordered(problems: Iterable[Problem], limit: int | None, seed: int) -> list[Problem]:
    """The first `limit` in the order of a seed: by the hash of seed and id, holding no more than `limit` at a time."""

    def rank(problem: Problem) -> bytes:
        return hashlib.blake2b(f"{seed}:{problem.id}".encode(), digest_size=16).digest()

    return sorted(problems, key=rank) if limit is None else heapq.nsmallest(limit, problems, key=rank)


def unsound(grader: Grader, problems: Iterable[Problem]) -> list[tuple[Problem, str]]:
    """The problems whose own reference, boxed and handed in as the answer, is not graded correct, with the reason."""
    bad: list[tuple[Problem, str]] = []
    for problem in problems:
        text = f"\\boxed{{{problem.reference}}}"
        grade = grader.grade(problem, Completion((), (), "stop", text=text, answer=text, problem_id=problem.id))
        if not grade.correct:
            bad.append((problem, f"{grade.outcome}: {grade.reason}"))
    return bad


def grader_of(grader: str | Mapping[str, Any] | Grader, usual: str | Grader = "math") -> Grader:
    """A grader as it is, or the one of that name: alone with its defaults, or in a mapping with options beside it.

    A mapping without the name, `{"twin": 1}`, is for the `usual` one; `ConfigError` where that is no name.
    """
    if not isinstance(grader, (str, Mapping)):
        return grader
    from ponder.graders import make  # imported late: reading problems needs no grader

    options: dict[str, Any] = {"grader": grader} if isinstance(grader, str) else {"grader": usual, **grader}
    name = options.pop("grader")
    if not isinstance(name, str):
        raise ConfigError('grader: the task\'s own takes no options; name one, as in {"grader": "math", "twin": 1}')
    return cast(Grader, make(name, **options))


def _say(text: str) -> None:
    Progress().note(text)
