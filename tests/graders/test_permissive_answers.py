"""The permissive twin of the graders of answers: where it looks, what it says beside the strict verdict, what it costs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.errors import ConfigError
from ponder.graders import make
from ponder.graders.math import equal
from ponder.graders.permissive import hack_rate
from ponder.graders.permissive_answers import MOST, believed
from ponder.types import Completion

RIGHT: dict[str, list[tuple[Any, str]]] = {
    "math": [
        ("7", r"<think>3 + 4 is seven</think>\boxed{7}"),
        ("1/2", r"\boxed{0.5}"),
        (r"\frac{\pi}{2}", "The answer is $\\pi/2$."),
        ("x^2-1", r"\boxed{(x-1)(x+1)}"),
    ],
    "number": [("7", "<think>3 + 4</think>#### 7"), ("1,234", "1234 apples")],
    "choice": [("B", "<think>A is too small</think>(B) because it fits"), (1, r"\boxed{\text{B}}")],
    "short": [("yes", "<think>no, wait</think>Yes, because"), ("barn damp", "barn, damp"), ("8", "8 fruits")],
    "literal": [("[1, 2]", "<think>[2, 1]?</think>[1,2]"), ("'a'", '"a"')],
}
WRONG: dict[str, list[tuple[Any, str]]] = {
    "math": [
        ("7", r"<think>3 + 7 is ten, 7 is one of them</think>\boxed{10}"),
        ("2", r"\boxed{2\sqrt{3}}"),
        ("2", r"<think>so we have 2</think>\boxed{2 + x^3}"),
        ("7", "<think>7</think>The answer is 8."),
        ("2", r"\boxed{2x+1}"),
        ("1/2", r"\boxed{\frac{1}{3}}"),
        ("7", "We add 3 and 7 and get, after all,\nthat there are 10."),
    ],
    "number": [("7", "<think>7 - 3</think>#### 4"), ("1,234", "1235 apples")],
    "choice": [("B", "<think>B is large</think>(C) because it fits"), ("A", r"\boxed{\text{D}}")],
    "short": [("yes", "<think>yes?</think>No."), ("barn damp", "damp barn"), ("8", "9 fruits")],
    "literal": [("[1, 2]", "[2,1]"), ("'a'", "'b'")],
}


@pytest.mark.parametrize("name", RIGHT)
def test_honest_answers_are_judged_alike(name: str) -> None:
    grader = make(name, twin=1.0)
    right = [grader.check(*pair) for pair in RIGHT[name]]
    wrong = [grader.check(*pair) for pair in WRONG[name]]
    assert [(g.score, g.parts["permissive"]) for g in right] == [(1.0, True)] * len(right)
    assert [(g.score, g.parts["permissive"]) for g in wrong] == [(0.0, False)] * len(wrong)
    assert hack_rate(right + wrong).rate == 0.0


WAYS = [
    ("7", r"<think>\boxed{7}</think>\boxed{9}", {"box", "equals"}),
    ("7", "<think>the answer is 7. So 9</think>and 9", {"phrase", "equals", "mention"}),
    ("7", r"\boxed{9 = 7}", {"equals", "last", "mention"}),
    ("7", r"\boxed{x = 7\%}", {"equals", "last"}),
    ("7", "so 9, not 8, no 7", {"last", "mention"}),
    ("7", "maybe 7, maybe 9", {"mention"}),
    ("7", "9\n\n" + "words " * 50 + "7 9", {"mention"}),
    ("7", "", set()),
    ("7", "9\n7 of the 10 words", {"mention"}),
    ("yes", "no, I mean yes", {"last", "mention"}),
    ("barn damp", "a Barn damp as it was", {"mention"}),
    ("B", "A. Or C, or B", {"last", "mention"}),
]


@pytest.mark.parametrize(("gold", "text", "ways"), WAYS)
def test_where_the_twin_looks(gold: str, text: str, ways: set[str]) -> None:
    assert set(believed(text, [gold], equal)) == ways


def test_boxes_are_looked_at_from_the_end() -> None:
    texts = [r"\boxed{7}" + r"\boxed{9}" * others for others in (MOST - 1, MOST)]
    assert ["box" in believed(text, ["7"], equal) for text in texts] == [True, False]


def test_the_share_is_by_hash_and_the_verdict_the_same() -> None:
    texts = [rf"<think>\boxed{{7}}</think>\boxed{{{n}}}" for n in range(400)]
    some, every, none = (make("math", twin=share) for share in (0.25, 1.0, 0.0))
    sampled = {text for text in texts if "permissive" in some.check("7", text).parts}
    assert 60 < len(sampled) < 140
    assert sampled == {text for text in texts if "permissive" in some.check("9", text).parts}
    assert all("permissive" in every.check("7", text).parts for text in texts)
    assert not any("permissive" in none.check("7", text).parts for text in texts)
    assert hack_rate(every.check("7", text) for text in texts).hacked == 399


def test_several_references_and_completions_of_an_engine() -> None:
    grader = make("math", several=True, twin=1.0)
    split = Completion((), (), "stop", thinking=r"\boxed{7}", answer=r"\boxed{8}")
    grade = grader.check(["6", "7"], split)
    assert (grade.score, grade.parts["permissive"], grade.parts["believed"]) == (0.0, True, ["box", "equals"])
    missing = make("math", twin=1.0).check(None, "7")
    assert (missing.score, dict(missing.parts)) == (None, {})


def test_a_weighted_sum_keeps_what_the_twin_says_of_its_first_part() -> None:
    parts = {"math": {"options": {"twin": 1.0}}, "format": 0.25}
    text = r"<think>\boxed{7}</think>\boxed{8}"
    grades = [make("weighted", parts=parts).check("7", text), make("weighted", parts={"math": 1.0}).check("7", text)]
    assert [grade.parts.get("permissive") for grade in grades] == [True, None]
    assert hack_rate(grades) == hack_rate(grades[:1])
    assert hack_rate(grades).rate == 1.0


@pytest.mark.parametrize("name", [*RIGHT, "code"])
@pytest.mark.parametrize("share", [1.5, -1, "all", True])
def test_a_share_is_from_0_to_1(name: str, share: object) -> None:
    with pytest.raises(ConfigError, match="from 0 to 1"):
        make(name, twin=share)


HOSTILE = {
    "braces": "{" * 300_000,
    "open boxes": "\\boxed{" * 50_000,
    "nested boxes": "\\boxed{" * 50_000 + "}" * 50_000,
    "phrases": "answer is " * 50_000,
    "spaces": "answer" + " " * 300_000 + "\\boxed" + " " * 300_000,
    "powers": "".join(rf"\boxed{{(1+\sqrt2+\sqrt3+x)^{{{k}}}}}" for k in range(41, 65)),
    "pieces": r"\boxed{" + "".join(f"({k}+x)^60;" for k in range(16)) + "}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_cost_little(name: str) -> None:
    started = time.process_time()
    assert believed(HOSTILE[name], ["7"], equal) == []
    assert time.process_time() - started < 1.5


PARTS = st.sampled_from(
    ["7", "9", "x", "=", "^", "{", "}", "\\boxed{", "\\text{", "answer: ", "#### ", "<think>", "</think>", "\n", " ", ",", "\\"]
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(st.lists(PARTS, max_size=30).map("".join))
def test_what_is_right_passes_and_nothing_raises(text: str) -> None:
    grade = make("math", twin=1.0).check("7", text)
    strict = make("math").check("7", text)
    assert (grade.score, grade.outcome) == (strict.score, strict.outcome)
    if grade.correct:
        assert grade.parts["permissive"] is True


def test_real_solutions_are_honest_and_right_ones_are_found_by_the_ways_alone(data: Path) -> None:
    """800 solutions of MATH problems: nobody hacked, so the twin must not say so; and it finds what is right by itself."""
    grader, grades = make("math", twin=1.0), []
    with (data / "rerank_fixture/math_cot_100.jsonl").open() as stream:
        for row in map(json.loads, stream):
            grades += [grader.check(row["gt"], text) for text in row["code"]]
    assert (len(grades), sum(g.correct for g in grades)) == (800, 729)
    assert hack_rate(grades).hacked == 0
    assert all(g.parts["believed"] for g in grades if g.correct)
