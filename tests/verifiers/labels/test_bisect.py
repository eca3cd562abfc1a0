from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from verifier_fakes import Letters, letters_engine

from ponder.text.steps import cut, step_ids
from ponder.types import Problem, Sampling
from ponder.verifiers.labels import bisect
from ponder.verifiers.labels.bisect import Bisect, Searched, State, choose, drive, first_error, search
from ponder.verifiers.labels.rollout import Estimate, Place, Roller, Rollout, estimate

PROBLEM = Problem.from_text("letters 1")


@given(st.data())
def test_bisection_equals_the_scan_with_a_logarithm_of_the_questions(data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, 200))
    wrong = data.draw(st.integers(0, steps - 1))
    asked: list[int] = []

    def alive(kept: int) -> bool:
        asked.append(kept)
        return kept <= wrong

    assert first_error(steps, alive) == wrong == next(i for i in range(steps) if not i + 1 <= wrong)
    assert len(asked) <= math.ceil(math.log2(steps)) if steps > 1 else not asked
    assert all(0 < kept < steps for kept in asked)
    assert len(set(asked)) == len(asked)


def test_not_known_is_not_guessed() -> None:
    assert first_error(8, lambda kept: None) is None
    assert first_error(1, lambda kept: None) == 0


# ---- choice, by hand


def state(name: int, right: int, graded: int, visits: int, *lengths: int) -> State:
    place = Place(PROBLEM, (1,), tuple(range(name)))
    waiting = [Rollout((*place.written, *range(900, 900 + n)), (), False) for n in lengths]
    return State(place, Estimate(right, graded), waiting, visits)


def test_choice_by_hand() -> None:
    """Q = .5^(1-MC) .9^(len/500), U = .125 √ΣN / (1+N).

    A: MC 3/4, N 3; lengths 500 and 1000: Q .841·.9 = .757 and .841·.81 = .681; U = .125·2/4 = .0625 → .819, .744
    B: MC 1/4, N 1; length 0: Q = .5^.75 = .595; U = .125·2/2 = .125 → .720
    """
    a, b = state(2, 3, 4, 3, 1000, 500), state(3, 1, 4, 1, 0)
    found = choose([a, b], Bisect())
    assert found is not None
    assert (found[0], len(found[1].token_ids)) == (a, 502)
    a.visits, b.visits = 15, 0  # U of A .03, of B .484: B's 1.079 against .787
    found = choose([a, b], Bisect())
    assert found is not None
    assert found[0] is b


def test_only_open_states_are_searched() -> None:
    never, always, nothing = state(1, 0, 4, 0, 5), state(2, 4, 4, 0, 5), state(3, 0, 0, 0, 5)
    assert choose([never, always, nothing], Bisect()) is None
    assert choose([], Bisect()) is None
    first, second = state(1, 1, 2, 0, 5), state(2, 1, 2, 0, 5)
    assert choose([first, second], Bisect()) == (first, first.waiting[0])  # the first of equals


# ---- trees


def tools(engine: Any, k: int = 8, seed: int = 0) -> tuple[Place, Any, Roller]:
    ends = step_ids(engine.tokenizer)
    roll = Roller(engine, Letters(), Sampling(max_tokens=200), k, seed)
    return Place(PROBLEM, engine.encode(PROBLEM.messages)), lambda ids: cut(ids, ends), roll


def test_a_tree_worked_by_hand() -> None:
    """Root: one right, one wrong "aaxa". Half of 4 steps: "aa" is alive, then "aax" dead: the third step, by two estimates."""
    ids = {name: tuple(name.encode()) for name in ("aaaa", "aaxa")}
    place = Place(PROBLEM, (1,))
    made = search(place, lambda tokens: tuple(range(len(tokens))), Bisect())
    assert next(made) == [place]
    root = [Rollout(ids["aaaa"], (), True), Rollout(ids["aaxa"], (-1.0,) * 4, False)]
    (asked,) = made.send([root])
    assert (asked.written, asked.drawn) == (b"aa" and tuple(b"aa"), (-1.0, -1.0))
    (asked,) = made.send([[Rollout(ids["aaaa"], (), True), Rollout(ids["aaxa"], (), False)]])
    assert asked.written == tuple(b"aax")
    with pytest.raises(StopIteration) as stop:
        made.send([[Rollout(ids["aaxa"], (), False)] * 2])
    tree: Searched = stop.value.value
    assert [(f.rollout.token_ids, f.first) for f in tree.found] == [(ids["aaxa"], 2)]
    assert {bytes(w): s.guess for w, s in tree.states.items()} == {
        b"": Estimate(1, 2), b"aa": Estimate(1, 2), b"aax": Estimate(0, 2)
    }  # fmt: skip
    assert [s.visits for s in tree.states.values()] == [1, 0, 0]
    assert bisect.labels(tree.found[0], tree) == [1.0, 1.0, 0.0, 0.0]
    assert bisect.labels(tree.found[0], tree, soft=True) == [None, 0.5, 0.0, 0.0]


