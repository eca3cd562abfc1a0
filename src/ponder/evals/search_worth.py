"""Is search worth it? Every curve against the plainest use of the same compute, at equal cost (`worth`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ponder.evals import worth
from ponder.evals.curves import Curve
from ponder.evals.summary import interval_json

BASELINES = ("vote", "best")
LEAST = 2


def blocks(curves: Sequence[Curve], axis: str = "forwarded", draws: int = 2000) -> list[dict[str, Any]]:
    """Every curve against the vote over n samples, and what grew by a verifier against the best of n too.

    A pair is left out when the two share fewer than 2 problems or one of them costs nothing on this axis.
    """
    found: list[dict[str, Any]] = []
    for rule in BASELINES:
        base = next((c for c in curves if c.flat and c.select == rule), None)
        for curve in curves:
            if base is None or curve is base or curve.effort != base.effort or curve.select == "any":
                continue
            if rule == "vote" or not curve.flat:
                found += _block(base, curve, axis, draws)
    return found


def _block(base: Curve, curve: Curve, axis: str, draws: int) -> list[dict[str, Any]]:
    sides = [_points(side, axis) for side in (base, curve)]
    costs = [cost for side in sides for p in side for s in p.samples.values() for cost, _ in s]
    if len(worth.common_problems([*sides[0], *sides[1]])) < LEAST or not all(cost > 0 for cost in costs):
        return []
    made = worth.worth(*sides, draws=draws)
    return [
        {
            "baseline": base.label,
            "search": curve.label,
            "effort": curve.effort,
            "axis": axis,
            "answer": made.answer,
            "problems": made.problems,
            "costs": made.costs,
            "average": None if made.average is None else interval_json(made.average),
            "p": made.p,
            "ratio": made.ratio,
            "matched": [
                {"cost": m.cost, "baseline": m.baseline, "search": m.search, "difference": interval_json(m.difference)}
                for m in made.matched
            ],
        }
    ]


def _points(curve: Curve, axis: str) -> list[worth.Point]:
    return [
        worth.Point(str(number), {name: [(getattr(p.costs[name], axis), rate)] for name, rate in p.rates.items()})
        for number, p in enumerate(curve.points)
    ]


def sentence(block: dict[str, Any]) -> str:
    """The answer in words."""
    names = f"{block['search']} against {block['baseline']}"
    if block["average"] is None:
        return f"{names}: no cost that both were run at, so equal compute can not be compared."
    mean, low, high = (100 * block["average"][side] for side in ("mean", "low", "high"))
    said = {"yes": "worth it", "no": "not worth it", "undecided": "undecided"}[block["answer"]]
    return f"{names}: {said}, {mean:+.1f} points at equal compute (95 % {low:+.1f} to {high:+.1f})."
