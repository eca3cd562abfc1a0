"""The searches of a run directory, read from its files alone: no model is loaded, nothing is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec

from ponder import config as configs
from ponder.errors import RunError
from ponder.evals import measure
from ponder.evals.searching import search_keys
from ponder.evals.settings import FINISHED, EvalConfig, settings_of
from ponder.evals.trees import FILE, TreeRow, TreeStore
from ponder.files import encode
from ponder.runs import read_record
from ponder.types import Problem, Task

SEARCHES, PLAIN = "searches", "plain"


@dataclass(frozen=True, slots=True)
class Group:
    """All solutions of one strategy at one effort: `attempts` at each of `problems` problems."""

    strategy: str
    effort: str
    rows: Sequence[TreeRow]
    source: str = ""

    @property
    def flat(self) -> bool:
        """Can a smaller number of branches be read off this one?"""
        return all(row.flat for row in self.rows)

    @property
    def first(self) -> TreeRow:
        return self.rows[0]

    @property
    def n(self) -> int:
        """Branches asked for: the strategy's `n`, or 1."""
        found = self.first.options.get("n", 1)
        return found if isinstance(found, int) else 1

    @property
    def label(self) -> str:
        """The strategy for people: `beam n=16 m=4, weighted, budget 2000`."""
        first = self.first
        options = " ".join(f"{name}={value}" for name, value in first.options.items())
        parts = [f"{first.name} {options}".strip(), first.select]
        parts += [f"budget {first.budget}"] if first.budget is not None else []
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class SearchedRun:
    """A run with its finished searches. `problems` are all problems any of them was asked, by id."""

    path: Path
    task: Task
    problems: Mapping[str, Problem]
    groups: Sequence[Group]
    model: str
    config: EvalConfig


def finished(path: Path) -> dict[str, Any]:
    """What `finished.json` says; empty where the run has none."""
    try:
        return cast("dict[str, Any]", msgspec.json.decode((path / FINISHED).read_bytes()))
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        raise RunError(f"{path / FINISHED}: damaged ({error}); run the evaluation again") from None


def finished_of(path: Path, model: str) -> dict[str, Any]:
    """What has finished with these weights; what others did before stays in the stores, and out of the report."""
    told = finished(path)
    return told if told.get("models") == {"model": model} else {"models": {"model": model}}


def open_run(path: Path) -> SearchedRun:
    """The searches of the evaluation at `path`; RunError when it is none, or holds no finished search."""
    record = read_record(path)
    if record is None:
        raise RunError(f"{path}: there is no run here; give the folder of an evaluation")
    if record["command"] != "eval":
        raise RunError(f"{path}: a run of '{record['command']}' holds no searches; 'ponder eval --strategy' makes them")
    told = finished(path)
    if not told.get(SEARCHES):
        raise RunError(
            f"{path}: no search has finished here; 'ponder eval TASK --strategy NAME --out {path}' makes one"
        )
    store = TreeStore(path / FILE)
    problems: dict[str, Problem] = {}
    groups: list[Group] = []
    parts: dict[bytes, measure.Part] = {}
    part: measure.Part | None = None
    for key, plain in told[SEARCHES].items():
        config = configs.build(EvalConfig, plain)
        settings = settings_of(config)
        name = encode([settings, config.seed])
        part = parts[name] = parts.get(name) or measure.prepare(settings, config.seed)
        problems |= {problem.id: problem for problem in part.problems}
        groups += _groups(key, part, store, told["models"]["model"], str(path))
    assert part is not None
    built = configs.build(EvalConfig, record["config"])
    return SearchedRun(path, part.task, problems, groups, told["models"]["model"], built)


def _groups(key: str, part: measure.Part, store: TreeStore, model: str, source: str) -> list[Group]:
    rows: dict[str, list[TreeRow]] = {}
    for wanted in search_keys(part.task, part.sampled, model, key):
        row = store.get(wanted)
        if row is None:
            raise RunError(f"{source}: trees of '{key}' are missing; run the evaluation again")
        rows.setdefault(row.effort or "none", []).append(row)
    return [Group(key, effort, found, source) for effort, found in rows.items()]
