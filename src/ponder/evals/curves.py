"""Accuracy against compute, from stored searches: samples, decoded tokens, forwarded tokens, FLOPs, seconds.

A curve belongs to one strategy (its options but for `n` and the budget) and one selection. A flat search with n branches gives a
point for every power of two up to n, by the estimators of `replay`; any other search gives one point, and searches of
several n or budgets are the points of one curve. What k of n branches cost: the prompt once, and k/n of what was drawn and, where
the selection reads scores, of what the verifier read. Seconds are those tokens at the strategy's own measured rate
(wall-clock seconds of the whole evaluation by forwarded token), so they depend on how many searches ran side by side.
Bands are 95 % intervals over problems.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ponder.evals.labels import labels, scored_by
from ponder.evals.replay import ANY, rates, rates_at
from ponder.evals.searched import Group
from ponder.evals.stats import powers_of_two
from ponder.evals.trees import TreeRow, per_problem
from ponder.intervals import Interval, cluster_mean
from ponder.search.select import SCORED
from ponder.types import Problem

AXES: dict[str, str] = {
    "samples": "finished branches per problem",
    "decoded": "tokens decoded per problem",
    "forwarded": "tokens forwarded per problem (prompt, drawn, verified)",
    "flops": "FLOPs per problem",
    "seconds": "seconds per problem",
}
RULES = {"vote": "vote", "weighted": "weighted vote", "best": "best of n", ANY: "any right"}
LEAST = 5
"""A bin with fewer problems than this has no curve."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one search of one problem took, by axis of a curve."""

    samples: float = 0.0
    decoded: float = 0.0
    forwarded: float = 0.0
    verified: float = 0.0
    flops: float = 0.0
    seconds: float = 0.0

    def plain(self) -> dict[str, float]:
        """As JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Point:
    """One operating point: `rates` and `costs` by problem. `k` is the number of branches read off a flat search.

    Problems whose answers could not be graded have a cost and no rate.
    """

    strategy: str
    n: int
    k: int | None
    rates: Mapping[str, float]
    costs: Mapping[str, Cost]

    def among(self, problems: Collection[str] | None) -> Point | None:
        """The point over some of its problems only; None when there are too few."""
        if problems is None:
            return self
        kept = [name for name in self.rates if name in problems]
        if len(kept) < LEAST:
            return None
        rates = {name: self.rates[name] for name in kept}
        return Point(self.strategy, self.n, self.k, rates, {name: self.costs[name] for name in kept})

    @property
    def accuracy(self) -> Interval:
        return cluster_mean(list(self.rates.values()))

    @property
    def cost(self) -> Cost:
        """The mean over problems."""
        return mean_cost(list(self.costs.values()))

    def plain(self) -> dict[str, Any]:
        """As JSON values, means over problems."""
        found = self.accuracy
        return {
            "strategy": self.strategy,
            "n": self.n,
            "k": self.k,
            "problems": len(self.rates),
            "left_out": len(self.costs) - len(self.rates),
            "accuracy": found.mean,
            "low": found.low,
            "high": found.high,
            **self.cost.plain(),
        }


@dataclass(frozen=True, slots=True)
class Curve:
    """The points of one strategy and selection, cheapest first. `flat`: read off one search by number of branches.

    `facts` are the settings that tell it from other curves.
    """

    label: str
    name: str
    select: str
    effort: str
    flat: bool
    points: Sequence[Point]
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def among(self, problems: Collection[str] | None) -> Curve | None:
        """The curve over some problems only."""
        points = [found for point in self.points if (found := point.among(problems)) is not None]
        return replace(self, points=points) if points else None

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "label": self.label,
            "name": self.name,
            "select": self.select,
            "effort": self.effort,
            "flat": self.flat,
            "facts": dict(self.facts),
            "points": [point.plain() for point in self.points],
        }


def mean_cost(costs: Sequence[Cost]) -> Cost:
    """The mean of some costs."""
    return Cost(*(math.fsum(getattr(c, name) for c in costs) / len(costs) for name in Cost.__slots__))


def rate_of_time(rows: Sequence[TreeRow]) -> float:
    """Wall-clock seconds per forwarded token of an evaluation."""
    tokens = sum(row.ledger.forwarded for row in rows)
    return math.fsum(row.wall for row in rows) / tokens if tokens else 0.0


def cost_of(row: TreeRow, select: str, pace: float, k: int | None = None) -> Cost:
    """What a search took, or would have taken with k of its branches, if the answer is chosen by `select`.

    `pace` are the seconds of a forwarded token. Without a selection that reads scores a flat search needs no verifier; any
    other grew by its scores and pays for them.
    """
    branches = len(row.ends)
    share = 1.0 if k is None or not branches else k / branches
    reads = select in SCORED or not row.flat
    verified = row.ledger.verified * share if reads else 0.0
    judging = (row.ledger.flops - row.drawing) * share if reads and row.drawing else 0.0
    prompt, grown = len(row.prompt), row.ledger.prefilled - len(row.prompt)
    forwarded = prompt + (grown + row.ledger.decoded) * share + verified
    return Cost(
        samples=branches * share,
        decoded=row.ledger.decoded * share,
        forwarded=forwarded,
        verified=verified,
        flops=row.reading + (row.drawing - row.reading) * share + judging,
        seconds=forwarded * pace,
    )


def point(group: Group, select: str, k: int | None = None) -> Point:
    """A group's operating point under a selection, with k of its branches where it is flat."""
    pace = rate_of_time(group.rows)
    by_problem = per_problem(group.rows)
    costs = {name: mean_cost([cost_of(r, select, pace, k) for r in rows]) for name, rows in by_problem.items()}
    found = rates(group.rows, select) if k is None else rates_at(group.rows, select, k)
    return Point(group.strategy, group.n, k, found, costs)


