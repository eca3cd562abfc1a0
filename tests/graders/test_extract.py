"""The answer is one region after the thinking, found in one pass."""

from __future__ import annotations

import time

import pytest

from ponder.graders import equal
from ponder.graders.extract import Rule, find, split
from ponder.types import Completion

CASES = [
    ("<think>a</think>5", "5", "whole"),
    ("<think>\\boxed{1}</think>\\boxed{2}", "2", "boxed"),
    ("no tags, \\boxed{7}.", "7", "boxed"),
    ("thought</think>8", "8", "whole"),
    ("so \\boxed{\\frac{1}{\\sqrt{2}}} done", "\\frac{1}{\\sqrt{2}}", "boxed"),
    ("\\boxed{\\{1,2\\}}", "\\{1,2\\}", "boxed"),
    ("\\boxed{\\boxed{5}}", "\\boxed{5}", "boxed"),
    ("\\boxed 5 is it", "5", "boxed"),
    ("\\fbox{3}", "3", "boxed"),
    ("\\boxed{1/2} which is \\boxed{0.5}", "1/2", "boxed"),
    ("7 = \\boxed{\\phantom{2}} so \\boxed{7}", "7", "boxed"),
    ("stray } brace \\boxed{4}", "4", "boxed"),
    ("open { brace \\boxed{4}", "4", "boxed"),
    ("work\n#### 1,234", "1,234", "mark"),
    ("The final answer is 42. Thanks!", "42", "phrase"),
    ("**Answer:** 3.5", "3.5", "phrase"),
    ("the answer is 1, no: the answer is 2", "1, no: the answer is 2", "phrase"),
    ("**73**", "73", "whole"),
]
NONE = [
    ("<think>\\boxed{5}", "not closed"),
    ("<think>a</think>", "no answer"),
    ("<think>a</think>  \n", "no answer"),
    ("\\boxed{1} or \\boxed{2}", "several"),
    ("#### 1\n#### 2", "several"),
    ("\\boxed{}", "empty"),
    ("\\boxed{5", "not closed"),
    ("\\boxed{5} \\boxed{6", "not closed"),
    ("<think>a</think>5<think>b</think>6", "think tags"),
    ("<think>a</think>5</think>6", "think tags"),
    ("word " * 100, "too long"),
    ("", "no answer"),
]


@pytest.mark.parametrize(("text", "answer", "how"), CASES)
def test_found(text: str, answer: str, how: str) -> None:
    found = find(text, same=lambda a, b: equal(a, b) is True)
    assert (found.text, found.how) == (answer, how)


@pytest.mark.parametrize(("text", "reason"), NONE)
def test_not_found(text: str, reason: str) -> None:
    found = find(text)
    assert found.text is None
    assert reason in found.reason


def test_thinking_is_never_an_answer() -> None:
    thoughts = ["\\boxed{7}", "#### 7", "the answer is 7", "7"]
    for thought in thoughts:
        assert find(f"<think>{thought}").text is None
        assert find(f"<think>{thought}</think>").text is None
        assert find(f"<think>{thought}</think>8").text == "8"


def completion(**fields: object) -> Completion:
    return Completion((1, 2), (0.0, 0.0), **{"finish": "stop", **fields})  # type: ignore[arg-type]


def test_completions_are_cut_on_ids_not_text() -> None:
    assert find(completion(thinking="x</think>9", answer="5")).text == "5"
    assert find(completion(thinking="x", answer=None, text="<think>x")).text is None
    assert find(completion(text="<think>x</think>6")).text == "6"
    assert "think tags" in find(completion(thinking="x", answer="5</think>6")).reason


def test_an_answer_cut_by_the_length_limit_is_none_unless_boxed() -> None:
    assert find(completion(thinking="x", answer="12", finish="length")).text is None
    assert find(completion(thinking="x", answer="the answer is 12", finish="length")).text is None
    assert find(completion(thinking="x", answer="\\boxed{12} is", finish="length")).text == "12"


def test_rules() -> None:
    assert find("\\boxed{5}", Rule(boxed=False)).text == "\\boxed{5}"
    assert find("A: 5", Rule(marks=("A:",))).text == "5"
    assert find("5", Rule(whole=0)).text is None
    assert find("the answer is 5", Rule(phrases=False)).text == "the answer is 5"


@pytest.mark.parametrize(
    "text",
    ["(" * 100_000, "{" * 100_000, "\\boxed{" * 100_000, "\\boxed{" * 50_000 + "}" * 50_000, "answer " * 100_000,
     "answer" + " " * 500_000, "<think>" * 100_000, "\x00" * 100_000, "\\" * 100_000, "####\n" * 100_000,
     "the answer is \n" * 50_000, "\\boxed{1}" * 100_000, "\\boxed " * 100_000],
    ids=lambda t: repr(t[:12]),
)  # fmt: skip
def test_hostile_texts_take_linear_time(text: str) -> None:
    started = time.process_time()
    find(text, same=lambda a, b: equal(a, b) is True)
    find("<think>" + text + "</think>" + text)
    assert time.process_time() - started < 2.0


def test_split() -> None:
    assert split("a<think>b</think>c") == ("b", "c")
    assert split("b</think>c") == ("b", "c")
    assert split("<think>b") == ("b", None)
    assert split("c") == (None, "c")
