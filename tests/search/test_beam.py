from __future__ import annotations

import pytest
from step_world import HARD, Paths, World, ends, explore, words

from ponder.errors import ConfigError
from ponder.search import Driver, make_job

# two survivors of four, two children each
STEPS = {"": "abcd", "a": "12", "b": "ef", "c": "34", "be": "56", "bf": "78"}


def test_survivors_are_the_best_and_ended_beams_take_their_place_along() -> None:
    scores = {
        "a": 0.9,
        "b": 0.8,
        "c": 0.7,
        "d": 0.6,
        "a1": 0.95,
        "a2": 0.3,
        "be": 0.5,
        "bf": 0.6,
        "bf7": 0.2,
        "bf8": 0.4,
    }
    solution = explore("beam", STEPS, scores, n=4, width=2)
    # a and b survive of the first four; a1 ends with a place of its own, so bf alone goes on
    assert words(solution.tree) == ["a", "b", "c", "d", "a1", "a2", "be", "bf", "bf7", "bf8"]
    assert ends(solution) == ["a1", "a2", "bf7", "bf8"]
    assert solution.answer == "1"
    assert dict(solution.notes) == {"steps": 3, "copies": 0}


def test_copies_neither_survive_twice_nor_vote_twice() -> None:
    steps = {"": "aaab", "a": "11", "b": "23"}
    scores = {"a": 0.9, "b": 0.1, "a1": 0.5, "b2": 0.5, "b3": 0.5}
    solution = explore("beam", steps, scores, n=4, width=2, select="vote")
    # three copies of a are one beam, so b survives as well; the second a1 is withdrawn
    assert words(solution.tree) == ["a", "a", "a", "b", "a1", "a1", "b2", "b3"]
    assert ends(solution) == ["a1", "b2", "b3"]
    assert dict(solution.votes) == {"1": 1, "2": 1, "3": 1}
    assert solution.notes["copies"] == 3


def test_an_early_end_of_low_score_takes_no_place() -> None:
    steps = {"": "ab1c", "a": "2", "b": "3", "c": "4"}
    solution = explore("beam", steps, {"a": 0.9, "b": 0.8, "1": 0.1, "c": 0.2}, n=4, width=2)
    assert ends(solution) == ["1", "a2", "b3"]  # a2 and b3 were drawn twice each


def test_no_beam_of_the_last_round_is_left_unfinished() -> None:
    solution = explore("beam", STEPS, {"b": 0.9, "a": 0.8}, n=4, width=2, max_steps=1)
    assert words(solution.tree) == ["a", "b", "c", "d", "be5", "a1"]  # the better one first
    assert ends(solution) == ["be5", "a1"]


def test_one_engine_call_per_round_for_all_problems() -> None:
    engine = World(STEPS)
    verifier = Paths({"a": 0.1, "d": 0.1, "c": 0.9, "be": 0.6})
    jobs = [
        make_job(HARD, engine, "beam", n=4, seed=seed, verifier=verifier, max_tokens=64, options={"width": 2})
        for seed in range(3)
    ]
    Driver(engine, verifier).run(jobs)
    assert [len(call) for call in engine.calls] == [12, 12, 6]


@pytest.mark.parametrize(("n", "width", "first", "then"), [(5, 2, 5, 4), (1, 4, 1, 1), (3, 4, 3, 3)])
def test_numbers_that_do_not_divide(n: int, width: int, first: int, then: int) -> None:
    """n // width survivors, at least one, each with `width` children, at most n."""
    steps = {"": "abcde", **dict.fromkeys("abcde", "fghij"), **{a + b: "1" for a in "abcde" for b in "fghij"}}
    solution = explore("beam", steps, {}, n=n, width=width, max_steps=2)
    depths = [node.depth for node in solution.tree]
    assert (depths.count(1), depths.count(2)) == (first, then)


def test_impossible_settings() -> None:
    with pytest.raises(ConfigError, match="strategy 'beam': width = 0; at least 1"):
        explore("beam", STEPS, {}, width=0)