def test_a_rollout_is_searched_once_though_found_again() -> None:
    """The wrong rollout of the root turns up again below it; nothing is left to search after it."""
    wrong = Rollout(tuple(b"aax"), (), False)
    made = search(
        Place(PROBLEM, (1,)),
        lambda tokens: tuple(range(len(tokens))),
        Bisect(),
        [wrong, Rollout(tuple(b"aaa"), (), True)],
    )
    asked = next(made)
    with pytest.raises(StopIteration) as stop:
        while True:
            asked = made.send([[wrong, wrong, Rollout(tuple(b"aaa"), (), True)] for _ in asked])
    assert len(stop.value.value.found) == 1


@settings(max_examples=15, deadline=None)
@given(steps=st.integers(2, 9), odds=st.floats(0.05, 0.4), seed=st.integers(0, 1000))
def test_every_search_equals_the_full_scan(steps: int, odds: float, seed: int) -> None:
    """Against estimating every prefix with the same rollouts: the same first error, and no prefix estimated twice."""
    place, cutter, roll = tools(letters_engine(steps, odds), 12, seed)
    (tree,) = drive([search(place, cutter, Bisect(searches=5))], roll)
    for found in tree.found:
        ends = [*found.starts[1:], len(found.rollout.token_ids)]
        prefixes = [Place(PROBLEM, place.prompt_ids, found.rollout.token_ids[:end]) for end in ends]
        scan = [estimate(rolls).hard for rolls in roll(prefixes)]
        fall = [i for i in range(len(scan)) if scan[i] == 0.0 and (i == 0 or scan[i - 1] == 1.0)]
        assert found.first in fall  # a fall from alive to dead; the only one where estimates do not waver
        assert found.rollout.correct is False
        if len(fall) == 1:
            assert scan == bisect.labels(found, tree)
    written = [found.rollout.token_ids for found in tree.found]
    assert len(set(written)) == len(written) <= 5


def test_searches_side_by_side_are_those_alone() -> None:
    engine = letters_engine()
    place, cutter, roll = tools(engine)
    other = Place(Problem.from_text("letters 7"), place.prompt_ids)

    def made(p: Place) -> Any:
        return search(p, cutter, Bisect(searches=3))

    together = drive([made(place), made(other)], roll)
    alone = [drive([made(p)], roll)[0] for p in (place, other)]
    for a, b in zip(together, alone, strict=True):
        assert [(f.rollout, f.first) for f in a.found] == [(f.rollout, f.first) for f in b.found]
        assert list(a.states) == list(b.states)
    assert drive([], roll) == []


def test_problems_without_a_fork_are_left() -> None:
    for odds in (0.0, 1.0):  # all right, all wrong
        place, cutter, roll = tools(letters_engine(odds=odds))
        (tree,) = drive([search(place, cutter, Bisect())], roll)
        assert (tree.found, len(tree.states)) == ([], 1)


def test_an_estimate_that_fails_leaves_the_search_open() -> None:
    wrong, right = Rollout(tuple(b"aax"), (), False), Rollout(tuple(b"aaa"), (), True)
    made = search(Place(PROBLEM, (1,)), lambda tokens: tuple(range(len(tokens))), Bisect(), [wrong, right])
    next(made)
    with pytest.raises(StopIteration) as stop:
        made.send([[Rollout(tuple(b"aaa"), (), None)]])
    tree: Searched = stop.value.value
    assert tree.found[0].first is None
    assert bisect.labels(tree.found[0], tree) == [None, None, None]