def curves(groups: Sequence[Group], selects: Sequence[str] = ()) -> list[Curve]:
    """The curves of some searches, under their own selection and, for flat ones, under `selects` too where that works."""
    families: dict[tuple[str, ...], list[Group]] = {}
    for group in groups:
        families.setdefault(family(group), []).append(group)
    found: list[Curve] = []
    for members in families.values():
        own = members[0].first.select
        rules = [own, *(s for s in selects if s != own and members[0].flat and _able(members[0], s))]
        found += [_curve(members, rule) for rule in rules]
    return _merged(found)


def family(group: Group) -> tuple[str, ...]:
    """What groups that are points of one curve share: everything but n and the budget."""
    first = group.first
    options = [f"{name}={value}" for name, value in first.options.items() if name != "n"]
    kind = "flat" if group.flat else "grown"
    return (
        first.task,
        first.model,
        group.effort,
        first.sampling,
        first.name,
        *options,
        first.select,
        first.verifier,
        kind,
    )


def _able(group: Group, select: str) -> bool:
    return select == ANY or select not in SCORED or any(c.score is not None for c in group.first.candidates())


def _curve(members: Sequence[Group], select: str) -> Curve:
    first = members[0].first
    flat = members[0].flat
    largest = max(members, key=lambda group: group.n)
    if flat:
        sizes = [k for k in powers_of_two(largest.n) if k < largest.n]
        points = [point(largest, select, k) for k in [*sizes, largest.n]]
    else:
        points = [point(group, select) for group in members]
    points.sort(key=lambda p: p.cost.forwarded)
    facts = _facts(members[0], select)
    return Curve(_name(members[0], select), first.name, select, members[0].effort, flat, points, facts)


def _name(group: Group, select: str) -> str:
    """Of n samples the way to choose, of anything else the strategy."""
    first = group.first
    plain = not any(value for name, value in first.options.items() if name != "n")
    return RULES.get(select, select) if group.flat and plain and "n" in first.options else first.name


def _facts(group: Group, select: str) -> dict[str, Any]:
    first = group.first
    scored = select in SCORED or not group.flat
    options = {name: value for name, value in first.options.items() if name != "n" and value not in (False, None)}
    verifier = scored_by(first.verifier) if scored else {}
    return {"select": select, **verifier, "effort": group.effort, **options, "model": first.model}


def _merged(found: Sequence[Curve]) -> list[Curve]:
    """Of flat curves alike the longest: a vote over the samples of `best_of_n` is the vote of `vote`."""
    kept: dict[str, Curve] = {}
    for number, curve in enumerate(found):
        name = f"{curve.label} {sorted(curve.facts.items(), key=str)}" if curve.flat else str(number)
        if name not in kept or len(curve.points) > len(kept[name].points):
            kept[name] = curve
    merged = list(kept.values())
    names = labels([curve.label for curve in merged], [curve.facts for curve in merged])
    return [replace(curve, label=name) for curve, name in zip(merged, names, strict=True)]


# ---- bins of difficulty


def by_tag(problems: Mapping[str, Problem], tag: str) -> dict[str, set[str]]:
    """Problems by the value of a tag, in order of the values."""
    groups: dict[Any, set[str]] = {}
    for name, problem in problems.items():
        if tag in problem.tags:
            groups.setdefault(problem.tags[tag], set()).add(name)
    ordered = sorted(groups, key=lambda v: (0, v, "") if isinstance(v, int | float) else (1, 0, str(v)))
    return {f"{tag} {value}": groups[value] for value in ordered}


def by_difficulty(reference: Mapping[str, float], count: int) -> dict[str, set[str]]:
    """Problems in at most `count` quantile bins of a reference run's pass@1, hardest first; equal rates share a bin.

    The reference must be another run than the one drawn, or the bins select on its luck (Snell et al. 2024,
    arXiv 2408.03314, use 2,048 samples of their own for this).
    """
    values = sorted(reference.values())
    edges = sorted({values[max(0, len(values) * i // count - 1)] for i in range(1, count)}) if values else []
    groups: dict[int, set[str]] = {}
    for name, rate in reference.items():
        groups.setdefault(sum(edge < rate for edge in edges), set()).add(name)
    found: dict[str, set[str]] = {}
    for _, names in sorted(groups.items()):
        low, high = min(reference[n] for n in names), max(reference[n] for n in names)
        found[f"pass@1 {low:.2f} to {high:.2f}"] = names
    return found
