"""The problems that programs are submitted to: a task whose problems have tests, or a file of them.

A file's rows are told by their columns: LiveCodeBench's (`question_content`), HumanEval's (`entry_point`), MBPP's (`test_list`),
or `question` and `reference` (what the `code` grader reads). A row may add `time_limit` (processor seconds of a run), `generator`
and `validators` (programs that print and check inputs). A LiveCodeBench row may have `subtasks`, each with `name`, `statement`,
`points`, `difficulty`, `includes` and test cases (and a generator) of its own: programs are sampled for each, and its prompt
shows that part alone, as o1 was asked at the IOI. Not covered: subtasks of other formats, special judges, interactive problems.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ponder.errors import ConfigError, DataError
from ponder.search.submit import Subtask
from ponder.search.submit_form import Form
from ponder.search.submit_score import MOST_EXACT
from ponder.tasks import programs
from ponder.tasks.files import checked_limit
from ponder.tasks.rows import SUFFIXES, Row, read_rows
from ponder.types import Message, Problem, Split

WHOLE = "all"
NAMES = ("question_id", "task_id", "name", "id")
Convert = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Part:
    """A subtask as it is asked and tested: its own prompt and reference, and programs that print or check inputs."""

    subtask: Subtask
    problem: Problem
    form: Form
    generators: tuple[str, ...] = ()
    validators: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Contest:
    """One problem: its name and its parts, a single one where it has no subtasks."""

    name: str
    parts: tuple[Part, ...]

    @property
    def subtasks(self) -> tuple[Subtask, ...]:
        """The parts without their tests; the inputs are found later."""
        return tuple(part.subtask for part in self.parts)

    def part(self, name: str) -> Part:
        """The part of that name."""
        return next(part for part in self.parts if part.subtask.name == name)


def read(
    task: str, split: Split, limit: int, seed: int, options: Mapping[str, Any], cpu_seconds: float
) -> list[Contest]:
    """The first `limit` problems of a task in the order of `seed`, or of a file in its own order."""
    if Path(task).is_file() or task.lower().endswith(SUFFIXES):
        if options:
            raise ConfigError(f"{task}: a file takes no task options; leave --task-options out")
        return _from_file(task, limit, cpu_seconds)
    from ponder import tasks

    found = tasks.get(task, **options).problems(split, limit, seed)
    return [
        _single(p, str(next((p.tags[n] for n in NAMES if n in p.tags), p.id)), {}, task, cpu_seconds) for p in found
    ]


def _single(problem: Problem, name: str, raw: Mapping[str, Any], where: str, cpu_seconds: float) -> Contest:
    return Contest(name, (_part(Subtask(WHOLE), problem, raw, where, cpu_seconds),))


def _part(subtask: Subtask, problem: Problem, raw: Mapping[str, Any], where: str, cpu_seconds: float) -> Part:
    try:
        form = Form.of(problem.reference, cpu_seconds)
    except ValueError as error:
        raise ConfigError(f"{where}: submissions need problems with tests of programs; here {error}") from None
    generators = _programs(raw, "generator", where)
    return Part(subtask, problem, form, generators, _programs(raw, "validators", where))


def _programs(raw: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = raw.get(key) or ()
    texts: Any = (value,) if isinstance(value, str) else value
    if not isinstance(texts, tuple | list) or not all(isinstance(text, str) for text in cast("Sequence[Any]", texts)):
        raise DataError(f"{where}: '{key}' is a program or a list of programs")
    return tuple(cast("Sequence[str]", texts))


# ---- files


def _from_file(path: str, limit: int, cpu_seconds: float) -> list[Contest]:
    found: list[Contest] = []
    names: dict[str, str] = {}
    for row in read_rows(path):
        if isinstance(row, DataError):
            raise row
        contest = _contest(row, len(found), cpu_seconds)
        if contest is None:
            continue
        if names.setdefault(contest.name, row.where) != row.where:
            raise DataError(
                f"{row.where}: a problem named '{contest.name}' stands at {names[contest.name]}; rename one"
            )
        found.append(contest)
        if len(found) == checked_limit(limit):
            break
    if not found:
        raise DataError(f"{path}: holds no problem with tests")
    return found


def _contest(row: Row, number: int, cpu_seconds: float) -> Contest | None:
    raw = row.data
    convert = _converter(row)
    name = str(next((raw[n] for n in NAMES if raw.get(n) is not None), number))
    if raw.get("subtasks"):
        return Contest(name, tuple(_subtasks(row, convert, cpu_seconds)))
    problem = _problem(raw, convert, row.where, _task(row))
    return None if problem is None else _single(problem, name, raw, row.where, cpu_seconds)


def _converter(row: Row) -> Convert:
    known: dict[str, Convert] = {
        "question_content": programs.livecodebench,
        "entry_point": programs.human_eval,
        "test_list": programs.mbpp,
        "reference": lambda raw: {"question": raw["question"], "answer": raw["reference"]},
    }
    for column, convert in known.items():
        if column in row.data:
            return convert
    raise DataError(
        f"{row.where}: no problem with tests; give LiveCodeBench's columns (question_content, public_test_cases), "
        "HumanEval's, MBPP's, or question and reference"
    )


def _task(row: Row) -> str:
    """The name problems of a file carry: the file's."""
    return Path(row.where.rpartition(":")[0]).name


