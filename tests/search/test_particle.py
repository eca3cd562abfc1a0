from __future__ import annotations

import random
from collections import Counter
from math import ceil, floor, log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from step_world import HARD, ends, explore, words

from ponder.search.particle import Particle, effective, logit, resample, softmax


def test_shares_are_odds() -> None:
    """softmax(logit v) is proportional to v / (1 - v)."""
    assert logit(0.8) == pytest.approx(log(4))
    assert softmax([logit(0.5), logit(0.75)]) == pytest.approx([0.25, 0.75])
    assert logit(-1.0) == logit(0.0) == pytest.approx(-log(999_999), rel=1e-6)
    assert effective([0.25] * 4) == pytest.approx(4)
    assert effective([1.0, 0.0]) == pytest.approx(1)


def test_resampling_by_hand() -> None:
    """Positions .125, .375, .625, .875 of shares .5, .1, .4 and .05, .3, .55, .8 with u = .2."""
    assert resample([0.5, 0.1, 0.4], 4, 0.5) == [0, 0, 2, 2]
    assert resample([0.5, 0.1, 0.4], 4, 0.2) == [0, 0, 1, 2]
    assert resample([1.0], 3, 0.9) == [0, 0, 0]
    assert resample([0.0, 1.0], 2, 0.0) == [1, 1]


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=9), st.integers(1, 20), st.floats(0, 0.999))
def test_copies_are_the_share_rounded_down_or_up(parts: list[float], n: int, u: float) -> None:
    shares = [part / sum(parts) for part in parts]
    chosen = resample(shares, n, u)
    counts = Counter(chosen)
    assert len(chosen) == n
    assert chosen == sorted(chosen)
    for index, share in enumerate(shares):
        assert floor(n * share - 1e-9) <= counts[index] <= ceil(n * share + 1e-9)


def test_tempering_lifts_an_early_collapse_only() -> None:
    weights = [logit(0.999), logit(0.5), logit(0.5), logit(0.5)]
    plain = softmax(weights)
    variety = effective(plain) / 4
    assert variety < 0.5
    strategy = Particle(n=4, max_steps=10, tempering=True)
    assert strategy.shares(weights, 1) == pytest.approx(softmax(weights, 0.9 / variety))
    assert strategy.shares(weights, 5) == pytest.approx(plain)
    assert Particle(n=4, max_steps=10).shares(weights, 1) == pytest.approx(plain)
    even = [logit(0.5), logit(0.6)]
    assert strategy.shares(even, 1) == pytest.approx(softmax(even))


def test_a_particle_drawn_twice_is_one_node_with_two_children() -> None:
    """b holds all of the weight, so all four particles become b and draw four different steps behind it."""
    steps = {"": "abcd", "b": "efgh", "be": "1", "bf": "2", "bg": "3", "bh": "4"}
    sure = {"a": 0.0, "b": 1.0, "c": 0.0, "d": None, "be": 0.0, "bf": 0.0, "bg": 1.0, "bh": 0.0}
    solution = explore("particle", steps, sure, n=4)
    assert words(solution.tree) == ["a", "b", "c", "d", "be", "bf", "bg", "bh", *["bg3"] * 4]
    assert solution.answer == "3"
    assert solution.notes["steps"] == 3


def test_ended_particles_keep_their_place() -> None:
    """Shares of .75 and .25: of two places the first always goes to 1, and the second to a when the lot is .5 or more."""
    steps = {"": "1a", "a": "2"}
    made = set()
    for seed in range(8):
        solution = explore("particle", steps, {"1": 0.75, "a": 0.5, "a2": 0.5}, n=2, seed=seed)
        lot = random.Random(f"{seed}/{HARD.id}").random()
        assert words(solution.tree) == (["1", "a"] if lot < 0.5 else ["1", "a", "a2"])
        assert solution.answer == "1"
        made.add(len(solution.tree))
    assert made == {3, 4}


def test_the_lot_is_seeded() -> None:
    steps = {"": "abcd", **dict.fromkeys("abcd", "1234")}
    found = {seed: words(explore("particle", steps, {"a": 0.6}, n=4, seed=seed).tree) for seed in range(12)}
    assert found == {seed: words(explore("particle", steps, {"a": 0.6}, n=4, seed=seed).tree) for seed in range(12)}
    assert len({tuple(made) for made in found.values()}) > 1


def test_what_is_alive_after_the_last_step_is_drawn_to_its_end() -> None:
    steps = {"": "ab", "a": "c", "b": "d", "ac": "1", "bd": "2"}
    solution = explore("particle", steps, {"a": 0.5, "b": 0.5}, n=2, max_steps=1)
    assert words(solution.tree) == ["a", "b", "ac1", "bd2"]
    assert ends(solution) == ["ac1", "bd2"]
