"""The numbers of one strategy, as plain JSON values: a pure function over its stored trees and its sessions' rows."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from ponder.errors import PonderError
from ponder.evals import ungraded
from ponder.evals.overoptimisation import Scored, overoptimisation
from ponder.evals.replay import ANY, rates
from ponder.evals.searched import Group
from ponder.evals.summary import interval_json
from ponder.evals.trees import TreeRow, per_problem
from ponder.intervals import cluster_mean
from ponder.search.select import SCORED
from ponder.search.strategies import STRATEGIES
from ponder.types import Ledger

SELECTS = ("vote", "weighted", "best", "likelihood")
COUNTED = ("seconds", "engine_seconds", "verifier_seconds", "recording_seconds", "overhead_seconds")


def numbers(group: Group, sessions: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Everything about one strategy at one effort.

    `accuracy`: share of searches whose answer is right. `pass_at_1`: share of finished branches that are. `coverage`: share
    of searches with any right branch, the ceiling of every selection. `ledger`: all searches together, its seconds by the
    wall clock; `each`: a search on average, with `latency` the seconds one problem waited. `overhead` is of the sessions.
    What could not be graded is in none of the rates and counted: `ungraded` answers, `ungraded_branches`, `ungraded_problems`
    without a graded answer, the first `ungraded_reasons`. WorkError when nothing was graded.
    """
    rows = group.rows
    by_problem = list(per_problem(rows).values())
    answered = rates(rows, group.first.select)
    found = cluster_mean(list(answered.values()))
    ledger = _ledger(rows)
    return {
        "strategy": group.strategy,
        "label": group.label,
        **settings(group),
        "accuracy": found.mean,
        "interval": found.pair,
        "pass_at_1": _branches(by_problem),
        "coverage": interval_json(cluster_mean(list(rates(rows, ANY).values()))),
        "selections": selections(group),
        "problems": len(answered),
        "attempts": len(by_problem[0]),
        "branches": sum(len(r.ends) for r in rows) / len(rows),
        "ledger": ledger,
        "each": _each(rows, ledger),
        "ended": dict(Counter(r.ended for r in rows)),
        "outcomes": dict(Counter("unparsed" if r.given is None else r.given.outcome for r in rows)),
        **ungraded.of_trees(rows),
        "ungraded_problems": len(by_problem) - len(answered),
        "notes": notes(rows),
        "overhead": overhead(sessions),
        "alarm": alarm(group),
    }


def settings(group: Group) -> dict[str, Any]:
    """What was searched with."""
    first = group.first
    return {
        "name": first.name,
        "options": first.options,
        "apart": apart(first.name, first.options),
        "select": first.select,
        "verifier": first.verifier,
        "budget": first.budget,
        "effort": group.effort,
        "flat": group.flat,
    }


def apart(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that differ from the strategy's own defaults, and `n`; all of them for a strategy we do not know."""
    try:
        fields: dict[str, Any] = {f.name: f.default for f in dataclasses.fields(STRATEGIES.get(name))}
    except (PonderError, TypeError):
        fields = {}
    return {key: value for key, value in options.items() if key == "n" or fields.get(key, ...) != value}


def selections(group: Group) -> dict[str, dict[str, float]]:
    """Accuracy had another selection chosen among the same branches; those that need scores only where there are any."""
    scored = any(c.score is not None for row in group.rows[:20] for c in row.candidates())
    names = [name for name in SELECTS if scored or name not in SCORED]
    own = group.first.select
    return {
        name: interval_json(cluster_mean(list(rates(group.rows, name).values())))
        for name in dict.fromkeys([own, *names])
    }


def notes(rows: Sequence[TreeRow]) -> dict[str, Any]:
    """What the strategies counted, summed over searches; notes that are no numbers are left out."""
    total: dict[str, Any] = {}
    for row in rows:
        for name, value in row.notes.items():
            if isinstance(value, int | float):
                total[name] = total.get(name, 0) + value
    return total


def overhead(sessions: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Where the seconds of the sessions went; `share` is what neither engine, verifier nor grading and storing took."""
    total = {name: math.fsum(row[name] for row in sessions) for name in COUNTED}
    return {"share": total["overhead_seconds"] / total["seconds"] if total["seconds"] else 0.0, **total}


def alarm(group: Group) -> dict[str, Any] | None:
    """Does choosing by score from more branches still buy accuracy? None where branches are not alike or not all scored."""
    if not group.flat or group.n < 2 or len(group.rows) < 2:
        return None
    problems: list[Scored] = []
    for row in group.rows:
        if any(row.undecided):
            continue
        scores = [c.score for c in row.candidates()]
        kept = [score for score in scores if score is not None]
        if len(kept) < len(scores):
            return None
        problems.append(Scored(kept, row.correct))
    if len(problems) < 2:
        return None
    found = overoptimisation(problems)
    return {"alarm": found.alarm, "status": found.status, "since": found.since, "worse_than": found.worse_than}


def _branches(by_problem: Sequence[Sequence[TreeRow]]) -> float:
    """Share right of the graded branches, per search, then per problem, then over problems."""
    shares = [[_share(r) for r in group if not r.ends or not all(r.undecided)] for group in by_problem]
    known = [math.fsum(group) / len(group) for group in shares if group]
    return math.fsum(known) / len(known)


def _share(row: TreeRow) -> float:
    graded = len(row.ends) - sum(row.undecided)
    return sum(row.correct) / graded if graded else 0.0


def _ledger(rows: Sequence[TreeRow]) -> dict[str, float]:
    total = sum((row.ledger for row in rows), Ledger())
    return msgspec.to_builtins(replace(total, seconds=math.fsum(row.wall for row in rows)))


def _each(rows: Sequence[TreeRow], ledger: Mapping[str, float]) -> dict[str, float]:
    means = {name: value / len(rows) for name, value in ledger.items()}
    means["forwarded"] = sum(row.ledger.forwarded for row in rows) / len(rows)
    means["latency"] = math.fsum(row.ledger.seconds for row in rows) / len(rows)
    return means
