"""Is search worth it? Two strategies at equal compute, paired by problem.

A strategy was run at several operating points (n = 1, 2, 4, …; beams of 4, 16; …). At each it has, per problem, samples
of (cost, correct); the cost is whatever is to be held equal: decoded tokens, FLOPs with the verifier's, seconds. Means
over problems give a curve of accuracy against cost, straight between points in log cost. The curves are read at equal
costs, on the stretch that both cover; nothing is extrapolated. Problems are drawn with replacement, the same ones for
both, and both curves with their costs are made anew each time, so that the noise of the costs is in the interval.

One number decides: the difference averaged over the common stretch of log cost (a single test, no choice of where to
look). The differences at single costs are shown with intervals of their own, uncorrected.
Not covered: choosing the best operating point per cost (a running maximum favours whoever has more points); problems
that only one strategy was run on (left out by the caller).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ponder.evals.resample import percentile, row_counts
from ponder.intervals import Interval

Floats = NDArray[np.float64]
Sample = tuple[float, float]
Answer = Literal["yes", "no", "undecided", "no overlap"]
GRID = 33


@dataclass(frozen=True, slots=True)
class Point:
    """One operating point: its label, and for every problem its samples of (cost, correct in [0, 1])."""

    label: str
    samples: Mapping[Hashable, Sequence[Sample]]


@dataclass(frozen=True, slots=True)
class Matched:
    """Both accuracies at one cost and their difference (search - baseline), over the problems both were run on."""

    cost: float
    baseline: float
    search: float
    difference: Interval


@dataclass(frozen=True, slots=True)
class Worth:
    """The answer: `average` is the difference over the common stretch from `costs[0]` to `costs[1]`, `p` two-sided.

    `ratio` is how many times its cost the baseline needs, at the search's accuracy, on average over the accuracies both
    reach (below 1: the baseline gets there cheaper); None where they reach none in common.
    """

    answer: Answer
    problems: int
    costs: tuple[float, float] | None
    average: Interval | None
    p: float | None
    matched: tuple[Matched, ...]
    ratio: float | None
    baseline: tuple[tuple[str, float, float], ...]
    search: tuple[tuple[str, float, float], ...]


def worth(
    baseline: Sequence[Point],
    search: Sequence[Point],
    *,
    costs: Sequence[float] | None = None,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Worth:
    """Whether `search` beats `baseline` at equal cost. `costs`: where to read the curves; the search's own points unless told.

    Only problems that occur at every point of both count. ValueError when there are fewer than 2, for no points, costs
    not above 0, or verdicts outside [0, 1].
    """
    problems = common_problems([*baseline, *search])
    if len(problems) < 2 or not baseline or not search:
        raise ValueError(
            f"worth: {len(problems)} problems in common of {len(baseline)} and {len(search)} operating points; "
            "needs 2 problems and a point on each side"
        )
    tables = [_table(points, problems) for points in (baseline, search)]
    base, found = (table.mean(axis=1) for table in tables)
    shown = tuple(
        tuple((p.label, float(c), float(a)) for p, c, a in zip(points, *means, strict=True))
        for points, means in ((baseline, base), (search, found))
    )
    low, high = max(base[0].min(), found[0].min()), min(base[0].max(), found[0].max())
    if low > high * (1 + 1e-9):
        return Worth("no overlap", len(problems), None, None, None, (), _ratio(base, found), shown[0], shown[1])
    low = min(low, high)
    wanted = sorted({float(c) for c in (costs if costs is not None else found[0])} | {float(low), float(high)})
    grid = [c for c in wanted if low <= c <= high]
    where = np.concatenate([np.log(grid), np.linspace(math.log(low), math.log(high), GRID)])
    own = _read(found, where) - _read(base, where)
    drawn = _resampled(tables, where, len(problems), draws, seed)
    average, means = float(own[len(grid) :].mean()), drawn[:, len(grid) :].mean(axis=1)
    interval = percentile(means, average, level)
    extreme = int(np.count_nonzero(np.abs(means - means.mean()) >= abs(average) - 1e-12))
    rows = zip(grid, _read(base, where), _read(found, where), own, drawn.T, strict=False)
    return Worth(
        answer="yes" if interval.low > 1e-12 else "no" if interval.high < -1e-12 else "undecided",
        problems=len(problems),
        costs=(float(low), float(high)),
        average=interval,
        p=(1 + extreme) / (1 + draws),
        matched=tuple(
            Matched(c, float(a), float(b), percentile(column, float(d), level)) for c, a, b, d, column in rows
        ),
        ratio=_ratio(base, found),
        baseline=shown[0],
        search=shown[1],
    )


def common_problems(points: Sequence[Point]) -> list[Hashable]:
    """Problems with a sample at every point, in the order of the first."""
    return [p for p in (points[0].samples if points else ()) if all(point.samples.get(p) for point in points)]


def _table(points: Sequence[Point], problems: Sequence[Hashable]) -> Floats:
    """Mean cost and mean correctness by problem: [2, problems, points]."""
    table = np.array(
        [
            [[math.fsum(s[i] for s in point.samples[p]) / len(point.samples[p]) for point in points] for p in problems]
            for i in (0, 1)
        ],
        np.float64,
    )
    if not bool(np.all(np.isfinite(table))) or bool(np.any(table[0] <= 0)):
        raise ValueError("worth: costs must be finite and above 0")
    if bool(np.any((table[1] < 0) | (table[1] > 1))):
        raise ValueError("worth: correct must lie in [0, 1]")
    return table


def _read(curve: Floats, where: Floats) -> Floats:
    """Accuracy of a curve [cost, accuracy][points] at log costs; points of equal cost are averaged, ends continue level."""
    costs, place = np.unique(np.log(curve[0]), return_inverse=True)
    heights = np.bincount(place, curve[1]) / np.bincount(place)
    return np.interp(where, costs, heights)


def _resampled(tables: Sequence[Floats], where: Floats, problems: int, draws: int, seed: int) -> Floats:
    """Differences at `where` under draws of problems: [draws, len(where)]."""
    found: list[Floats] = []
    for counts in row_counts(problems, draws, seed):
        base, search = (np.einsum("dp,ipk->dik", counts, table) / problems for table in tables)
        found += [_read(s, where) - _read(b, where) for b, s in zip(base, search, strict=True)]
    return np.stack(found)


def _ratio(base: Floats, search: Floats) -> float | None:
    """Geometric mean of cost(baseline)/cost(search) over accuracies both curves reach, each read as rising in accuracy."""
    low, high = max(base[1].min(), search[1].min()), min(base[1].max(), search[1].max())
    if low > high:
        return None
    levels: Floats = np.linspace(float(low), float(high), GRID)
    logs = [_cheapest(curve, levels) for curve in (base, search)]
    return float(np.exp((logs[0] - logs[1]).mean()))


def _cheapest(curve: Floats, levels: Floats) -> Floats:
    """The least log cost at which the curve comes up to each accuracy."""
    order = np.argsort(curve[0], kind="stable")
    costs, heights = np.log(curve[0][order]), curve[1][order]
    found = np.empty(len(levels))
    for i, level in enumerate(levels):
        j = int(np.argmax(heights >= level - 1e-12))
        if j == 0 or heights[j] - heights[j - 1] <= 0:
            found[i] = costs[j]
        else:
            share = (level - heights[j - 1]) / (heights[j] - heights[j - 1])
            found[i] = costs[j - 1] + min(max(share, 0.0), 1.0) * (costs[j] - costs[j - 1])
    return found
