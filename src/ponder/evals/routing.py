"""Does it pay to look at a problem first, and to spend by how hard it looks?

The probe: p samples from the cheapest pool; their agreement, the size of the largest class of answers, is the bin (0 to p).
A policy sends each bin to an operating point. Its cost is the probe's plus the point's; a point of the probe's own pool goes
on from the probe's samples and pays for the others only, and its accuracy is that of those very samples (an answer the
probe agrees on is likelier right). To average that, each problem's pool is taken in several random orders.

For a price per token, the best policy takes in each bin the point of highest accuracy less cost (a Lagrangian); the price is
set so that on the training folds the policy costs no more than the level it is compared with. It is then read on the fold
left out and compared with *not* routing at the same tokens: a mix of the two fixed points around that cost on the upper
hull of the training folds' frontier. Snell et al. 2024 (arXiv 2408.03314) route by difficulty but do not charge for it.
Not covered: a router that looks at the text of the problem.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ponder.evals.frontier import Curve, Floats, frontier
from ponder.evals.points import Point, Pool
from ponder.evals.pools import Drawn, candidates
from ponder.evals.stats import majority_at_k
from ponder.evals.subsets import orders
from ponder.intervals import Interval, mean_interval
from ponder.search.select import Candidate, selector

ORDERS = 8
PRICES = 64


@dataclass(frozen=True, slots=True)
class Probed:
    """What every point brings after a probe of P problems in R orders: `bins_PR`, and accuracy and tokens [P, R, M].

    `usable_M`: the point draws no fewer samples than the probe did.
    """

    bins: NDArray[np.int64]
    accuracy: Floats
    tokens: Floats
    usable: NDArray[np.bool_]

    def of(self, rows: NDArray[np.int64]) -> Probed:
        return Probed(self.bins[rows], self.accuracy[rows], self.tokens[rows], self.usable)


@dataclass(frozen=True, slots=True)
class Routed:
    """A policy at the cost of one level, on held-out problems, against no routing at the same tokens.

    `policy[b]` is the point that bin b goes to, when all problems choose.
    """

    accuracy: float
    tokens: float
    fixed_accuracy: float
    fixed_tokens: float
    gain: Interval
    policy: tuple[int, ...]


def cheapest(pools: Sequence[Pool], rows: Sequence[Sequence[Drawn]], size: int) -> int | None:
    """The pool of flat samples with the fewest tokens per sample that holds at least `size`; None where there is none."""
    flat = [
        (sum(sum(row.lengths) for row in of) / sum(len(row.lengths) for row in of), i)
        for i, (pool, of) in enumerate(zip(pools, rows, strict=True))
        if pool.points[0].pooled and min(len(row.lengths) for row in of) >= size
    ]
    return min(flat)[1] if flat else None


def probe(rows: Sequence[Drawn], own: Pool, points: Sequence[Point], curve: Curve, size: int, seed: int) -> Probed:
    """Look at every problem with `size` samples of the pool `own` (its `rows`), in several orders."""
    P = len(curve.accuracy)
    bins = np.zeros((P, ORDERS), dtype=np.int64)
    accuracy = np.repeat(curve.accuracy[:, None, :], ORDERS, axis=1)
    tokens = np.repeat(curve.tokens[:, None, :], ORDERS, axis=1)
    inside = [m for m, point in enumerate(points) if point in own.points]
    usable = np.array([m not in inside or point.count >= size for m, point in enumerate(points)])
    for p, row in enumerate(rows):
        samples = candidates(row)
        for r, order in enumerate(orders(len(samples), ORDERS, seed, row.problem).tolist()):
            first: list[int] = order[:size]
            bins[p, r] = _agreement([row.names[i] for i in first])
            tokens[p, r] += row.prompt + sum(row.lengths[i] for i in first)
            for m in inside:
                taken: list[int] = order[: points[m].count]
                accuracy[p, r, m] = _right(points[m].rule, row, samples, taken)
                fresh = row.prompt + sum(row.lengths[i] for i in taken)
                read = curve.tokens[p, m] - _drawn(row, points[m])  # what the point's verifier reads
                tokens[p, r, m] = fresh + read
    return Probed(bins, accuracy, tokens, usable)


def _agreement(names: Sequence[str | None]) -> int:
    return max((names.count(name) for name in names if name is not None), default=0)


def _drawn(row: Drawn, point: Point) -> float:
    return row.prompt + point.count * sum(row.lengths) / max(1, len(row.lengths))


def _right(rule: str, row: Drawn, samples: Sequence[Candidate], taken: Sequence[int]) -> float:
    good = [row.verdicts[i] and row.names[i] is not None for i in taken]
    if rule == "vote":
        return majority_at_k([row.names[i] for i in taken], good, len(taken))
    chosen = selector(rule)([samples[i] for i in taken], taken[0]).index
    return 0.0 if chosen is None else float(good[chosen])


def affordable(probed: Probed, curve: Curve, target: int) -> bool:
    """Does the cheapest policy, every problem to the cheapest point after the probe, cost no more than a level?"""
    least = float(probed.tokens[..., probed.usable].mean(axis=(0, 1)).min())
    return least <= float(curve.tokens[:, target].mean())


def route(
    probed: Probed, curve: Curve, targets: Sequence[int], parts: Sequence[NDArray[np.int64]], size: int
) -> list[Routed]:
    """For each target level (a column of `curve`): the policy that costs no more, cross-validated over `parts`."""
    everything = np.arange(len(curve.accuracy))
    found: list[Routed] = []
    for target in targets:
        held = np.zeros((len(everything), 4))  # accuracy and tokens with routing, then without
        for part in parts:
            rest = np.setdiff1d(everything, part)
            policy = _policy(probed.of(rest), float(curve.of(rest).tokens[:, target].mean()), size)
            with_it = _apply(probed.of(part), policy)
            without = _mixed(curve.of(rest), curve.of(part), float(with_it[:, 1].mean()))
            held[part] = np.concatenate([with_it, without], axis=1)
        means = held.mean(axis=0)
        gain = mean_interval((held[:, 0] - held[:, 2]).tolist())
        policy = _policy(probed, float(curve.tokens[:, target].mean()), size)
        found.append(Routed(*(float(v) for v in means), gain=gain, policy=tuple(int(m) for m in policy)))
    return found


def _policy(probed: Probed, limit: float, size: int) -> NDArray[np.int64]:
    """The point of each bin, at the lowest price per token that keeps the mean cost within `limit`."""
    accuracy, tokens = _by_bin(probed, size)
    share = np.bincount(probed.bins.ravel(), minlength=size + 1) / probed.bins.size
    steepest = 1.0 / max(1.0, float(tokens[:, probed.usable].min()))
    best = _at_price(accuracy, tokens, steepest * 10, probed.usable)
    for price in np.geomspace(steepest * 10, steepest * 1e-5, PRICES):
        policy = _at_price(accuracy, tokens, float(price), probed.usable)
        if float((share * tokens[np.arange(size + 1), policy]).sum()) > limit:
            break
        best = policy
    return best


def _at_price(accuracy: Floats, tokens: Floats, price: float, usable: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.where(usable, accuracy - price * tokens, -np.inf).argmax(axis=1)


def _by_bin(probed: Probed, size: int) -> tuple[Floats, Floats]:
    """Mean accuracy and tokens of each point in each bin, [size + 1, M]; an empty bin has those of all problems."""
    M = probed.accuracy.shape[2]
    accuracy, tokens = np.zeros((size + 1, M)), np.zeros((size + 1, M))
    for b in range(size + 1):
        inside = probed.bins == b
        inside = inside if inside.any() else np.ones_like(inside)
        accuracy[b], tokens[b] = probed.accuracy[inside].mean(axis=0), probed.tokens[inside].mean(axis=0)
    return accuracy, tokens


def _apply(probed: Probed, policy: NDArray[np.int64]) -> Floats:
    """Accuracy and tokens of a policy per problem, over the orders: [P, 2]."""
    chosen = policy[probed.bins][..., None]
    columns = [np.take_along_axis(v, chosen, axis=2)[..., 0].mean(axis=1) for v in (probed.accuracy, probed.tokens)]
    return np.stack(columns, axis=1)


def _mixed(train: Curve, held: Curve, cost: float) -> Floats:
    """Accuracy and tokens per held-out problem without routing at a mean `cost`: the two points of the training hull around
    it, mixed; the end of the hull where the cost lies outside. [P, 2]"""
    hull = _hull(train)
    means = train.tokens.mean(axis=0)
    at = [float(means[m]) for m in hull]
    j = next((i for i, tokens in enumerate(at) if tokens >= cost), len(hull) - 1)
    i = max(0, j - 1)
    weight = 0.0 if i == j or at[j] == at[i] else min(1.0, max(0.0, (cost - at[i]) / (at[j] - at[i])))
    a, b = hull[i], hull[j]
    mixed = [(1 - weight) * v[:, a] + weight * v[:, b] for v in (held.accuracy, held.tokens)]
    return np.stack(mixed, axis=1)


def _hull(curve: Curve) -> list[int]:
    """The frontier's points on its upper concave hull."""
    accuracy, tokens = curve.means
    hull: list[int] = []
    for m in frontier(curve):
        while len(hull) > 1 and _below(hull[-2], hull[-1], m, accuracy, tokens):
            hull.pop()
        hull.append(m)
    return hull


def _below(a: int, b: int, c: int, accuracy: Floats, tokens: Floats) -> bool:
    """Does point b lie on or under the line from a to c?"""
    return bool(
        (accuracy[b] - accuracy[a]) * (tokens[c] - tokens[a]) <= (accuracy[c] - accuracy[a]) * (tokens[b] - tokens[a])
    )
