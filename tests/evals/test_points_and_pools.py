"""Operating points from a sweep, the pools that serve them, and what each point is worth, against enumeration."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import pytest
from calibrate_fakes import Sums, Uneven
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.errors import ConfigError
from ponder.evals import pools
from ponder.evals.points import Point, Sweep, default_sweep, expand, known_efforts
from ponder.evals.points import pools as pools_of
from ponder.evals.pools import Drawn
from ponder.search.select import SELECTORS
from ponder.search.solution import Solution
from ponder.types import Ledger, Problem


def test_default_sweep() -> None:
    labels = [p.label for p in expand(default_sweep(8, False), (None,), False)]
    assert labels == ["greedy", "sample", "vote n=2", "vote n=4", "vote n=8"]
    both = [p.label for p in expand(default_sweep(2, True), ("low", "high"), True)]
    names = ("greedy", "sample", "vote n=2", "best_of_n n=2", "weighted_vote n=2")
    assert both == [f"{name}, effort {effort}" for name in names for effort in ("low", "high")]
    assert [p.label for p in expand(default_sweep(1, True), (None,), True)] == ["greedy", "sample"]


def test_a_line_is_every_combination_once() -> None:
    line = Sweep(strategy="vote", n=(2, 4), efforts=("low",), select=("", "likelihood"), budget=(50,), temperature=0.7)
    points = expand([line, line], ("low", "high"), False)
    assert len(points) == 4
    assert points[1].label == "vote n=2 by likelihood within 50 tokens temperature 0.7, effort low"
    made = points[1].operating("judge")
    assert (made.strategy, made.n, made.effort) == ("vote", 2, "low")
    assert (made.select, made.budget, made.temperature) == ("likelihood", 50, 0.7)
    assert made.verifier == ""  # likelihood needs none
    assert Point("best_of_n", 4).operating("judge").verifier == "judge"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (Sweep(strategy="votes"), "unknown strategy 'votes'; did you mean 'vote'"),
        (Sweep(strategy="vote", select=("bset",)), "unknown selection 'bset'"),
        (Sweep(strategy="vote", options={"m": 4}), "option of strategy 'vote'"),
        (Sweep(strategy="greedy", n=(4,)), "draws exactly 1"),
        (Sweep(strategy="best_of_n", n=(4,)), "the sweep's 'best_of_n n=4' needs a verifier"),
        (Sweep(strategy="vote", select=("weighted",)), "'vote by weighted' needs a verifier"),
        (Sweep(strategy="vote", efforts=("low",)), "this model does not know effort 'low'"),
    ],
)
def test_what_a_sweep_can_not_be(line: Sweep, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        expand([line], (None,), False)
    with pytest.raises(ConfigError, match="names no operating point"):
        expand([], (None,), False)


def test_flat_points_of_one_effort_share_a_pool() -> None:
    points = expand(default_sweep(8, True), ("low", "high"), True)
    found = pools_of(points, least=4)
    flat = [pool for pool in found if pool.points[0].pooled]
    assert [(pool.search.label, len(pool.points)) for pool in flat] == [
        ("best_of_n n=8, effort low", 10),
        ("best_of_n n=8, effort high", 10),
    ]
    assert [pool.search.label for pool in found if pool not in flat] == ["greedy, effort low", "greedy, effort high"]
    assert len({pool.key for pool in found}) == 4
    assert [pool.size for pool in pools_of([Point("sample")], least=4)] == [4]
    assert not Point("vote", 4, budget=10).pooled
    assert not Point("vote").pooled  # its own number is the strategy's business
    assert not Point("best_of_n", 4, options=(("steps", True),)).pooled


def test_known_efforts() -> None:
    engine: Any = Uneven()
    assert known_efforts(engine) == (None,)


def row(
    names: list[str | None],
    verdicts: list[bool],
    scores: list[float | None] | None = None,
    lengths: list[int] | None = None,
    verified: int = 0,
) -> Drawn:
    n = len(names)
    return Drawn(
        pool="p",
        problem="q",
        right=True,
        prompt=5,
        names=tuple(names),
        verdicts=tuple(verdicts),
        scores=tuple(scores or [None] * n),
        logprobs=tuple(-0.1 * i for i in range(n)),
        lengths=tuple(lengths or [10] * n),
        weights=(None,) * n,
        ledger=Ledger(prefilled=5, decoded=sum(lengths or [10] * n), verified=verified),
        wall=0.0,
        ended="done",
    )


def enumerated(drawn: Drawn, rule: str, k: int, ties: int = 400) -> float:
    """What `search.select` gives over all k-subsets, its random ties averaged over many seeds."""
    samples, total = pools.candidates(drawn), 0.0
    subsets = list(combinations(range(len(samples)), k))
    for subset in subsets:
        for seed in range(ties):
            at = SELECTORS[rule]([samples[i] for i in subset], seed).index
            total += 0.0 if at is None else drawn.verdicts[subset[at]]
    return total / len(subsets) / ties


@pytest.mark.parametrize(("strategy", "rule"), [("vote", "vote"), ("best_of_n", "best"), ("weighted_vote", "weighted")])
@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_expected_accuracy_is_that_of_the_search_over_all_subsets(strategy: str, rule: str, k: int) -> None:
    drawn = row(["a", "b", "a", None, "c"], [True, False, True, False, False], [0.4, 0.9, 0.7, 0.95, 0.2])
    assert pools.accuracy(drawn, Point(strategy, k)) == pytest.approx(enumerated(drawn, rule, k), abs=0.03)


def test_accuracy_by_hand() -> None:
    drawn = row(["a", "b", "b", None], [True, False, False, True])
    assert pools.accuracy(drawn, Point("sample")) == 0.25  # the one without an answer can not be chosen
    assert pools.accuracy(drawn, Point("vote", 4)) == 0.0
    # pairs: ab tie 1/2, ab tie 1/2, a- 1, bb 0, b- 0, b- 0
    assert pools.accuracy(drawn, Point("vote", 2)) == pytest.approx(2 / 6)
    assert pools.accuracy(drawn, Point("greedy")) == 1.0  # the search's own verdict
    assert pools.accuracy(row([], []), Point("vote", 4)) == 0.0


@given(st.integers(1, 6))
@settings(max_examples=6, deadline=None)
def test_tokens_are_the_mean_over_subsets(k: int) -> None:
    lengths = [3, 5, 8, 13, 21, 34]
    drawn = row(list("abcdef"), [True] * 6, lengths=lengths, verified=89)
    subsets = list(combinations(lengths, k))
    mean = 5 + math.fsum(map(sum, subsets)) / len(subsets)
    assert pools.tokens(drawn, Point("vote", k)) == pytest.approx(mean)
    assert pools.tokens(drawn, Point("best_of_n", k)) == pytest.approx(2 * mean)  # all that was drawn is read: 5 + 84
    assert pools.tokens(drawn, Point("greedy")) == 5 + 84 + 89


def test_a_pool_agrees_with_running_each_point() -> None:
    """Expected accuracy from one pool of 16 against the share right of real votes with other seeds, over 60 problems."""
    from ponder.evals.pools import Rig
    from ponder.search.drive import Driver

    engine: Any = Uneven()
    task: Any = Sums()
    problems = task.problems("dev", 60)
    rig = Rig(engine, None, task, 0)
    whole = Point("vote", 16)

    def row_of(task: Any, problem: Problem, solution: Solution) -> Drawn:
        return pools.drawn(
            "p", problem, solution, [task.grader.grade(problem, c).correct for c in solution.completions], 0.0
        )

    solutions = Driver(engine).run([pools.job_of(rig, whole, p, False) for p in problems])
    rows = [row_of(task, p, s) for p, s in zip(problems, solutions, strict=True)]
    for point in (Point("sample"), Point("vote", 3), Point("vote", 8)):
        expected = sum(pools.accuracy(row, point) for row in rows) / len(rows)
        seen, cost = 0.0, 0.0
        for seed in range(1, 6):
            other = Rig(engine, None, task, seed)
            for p, s in zip(
                problems, Driver(engine).run([pools.job_of(other, point, p, False) for p in problems]), strict=True
            ):
                found = row_of(task, p, s)
                seen, cost = seen + found.right, cost + found.ledger.forwarded
        assert expected == pytest.approx(seen / 300, abs=0.08)
        assert sum(pools.tokens(row, point) for row in rows) / len(rows) == pytest.approx(cost / 300)
