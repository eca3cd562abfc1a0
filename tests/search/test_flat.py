"""Greedy, sample, vote, best of n, weighted vote, rerank: exact choices on lines written down."""

from __future__ import annotations

from typing import Any

import pytest
from search_lines import HARD, Marks, lines

from ponder import search
from ponder.errors import ConfigError
from ponder.search.select import Candidate, ranked, weighed
from ponder.types import Budget

#                 A .2, A .3, B .9, C .8, C .85, and one without an answer
TEXTS = ["<think>a</think>1", "<think>ab</think>1", "<think>b</think>2", "<think>c</think>3", "<think>cd</think>3"]
NONE = "<think>never"


class ByThought(Marks):
    """Scores by the first letter thought."""

    def score(self, traces: Any) -> list[float | None]:
        self.charge(traces)
        return [self.scores.get(trace.thinking or "") for trace in traces]


def thoughts() -> ByThought:
    return ByThought({"a": 0.2, "ab": 0.3, "b": 0.9, "c": 0.8, "cd": 0.85, "never": 1.0})


def solve(strategy: str, texts: list[str] = TEXTS, **more: Any) -> search.Solution:
    return search.solve(HARD, lines(texts), strategy, **more)


def test_greedy_takes_the_first_line_and_sample_the_first_draw() -> None:
    assert solve("greedy").answer == "1"
    assert len(solve("greedy").completions) == 1
    assert solve("sample", TEXTS[3:]).answer == "3"


def test_vote_takes_the_most_frequent() -> None:
    solution = solve("vote", [*TEXTS, TEXTS[2], TEXTS[2]], n=7)
    assert (solution.answer, dict(solution.votes)) == ("2", {"2": 3, "1": 2, "3": 2})


def test_best_of_n_takes_the_highest_score_even_against_the_votes() -> None:
    solution = solve("best_of_n", [*TEXTS, NONE], n=6, verifier=thoughts())
    assert solution.answer == "2", "0.9; the 1.0 of the line without an answer does not count"
    assert solution.scores == (0.2, 0.3, 0.9, 0.8, 0.85, 1.0)
    assert solution.change == pytest.approx((1 - 1 / 5) / 6), "1 of the 5 that answer says so"


def test_weighted_vote_adds_the_scores_up() -> None:
    solution = solve("weighted_vote", [*TEXTS, NONE], n=6, verifier=thoughts())
    assert solution.answer == "3"
    assert solution.chosen == 4, "the better of the two speaks"
    assert solution.votes == pytest.approx({"3": 1.65, "2": 0.9, "1": 0.5})


def test_weighted_vote_is_a_vote_when_all_score_alike() -> None:
    texts = [*TEXTS, TEXTS[0]]
    alike = Marks({"1": 0.5, "2": 0.5, "3": 0.5})
    assert solve("weighted_vote", texts, n=6, verifier=alike).answer == solve("vote", texts, n=6).answer == "1"


@pytest.mark.parametrize("strategy", ["best_of_n", "weighted_vote", "rerank"])
def test_every_token_is_drawn_once_and_read_once(strategy: str) -> None:
    solution = solve(strategy, n=5, verifier=thoughts())
    prompt = len(solution.tree.root.prompt_ids)
    written = sum(len(c.token_ids) for c in solution.completions)
    assert written == sum(len(line) - len("<think></think>") + 3 for line in TEXTS)
    assert solution.ledger.prefilled == prompt
    assert solution.ledger.decoded == written
    assert solution.ledger.verified == prompt + written


@pytest.mark.parametrize("strategy", ["best_of_n", "weighted_vote", "rerank"])
def test_a_budget_never_ends_with_everything_drawn_and_nothing_scored(strategy: str) -> None:
    engine = lines(TEXTS)
    solution = search.solve(HARD, engine, strategy, n=200, verifier=thoughts(), budget=Budget(tokens=800), max_tokens=6)
    assert solution.ended == "budget"
    assert solution.ledger.forwarded <= 800
    assert sum(score is not None for score in solution.scores) >= 16
    assert solution.answer == ("3" if strategy == "weighted_vote" else "2")


def test_scoring_step_by_step_asks_for_every_step() -> None:
    texts = ["<think>a\nb\nc</think>1", "<think>d\ne</think>2"]
    by_steps = search.solve(
        HARD, lines(texts), "weighted_vote", n=2, stepwise=True, verifier=Marks({"1": 0.4, "2": 0.6})
    )
    assert [len(end.branch) for end in by_steps.ends] == [2, 3]
    assert by_steps.answer == "2"
    assert by_steps.ledger.decoded == sum(len(c.token_ids) for c in by_steps.completions)


def test_rerank_alone_is_best_of_n_and_all_votes_is_a_vote() -> None:
    values = {
        blend: solve("rerank", [*TEXTS, NONE], n=6, verifier=thoughts(), blend=blend) for blend in (0.0, 0.5, 1.0)
    }
    assert values[0.0].answer == "2"
    assert [c.weight for c in values[0.0].candidates] == [0.2, 0.3, 0.9, 0.8, 0.85, None]
    # half score, half share of the 5 votes: 3 has .5 * .85 + .5 * .4 = .625, 2 has .45 + .1 = .55, 1 has .15 + .2 = .35
    assert values[0.5].answer == "3"
    assert [c.weight for c in values[0.5].candidates] == pytest.approx([0.3, 0.35, 0.55, 0.6, 0.625, None])
    assert values[1.0].answer in ("1", "3")


def test_rerank_draws_a_thousand_unless_told() -> None:
    solution = search.solve(HARD, lines(TEXTS), "rerank", verifier=thoughts())
    assert len(solution.completions) == 1000
    assert solution.answer == "2"


@pytest.mark.parametrize("blend", [-0.1, 1.1, float("nan")])
def test_impossible_blend(blend: float) -> None:
    with pytest.raises(ConfigError, match=r"rerank\.blend = .*: a part from 0"):
        solve("rerank", verifier=thoughts(), blend=blend)


@pytest.mark.parametrize("strategy", ["best_of_n", "weighted_vote", "rerank"])
def test_scores_need_a_verifier(strategy: str) -> None:
    with pytest.raises(ConfigError, match=f"'{strategy}' needs a verifier"):
        solve(strategy)


def test_selections_by_the_strategys_own_weights() -> None:
    candidates = [Candidate("a", weight=0.4), Candidate("b", weight=0.6), Candidate("a", weight=0.5)]
    candidates += [Candidate("b"), Candidate(None, weight=9.0)]
    assert ranked(candidates).index == 1
    assert weighed(candidates).index == 2, "a has 0.9"
    assert weighed(candidates).support == pytest.approx({"a": 0.9, "b": 0.6})
    bare = [Candidate("a"), Candidate("b"), Candidate("b")]
    assert ranked(bare).index == weighed(bare).index == 1, "without weights it is a vote"
    assert weighed([]).index is None
