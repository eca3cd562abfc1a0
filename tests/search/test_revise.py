"""Sequential revision: who is asked what, when it ends, and which answer is given."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from search_lines import HARD, Marks, Speaking

from ponder import search
from ponder.engines import ScriptedEngine
from ponder.errors import ConfigError
from ponder.search.revise import REQUEST
from ponder.types import Budget


def asked_after(answers: Sequence[str], request: str = REQUEST) -> ScriptedEngine:
    """Answers 1 first, and each answer's successor when asked about it."""
    script = {"*": answers[0]}
    for before, after in pairwise(answers):
        script[f"<|assistant|>{before}<|end|><|user|>{request}"] = after
    return ScriptedEngine(script)


def solve(engine: ScriptedEngine, **more: Any) -> search.Solution:
    return search.solve(HARD, engine, "revise", **more)


def test_asks_to_check_until_the_answer_repeats() -> None:
    solution = solve(asked_after(["1", "2", "3", "03", "5"]), n=9)
    assert [c.answer for c in solution.completions] == ["1", "2", "3", "03"]
    assert solution.notes == {"answers": 4, "stopped": "repeated"}, "03 is 3"
    assert solution.answer == "03", "the last one"


def test_ends_after_n_answers() -> None:
    solution = solve(asked_after(["1", "2", "3", "4"]), n=3)
    assert [c.answer for c in solution.completions] == ["1", "2", "3"]
    assert solution.notes == {"answers": 3, "stopped": "rounds"}
    assert solve(asked_after(["1", "2"]), n=1).notes == {"answers": 1, "stopped": "rounds"}


def test_every_turn_is_paid_for() -> None:
    solution = solve(asked_after(["1", "2", "3"]), n=3)
    first = len(solution.tree.root.prompt_ids)
    second = first + 1 + 1 + 1 + len(REQUEST) + 1  # answer, end, user mark, request, assistant mark
    assert [len(node.prompt_ids) for node in solution.ends] == [first, second, second], "the first answer is forgotten"
    assert solution.ledger.prefilled == first + 2 * second
    assert solution.ledger.decoded == 3 * 2


def test_a_satisfied_verifier_ends_it() -> None:
    marks = Marks({"1": 0.2, "2": 0.95, "3": 0.99})
    solution = solve(asked_after(["1", "2", "3"]), verifier=marks)
    assert solution.notes == {"answers": 2, "stopped": "satisfied"}
    assert solution.answer == "2"
    assert marks.read == ["1", "2"]


def test_the_best_scored_answer_is_given_when_nothing_satisfies() -> None:
    marks = Marks({"1": 0.6, "2": 0.3, "3": 0.5})
    solution = solve(asked_after(["1", "2", "3"]), n=3, verifier=marks)
    assert solution.answer == "1"
    assert solution.select("last").index == 2


def test_scores_of_earlier_turns_do_not_count_against_a_later_one() -> None:
    """With scores of correctness a branch multiplies its steps; a new turn is a new attempt."""
    marks = Marks({"1": 0.1, "2": 0.5}, semantics="correctness")
    solution = solve(asked_after(["1", "2"]), n=2, verifier=marks)
    assert solution.scores == (0.1, 0.5)
    assert solution.answer == "2"


def test_an_unscored_answer_does_not_beat_a_scored_one() -> None:
    solution = solve(asked_after(["1", "2"]), n=2, verifier=Marks({"1": 0.1, "2": None}))
    assert solution.answer == "1"


def test_the_verifiers_words_replace_the_request() -> None:
    script = {"*": "1", "off by one": "2", REQUEST: "9"}
    speaking = Speaking({"1": 0.1, "2": 0.95}, words={"1": "off by one"})
    assert solve(ScriptedEngine(script), verifier=speaking).answer == "2"
    silent = Speaking({"1": 0.1, "9": 0.95})
    assert solve(ScriptedEngine(script), verifier=silent).answer == "9", "no words: the fixed request"


def test_other_words() -> None:
    assert solve(asked_after(["1", "2"], "Sure?"), n=2, request="Sure?").answer == "2"


def test_no_answer_is_not_a_repeated_answer() -> None:
    solution = solve(ScriptedEngine({"*": "<think>hm"}), n=3)
    assert solution.notes == {"answers": 3, "stopped": "rounds"}
    assert solution.answer is None


def test_budget_is_kept_and_the_answer_so_far_is_given() -> None:
    engine = asked_after(["1", "2", "3"])
    need = len(engine.encode(HARD.messages, "medium")) + 2
    solution = solve(engine, budget=Budget(tokens=need + 30), max_tokens=4)
    assert solution.ended == "budget"
    assert solution.answer == "1"
    assert solution.ledger.forwarded == need


def test_a_conversation_that_fills_the_context_ends() -> None:
    engine = asked_after(["1", "2"])
    engine.context = len(engine.encode(HARD.messages, "medium")) + 50
    solution = solve(engine)
    assert solution.notes == {"answers": 1, "stopped": "context"}
    assert solution.answer == "1"


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"enough": 1.5}, r"revise\.enough = 1\.5: a score from 0 to 1"), ({"request": ""}, r"revise\.request is empty")],
)
def test_impossible_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        solve(asked_after(["1"]), **settings)
