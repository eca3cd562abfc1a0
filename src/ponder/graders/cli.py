"""`ponder grade FILE.jsonl`: grade completions from any source again, without a token of new generation.

Design: one row in, one row out, in order: the row as it was, with its line number and its grade (or what is wrong with
it), appended in batches, so that an interrupted run goes on where it stopped and a batch is written whole or not at all.
Columns are dotted paths; a column that holds a list of completions gets a list of grades. With `flag`, recorded verdicts
are compared with ours.
Not covered: graders that need more of a row than its reference.
"""

from __future__ import annotations

import gzip
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta

from ponder import intervals
from ponder.config import Config, to_dict
from ponder.errors import ConfigError, DataError, nearest
from ponder.files import append_line, encode, guard
from ponder.graders import extract
from ponder.graders.base import judge, make
from ponder.progress import Progress
from ponder.types import Grade, content_hash

BATCH = 256
SHOWN = 20
Name = Annotated[str, Meta(min_length=1)]


class GradeConfig(Config):
    """Settings of `ponder grade`."""

    file: str = ""
    """Rows of completions: JSON lines, also gzipped."""
    grader: Name = "math"
    """Name of a grader, or `module:attr`."""
    options: tuple[str, ...] = ()
    """Options of the grader as key=value, the value JSON or plain text: percent=drop 'marks=["A:"]'."""
    completion: Name = "completion"
    """Column of the completion, or of a list of them; dots reach into objects."""
    reference: str = "reference"
    """Column of the reference; empty for graders that need none."""
    reference_is_solution: bool = False
    """Whether the reference is a written solution whose final answer is to be found first."""
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
    """Share of correct completions of each row."""
    total: float = 0.0
    scored: int = 0
    agree: int = 0
    compared: int = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one row of the output."""
        self.rows += 1
        if "broken" in row:
            self.broken.append(str(row["broken"]))
            return
        grades, flags = _listed(row["grade"]), _listed(row.get("recorded"))
        self.rates.append(sum(g["outcome"] == "correct" for g in grades) / len(grades))
        for grade, flag in zip(grades, flags * (len(grades) // len(flags)), strict=True):
            self.outcomes[grade["outcome"]] += 1
            if grade["score"] is not None:
                self.total += grade["score"]
                self.scored += 1
            if flag is not None:
                self.compared += 1
                self.agree += flag == (grade["outcome"] == "correct")


def _listed(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else [value]


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
    grader = make(config.grader, **_options(config.options))
    settings = content_hash({k: v for k, v in to_dict(config).items() if k not in ("out", "fresh", "file")})
    tally, done = Tally(), 0
    if config.fresh:
        out.unlink(missing_ok=True)
    for row in _kept(out, settings):
        tally.add(row)
        done = row["line"]
    resumed, started = tally.rows, time.perf_counter()
    with Progress(f"grading {source} with {config.grader}") as progress:
        _grade_rest(config, source, out, grader, settings, tally, done, progress)
    if not tally.rows and not tally.broken:
        raise DataError(f"{source}: holds no completions to grade")
    return _summary(config, out, tally, resumed, time.perf_counter() - started)


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


def _grade_rest(
    config: GradeConfig,
    source: Path,
    out: Path,
    grader: Any,
    settings: str,
    tally: Tally,
    done: int,
    progress: Progress,
) -> None:
    bar = progress.bar("grade")
    waiting: list[bytes] = []
    try:
        for number, line in _lines(source):
            if number <= done:
                continue
            row = _graded(config, grader, source, number, line)
            waiting.append(encode({"line": number, "settings": settings, **row}))
            tally.add(row)
            if "broken" in row and len(tally.broken) <= SHOWN:
                progress.note(str(row["broken"]))
            if len(waiting) >= BATCH:
                _flush(out, waiting)
                bar.advance(BATCH, correct=tally.outcomes["correct"], broken=len(tally.broken))
    finally:
        bar.advance(len(waiting))
        _flush(out, waiting)
    if len(tally.broken) > SHOWN:
        progress.note(f"and {len(tally.broken) - SHOWN} more broken rows")


def _graded(config: GradeConfig, grader: Any, source: Path, number: int, line: bytes) -> dict[str, Any]:
    where = f"{source}:{number}"
    try:
        row = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return {"broken": f"{where}: not a JSON object ({error})"}
    try:
        given = column(row, config.completion)
        reference = column(row, config.reference) if config.reference else None
        recorded = column(row, config.flag) if config.flag else None
        completions = _listed(given)
        if not completions or not all(isinstance(c, str) for c in completions):
            raise DataError(f"column '{config.completion}' must hold text or a list of texts")
        if isinstance(recorded, list) and len(cast("list[Any]", recorded)) != len(completions):
            raise DataError(f"column '{config.flag}' has another length than '{config.completion}'")
        if config.reference_is_solution:
            reference = _final_answer(str(reference), getattr(grader, "rule", extract.DEFAULT))
    except DataError as error:
        return {"broken": f"{where}: {error}", "row": row}
    grades = [_as_row(judge(grader, reference, str(c))) for c in completions]
    result: dict[str, Any] = {"grade": grades if isinstance(given, list) else grades[0]}
    if config.flag:
        result["recorded"] = recorded
    return {**result, "row": row}


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


def _stem(path: Path) -> str:
    name = path.name.removesuffix(".gz")
    return name.rpartition(".")[0] or name


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(line number, line) of the lines that are not blank."""
    with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as stream:
        try:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield number, line
        except (EOFError, gzip.BadGzipFile) as error:
            raise DataError(f"{path}: damaged archive ({error})") from None


def _kept(out: Path, settings: str) -> Iterator[dict[str, Any]]:
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


def _flush(out: Path, waiting: list[bytes]) -> None:
    if waiting:
        append_line(out, b"\n".join(waiting))
        waiting.clear()


def _summary(config: GradeConfig, out: Path, tally: Tally, resumed: int, seconds: float) -> dict[str, Any]:
    graded = sum(tally.outcomes.values())
    correct = tally.outcomes["correct"]
    single = graded == len(tally.rates)
    interval = intervals.wilson(correct, graded) if graded and single else None
    interval = interval or (intervals.cluster_mean(tally.rates) if graded else None)
    result: dict[str, Any] = {
        "ok": graded > 0,
        "file": config.file,
        "out": str(out),
        "grader": config.grader,
        "rows": tally.rows,
        "graded": graded,
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
    if result["broken"]:
        lines.append(f"broken rows  {result['broken']}, first: {result['first_broken'][0]}")
    lines.append(f"{result['rows_per_second']:,.0f} rows/s; written to {result['out']}")
    return "\n".join(lines)
