"""Routing by a probe: what is charged, what the policy may know, and that it wins where it should and not elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from calibrate_fakes import Sums, Uneven

from ponder.evals import pools, routing
from ponder.evals.frontier import Curve, folds
from ponder.evals.points import Point, Pool
from ponder.evals.pools import Drawn, Rig
from ponder.search.drive import Driver

POINTS = [Point("sample"), *[Point("vote", n) for n in (2, 4, 8, 16)]]


def drawn(engine: Any, problems: int = 80, n: int = 16) -> tuple[Pool, list[Drawn], Curve]:
    task: Any = Sums()
    asked = task.problems("dev", problems)
    rig = Rig(engine, None, task, 0)
    solutions = Driver(engine).run([pools.job_of(rig, Point("vote", n), p, False) for p in asked])
    rows = [
        pools.drawn("p", p, s, [task.grader.grade(p, c).correct for c in s.completions], 0.0)
        for p, s in zip(asked, solutions, strict=True)
    ]
    values = np.array([[(pools.accuracy(r, p), pools.tokens(r, p)) for p in POINTS] for r in rows])
    return Pool(tuple(POINTS), n), rows, Curve(values[..., 0].copy(), values[..., 1].copy())


def test_what_a_probe_sees_and_costs() -> None:
    pool, rows, curve = drawn(Uneven(), 10)
    probed = routing.probe(rows, pool, POINTS, curve, 4, 0)
    assert probed.bins.shape == (10, routing.ORDERS)
    assert probed.bins.min() >= 1 and probed.bins.max() <= 4
    assert probed.usable.tolist() == [False, False, True, True, True]  # fewer samples than the probe drew
    prompt = rows[0].prompt
    # the probe's own pool goes on from the probe: a vote over 8 costs the prompt and 8 samples, not 12
    assert (probed.tokens[..., 3] == prompt + 80).all()
    assert (probed.tokens[..., 2] == prompt + 40).all()
    other = routing.probe(rows, Pool((), 16), POINTS, curve, 4, 0)
    assert other.usable.all()
    assert (other.tokens[..., 3] == 2 * prompt + 120).all()  # a stranger pays the probe and a prompt of its own
    assert (other.accuracy[:, 0] == curve.accuracy).all()


def test_accuracy_behind_a_probe_is_conditional() -> None:
    """Where all four of the probe agree the vote over four is right or wrong with them, never in between."""
    pool, rows, curve = drawn(Uneven(), 30)
    probed = routing.probe(rows, pool, POINTS, curve, 4, 0)
    agreed = probed.bins == 4
    assert set(np.unique(probed.accuracy[agreed][:, 2])) <= {0.0, 1.0}
    assert probed.accuracy[agreed][:, 2].mean() > probed.accuracy[~agreed][:, 2].mean()
    # over all orders the mean is the unconditional one
    assert probed.accuracy[..., 3].mean() == pytest.approx(curve.accuracy[:, 3].mean(), abs=0.05)


def test_routing_wins_where_problems_differ() -> None:
    """Half of the problems need no vote at all, the others a long one."""
    pool, rows, curve = drawn(Uneven(easy=1.0, hard=0.3, wrong=40), 80, 16)
    probed = routing.probe(rows, pool, POINTS, curve, 4, 0)
    (found,) = routing.route(probed, curve, [3], folds(80, 4, 0), 4)
    assert found.gain.low > 0
    assert found.accuracy > found.fixed_accuracy
    assert found.tokens == pytest.approx(found.fixed_tokens, rel=0.01)
    assert POINTS[found.policy[4]].count == 4 < POINTS[found.policy[1]].count


def test_routing_gains_nothing_where_problems_are_alike_and_easy() -> None:
    pool, rows, curve = drawn(Uneven(easy=1.0, hard=1.0), 40)
    probed = routing.probe(rows, pool, POINTS, curve, 4, 0)
    assert not routing.affordable(probed, curve, 0)
    assert routing.affordable(probed, curve, 2)
    (found,) = routing.route(probed, curve, [3], folds(40, 5, 0), 4)
    assert found.gain.mean == 0.0
    assert found.accuracy == found.fixed_accuracy == 1.0


def test_a_policy_is_within_its_limit_on_what_it_was_made_from() -> None:
    pool, rows, curve = drawn(Uneven(hard=0.3), 30, 16)
    probed = routing.probe(rows, pool, POINTS, curve, 4, 0)
    costs: list[float] = []
    for limit in (60.0, 100.0, 200.0, 400.0):
        policy = routing._policy(probed, limit, 4)
        cost = float(routing._apply(probed, policy)[:, 1].mean())
        assert cost <= limit + 1e-9
        costs.append(cost)
    assert costs == sorted(costs)


def test_mix_of_fixed_points_meets_the_cost() -> None:
    _, _, curve = drawn(Uneven(), 30)
    for cost in (50.0, 90.0, 150.0):
        mixed = routing._mixed(curve, curve, cost)
        assert mixed[:, 1].mean() == pytest.approx(cost)
    assert routing._mixed(curve, curve, 1e9)[:, 1].mean() == pytest.approx(
        curve.tokens[:, routing._hull(curve)[-1]].mean()
    )


def test_hull_skips_points_under_the_line() -> None:
    curve = Curve(np.tile([0.0, 0.1, 0.8, 0.9], (2, 1)), np.tile([1.0, 2, 3, 9], (2, 1)))
    assert routing._hull(curve) == [0, 2, 3]


def test_the_cheapest_pool_large_enough_is_the_probe() -> None:
    pool, rows, _ = drawn(Uneven(), 5, 8)
    greedy = Pool((Point("greedy"),))
    assert routing.cheapest([greedy, pool], [rows, rows], 4) == 1
    assert routing.cheapest([pool], [rows], 9) is None
    assert routing.cheapest([greedy], [rows], 1) is None
