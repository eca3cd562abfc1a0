"""Confidence filtering on traces whose log-probabilities are written down."""

from __future__ import annotations

from math import exp
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_lines import HARD, Voiced, lines

from ponder import search
from ponder.errors import ConfigError
from ponder.search import Driver, make_job
from ponder.search.confidence import lowest
from ponder.types import Sampling

WARM = ["<think>aaaa</think>1", "<think>abba</think>1", "<think>aaba</think>1", "<think>azza</think>2"]
REST = ["<think>ccczzcccc</think>2", "<think>dddd</think>3"]
LOUDNESS = {"b": -1.0, "z": -3.0}  # anything else: -0.1
G = [exp(-0.1), exp(-1.0), exp(-0.55), exp(-3.0), exp(-3.0), exp(-0.1)]
BAR = (exp(-1.0) + exp(-0.55)) / 2  # the median of the first four, and of all six
OPTIONS: dict[str, Any] = {"n": 6, "warmup": 4, "keep": 0.5, "window": 2, "chunk": 4}


def solve(texts: list[str], **more: Any) -> search.Solution:
    return search.solve(HARD, Voiced(texts, LOUDNESS), "confidence", **(OPTIONS | more))


def test_online_drops_what_falls_below_the_bar_and_weighs_the_rest() -> None:
    solution = solve(WARM + REST)
    assert solution.notes == {"bar": pytest.approx(BAR), "dropped": 1}
    assert [c.weight for c in solution.candidates] == pytest.approx([G[0], None, G[2], None, G[5]])
    assert solution.votes == pytest.approx({"1": G[0] + G[2], "3": G[5]})
    assert solution.answer == "1"
    # four warm-up traces of 8 tokens, two chunks of 4 of the one dropped (z stands fifth), two chunks of the other
    assert solution.ledger.decoded == 4 * 8 + 2 * 4 + 8
    assert len(solution.ends) == 5, "a dropped trace has no end and no vote"


def test_offline_draws_everything_whole_and_the_bar_is_that_of_all() -> None:
    solution = solve(WARM + REST, online=False)
    assert [c.weight for c in solution.candidates] == pytest.approx([G[0], None, G[2], None, None, G[5]])
    assert solution.ledger.decoded == 4 * 8 + 13 + 8
    assert solution.answer == "1"


def test_keeping_all_is_a_weighted_vote_of_all() -> None:
    solution = solve(WARM + REST, keep=1.0)
    assert solution.notes == {"bar": pytest.approx(min(G)), "dropped": 0}
    assert [c.weight for c in solution.candidates] == pytest.approx([*G[:4], G[5], G[4]]), "in the order of their ends"


def test_confidence_outweighs_numbers() -> None:
    """Two unsure traces say 1, one sure trace says 3."""
    texts = ["<think>zz</think>1", "<think>zzz</think>1", "<think>a</think>3"]
    assert solve(texts, n=3, keep=1.0).answer == "3"
    assert solve(texts, n=3, keep=1.0, select="vote").answer == "1"


def test_no_others_than_the_warm_up() -> None:
    solution = solve(WARM, n=3)
    assert len(solution.completions) == 3
    assert solution.ledger.decoded == 3 * 8


def test_a_trace_is_judged_only_by_full_windows_while_it_is_written() -> None:
    """With a window longer than any trace nothing is stopped; at the end the whole trace counts."""
    solution = solve(WARM + REST, window=50)
    assert solution.notes["dropped"] == 0
    means = [-0.1, (6 * -0.1 - 2) / 8, (7 * -0.1 - 1) / 8, (6 * -0.1 - 6) / 8, (11 * -0.1 - 6) / 13, -0.1]
    bar = np.quantile([exp(m) for m in means[:4]], 0.5)
    expected = [exp(m) if exp(m) >= bar else None for m in means]
    assert [c.weight for c in solution.candidates] == pytest.approx([*expected[:4], expected[5], expected[4]])


def test_the_online_course_does_not_depend_on_where_chunks_end() -> None:
    for chunk in (2, 3, 5, 9, 30):
        solution = solve(WARM + REST, chunk=chunk)
        stopped = solution.notes["dropped"] == 1
        assert stopped == (chunk < 13), "in one chunk it had ended before anybody looked"
        assert solution.votes == pytest.approx({"1": G[0] + G[2], "3": G[5]}), "and then lost its vote"


@pytest.mark.parametrize("budget", [0, 2, 3, 4, 6, 8, 9, 20])
def test_a_thinking_budget_closes_the_thinking_at_the_same_token_in_chunks_as_in_one_piece(budget: int) -> None:
    """Whatever stands behind the forced close, all lines go on alike."""
    long = "abcdefgh"
    texts = [f"<think>{long}</think>1", *[f"<think>{long[:k]}</think>1" for k in range(8)]]
    made: list[str] = []
    for options in ({"warmup": 1, "chunk": 2, "window": 50}, {"online": False}):
        job = make_job(
            HARD,
            lines(texts[:1] * 2 + texts[1:]),
            "confidence",
            2,
            sampling=Sampling(max_tokens=40, think_budget=budget),
            options={"keep": 1.0, **options},
        )
        made.append(Driver(lines(texts[:1] * 2 + texts[1:])).run([job])[0].completions[-1].thinking or "")
    assert made == [long[:budget]] * 2


@given(st.lists(st.floats(-9, 0), min_size=1, max_size=30), st.integers(1, 12))
def test_lowest_is_the_worst_window(logprobs: list[float], window: int) -> None:
    size = min(window, len(logprobs))
    naive = min(sum(logprobs[i : i + size]) / size for i in range(len(logprobs) - size + 1))
    assert lowest(logprobs, window) == pytest.approx(exp(naive))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"window": 0}, "'confidence': window = 0; at least 1"),
        ({"chunk": 0}, "'confidence': chunk = 0"),
        ({"warmup": 0}, "'confidence': warmup = 0"),
        ({"keep": 0.0}, r"confidence\.keep = 0\.0: a share above 0"),
    ],
)
def test_impossible_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        solve(WARM, **settings)
