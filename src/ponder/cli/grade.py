"""`ponder grade FILE.jsonl`: grade completions from any source again, without a token of new generation.

    ponder grade answers.jsonl --grader math
    ponder grade example_samples.jsonl --task humaneval --task-options path=example_problem.jsonl

Design: one row in, one row out, in order (`grade_rows`): the row as it was, with its line number and its grade (or what is wrong
with it), appended in batches, so that an interrupted run goes on where it stopped and a batch is written whole or not at all.
A row's reference stands in the row, or with `task` in the task's problem that the row names. What could not be graded (score
None: the sandbox failed, say) is counted apart, is neither right nor wrong, and is tried again
by the same line. With `flag`, recorded verdicts are compared.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta

from ponder import intervals
from ponder.cli.grade_rows import References, Rows, grade_again, grade_rest, kept, listed
from ponder.config import Config, to_dict
from ponder.errors import ConfigError, DataError, unknown
from ponder.files import guard
from ponder.graders.base import make
from ponder.progress import Progress
from ponder.types import content_hash

SHOWN = 20
Name = Annotated[str, Meta(min_length=1)]


class GradeConfig(Config):
    """Settings of `ponder grade`."""

    file: str = ""
    """Rows of completions: JSON lines, also gzipped."""
    grader: str = ""
    """Name of a grader, or `module:attr`; the task's own, or math, unless told."""
    options: tuple[str, ...] = ()
    """Options of the grader as key=value, the value JSON or plain text: percent=drop 'marks=["A:"]' twin=1."""
    completion: Name = "completion"
    """Column of the completion, or of a list of them; dots reach into objects."""
    reference: str = "reference"
    """Column of the reference; empty for graders that need none."""
    reference_is_solution: bool = False
    """Whether the reference is a written solution whose final answer is to be found first."""
    task: str = ""
    """Take references from the problems of this task or benchmark instead of from a column."""
    task_options: tuple[str, ...] = ()
    """The task's own options as NAME=VALUE, such as path=problems.jsonl."""
    split: Literal["train", "dev", "test"] = "test"
    """Of the task's problems."""
    problem: Name = "task_id"
    """With a task: the column that names a row's problem, by its id or by the problem's tag of the column's name."""
    flag: str = ""
    """Column of a recorded verdict (or a list of them) to compare with."""
    out: str | None = None
    """Where graded rows go; by default beside the file, as FILE.graded.jsonl."""
    fresh: bool = False
    """Start again instead of going on with what `out` already holds."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Taken because every command takes it; grading draws nothing."""


@dataclass(slots=True)
class Tally:
    """What was seen so far."""

    rows: int = 0
    broken: list[str] = field(default_factory=list[str])
    outcomes: Counter[str] = field(default_factory=Counter[str])
    rates: list[float] = field(default_factory=list[float])
    """Share of correct completions of each row, of those that could be graded."""
    completions: int = 0
    total: float = 0.0
    scored: int = 0
    reasons: Counter[str] = field(default_factory=Counter[str])
    """Why completions could not be graded."""
    hacked: int = 0
    decided: int = 0
    agree: int = 0
    compared: int = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one row of the output."""
        self.rows += 1
        if "broken" in row:
            self.broken.append(str(row["broken"]))
            return
        grades, flags = listed(row["grade"]), listed(row.get("recorded"))
        self.completions += len(grades)
        known = [g["outcome"] == "correct" for g in grades if g["score"] is not None]
        if known:
            self.rates.append(sum(known) / len(known))
        for grade, flag in zip(grades, flags * (len(grades) // len(flags)), strict=True):
            self.outcomes[grade["outcome"]] += 1
            if grade["score"] is not None:
                self.total += grade["score"]
                self.scored += 1
                self._twin(grade)
            else:
                self.reasons[str(grade["reason"] or grade["outcome"])[:160]] += 1
            if flag is not None:
                self.compared += 1
                self.agree += flag == (grade["outcome"] == "correct")

    def _twin(self, grade: Mapping[str, Any]) -> None:
        passed = grade["parts"].get("permissive")
        self.decided += isinstance(passed, bool)
        self.hacked += passed is True and grade["outcome"] != "correct"


def run(config: GradeConfig) -> dict[str, Any]:
    """Grade every row of the file; returns the summary."""
    source = Path(config.file).expanduser()
    if not source.is_file():
        raise DataError(f"{source}: no such file; give a file of JSON lines, one completion a row")
    out = Path(config.out).expanduser() if config.out else source.with_name(_stem(source) + ".graded.jsonl")
    if out.resolve() == source.resolve():
        raise ConfigError(f"out: {out} is the file that is read; choose another --out")
    with guard(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    grader, references = _graded_by(config)
    settings = content_hash({k: v for k, v in to_dict(config).items() if k not in ("out", "fresh", "file")})
    tally, done = Tally(), 0
    if config.fresh:
        out.unlink(missing_ok=True)
    rows = Rows(source, config.completion, references, config.flag, config.reference_is_solution, grader)
    started = time.perf_counter()
    with Progress(f"grading {source} with {_called(config)}") as progress:
        bar = progress.bar("grade")
        retried = grade_again(rows, out, settings, bar.advance)
        for row in kept(out, settings):
            tally.add(row)
            done = row["line"]
        resumed = tally.rows

        def tell(made: list[dict[str, Any]]) -> None:
            for row in made:
                tally.add(row)
                if "broken" in row and len(tally.broken) <= SHOWN:
                    progress.note(str(row["broken"]))
            bar.advance(len(made), correct=tally.outcomes["correct"], broken=len(tally.broken))

        grade_rest(rows, out, settings, done, tell)
        if len(tally.broken) > SHOWN:
            progress.note(f"and {len(tally.broken) - SHOWN} more broken rows")
    if not tally.rows and not tally.broken:
        raise DataError(f"{source}: holds no completions to grade")
    return {**_summary(config, out, tally, resumed, time.perf_counter() - started), "graded_again": retried}


def _called(config: GradeConfig) -> str:
    return config.grader or (f"the grader of {config.task}" if config.task else "math")


def _graded_by(config: GradeConfig) -> tuple[Any, References]:
    """The grader, and where references come from."""
    options = _options(config.options)
    if not config.task:
        return make(config.grader or "math", **options), References(config.reference)
    from ponder import tasks
    from ponder.search.options import read_options

    task: Any = tasks.get(config.task, **read_options(config.task_options))
    problems = task.problems(config.split)
    references = References(config.problem, {p.id: p for p in problems}, config.task)
    for problem in problems:
        if config.problem in problem.tags:
            references.problems.setdefault(str(problem.tags[config.problem]), problem)
    if config.grader:
        return make(config.grader, **options), references
    return _with(task.grader, config.task, options), references


def _with(grader: Any, task: str, options: Mapping[str, Any]) -> Any:
    """The task's grader with other options."""
    if not options:
        return grader
    known = [f.name for f in dataclasses.fields(grader)] if dataclasses.is_dataclass(grader) else []
    for name in options:
        if name not in known:
            raise unknown(f"option of the grader of '{task}'", name, known)
    return dataclasses.replace(cast("Any", grader), **options)


