"""The searches of a run as a report says them: strategies, curves, equal compute, and some searches to look into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ponder.evals import curves, search_worth
from ponder.evals.labels import labels, scored_by
from ponder.evals.page import percent
from ponder.evals.search_numbers import numbers
from ponder.evals.search_views import view
from ponder.evals.searched import Group, SearchedRun, open_run
from ponder.evals.summary import MAX_TAG_VALUES
from ponder.files import encode, read_rows
from ponder.runs import METRICS
from ponder.types import Problem

VIEW_BYTES = 800_000  # of JSON over all searches shown
TREES = {"right": 1, "wrong": 1}  # per strategy that grows a tree


def build(path: Path) -> dict[str, Any]:
    """Everything a report says of the searches of the run at `path`."""
    run = open_run(path)
    sessions = [row for row in read_rows(path / METRICS) if "search" in row]
    strategies = [numbers(g, [row for row in sessions if row["search"] == g.strategy]) for g in run.groups]
    strategies.sort(key=lambda row: row["each"]["forwarded"])
    names = labels([row["name"] for row in strategies], [_facts(row) for row in strategies])
    strategies = [row | {"label": name} for row, name in zip(strategies, names, strict=True)]
    drawn = curves.curves(run.groups, ("vote",))
    trees, attempts = _views(run)
    return {
        "task": run.task.name,
        "model": run.config.model,
        "split": run.config.split,
        "seed": run.config.seed,
        "effort": run.config.headline,
        "strategies": strategies,
        "curves": [curve.plain() for curve in drawn],
        "tags": _by_tag(run.problems, drawn),
        "worth": search_worth.blocks(drawn, axis(drawn)),
        "trees": trees,
        "attempts": attempts,
    }


def _facts(row: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: row[name] for name in ("select", "budget", "effort")}
    return {**row["options"], **told, **scored_by(row["verifier"])}


def axis(drawn: Sequence[curves.Curve]) -> str:
    """What is held equal: FLOPs where every curve knows them, else forwarded tokens."""
    known = drawn and all(cost.flops > 0 for c in drawn for p in c.points for cost in p.costs.values())
    return "flops" if known else "forwarded"


def front(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """Title, lead and headline of a run that only searched."""
    assert found is not None
    top = _best(found)
    return {
        "title": f"{found['model']} with {top['name']} solves {percent(top['accuracy'])} of {top['problems']} "
        f"{found['task']} problems",
        "eyebrow": f"ponder eval {found['task']} --strategy {top['name']}, split {found['split']}, seed {found['seed']}",
        "lead": [best_sentence(found), *[search_worth.sentence(block) for block in found["worth"][:3]]],
        "headline": top,
        "timings": {row["label"]: row["overhead"]["seconds"] for row in found["strategies"]},
    }


def _best(found: Mapping[str, Any]) -> Mapping[str, Any]:
    at = [row for row in found["strategies"] if row["effort"] == found["effort"]] or found["strategies"]
    return max(at, key=lambda row: row["accuracy"])


def best_sentence(found: Mapping[str, Any]) -> str:
    """What the most accurate strategy reached."""
    top = _best(found)
    low, high = top["interval"]
    one, any_right = percent(top["pass_at_1"]), percent(top["coverage"]["mean"])
    return (
        f"{top['label']}: {percent(top['accuracy'])} (95 % interval over problems {percent(low)} to {percent(high)}); one "
        f"branch is right {one} of the time, any of them {any_right}."
    )


def _by_tag(problems: Mapping[str, Problem], drawn: Sequence[curves.Curve]) -> dict[str, dict[str, Any]]:
    """Curves by the value of every tag with 2 to 12 values that leaves two bins or more."""
    found: dict[str, dict[str, Any]] = {}
    for tag in dict.fromkeys(tag for problem in problems.values() for tag in problem.tags):
        bins = curves.by_tag(problems, tag)
        if 2 <= len(bins) <= MAX_TAG_VALUES:
            rows = binned(drawn, bins)
            found |= {tag: rows} if len(rows) > 1 else {}
    return found


def binned(drawn: Sequence[curves.Curve], bins: Mapping[str, set[str]]) -> dict[str, list[dict[str, Any]]]:
    """The curves among each bin's problems, as JSON values; bins without any are left out."""
    found = {
        label: [kept.plain() for curve in drawn if (kept := curve.among(names)) is not None]
        for label, names in bins.items()
    }
    return {label: rows for label, rows in found.items() if rows}


def _views(run: SearchedRun) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The trees drawn large, and as many searches to open as fit; problem by problem, so that strategies can be compared."""
    steps = getattr(run.task, "steps", None)
    grown = [group for group in run.groups if not group.flat and any(len(row.nodes) > 2 for row in group.rows)]
    trees = [view(row, run.problems[row.problem], steps) for group in grown for row in _examples(group)]
    rows = [row for group in run.groups for row in group.rows]
    order = {name: number for number, name in enumerate(run.problems)}
    rows.sort(key=lambda row: (order[row.problem], row.attempt))
    shown: list[dict[str, Any]] = []
    size = sum(len(encode(tree)) for tree in trees)
    for row in rows:
        made = view(row, run.problems[row.problem], steps)
        size += len(msgspec.json.encode(made, enc_hook=str))
        if size > VIEW_BYTES and shown:
            break
        shown.append(made)
    return trees, {"total": len(rows), "shown": shown}


def _examples(group: Group) -> list[Any]:
    found: list[Any] = []
    for kind, count in TREES.items():
        found += [row for row in group.rows if row.graded and row.right == (kind == "right")][:count]
    return found
