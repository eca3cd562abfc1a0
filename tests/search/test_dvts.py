from __future__ import annotations

import pytest
from step_world import ends, explore, words

STEPS = {"": "abcd", "a": "12", "b": "34", "c": "ef", "d": "56", "ce": "77", "cf": "89"}


def test_subtrees_do_not_compete_and_give_one_answer_each() -> None:
    scores = {"a": 0.2, "b": 0.1, "c": 0.9, "d": 0.8, "a1": 0.3, "a2": 0.4, "cf": 0.6, "cf8": 0.1, "cf9": 0.7}
    solution = explore("dvts", STEPS, scores, n=4, width=2)
    # a wins the first pair although c and d are better; the two trees take their steps together
    assert words(solution.tree) == ["a", "b", "c", "d", "a1", "a2", "ce", "cf", "cf8", "cf9"]
    assert ends(solution) == ["a2", "cf9"]
    assert dict(solution.votes) == pytest.approx({"9": 0.7, "2": 0.4})
    assert solution.answer == "9"
    assert dict(solution.notes) == {"steps": 5, "ended": 2}


def test_answers_of_subtrees_add_up_by_score() -> None:
    steps = {"": "abcdef", "a": "1", "b": "1", "c": "2", "d": "2", "e": "1", "f": "1"}
    scores = {"a1": 0.4, "c2": 0.7, "e1": 0.4}
    solution = explore("dvts", steps, scores, n=6, width=2)
    assert ends(solution) == ["a1", "c2", "e1"]
    assert solution.answer == "1"
    assert solution.select("best").index == 1


def test_the_same_branch_in_two_subtrees_counts_twice() -> None:
    solution = explore("dvts", {"": "aabb", "a": "1", "b": "2"}, {}, n=8, width=2, select="vote")
    assert ends(solution) == ["a1", "b2", "a1", "b2"]


def test_fewer_branches_than_the_width() -> None:
    solution = explore("dvts", STEPS, {}, n=3, width=4)
    assert solution.notes["ended"] == 1
    assert words(solution.tree)[:3] == ["a", "b", "c"]
