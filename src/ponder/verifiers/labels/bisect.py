"""Bisection: the first wrong step of wrong solutions with a logarithm of the rollouts, several solutions from one tree.

OmegaPRM (Luo et al. 2024, arXiv 2406.06592). A state is a prefix; its MC is the share of k
rollouts that come out right. A wrong rollout of a state with MC > 0 went wrong somewhere after it: take the prefix in the
middle of its steps; if that has MC > 0 the error lies behind it, else in front. Every prefix tried becomes a state, whose own
wrong rollouts may be searched next. Which one is chosen by

    Q(s, r) = α^(1 − MC(s)) β^(len(r) / L)       U(s) = c √(Σ N) / (1 + N(s))        argmax Q + U

    α = 0.5, β = 0.9, L = 500, c = 0.125, k = 16

with N(s) the searches begun at s and len(r) the tokens r has behind s. Only states with 0 < MC < 1 are searched, each rollout
once (by its tokens). Departures: the middle is a step's end, not a token; rollouts are graded by the task's grader.
Bisection supposes that what has no right continuation gets none further on. A search over m steps estimates at most
ceil(log2 m) prefixes, k rollouts each, against m - 1 by a full scan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

from ponder.verifiers.labels.rollout import Estimate, Place, Roll, Rollout, estimate

Cut = Callable[[Sequence[int]], tuple[int, ...]]
"""Where the steps of a completion's tokens begin."""


@dataclass(frozen=True, slots=True)
class Bisect:
    """Settings: the paper's constants; `searches` is the most bisections of one problem."""

    searches: int = 8
    alpha: float = 0.5
    beta: float = 0.9
    length: float = 500.0
    c: float = 0.125


@dataclass(slots=True, eq=False)
class State:
    """A prefix that was estimated, with its wrong rollouts that were not searched yet."""

    place: Place
    guess: Estimate
    waiting: list[Rollout] = field(default_factory=list[Rollout])
    visits: int = 0

    @property
    def open(self) -> bool:
        """May a first error lie behind it: some rollouts right and some wrong?"""
        return 0 < self.guess.right < self.guess.graded


@dataclass(slots=True, eq=False)
class Found:
    """A wrong solution with its first wrong step, counted from 0; None when a rollout could not be graded on the way."""

    rollout: Rollout
    starts: tuple[int, ...]
    first: int | None


@dataclass(slots=True, eq=False)
class Searched:
    """What one problem's tree came to: its states by what is written, and the solutions searched."""

    states: dict[tuple[int, ...], State] = field(default_factory=dict[tuple[int, ...], State])
    found: list[Found] = field(default_factory=list[Found])


Search = Generator[list[Place], list[list[Rollout]], Searched]


def first_error(steps: int, alive: Callable[[int], bool | None]) -> int | None:
    """The first wrong step of a wrong solution, counted from 0; `alive(n)` says whether its first n steps can still end well.

    Asks about at most ceil(log2 steps) prefixes. None as soon as one can not be told.
    """
    asking = bisection(0, steps)
    try:
        asked = next(asking)
        while True:
            asked = asking.send(alive(asked))
    except StopIteration as stop:
        return stop.value


def bisection(low: int, high: int) -> Generator[int, bool | None, int | None]:
    """Yields how many steps to keep; is sent whether they can still end well. `low` steps can, `high` can not."""
    while high - low > 1:
        middle = (low + high) // 2
        fine = yield middle
        if fine is None:
            return None
        low, high = (middle, high) if fine else (low, middle)
    return high - 1


def search(place: Place, cut: Cut, settings: Bisect, seen: Sequence[Rollout] = ()) -> Search:
    """Build one problem's tree. Yields the places to estimate, is sent their rollouts; `seen` are those of the root, if known."""
    tree = Searched()
    known: set[tuple[int, ...]] = set()
    rolled = list(seen) if seen else (yield [place])[0]
    _add(tree, place, rolled, known)
    for _ in range(settings.searches):
        picked = choose(list(tree.states.values()), settings)
        if picked is None:
            break
        state, rollout = picked
        state.waiting.remove(rollout)
        state.visits += 1
        tree.found.append((yield from _bisect(tree, state, rollout, cut, known)))
    return tree


