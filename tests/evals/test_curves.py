"""Accuracy against compute: costs by hand, curves from stored searches, bins of difficulty."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from search_fakes import flat_row

from ponder.evals import curve_figures, search_worth
from ponder.evals.curves import AXES, Cost, Curve, Point, by_difficulty, by_tag, cost_of, curves, point
from ponder.evals.labels import labels
from ponder.evals.searched import Group
from ponder.evals.trees import TreeRow
from ponder.types import Ledger, Message, Problem

SCORES = [0.9, 0.2, 0.1, 0.5]
FLOPS = {"reading": 100.0, "drawing": 500.0}


def group(rows: list[TreeRow], strategy: str = "vote(n=4)", effort: str = "none") -> Group:
    return Group(strategy, effort, rows)


def problems(names: str, **more) -> list[TreeRow]:
    """One search per letter: its first half of branches right for every problem but `z`."""
    return [flat_row(["b" if p == "z" else "a", "a", "c", "d"], problem=p, **more) for p in names]


def test_cost_by_hand() -> None:
    """Prompt 10, four branches of 5, a verifier that read 24; 100 FLOPs of prompt, 400 of branches, 90 of the verifier."""
    row = flat_row(["a", "a", "b", "c"], scores=SCORES, **FLOPS)
    ledger = Ledger(prefilled=10, decoded=20, verified=24, flops=590.0)
    row = flat_row(["a", "a", "b", "c"], scores=SCORES, ledger=ledger, **FLOPS)
    assert cost_of(row, "best", 0.5) == Cost(4, 20, 10 + 20 + 24, 24, 590, 27)
    assert cost_of(row, "best", 0.5, 2) == Cost(2, 10, 10 + 10 + 12, 12, 100 + 200 + 45, 16)
    assert cost_of(row, "vote", 0.5) == Cost(4, 20, 30, 0, 500, 15)  # a vote reads no scores, so nobody pays for them
    assert cost_of(row, "vote", 0.5, 1) == Cost(1, 5, 15, 0, 200, 7.5)


def test_a_search_that_grew_by_its_scores_pays_for_them_under_any_selection() -> None:
    row = flat_row(["a", "b"], scores=[0.1, 0.2], options={"n": 4})
    assert not row.flat
    assert cost_of(row, "vote", 1.0).verified == 12


def test_seconds_are_the_wall_clock_of_the_whole_shared_by_tokens() -> None:
    rows = [flat_row(["a"] * 4, problem="p", wall=5.0), flat_row(["a"] * 4, problem="q", wall=1.0)]
    assert point(group(rows), "vote").cost.seconds == pytest.approx(3.0)
    assert point(group(rows), "vote", 2).cost.seconds == pytest.approx(6.0 / 60 * 20)


def test_one_flat_search_is_a_whole_curve() -> None:
    (curve,) = curves([group(problems("pqrstz"))])
    assert (curve.label, curve.flat, [p.k for p in curve.points]) == ("vote", True, [1, 2, 4])
    first, *_, last = curve.points
    assert first.accuracy.mean == pytest.approx((5 * 0.5 + 0.25) / 6)
    assert last.accuracy.mean == pytest.approx(sum(row.right for row in problems("pqrstz")) / 6)
    assert [p.cost.samples for p in curve.points] == [1, 2, 4]
    assert [p.cost.forwarded for p in curve.points] == [15, 20, 30]


def test_the_same_samples_under_other_selections_are_further_curves() -> None:
    rows = problems("pqrst", scores=SCORES, select="best", name="best_of_n")
    found = curves([group(rows, "best_of_n(n=4)")], ["vote", "any", "weighted"])
    assert [curve.label for curve in found] == ["best of n", "vote", "any right", "weighted vote"]
    assert [curve.points[-1].cost.verified for curve in found] == [24, 0, 0, 24]


def test_vote_over_stored_samples_is_one_curve_whoever_drew_them() -> None:
    rows = problems("pqrst", scores=SCORES, select="best", name="best_of_n")
    found = curves([group(problems("pqrst")), group(rows, "best_of_n(n=4)")], ["vote"])
    assert [curve.label for curve in found] == ["vote", "best of n"]


def test_searches_of_several_sizes_are_points_of_one_curve() -> None:
    made = [
        group([flat_row(["a", "b"], problem=p, name="beam", options={"n": n, "m": 2}, select="best") for p in "pqrst"])
        for n in (16, 4, 8)
    ]
    (curve,) = curves(made)
    assert (curve.label, curve.flat) == ("beam", False)
    assert {p.n for p in curve.points} == {4, 8, 16}
    costs = [p.cost.forwarded for p in curve.points]
    assert costs == sorted(costs)


def test_labels_say_what_differs() -> None:
    facts = [{"n": 4, "m": 2}, {"n": 16, "m": 2}, {"n": 4, "select": "vote"}]
    assert labels(["beam", "beam", "vote"], facts) == ["beam n=4", "beam n=16", "vote"]
    assert labels(["a", "a"], [{"verifier": "orm"}, {"verifier": ""}]) == ["a orm", "a"]


def test_bins_by_tag_in_order() -> None:
    tagged = {str(n): Problem((Message("user", str(n)),), tags={"size": n % 3}) for n in (5, 4, 3, 2)}
    assert by_tag(tagged, "size") == {"size 0": {"3"}, "size 1": {"4"}, "size 2": {"5", "2"}}
    assert by_tag(tagged, "colour") == {}


def test_bins_by_difficulty_keep_equal_rates_together() -> None:
    rates = {"a": 0.0, "b": 0.0, "c": 0.0, "d": 0.5, "e": 0.75, "f": 1.0}
    found = by_difficulty(rates, 3)
    assert found == {
        "pass@1 0.00 to 0.00": {"a", "b", "c"},
        "pass@1 0.50 to 0.50": {"d"},
        "pass@1 0.75 to 1.00": {"e", "f"},
    }
    assert by_difficulty({}, 4) == {}
    assert by_difficulty(dict.fromkeys("abcd", 0.5), 4) == {"pass@1 0.50 to 0.50": set("abcd")}


def test_a_curve_among_few_problems_is_left_out() -> None:
    (curve,) = curves([group(problems("pqrstz"))])
    assert curve.among({"p", "q", "r", "s"}) is None
    kept = curve.among(set("pqrst"))
    assert kept is not None
    assert kept.points[0].accuracy.mean == pytest.approx(0.5)


def made(label: str, points: list[tuple[float, list[float]]], flat: bool = True, select: str = "vote") -> Curve:
    names = [f"p{i}" for i in range(len(points[0][1]))]
    return Curve(
        label, label, select, "none", flat,
        [Point(label, 4, None, dict(zip(names, right, strict=True)), {n: Cost(1, cost, cost, 0, 0, 1) for n in names})
         for cost, right in points],
    )  # fmt: skip


def test_worth_is_asked_at_equal_cost() -> None:
    """Twice as accurate at every cost both have."""
    base = made("vote", [(10, [0, 0, 1, 0] * 10), (100, [0, 0, 1, 0] * 10)])
    better = made("beam", [(20, [1, 0, 1, 0] * 10), (80, [1, 0, 1, 0] * 10)], flat=False, select="best")
    (block,) = search_worth.blocks([base, better])
    assert (block["answer"], block["baseline"], block["search"]) == ("yes", "vote", "beam")
    assert block["average"]["mean"] == pytest.approx(0.25)
    assert "worth it, +25.0 points" in search_worth.sentence(block)
    far = made("beam", [(2000, [1, 0, 1, 0] * 10)], flat=False, select="best")
    (block,) = search_worth.blocks([base, far])
    assert block["answer"] == "no overlap"
    assert "can not be compared" in search_worth.sentence(block)


def test_no_curve_is_its_own_baseline() -> None:
    base = made("vote", [(10, [0, 1] * 3), (100, [1, 1] * 3)])
    assert search_worth.blocks([base]) == []
    assert search_worth.blocks([]) == []


def test_axes_without_costs_have_no_figure() -> None:
    (curve,) = curves([group(problems("pqrst"))])
    assert set(AXES) - set(curve_figures.known_axes([curve.plain()])) == {"flops"}
    json.dumps(curve.plain())


def test_figures_are_svg_with_every_label(tmp_path: Path) -> None:
    rows = problems("pqrst", scores=SCORES, select="best", name="best_of_n")
    plain = [c.plain() for c in curves([group(rows)], ["vote"])]
    found = curve_figures.figures(plain, "x")
    assert len({figure.title for figure in found}) == len(found) == 4
    assert all(figure.svg.startswith("<svg") for figure in found)
    alone = curve_figures.figure(plain, "forwarded", "y")
    assert "best of n" in alone.svg
    assert "best of n" in curve_figures.legend(plain)
