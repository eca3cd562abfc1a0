"""What `ponder compare` puts on each side: the stored attempts of a run, chosen by model, strategy and effort, and paired.

A side is written RUN, RUN:MODEL, or RUN:name=value,… with the names model, strategy and effort. Without a model it is the
last one the run measured (after all training). A strategy is called by how it begins, `beam` for `beam(n=16,…);…`;
attempts sampled at temperature 0 are the strategy `greedy`, other single attempts `sample`.
Not covered: attempts of several samplings under one strategy and effort, which are refused rather than mixed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from ponder.errors import ConfigError, DataError, PonderError, RunError, unknown
from ponder.evals.attempts import FILE, Attempt, AttemptStore
from ponder.evals.quickstart_report import FINISHED
from ponder.evals.ungraded import reasons
from ponder.runs import read_record
from ponder.types import EFFORTS, Problem

FILTERS = ("model", "strategy", "effort")
Setting = tuple[str, str, str]
"""Task, strategy, effort."""
Groups = Mapping[str, Sequence[Attempt]]
Name = TypeVar("Name")


class NothingGraded(DataError):
    """No problem of two settings has a graded attempt on both sides."""


@dataclass(frozen=True, slots=True)
class Side:
    """One run, read: its rows by setting and problem. `label` is what the user wrote."""

    label: str
    path: Path
    model: str
    record: Mapping[str, Any]
    rows: Mapping[Setting, Mapping[str, Sequence[Attempt]]]

    @property
    def tasks(self) -> list[str]:
        return _distinct(task for task, _, _ in self.rows)

    def strategies(self, task: str) -> list[str]:
        """Strategies measured on a task, as first stored."""
        return _distinct(strategy for t, strategy, _ in self.rows if t == task)

    def efforts(self, task: str, strategy: str) -> list[str]:
        """Efforts of a strategy on a task, low to high."""
        found = {effort for t, s, effort in self.rows if (t, s) == (task, strategy)}
        return [effort for effort in ("none", *EFFORTS) if effort in found]


def read_side(text: str) -> Side:
    """The side that `text` describes. RunError: no run there; DataError: no such attempts, or several samplings mixed."""
    path, wanted = _parsed(text)
    record = read_record(path)
    if record is None:
        raise RunError(f"{path}: there is no run here; give the folder of a quickstart or evaluation")
    if not (path / FILE).exists():
        raise RunError(
            f"{path}: a run of '{record['command']}' stores no attempts; compare takes quickstart and eval runs"
        )
    rows = list(AttemptStore(path / FILE))
    model = _model(path, rows, wanted.get("model"))
    kept = [row for row in rows if row.model == model]
    for name in ("strategy", "effort"):
        if name in wanted:
            kept = _filtered(path, kept, name, wanted[name])
    return Side(text, path, model, record, _grouped(path, kept))


def _parsed(text: str) -> tuple[Path, dict[str, str]]:
    if Path(text).exists() or ":" not in text:
        return Path(text), {}
    folder, _, rest = text.rpartition(":")
    wanted: dict[str, str] = {}
    for part in re.split(r",(?=(?:\w+)=)", rest):
        name, equals, value = part.partition("=")
        if not equals:
            name, value = "model", part
        if name not in FILTERS:
            raise unknown(f"choice in '{text}'", name, FILTERS)
        wanted[name] = value
    return Path(folder), wanted


def _model(path: Path, rows: Sequence[Attempt], wanted: str | None) -> str:
    """The identity in the store of the wanted model, or of the last one measured."""
    there = _distinct(row.model for row in rows)
    named = _finished_models(path)
    if not there:
        raise DataError(f"{path / FILE}: no attempts; run the evaluation first")
    if wanted is not None:
        names = {name: name for name in there} | {m.partition("@")[0]: m for m in there} | named
        if wanted not in names:
            raise unknown(f"model of {path}", wanted, names)
        return names[wanted]
    last = [model for model in named.values() if model in there]
    if not last and len(there) > 1:
        raise ConfigError(f"{path}: holds attempts of {', '.join(there)}; choose one: {path}:{there[-1]}")
    return last[-1] if last else there[0]


def _finished_models(path: Path) -> dict[str, str]:
    try:
        told = msgspec.json.decode((path / FINISHED).read_bytes(), type=dict[str, Any])
        return msgspec.convert(told.get("models", {}), dict[str, str])
    except (FileNotFoundError, msgspec.DecodeError):
        return {}


def way(row: Attempt) -> str:
    """The strategy of a row: `greedy` where a single attempt was sampled at temperature 0."""
    cold = re.search(r"(?:^|,)temperature=0(?:\.0+)?(?:,|$)", row.sampling) is not None
    return "greedy" if row.strategy == "sample" and cold else row.strategy


def _filtered(path: Path, rows: Sequence[Attempt], name: str, value: str) -> list[Attempt]:
    def of(row: Attempt) -> str:
        return way(row) if name == "strategy" else row.effort or "none"

    begins = re.compile(re.escape(value) + r"(?!\w)")
    kept = [row for row in rows if of(row) == value] or [row for row in rows if begins.match(of(row))]
    if not kept:
        raise unknown(f"{name} of {path}", value, _distinct(map(of, rows)))
    return kept


def _grouped(path: Path, rows: Sequence[Attempt]) -> dict[Setting, dict[str, list[Attempt]]]:
    groups: dict[Setting, dict[str, list[Attempt]]] = {}
    samplings: dict[Setting, str] = {}
    for row in sorted(rows, key=lambda r: r.attempt):
        setting = (row.task, way(row), row.effort or "none")
        if samplings.setdefault(setting, row.sampling) != row.sampling:
            raise DataError(
                f"{path / FILE}: {setting[1]} on {row.task} was sampled in two ways ({samplings[setting]}; "
                f"{row.sampling}); keep each in a run of its own to compare it"
            )
        groups.setdefault(setting, {}).setdefault(row.problem, []).append(row)
    return groups


def matched(a: Side, b: Side) -> list[tuple[Setting, Setting]]:
    """Which settings of two sides belong together, by task, then strategy, then effort.

    Equal names pair; one name left over on each side pairs with the other. DataError says what each side holds.
    """
    tasks = [task for task in a.tasks if task in b.tasks]
    if not tasks:
        raise DataError(
            f"{a.label} was measured on {', '.join(a.tasks)}, {b.label} on {', '.join(b.tasks)}; "
            "runs of different tasks can not be compared"
        )
    found: list[tuple[Setting, Setting]] = []
    for task in tasks:
        for s, t in _pairs(a.strategies(task), b.strategies(task)):
            efforts = _pairs(a.efforts(task, s), b.efforts(task, t))
            found += [((task, s, x), (task, t, y)) for x, y in efforts]
    if not found:
        held = [
            f"{side.label} holds {', '.join(f'{s} at effort {e}' for t, s, e in side.rows if t in tasks)}"
            for side in (a, b)
        ]
        raise DataError(f"{'; '.join(held)}; say which to compare, as in {a.path}:strategy=sample,effort=medium")
    return found


def graded_both(a: Groups, b: Groups) -> tuple[list[str], Groups, Groups]:
    """The problems with a graded attempt on both sides, and each side's graded attempts at them; NothingGraded for none."""
    known = [name for name in a if all(any(r.graded for r in side[name]) for side in (a, b))]
    if not known:
        why = next(iter(reasons(r for side in (a, b) for rows in side.values() for r in rows)), "no attempts")
        raise NothingGraded(
            f"no problem could be graded on both sides ({why}); give the evaluation's line again, which grades what is stored"
        )
    left, right = ({name: [r for r in side[name] if r.graded] for name in known} for side in (a, b))
    return known, left, right


def _pairs(a: Sequence[Name], b: Sequence[Name]) -> list[tuple[Name, Name]]:
    same = [(name, name) for name in a if name in b]
    left, right = [name for name in a if name not in b], [name for name in b if name not in a]
    return [*same, (left[0], right[0])] if len(left) == len(right) == 1 else same


def problems_of(side: Side) -> dict[str, Problem]:
    """The problems of a run's tasks by id, for their tags; empty where the task is not to be had here."""
    from ponder import config as configs
    from ponder import tasks
    from ponder.evals.measure import Measure
    from ponder.evals.settings import EvalConfig, settings_of

    plain = cast("dict[str, Any]", side.record["config"])
    try:
        if side.record["command"] == "eval":
            tables = [settings_of(configs.build(EvalConfig, plain))]
        else:
            tables = [configs.build(Measure, plain[name]) for name in ("eval", "effort") if plain.get(name)]
        found: dict[str, Problem] = {}
        for table in tables:
            task: Any = tasks.get(table.task, **table.options)
            found |= {p.id: p for p in task.problems(table.split, table.problems, table.problem_seed)}
        return found
    except (PonderError, KeyError):
        return {}


def _distinct(names: Iterable[Name]) -> list[Name]:
    return list(dict.fromkeys(names))
