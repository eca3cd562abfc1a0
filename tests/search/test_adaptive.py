"""Adaptive voting: the stop rules against exact values, their error under repeated looks, and the course of a search."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_lines import HARD, lines

from ponder import search
from ponder.errors import ConfigError
from ponder.search.adaptive import RULES, anytime, beta, evidence, lead
from ponder.types import Budget

small = st.integers(0, 30)


def integral(a: int, b: int) -> Fraction:
    """2 · 2^(a+b) · the integral from 1/2 to 1 of q^a (1-q)^b, by expanding (1-q)^b."""
    total = Fraction(0)
    for j in range(b + 1):
        whole = (1 - Fraction(1, 2) ** (a + j + 1)) / (a + j + 1)
        total += (-1) ** j * math.comb(b, j) * whole
    return 2 * Fraction(2) ** (a + b) * total


@given(small, small)
def test_evidence_is_the_integral(a: int, b: int) -> None:
    assert evidence(a, b) == pytest.approx(float(integral(a, b)), rel=1e-12)


@given(small, small)
def test_evidence_is_a_martingale_of_fair_draws_that_falls_with_the_rivals_votes(a: int, b: int) -> None:
    assert (evidence(a + 1, b) + evidence(a, b + 1)) / 2 == pytest.approx(evidence(a, b), rel=1e-12)
    assert evidence(a, b + 1) < evidence(a, b)
    assert evidence(0, b) == pytest.approx(1 / (b + 1))


def test_evidence_of_thousands_of_votes_is_a_number() -> None:
    assert evidence(5000, 0) == math.inf
    assert evidence(0, 5000) == pytest.approx(1 / 5001)
    assert 0 < evidence(2500, 2500) < 1


def votes(a: int, b: int) -> list[str]:
    """The leader was found first."""
    return ["A"] * a + ["B"] * b


def first_stop(rule: str, b: int, level: float = 0.05) -> int:
    """The fewest votes that are safe against `b`."""
    return next(a for a in range(b + 1, 99) if RULES[rule](votes(a, b)) <= level)


def test_published_stops_of_the_beta_rule() -> None:
    table = [(4, 0), (6, 1), (8, 2), (9, 3), (11, 4), (12, 5)]
    assert [(first_stop("beta", b), b) for _, b in table] == table


def test_stops_of_the_anytime_rule() -> None:
    assert [first_stop("anytime", b) for b in range(5)] == [9, 12, 15, 17, 19]
    assert anytime(votes(9, 0)) == pytest.approx(2 * 9 / (2**9 - 1)), "2 / M(8, 0), M(8, 0) = (2^9 - 1) / 9"
    found_second = ["B", *votes(9, 0)]
    assert anytime(found_second) == pytest.approx(6 / float(integral(8, 1)))
    assert anytime(found_second) > anytime([*votes(9, 0), "B"]) == pytest.approx(2 / float(integral(8, 1)))


def test_who_has_no_answer_has_no_vote() -> None:
    for rule in RULES.values():
        assert rule([]) == rule([None] * 9) == 1.0
        assert rule([None, *votes(6, 2), None]) == rule(votes(6, 2))
    assert lead([None, "a", "b", "a"]) == 1
    assert lead([None]) == 0


def wrong_stops(rule: str, share: float, n: int, batch: int) -> float:
    """The exact probability that batches of draws, B with probability 1 - share, ever stop at A: every path summed."""
    paths: dict[tuple[int, int, str], float] = {(0, 0, ""): 1.0}
    wrong = 0.0
    for drawn in range(1, n + 1):
        following: dict[tuple[int, int, str], float] = {}
        for (a, b, first), chance in paths.items():
            for more in ((a + 1, b, first or "A"), (a, b + 1, first or "B")):
                part = chance * (share if more[0] > a else 1 - share)
                following[more] = following.get(more, 0.0) + part
        paths = following
        if drawn % batch == 0:
            for (a, b, first), chance in list(paths.items()):
                told = votes(a, b) if first == "A" else ["B", *votes(a, b - 1)]
                if RULES[rule](told) <= 0.05:
                    del paths[a, b, first]
                    wrong += chance * (a > b)
    return wrong


def test_wrong_stops_stay_below_the_level_however_often_one_looks() -> None:
    """Two answers all but equally likely, a look after every draw: the worst case."""
    rates = {rule: wrong_stops(rule, 0.499999, n=120, batch=1) for rule in RULES}
    assert rates["anytime"] <= 0.05
    assert rates["beta"] > 0.15, "a test made for one look"
    assert wrong_stops("anytime", 0.45, n=120, batch=5) < rates["anytime"]


def test_wrong_stops_among_many_answers() -> None:
    """Simulated: seven answers, the likeliest two close together, looks after every 5 of 100 draws."""
    shares, dice = [0.26, 0.24, 0.2, 0.12, 0.09, 0.06, 0.03], random.Random(7)
    wrong = dict.fromkeys(RULES, 0)
    for _ in range(200):
        drawn = dice.choices("ABCDEFG", shares, k=100)
        for rule, doubt in RULES.items():
            stop = next((k for k in range(5, 101, 5) if doubt(drawn[:k]) <= 0.05), None)
            wrong[rule] += stop is not None and max(set(drawn[:stop]), key=drawn[:stop].count) != "A"
    assert wrong["anytime"] <= 0.05 * 200
    assert wrong["beta"] > 0.05 * 200


def test_a_safe_answer_is_found_when_it_is_clearly_the_likeliest() -> None:
    dice = random.Random(3)
    stops: list[int] = []
    for _ in range(100):
        drawn = dice.choices("ABC", [0.85, 0.1, 0.05], k=60)
        stops.append(next((k for k in range(5, 61, 5) if anytime(drawn[:k]) <= 0.05), 99))
    assert sum(stop <= 40 for stop in stops) >= 90


def solve(answers: Sequence[str | None], **more: Any) -> search.Solution:
    texts = [f"<think>{chr(97 + k % 26)}" + ("" if a is None else f"</think>{a}") for k, a in enumerate(answers)]
    return search.solve(HARD, lines(texts), "adaptive", **more)


def test_an_undisputed_answer_stops_after_two_batches() -> None:
    solution = solve(["7", "07", "7"])
    assert (solution.answer, len(solution.completions)) == ("7", 10), "07 is 7"
    assert solution.notes == {"samples": 10, "looks": 2, "doubt": anytime(votes(10, 0)), "stopped": "safe"}


def test_the_beta_rule_stops_at_four_to_nothing() -> None:
    solution = solve(["7"], batch=1, rule="beta")
    assert (len(solution.completions), solution.notes["stopped"]) == (4, "safe")


def test_stops_when_the_rest_can_not_change_the_vote() -> None:
    solution = solve(["7", "7", "7", "7", "8", "8"], n=6, batch=2)
    assert solution.notes["samples"] == 4
    assert solution.notes["stopped"] == "decided"
    assert solve(["7", "7", "7", "8", "8", "8"], n=6, batch=2).notes["stopped"] == "limit"


def test_goes_to_the_limit_and_the_last_batch_is_what_is_left() -> None:
    solution = solve(["7", "8"], n=12)
    assert len(solution.completions) == 12
    assert solution.notes == {"samples": 12, "looks": 3, "doubt": 1.0, "stopped": "limit"}


def test_waits_for_the_long_traces_of_a_batch() -> None:
    """The short traces say 7, the long ones 8: with batches of ten nothing is safe; first arrivals would have been."""
    texts = [*["<think>a</think>7"] * 9, *["<think>" + "b" * 60 + "</think>8"] * 9]
    solution = search.solve(HARD, lines(texts), "adaptive", n=18, batch=18)
    assert solution.notes["doubt"] > 0.05
    assert dict(solution.votes) == {"7": 9, "8": 9}


def test_whoever_never_ends_abstains() -> None:
    solution = solve([None, "7"], n=40, batch=10)
    assert solution.notes["samples"] == 20, "ten votes for 7"
    assert solution.answer == "7"


def test_notes_survive_the_budget() -> None:
    solution = solve(["7", "8"], budget=Budget(tokens=60), max_tokens=6)
    assert solution.ended == "budget"
    assert solution.notes["stopped"] == "budget"
    assert solution.ledger.forwarded <= 60


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch": 0}, "'adaptive': batch = 0; at least 1"),
        ({"level": 0.0}, r"adaptive\.level = 0\.0: a probability"),
        ({"rule": "betta"}, "unknown rule of strategy 'adaptive' 'betta'; did you mean 'beta'"),
    ],
)
def test_impossible_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        solve(["7"], **settings)


def test_beta_reads_the_first_two() -> None:
    assert beta(["a", "a", "b", "a", "c", "a"]) == pytest.approx((1 + 6) / 2**6), "4 against 1"
