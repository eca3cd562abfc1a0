from __future__ import annotations

import pytest
from step_world import ends, explore, words

from ponder.errors import ConfigError
from ponder.search.beam import Beam
from ponder.search.options import describe, plain_name
from ponder.search.repeat import Repeat, read_strategy
from ponder.search.strategies import STRATEGIES, make, wants_verifier

STEPS = {"": "abcd", "a": "1", "b": "2", "c": "3", "d": "2"}


def test_vote_over_beams() -> None:
    """Two beams of two, side by side: the first draws a and b, the second c and d."""
    scores = {"a": 0.1, "b": 0.9, "c": 0.2, "d": 0.8, "b2": 0.4, "d2": 0.4}
    solution = explore("repeat", STEPS, scores, inner="beam(n=2,width=2)", times=2, select="vote")
    assert words(solution.tree) == ["a", "b", "c", "d", "b2", "b2", "d2", "d2"]
    assert ends(solution) == ["b2", "d2"]
    assert dict(solution.votes) == {"2": 2}
    assert solution.notes == {"steps": 4, "copies": 2}


def test_repeated_samples_are_a_vote() -> None:
    solution = explore("repeat", STEPS, {}, inner="sample", times=4)
    assert solution.answer == "2"
    assert dict(solution.votes) == {"2": 2, "1": 1, "3": 1}


def test_what_follows_from_the_inner_strategy() -> None:
    repeat = Repeat("beam")
    assert (repeat.select, repeat.needs_verifier, repeat.n) == ("weighted", True, 16)
    assert Repeat("sample").select == "vote"
    assert Repeat("vote", n=3).strategy == make("vote", 3)[1]
    assert Repeat("beam", select="best").select == "best"
    assert not Repeat("vote").needs_verifier
    name, made = make("repeat", 8, inner="beam(width=2)", times=3)
    assert name == "repeat"
    assert made == Repeat(Beam(n=8, width=2), times=3)
    assert wants_verifier(made)


def test_a_strategy_in_words() -> None:
    assert read_strategy("beam") == Beam()
    assert read_strategy(" beam( n=8, width=2 ) ") == Beam(n=8, width=2)
    for text, said in (("bean", "did you mean 'beam'"), ("beam(n", "write a name"), ("beam(m=2)", "unknown option")):
        with pytest.raises(ConfigError, match=said):
            read_strategy(text)
    with pytest.raises(ConfigError, match="times = 0"):
        Repeat("beam", times=0)
    with pytest.raises(ConfigError, match="draws exactly 1"):
        Repeat("greedy", n=2)


@pytest.mark.parametrize("name", sorted(STRATEGIES.entries))
def test_a_strategy_is_named_as_the_registry_names_it(name: str) -> None:
    assert plain_name(make(name)[1]) == name


@pytest.mark.parametrize("name", ["beam", "best_of_n", "step_search"])
def test_an_inner_strategy_is_read_as_it_was_written(name: str) -> None:
    inner = make(name, n=3)[1]
    assert read_strategy(describe(name, inner)) == inner