def _problem(raw: Mapping[str, Any], convert: Convert, where: str, task: str) -> Problem | None:
    try:
        made = convert(raw)
    except KeyError as error:
        raise DataError(f"{where}: no column {error}") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{where}: {error}") from None
    if made is None:
        return None
    text = programs.FENCED.format(question=made["question"])
    limit = {"cpu_seconds": _seconds(raw["time_limit"], where)} if "time_limit" in raw else {}
    return Problem((Message("user", text),), {**made["answer"], **limit}, task=task)


def _seconds(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 600:
        raise DataError(f"{where}: time_limit is the processor seconds of a run, above 0")
    return float(value)


def _subtasks(row: Row, convert: Convert, cpu_seconds: float) -> list[Part]:
    given = row.data["subtasks"]
    if convert is not programs.livecodebench or not isinstance(given, Sequence):
        raise DataError(f"{row.where}: 'subtasks' is a list, in a row with LiveCodeBench's columns")
    parts: list[Part] = []
    for raw in cast("Sequence[Any]", given):
        if not isinstance(raw, Mapping) or not isinstance(cast("Mapping[str, Any]", raw).get("name"), str):
            raise DataError(f"{row.where}: a subtask is an object with a name, a statement and test cases")
        own = cast("Mapping[str, Any]", raw)
        where = f"{row.where}, subtask '{own['name']}'"
        asked = f"{row.data['question_content']}\n\nSolve only this subtask, {own['name']}: {own.get('statement', '')}"
        problem = _problem({**row.data, **own, "question_content": asked}, convert, where, _task(row))
        assert problem is not None
        about = {key: row.data[key] for key in ("generator", "validators") if key in row.data}
        parts.append(_part(_subtask(own, where), problem, about | {**own}, where, cpu_seconds))
    _check(row.where, [part.subtask for part in parts])
    return parts


def _subtask(raw: Mapping[str, Any], where: str) -> Subtask:
    try:
        points, difficulty = float(raw.get("points", 1)), float(raw.get("difficulty", raw.get("points", 1)))
    except (TypeError, ValueError):
        raise DataError(f"{where}: points and difficulty are numbers") from None
    includes = raw.get("includes") or ()
    if not points > 0 or isinstance(includes, str) or not all(isinstance(name, str) for name in includes):
        raise DataError(f"{where}: points are above 0, and includes is a list of names of subtasks")
    return Subtask(raw["name"], points, difficulty, includes=tuple(includes))


def _check(where: str, subtasks: Sequence[Subtask]) -> None:
    names = [s.name for s in subtasks]
    if len(set(names)) < len(names):
        raise DataError(f"{where}: a subtask's name is given twice: {', '.join(names)}")
    if len(names) > MOST_EXACT:
        raise DataError(f"{where}: {len(names)} subtasks; a problem may have {MOST_EXACT} at most")
    lost = sorted({name for s in subtasks for name in s.includes} - set(names))
    if lost:
        raise DataError(f"{where}: includes names subtask '{lost[0]}'; there are {', '.join(names)}")
