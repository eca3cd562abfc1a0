"""Python values as answers: equality of what they mean, and text that must not reach the parser."""

from __future__ import annotations

import pytest

from ponder.graders import grade
from ponder.graders.literal import LiteralGrader, value_of
from ponder.types import Completion

SAME = [
    ("[1, 2]", "Answer: [1,2]"), ("'a'", 'Answer: "a"'), ("{1: 2, 3: 4}", "{3: 4, 1: 2}"), ("-1.5", "`-1.5`"),
    ("{1: None}", "\\boxed{{1: None}}"), ("''", "''"), ("(1,)", "so\nAnswer: (1, )"), ("[-1, 'b\\'c']", "[-1, \"b'c\"]"),
]  # fmt: skip
OTHER = [
    ("[1, 2]", "[2, 1]"),
    ("1", "'1'"),
    ("True", "1"),
    ("(1,)", "[1]"),
    ("1", "1.0"),
    ("'a'", "'a '"),
    ("[]", "()"),
]


@pytest.mark.parametrize(("reference", "text"), SAME)
def test_same_value(reference: str, text: str) -> None:
    assert grade("literal", reference=reference, completion=text).correct


@pytest.mark.parametrize(("reference", "text"), OTHER)
def test_another_value(reference: str, text: str) -> None:
    assert grade("literal", reference=reference, completion=text).outcome == "wrong"


HOSTILE = [
    "f(1)", "1 + 1", "lambda: 0", "[x for x in y]", "__import__('os')", "[" * 51 + "]" * 51, "-" * 9999 + "1", "9" * 30_000,
    "(1).real", "1if 1else 2", "not True", "f'{1}'", "[1", "1]", "", "- -1", "a", "1 1", "{1: }", "'a" * 4000, "9" * 10_000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_no_literal(text: str) -> None:
    assert value_of(text) is None
    assert grade("literal", reference="2", completion=text).outcome == "unparsed"


def test_a_reference_that_is_no_literal_is_no_score() -> None:
    assert grade("literal", reference="f(2)", completion="2").score is None


def test_the_answer_that_a_vote_counts_is_the_value_alone():
    from ponder.search.answers import answers_of, classes

    grader = LiteralGrader()
    said = [
        Completion((), (), "stop", text=t, answer=t)
        for t in ("So.\nAnswer: [1,2]", "Answer: [1, 2]", "I do not know.\nDo you?")
    ]
    answers = answers_of(said, grader)
    assert answers[:2] == ["[1,2]", "[1, 2]"]
    assert classes(answers[:2], grader) == ["[1, 2]", "[1, 2]"]
