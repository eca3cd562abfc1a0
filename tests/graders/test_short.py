"""Short answers of mixed kinds: which are the same, and that a key never needs the reference."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ponder
from ponder.graders.short import ShortGrader

SAME = [
    ["(B)", "B", "b)", "B.", "**B**", "(B) 12/25/1937", "option B", "\\text{(B)}"],
    ["Yes", "yes", "Yes.", "Yes, because she lies", "True", "YES!", "yes - they return"],
    ["No", "False", "no.", "No; never"],
    ["8", "8 fruits", "8.0", "$8$", "8 musical instruments."],
    ["-50", "-50.0", "- 50"],
    ["1234", "1,234"],
    ["] )", "])", "\\] \\)"],
    ["} >", "}>", "\\} >"],
    ["barn damp dot", "Barn, damp, dot", "barn damp dot.", "`barn damp dot`"],
    ["valid", "Valid."],
    ["invalid", "invalid"],
    ["no one", "No one"],
]


@pytest.mark.parametrize("group", SAME, ids=lambda g: g[0])
def test_one_group_has_one_key(group: list[str]) -> None:
    grader = ShortGrader()
    assert len({grader.key(text) for text in group}) == 1


def test_groups_have_different_keys() -> None:
    grader = ShortGrader()
    keys = [grader.key(group[0]) for group in SAME]
    assert None not in keys
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("text", ["", "  ", "$$", "**", ".", "!"])
def test_nothing_abstains(text: str) -> None:
    assert ShortGrader().key(text) is None
    assert ShortGrader().equal(text, "8") is None


@given(st.text(max_size=60))
def test_any_text_has_a_key_or_none_and_equals_itself(text: str) -> None:
    grader = ShortGrader()
    assert grader.equal(text, text) in (True, None)


def test_grades() -> None:
    def outcome(reference: object, completion: str) -> str:
        return ponder.grade("short", reference=reference, completion=completion).outcome

    assert outcome("} ]", "<think>...</think>Close them.\nAnswer: } ]") == "correct"
    assert outcome("} ]", "<think>...</think>Answer: ] }") == "wrong"
    assert outcome("(C)", "<think>(B)?</think>\\boxed{C}") == "correct"
    assert outcome("yes", "<think>no</think>The answer is yes.") == "correct"
    assert outcome("yes", "<think>no</think>") == "unparsed"
    assert outcome("yes", "<think>never closed, yes") == "unparsed"
    assert outcome("8", "Answer: 8\nAnswer: 9") == "unparsed"
    assert outcome(None, "8") == "error"
