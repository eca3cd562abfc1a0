from __future__ import annotations

import pytest
from step_world import ends, explore, words

from ponder.errors import ConfigError

STEPS = {"": "ab1", "a": "cd", "b": "e2", "be": "34", "ac": "5"}


def test_the_best_step_again_and_again() -> None:
    solution = explore("step_search", STEPS, {"a": 0.4, "b": 0.6, "1": 0.1, "be": 0.8, "b2": 0.2, "be4": 0.9}, n=3)
    assert words(solution.tree) == ["a", "b", "1", "be", "b2", "be", "be3", "be4", "be3"]
    assert ends(solution) == ["be4"]  # 1 and b2 ended too, but off the path
    assert solution.answer == "4"
    assert dict(solution.notes) == {"steps": 3, "ended": 1}


def test_an_end_that_scores_best_ends_the_search() -> None:
    solution = explore("step_search", STEPS, {"1": 0.9}, n=3)
    assert words(solution.tree) == ["a", "b", "1"]
    assert solution.answer == "1"


def test_equals_go_to_the_step_drawn_first() -> None:
    solution = explore("step_search", {"": "ab", "a": "1", "b": "2"}, {}, n=2)
    assert solution.answer == "1"


def test_an_abstention_is_below_every_score() -> None:
    solution = explore("step_search", {"": "ab", "a": "1", "b": "2"}, {"a": None, "b": 0.0}, n=2)
    assert solution.answer == "2"


def test_scores_of_correctness_multiply_along_the_branch() -> None:
    """All children share their parent, so the product orders them as their own scores do."""
    scores = {"a": 0.9, "b": 0.8, "ac": 0.2, "ad": 0.3, "ad6": 0.7}
    solution = explore("step_search", {**STEPS, "ad": "6"}, scores, n=2, semantics="correctness")
    assert solution.answer == "6"
    assert solution.scores == pytest.approx([0.9 * 0.3 * 0.7])


def test_after_the_last_step_it_is_drawn_to_its_end() -> None:
    solution = explore("step_search", STEPS, {"b": 0.9}, n=2, max_steps=1)
    assert words(solution.tree) == ["a", "b", "be3"]
    assert ends(solution) == ["be3"]


@pytest.mark.parametrize("options", [{"n": 0}, {"n": 2, "max_steps": 0}])
def test_impossible_settings(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"at least 1|1 or more"):
        explore("step_search", STEPS, {}, **options)
