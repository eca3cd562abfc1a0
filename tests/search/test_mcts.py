from __future__ import annotations

import math

import pytest
from step_world import HARD, Paths, World, ends, explore, words

from ponder.errors import ConfigError
from ponder.search import Driver, make_job
from ponder.search.mcts import MCTS, Place, favourite
from ponder.search.tree import Tree

STEPS = {"": "ab", "a": "cd", "b": "ef", "ac": "12", "ad": "34", "be": "56", "bf": "78"}
TREE = Tree()
ROOT = TREE.add(None, prompt_ids=(1,))


def place(value: float, visits: int = 0, total: float = 0.0, prior: float = 0.5) -> Place:
    return Place(TREE.add(ROOT, prompt_ids=(1,)), value, prior, visits, total)


def test_the_rule_by_hand() -> None:
    """Q + c P sqrt(N) / (1 + n), c = log((N + 19653) / 19652) + 1.25."""
    a, b = place(0.9, visits=3, total=2.4), place(0.6)
    top = Place(ROOT, visits=4, children=[a, b])
    c = math.log((4 + 19653) / 19652) + 1.25
    of_a, of_b = 0.8 + c * 0.5 * 2 / 4, 0.6 + c * 0.5 * 2 / 1
    assert (of_a, of_b) == pytest.approx((1.11256, 1.85025), abs=1e-5)
    assert MCTS().descend(top)[-1] is b
    assert MCTS(c_init=0.0).descend(top)[-1] is a
    assert favourite(top) is a


def test_a_tree_by_hand() -> None:
    scores = {"a": 0.6, "b": 0.5, "ac": 0.1, "ad": 0.2, "be": 0.9, "bf": 0.4, "be5": 0.8, "be6": 0.3}
    solution = explore("mcts", STEPS, scores, n=4, width=2)
    # 1: the root. 2, N = 1: a .6 + .625, b .5 + .625 → a. 3, N = 2: a .6 + .442, b .5 + .884 → b.
    # 4, N = 3: a (Q .6, n 1) .6 + .541; b .5 + .541 → a, and under it (N = 1) ac .1, ad .2 → ad
    assert words(solution.tree)[:8] == ["a", "b", "ac", "ad", "be", "bf", "ad3", "ad4"]
    # a and b are finished from their most visited leaves: ad3 (no visits: the better of equals, the first), and be
    assert words(solution.tree)[8:] == ["be5"]
    assert ends(solution) == ["ad3", "ad4", "be5"]
    assert solution.answer == "5"
    assert dict(solution.notes) == {"visits": 4, "expansions": 4}


def test_several_leaves_at_a_time() -> None:
    """After the root both a and b are drawn behind in one call; a visit that is under way counts, its value not yet."""
    engine, verifier = World(STEPS), Paths({"a": 0.6, "b": 0.5})
    job = make_job(
        HARD, engine, "mcts", 3, verifier=verifier, max_tokens=64, options={"width": 2, "leaves": 2, "max_depth": 2}
    )
    solution = Driver(engine, verifier).run([job])[0]
    # the first round finds the root alone; the second: a first (.6 + c/2 > .5 + c/2), then b (.5 + .884 > 0 + .442)
    assert words(solution.tree)[:6] == ["a", "b", "ac", "ad", "be", "bf"]
    assert [len(call) for call in engine.calls][:2] == [2, 4]
    assert dict(solution.notes) == {"visits": 3, "expansions": 3}


def test_visiting_an_end_again_costs_nothing() -> None:
    solution = explore("mcts", {"": "1a", "a": "23"}, {"1": 1.0, "a": 0.0}, n=6, width=2)
    assert solution.notes["visits"] == 6
    assert solution.notes["expansions"] <= 2
    assert ends(solution)[0] == "1"


def test_deep_enough_a_branch_is_drawn_to_its_end() -> None:
    solution = explore("mcts", STEPS, {"a": 0.9}, n=2, width=2, max_depth=1)
    assert words(solution.tree) == ["a", "b", "ac1", "be5"]


def test_priors_follow_the_likelihood_of_a_step_per_token() -> None:
    kids = [
        TREE.add(ROOT, prompt_ids=(1,), written=(5,) * len(p), drawn=p, span=len(p))
        for p in ((-1.0,), (-1.0, -1.0), (-2.0,))
    ]
    shares = [math.exp(-1), math.exp(-1), math.exp(-2)]
    assert MCTS(priors="likelihood")._priors(kids) == pytest.approx([share / sum(shares) for share in shares])
    assert MCTS()._priors(kids) == pytest.approx([1 / 3] * 3)


def test_impossible_settings() -> None:
    with pytest.raises(ConfigError, match="did you mean 'uniform'"):
        explore("mcts", STEPS, {}, priors="unifrom")
    with pytest.raises(ConfigError, match="c_base"):
        explore("mcts", STEPS, {}, c_base=0)
