"""The two measurements of a calibration: every operating point on the problems to choose from, and the chosen on fresh ones."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ponder.evals import pools
from ponder.evals.frontier import Curve, Levels, gains
from ponder.evals.points import Point, Pool
from ponder.evals.pools import Drawn, Rig, Store
from ponder.intervals import Interval, cluster_mean
from ponder.progress import Progress
from ponder.search.drive import Driver
from ponder.types import Problem

MOST_REPEATS = 4


@dataclass(frozen=True, slots=True)
class Swept:
    """The sweep's points with their pools, the rows of each pool, and the table computed from them."""

    points: list[Point]
    pools: list[Pool]
    rows: list[list[Drawn]]
    curve: Curve


@dataclass(frozen=True, slots=True)
class Fresh:
    """A level on fresh problems: what it runs, its rate at each over `attempts`, what it cost, and how long it takes alone."""

    name: str
    point: Point
    right: list[float]
    attempts: int
    cost: Mapping[str, Any]
    latency: float | None

    @property
    def accuracy(self) -> Interval:
        return cluster_mean(self.right)


def sweep(
    rig: Rig, store: Store, problems: Sequence[Problem], drawn: list[Pool], points: list[Point], progress: Progress
) -> Swept:
    """Draw the pools over `problems` and compute every point's accuracy and cost at each."""
    bar = progress.bar("sweep", pools.work(store, [(pool, 1) for pool in drawn], problems))
    rows = [pools.draw(rig, store, pool, problems, bar) for pool in drawn]
    by_point = {point: of for pool, of in zip(drawn, rows, strict=True) for point in pool.points}
    columns = [[(pools.accuracy(row, p, rig.seed), pools.tokens(row, p)) for row in by_point[p]] for p in points]
    table = np.array(columns, dtype=np.float64)  # [M, P, 2]
    return Swept(points, drawn, rows, Curve(table[..., 0].T.copy(), table[..., 1].T.copy()))


def measure(
    rig: Rig, store: Store, problems: Sequence[Problem], swept: Swept, found: Levels, alone: int, progress: Progress
) -> list[Fresh]:
    """Run every chosen level as it is on fresh problems, and before that on the first `alone` of them one at a time.

    Levels cheaper than the top one are tried several times, as often as costs no more than that one.
    """
    chosen = [swept.points[m] for m in found.points]
    single = [Pool((point,), point.count, point.scored, point) for point in chosen]
    attempts = repeats(chosen, [float(swept.curve.tokens[:, m].mean()) for m in found.points])
    bar = progress.bar("fresh problems", pools.work(store, list(zip(single, attempts, strict=True)), problems))
    measured: list[Fresh] = []
    for name, point, pool, times in zip(found.names, chosen, single, attempts, strict=True):
        seconds = latency(rig, point, problems[:alone]) if alone else None
        rows = [pools.draw(rig, store, pool, problems, bar, attempt) for attempt in range(times)]
        right = [sum(row.right for row in at) / times for at in zip(*rows, strict=True)]
        cost = pools.summary([row for of in rows for row in of])
        measured.append(Fresh(name, point, right, times, cost, seconds))
    return measured


def repeats(points: Sequence[Point], tokens: Sequence[float]) -> list[int]:
    """How often to try each level at a fresh problem; once where it draws nothing at random."""
    most = max(tokens)
    return [
        1 if p.strategy == "greedy" else max(1, min(MOST_REPEATS, int(most / t)))
        for p, t in zip(points, tokens, strict=True)
    ]


def latency(rig: Rig, point: Point, problems: Sequence[Problem]) -> float:
    """Mean seconds of one search at a time."""
    driver = Driver(rig.engine, rig.verifier if point.scored else None)
    began = time.perf_counter()
    for problem in problems:
        driver.run([pools.job_of(rig, point, problem, point.scored)])
    return (time.perf_counter() - began) / len(problems)


def judge(fresh: Sequence[Fresh], found: Levels, confidence: float) -> tuple[list[Fresh], str]:
    """The levels that also rise on fresh problems, and what the measurement says in words."""
    kept: list[Fresh] = [fresh[0]]
    for level in fresh[1:]:
        dearer = level.cost["tokens"] > kept[-1].cost["tokens"]
        if dearer and level.accuracy.mean > kept[-1].accuracy.mean:
            kept.append(level)
    n = len(fresh[0].right)
    if len(fresh) == 1:
        why = f" ({found.refused[-1][1]})" if found.refused else ""
        return kept, f"One level: no second one could be told apart from it{why}."
    left_out = [level.name for level in fresh if level not in kept]
    if left_out:
        words = " and ".join(left_out)
        return kept, f"On {n} fresh problems {words} did not rise above the level below: left out of the table."
    steps = gains(np.array([level.right for level in fresh], dtype=np.float64).T, confidence)
    open_ = [f"{b.name} over {a.name}" for (a, b), g in zip(pairwise(fresh), steps, strict=True) if g.low <= 0]
    sure = f"; whether {' and '.join(open_)} gains is not certain at this number of problems" if open_ else ""
    certain = "" if open_ else f", every gain with {100 * confidence:g} % confidence"
    return kept, f"On {n} fresh problems accuracy and tokens rise strictly over {len(fresh)} levels{certain}{sure}."
