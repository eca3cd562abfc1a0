"""Budget forcing on lines written down: exact tokens, what was forced, and what it cost."""

from __future__ import annotations

from typing import Any

import pytest
from search_lines import HARD, lines, tagless

from ponder import search
from ponder.engines import ScriptedEngine
from ponder.errors import ConfigError
from ponder.search import Driver, make_job
from ponder.types import Budget, Sampling


def solve(texts: list[str], **more: Any) -> search.Solution:
    return search.solve(HARD, lines(texts), "forcing", **more)


def test_an_early_end_is_taken_away_and_the_model_thinks_on() -> None:
    solution = solve(["<think>a</think>1", "<think>aWaitb</think>2"])
    assert solution.answer == "2"
    assert solution.notes == {"waits": 1, "cut": 0}
    chosen = solution.completion
    assert chosen.text == "<think>aWaitb</think>2"
    assert chosen.forced == (False, False, True, True, True, True, False, False, False, False)
    assert [node.span for node in solution.ends[0].branch] == [3, 4, 2, 2]
    assert solution.ends[0].branch[1].dropped == 1
    prompt = len(solution.tree.root.prompt_ids)
    assert (solution.ledger.prefilled, solution.ledger.decoded) == (prompt + 4, 3 + 2 + 2)


def test_waits_up_to_the_number_told() -> None:
    texts = [
        "<think>a</think>1",
        "<think>aWaitb</think>2",
        "<think>aWaitbWaitc</think>3",
        "<think>aWaitbWaitcWait</think>4",
    ]
    assert [solve(texts, waits=waits).answer for waits in range(4)] == ["1", "2", "3", "4"]
    assert solve(texts, waits=0).notes == {"waits": 0, "cut": 0}


def test_other_words() -> None:
    assert solve(["<think>a</think>1", "<think>a, hm.</think>2"], wait=", hm.").answer == "2"


def test_over_the_limit_the_thinking_is_closed_and_the_answer_comes_now() -> None:
    texts = ["<think>abcdefgh</think>1", "<think>abcd</think>9"]
    solution = solve(texts, waits=0, max_thinking=4)
    assert solution.answer == "9"
    assert solution.notes == {"waits": 0, "cut": 1}
    assert solution.completion.thinking == "abcd"
    assert solution.completion.forced == (*[False] * 5, True, False, False)
    assert solve(texts, waits=0, max_thinking=8).answer == "1", "as long as it wants"


def test_words_before_the_forced_answer() -> None:
    texts = ["<think>abcdefgh</think>1", "<think>ab</think>Final Answer:9"]
    solution = solve(texts, waits=0, max_thinking=2, final="Final Answer:")
    assert solution.completion.answer == "Final Answer:9"


def test_waits_end_where_the_limit_is_reached() -> None:
    """'aWait' are five tokens of thinking: with six there is one left, with five none."""
    texts = ["<think>a</think>1", "<think>aWaitbcd</think>2", "<think>aWaitb</think>3", "<think>aWait</think>4"]
    assert solve(texts, max_thinking=6).answer == "3"
    assert solve(texts, max_thinking=5).answer == "4"
    assert solve(texts, max_thinking=1).answer == "1", "closed just in time: nothing to add"


def test_no_thinking_at_all() -> None:
    solution = solve(["<think>abc</think>1", "</think>5"], max_thinking=0)
    assert (solution.answer, solution.completion.thinking) == ("5", "")
    assert solution.notes == {"waits": 0, "cut": 1}


def test_a_model_that_ends_inside_its_thinking_answers_all_the_same() -> None:
    texts = ["<think>ab", "<think>ab</think>5", "<think>abWaitc</think>6"]
    assert solve(texts, waits=0).answer == "5"
    assert solve(texts, waits=0).notes == {"waits": 0, "cut": 0}
    assert solve(texts, waits=1).answer == "6"
    assert solve(texts, waits=0).completion.finish == "stop"


def test_an_answer_without_thinking_stands() -> None:
    assert solve(["123456"]).answer == "123456"
    solution = solve(["123456"], max_thinking=2)
    assert solution.answer == "123456", "paused after two tokens, and left to go on"
    assert len(solution.ends) == 1


def test_chains_side_by_side_vote() -> None:
    texts = ["<think>a</think>1", "<think>b</think>1", "<think>c</think>2"]
    texts += ["<think>aWait</think>3", "<think>bWait</think>4", "<think>cWait</think>4"]
    solution = search.solve(HARD, lines(texts[:3] + texts[3:]), "forcing", n=3)
    assert dict(solution.votes) == {"4": 2, "3": 1}
    assert solution.notes == {"waits": 3, "cut": 0}
    alone = search.solve(HARD, lines(texts), "forcing", n=1)
    assert alone.completion == solution.completions[0], "the first chain is the same, whatever its neighbours"


def test_the_models_own_limits_count() -> None:
    """A thinking budget of the effort table closes the thinking here, not in the engine, so no wait is spent on it."""
    texts = ["<think>abcdefgh</think>1", "<think>abc</think>9"]
    sampling = Sampling(max_tokens=60, think_budget=3, answer_reserve=4)
    job = make_job(HARD, lines(texts), "forcing", sampling=sampling, options={"waits": 2})
    solution = Driver(lines(texts)).run([job])[0]
    assert (solution.answer, solution.notes) == ("9", {"waits": 0, "cut": 1})


def test_tokens_are_kept_for_the_answer() -> None:
    texts = ["<think>" + "a" * 50 + "</think>1", "<think>" + "a" * 9 + "</think>42"]
    solution = solve(texts, waits=0, max_tokens=14, reserve=4)
    assert solution.completion.text == "<think>aaaaaaaaa</think>42"
    assert len(solution.completion.token_ids) == 13, "42 is one token; the fourteenth was not needed"


def test_budget_is_kept() -> None:
    texts = ["<think>" + "a" * 30 + "</think>1", "<think>" + "a" * 30 + "Waitb</think>1"]
    for tokens in range(20, 60, 3):
        solution = solve(texts, budget=Budget(tokens=tokens), waits=1)
        assert solution.ledger.forwarded <= tokens
        assert solution.ended == "budget"


def test_without_think_tags() -> None:
    engine = ScriptedEngine({"*": "1"}, tagless())
    with pytest.raises(ConfigError, match="this model's vocabulary has no think tags"):
        search.solve(HARD, engine, "forcing")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"waits": -1}, "'forcing': waits = -1; at least 0"),
        ({"max_thinking": -1}, "'forcing': max_thinking = -1"),
        ({"reserve": 0}, "'forcing': reserve = 0; at least 1"),
        ({"wait": ""}, r"forcing\.wait is empty"),
        ({"wait": "so</think>"}, "would end the thinking"),
    ],
)
def test_impossible_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        solve(["1"], **settings)