def _options(words: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ConfigError(f"options: '{word}' is not key=value")
        try:
            found[key] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            found[key] = value
    return found


def _stem(path: Path) -> str:
    name = path.name.removesuffix(".gz")
    return name.rpartition(".")[0] or name


def _summary(config: GradeConfig, out: Path, tally: Tally, resumed: int, seconds: float) -> dict[str, Any]:
    graded = tally.scored
    correct = tally.outcomes["correct"]
    single = tally.completions == tally.rows - len(tally.broken)
    interval = intervals.wilson(correct, graded) if graded and single else None
    interval = interval or (intervals.cluster_mean(tally.rates) if graded else None)
    result: dict[str, Any] = {
        "ok": tally.completions > 0,
        "file": config.file,
        "out": str(out),
        "grader": _called(config),
        "rows": tally.rows,
        "graded": graded,
        "ungraded": tally.completions - graded,
        "ungraded_reasons": dict(tally.reasons.most_common(3)),
        "broken": len(tally.broken),
        "first_broken": tally.broken[:SHOWN],
        "accuracy": correct / graded if graded else None,
        "interval": interval.pair if interval else None,
        "mean_score": tally.total / tally.scored if tally.scored else None,
        "outcomes": dict(tally.outcomes),
        "resumed_rows": resumed,
        "seconds": seconds,
        "rows_per_second": (tally.rows - resumed) / seconds if seconds else 0.0,
    }
    if tally.decided:
        result["hack_rate"] = {"rate": tally.hacked / tally.decided, "hacked": tally.hacked, "decided": tally.decided}
    if config.flag:
        result["agreement"] = tally.agree / tally.compared if tally.compared else None
        result["disagreements"] = tally.compared - tally.agree
    return result


def show(result: Mapping[str, Any]) -> str:
    """The summary for people."""
    lines = [f"{result['graded']} completions of {result['rows']} rows graded with {result['grader']}"]
    if result["accuracy"] is not None:
        low, high = result["interval"]
        lines.append(f"accuracy  {result['accuracy']:.3f}  [{low:.3f}, {high:.3f}]")
    lines.append("outcomes  " + ", ".join(f"{name} {count}" for name, count in sorted(result["outcomes"].items())))
    if "agreement" in result and result["agreement"] is not None:
        lines.append(f"agreement with recorded verdicts  {result['agreement']:.4f} ({result['disagreements']} differ)")
    if result["ungraded"]:
        why = "; ".join(f"{count} x {reason}" for reason, count in result["ungraded_reasons"].items())
        lines.append(f"ungraded  {result['ungraded']}, neither right nor wrong; the same line tries them again: {why}")
    if "hack_rate" in result:
        found = result["hack_rate"]
        lines.append(
            f"hack rate  {found['rate']:.3f}  ({found['hacked']} of {found['decided']} fool the permissive twin)"
        )
    if result["broken"]:
        lines.append(f"broken rows  {result['broken']}, first: {result['first_broken'][0]}")
    lines.append(f"{result['rows_per_second']:,.0f} rows/s; written to {result['out']}")
    return "\n".join(lines)
