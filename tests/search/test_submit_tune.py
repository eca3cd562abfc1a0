"""Weights by random search, the best possible choice, and curves; against enumeration and by hand."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.errors import ConfigError, DataError
from ponder.search import submit, submit_score, submit_tune
from ponder.search.submit import Output, Program, Subtask, Weights

A = Subtask("a", 1.0, inputs=("i",))


def solved(right: str, outputs: str, learned: tuple[float | None, ...] = ()) -> submit_tune.Solved:
    """A problem of programs 0, 1, … with one-letter outputs (`!` an error); those named in `right` are right."""
    programs = [
        Program(
            f"{i}", "a", f"code {i}", outputs={"i": Output("error") if o == "!" else Output("ok", o)},
            learned=learned[i] if learned else None,
        )
        for i, o in enumerate(outputs)
    ]  # fmt: skip
    return submit_tune.Solved.of([A], programs, {p.id: {"a": float(p.id in right)} for p in programs})


def test_tuning_finds_the_term_that_tells():
    """Errors gather in the largest cluster, the right one is small and liked by the scoring function."""
    problems = [solved("3", "xxxy", (0.1, 0.1, 0.1, 0.9 - n / 100)) for n in range(6)]
    start = Weights(10.0, 0.0, 0.01, 0.0)
    assert [p.area(start, 4) for p in problems] == [0.25] * 6
    weights = submit_tune.tune(problems, trials=40, limit=4, start=start)
    assert [p.area(weights, 4) for p in problems] == [1.0] * 6
    found = submit_tune.held_out(problems, trials=40, limit=4, start=start)
    assert found.start == (0.25,) * 6 and found.tuned == (1.0,) * 6


def test_a_problem_is_never_scored_with_weights_that_saw_it():
    """Two kinds of problems that want opposite weights: what is tuned on one kind alone loses on the other."""
    liked, large = solved("3", "xxxy", (0.0, 0.0, 0.0, 1.0)), solved("012", "xxxy", (0.0, 0.0, 0.0, 1.0))
    found = submit_tune.held_out([liked, large], trials=60, limit=1, folds=2)
    assert found.tuned == (0.0, 0.0)


def test_tuning_never_loses_on_what_it_saw_and_is_the_same_for_a_seed():
    problems = [solved("0", "xyy"), solved("2", "x!y"), solved("1", "!yx")]
    weights = submit_tune.tune(problems, 30, 3, seed=5)
    assert weights == submit_tune.tune(problems, 30, 3, seed=5)
    assert sum(p.area(weights, 3) for p in problems) >= sum(p.area(Weights(), 3) for p in problems)
    with pytest.raises(ConfigError, match="at least 2"):
        submit_tune.held_out(problems[:1])


shares = st.sampled_from([0.0, 0.25, 0.5, 1.0])


@given(st.lists(st.tuples(shares, shares, shares), min_size=1, max_size=6), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_the_best_possible_choice_is_that_of_enumeration(rows: list[tuple[float, float, float]], limit: int):
    subtasks = [Subtask("a", 20), Subtask("b", 30), Subtask("c", 50)]
    programs = [Program(str(i), "a", str(i)) for i in range(len(rows))]
    truth = {str(i): dict(zip("abc", row, strict=True)) for i, row in enumerate(rows)}

    def points(chosen: tuple[int, ...]) -> float:
        return sum(s.points * max(rows[i][j] for i in chosen) for j, s in enumerate(subtasks))

    found = submit_score.best_possible(subtasks, programs, truth, limit)
    for k in range(1, limit + 1):
        subsets = itertools.combinations(range(len(rows)), min(k, len(rows)))
        assert found[k - 1] == pytest.approx(max(map(points, subsets)))


def test_curves_by_hand():
    programs = [Program(n, "a", n, public=(n != "z",)) for n in "wxyz"]
    truth = {"w": {"a": 0.5}, "x": {"a": 1.0}, "y": {}, "z": {}}
    plan = submit.choose([A], programs, lambda p: truth[p.id], limit=4)
    found = submit_score.curve([A], programs, plan, truth, limit=4)
    done = [truth[s.program.id].get("a", 0.0) for s in plan.submissions]
    assert found.chosen == tuple(max(done[:k]) for k in range(1, 5))
    assert found.best == (1.0,) * 4
    assert found.random[0] == pytest.approx(1.5 / 4) and found.random_kept[0] == pytest.approx(1.5 / 3)
    assert found.random[3] == found.random_kept[2] == 1.0
    with pytest.raises(DataError, match="11 subtasks"):
        submit_score.best_possible([Subtask(str(i)) for i in range(11)], programs, truth)
