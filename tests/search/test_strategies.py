"""Names and options of strategies: what is refused, and how values are read."""

from __future__ import annotations

from typing import Any

import pytest

from ponder.errors import ConfigError
from ponder.search.adaptive import Adaptive
from ponder.search.forcing import Forcing
from ponder.search.options import options_of, read_options
from ponder.search.strategies import STRATEGIES, make


def test_options_are_read_as_their_types() -> None:
    assert make("adaptive", 7, level=1e-2, rule="beta") == ("adaptive", Adaptive(7, level=0.01, rule="beta"))
    assert make("forcing", wait=5, max_thinking=None, waits=2) == ("forcing", Forcing(waits=2, wait="5"))
    assert make("rerank", blend=1) == make("rerank", blend=1.0)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("adaptiv", {}, "unknown strategy 'adaptiv'; did you mean 'adaptive'"),
        ("adaptive", {"bach": 3}, "unknown option of strategy 'adaptive' 'bach'; did you mean 'batch'"),
        ("adaptive", {"batch": "x"}, "batch = 'x': strategy 'adaptive' expects int"),
        ("adaptive", {"batch": 2.5}, "batch = 2.5: strategy 'adaptive' expects int"),
        ("forcing", {"max_thinking": "long"}, "max_thinking = 'long': strategy 'forcing' expects int or none"),
        ("best_of_n", {"stepwise": 3}, "stepwise = 3: strategy 'best_of_n' expects true or false"),
        ("greedy", {"n": 2}, "n = 2: strategy 'greedy' draws exactly 1"),
        ("vote", {"n": -1}, "n = -1: strategy 'vote' draws 1 or more"),
        ("vote", {"needs_verifier": True}, "unknown option of strategy 'vote' 'needs_verifier'"),
        ("vote", {"select": "vott"}, "unknown selection 'vott'; did you mean 'vote'"),
    ],
)
def test_what_is_refused(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make(name, **options)


def test_a_number_given_twice() -> None:
    with pytest.raises(ConfigError, match="given two numbers"):
        make("vote", 3, n=4)
    assert make("vote", 3, n=3) == make("vote", 3)
    assert make("greedy", 1) == make("greedy", n=1) == make("greedy")


@pytest.mark.parametrize("name", STRATEGIES.names())
def test_every_strategy_can_be_made_again_from_its_options(name: str) -> None:
    _, made = make(name)
    assert make(name, **options_of(made))[1] == made


def test_options_are_json_or_text_or_lists_of_bare_words() -> None:
    words = ["a=4", "b=true", "c=[shelf, mbpp]", 'd=["x","y z"]', "e=[1,two,3]", "f=[a[0]", "g=some text", "h=[]"]
    assert read_options(words) == {
        "a": 4, "b": True, "c": ["shelf", "mbpp"], "d": ["x", "y z"], "e": [1, "two", 3], "f": "[a[0]", "g": "some text",
        "h": [],
    }  # fmt: skip
