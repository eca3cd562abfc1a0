from __future__ import annotations

import pytest
from step_world import ends, explore, words

from ponder.errors import ConfigError


def test_the_first_positive_step_is_taken_and_no_more_are_drawn() -> None:
    steps = {"": "abc", "a": "d", "b": "1"}
    solution = explore("hgs", steps, {"a": 0.5, "b": 0.8, "b1": 0.9}, n=3)
    assert words(solution.tree) == ["a", "b", "b1"]
    assert dict(solution.notes) == {"steps": 3, "backtracks": 0, "fallback": 0}


def test_without_a_positive_one_the_best_neutral_one() -> None:
    steps = {"": "abc", "b": "1"}
    solution = explore("hgs", steps, {"a": 0.4, "b": 0.6, "c": 0.5, "b1": 0.7}, n=3)
    assert words(solution.tree) == ["a", "b", "c", "b1"]
    assert solution.answer == "1"


def test_all_negative_means_back_and_the_parent_draws_on() -> None:
    # a is positive, but whatever follows is negative: back to the root, which has draws left; b leads home
    steps = {"": "ab", "a": "cd", "b": "1"}
    solution = explore("hgs", steps, {"a": 0.9, "ac": 0.1, "ad": 0.2, "b": 0.8, "b1": 0.7}, n=2)
    assert words(solution.tree) == ["a", "ac", "ad", "b", "b1"]
    assert solution.answer == "1"
    assert solution.notes["backtracks"] == 1
    assert solution.notes["fallback"] == 0


def test_back_to_a_neutral_one_left_untried() -> None:
    steps = {"": "ab", "a": "cd", "b": "1"}
    solution = explore("hgs", steps, {"a": 0.6, "b": 0.5, "ac": 0.1, "ad": 0.2, "b1": 0.9}, n=2)
    assert words(solution.tree) == ["a", "b", "ac", "ad", "b1"]
    assert solution.notes["backtracks"] == 1


def test_a_dead_root_falls_back_to_the_best_prefix_and_finishes_greedily() -> None:
    steps = {"": "ab", "a": "cd", "ac": "1", "ad": "2", "b": "3"}
    solution = explore("hgs", steps, {"a": 0.9, "ac": 0.1, "ad": 0.2, "b": 0.1}, n=2)
    # a and then the root die; a is the best prefix, and its likeliest end is ac1
    assert words(solution.tree) == ["a", "ac", "ad", "b", "ac1"]
    assert ends(solution) == ["ac1"]
    assert solution.tree.nodes[-1].parent is solution.tree.nodes[1]
    assert dict(solution.notes) == {"steps": 4, "backtracks": 2, "fallback": 1}


def test_an_end_the_verifier_rejects_is_no_answer_but_comes_before_none() -> None:
    steps = {"": "1a", "a": "2"}
    assert ends(explore("hgs", steps, {"1": 0.1, "a": 0.8, "a2": 0.9}, n=2)) == ["a2"]
    # with both ends rejected the greedy end of the best prefix is given
    assert ends(explore("hgs", steps, {"1": 0.1, "a": 0.8, "a2": 0.1}, n=2)) == ["a2"]


def test_caps() -> None:
    steps = {"": "a", "a": "b", "ab": "c", "abc": "d", "abcd": "1"}
    short = explore("hgs", steps, {}, n=1, negative=0.0, max_steps=2)
    assert words(short.tree) == ["a", "ab", "abcd1"]
    assert short.notes["fallback"] == 1
    once = explore("hgs", {"": "ab", "a": "1", "b": "2"}, {"a": 0.9, "a1": 0.1}, n=2, max_backtracks=0)
    assert once.notes["backtracks"] == 1
    assert once.notes["fallback"] == 1
    assert once.answer == "1"


def test_an_abstention_is_negative() -> None:
    solution = explore("hgs", {"": "ab", "a": "1", "b": "2"}, {"a": None, "b": 0.5, "b2": 0.5}, n=2)
    assert solution.answer == "2"


@pytest.mark.parametrize("bounds", [(0.2, 0.5), (1.5, 0.1), (0.5, -0.1)])
def test_impossible_thresholds(bounds: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="0 ≤ negative ≤ positive ≤ 1"):
        explore("hgs", {"": "1"}, {}, positive=bounds[0], negative=bounds[1])