def choose(states: Sequence[State], settings: Bisect) -> tuple[State, Rollout] | None:
    """The (state, rollout) to search next; the first of equals; None when nothing waits."""
    total = math.sqrt(sum(state.visits for state in states))
    best: tuple[float, State, Rollout] | None = None
    for state in states:
        soft = state.guess.soft
        if not state.open or soft is None:
            continue
        bonus = settings.c * total / (1 + state.visits)
        for rollout in state.waiting:
            behind = len(rollout.token_ids) - len(state.place.written)
            value = settings.alpha ** (1 - soft) * settings.beta ** (behind / settings.length) + bonus
            if best is None or value > best[0]:
                best = (value, state, rollout)
    return None if best is None else best[1:]


def _bisect(
    tree: Searched, state: State, rollout: Rollout, cut: Cut, known: set[tuple[int, ...]]
) -> Generator[list[Place], list[list[Rollout]], Found]:
    ids, starts = rollout.token_ids, cut(rollout.token_ids)
    ends = [*starts[1:], len(ids)]
    done = sum(end <= len(state.place.written) for end in ends)  # steps that the state already holds
    asking = bisection(done, len(starts))
    try:
        kept = next(asking)
        while True:
            prefix = ids[: ends[kept - 1]]
            if prefix not in tree.states:
                place = Place(state.place.problem, state.place.prompt_ids, prefix, rollout.logprobs[: len(prefix)])
                _add(tree, place, (yield [place])[0], known)
            hard = tree.states[prefix].guess.hard
            kept = asking.send(None if hard is None else hard > 0)
    except StopIteration as stop:
        return Found(rollout, starts, stop.value)


def _add(tree: Searched, place: Place, rollouts: Sequence[Rollout], known: set[tuple[int, ...]]) -> None:
    """Put an estimated prefix into the tree; wrong rollouts not met before wait to be searched."""
    state = State(place, estimate(rollouts))
    for rollout in rollouts:
        if rollout.correct is False and rollout.token_ids not in known:
            known.add(rollout.token_ids)
            state.waiting.append(rollout)
    tree.states[place.written] = state


def drive(searches: Sequence[Search], roll: Roll) -> list[Searched]:
    """Run the searches of many problems side by side; each round finishes all places that all of them ask for."""
    done: dict[int, Searched] = {}
    asked: dict[int, list[Place]] = {}
    replies: dict[int, list[list[Rollout]] | None] = dict.fromkeys(range(len(searches)))
    while replies:
        for number, reply in replies.items():
            try:
                asked[number] = next(searches[number]) if reply is None else searches[number].send(reply)
            except StopIteration as stop:
                asked.pop(number, None)
                done[number] = stop.value
        rolled = iter(roll([place for places in asked.values() for place in places]) if asked else [])
        replies = {number: [next(rolled) for _ in places] for number, places in asked.items()}
    return [done[number] for number in range(len(searches))]


def labels(found: Found, tree: Searched, soft: bool = False) -> list[float | None]:
    """A label per step of a searched solution.

    Hard: 1 up to the first wrong step, 0 from it on. Every 1 is proven, since a right solution goes through a later
    prefix or that prefix itself; the zeros rest on k rollouts. Soft: the MC of the prefixes that were estimated, None for
    the others, and 0 for the last step.
    """
    ends = [*found.starts[1:], len(found.rollout.token_ids)]
    if not soft:
        if found.first is None:
            return [None] * len(ends)
        return [float(i < found.first) for i in range(len(ends))]
    states = (tree.states.get(found.rollout.token_ids[:end]) for end in ends[:-1])
    return [*(None if state is None else state.guess.soft for state in states), 0.0]
