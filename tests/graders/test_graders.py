"""The smaller graders, their options, and the short way `grade(name, ...)`."""

from __future__ import annotations

import pytest

import ponder
from ponder.errors import ConfigError
from ponder.graders import GRADERS, classes, grade, make
from ponder.graders.language import share
from ponder.graders.plain import number
from ponder.types import Completion, Grade, Problem


def outcome(name: str, reference: object, text: str, **options: object) -> str:
    return grade(name, reference=reference, completion=text, **options).outcome


def test_ponder_grade_is_grade() -> None:
    assert ponder.grade("math", reference="1/2", completion="<think>…</think>\\boxed{0.5}").score == 1.0


def test_every_name_makes_a_grader_that_survives_hostile_completions() -> None:
    hostile = ["", "\x00", "<think>", "</think>", "(" * 100_000, "\\boxed{__import__('os').system('x')}", "9^{9^{9^9}}"]
    for name in GRADERS:
        options = {"parts": {"math": 1.0, "format": 0.5}} if name == "weighted" else {}
        for text in hostile:
            for reference in ("5", None, "A", 3, ["a"]):
                found = grade(name, reference=reference, completion=text, **options)
                assert found.score is None or -1 <= found.score <= 1.5
                assert found.outcome != "correct" or name in ("format", "length", "language")


def test_unknown_names_and_options_say_what_exists() -> None:
    with pytest.raises(ConfigError, match="did you mean 'math'"):
        grade("maths", reference="1", completion="1")
    with pytest.raises(ConfigError, match="did you mean 'percent'"):
        grade("math", reference="1", completion="1", percentage="drop")


def test_options_reach_the_policy_and_the_rule() -> None:
    assert outcome("math", "30", "\\boxed{30\\%}", percent="drop") == "correct"
    assert outcome("math", "30", "\\boxed{30\\%}") == "wrong"
    assert outcome("math", "30", "A: 30", marks=["A:"]) == "correct"
    assert make("math", percent="drop").policy.percent == "drop"


# -- number, exact, choice ---------------------------------------------------------------------------------------------

NUMBERS = [
    ("$1,234.50 per day", "2469/2"), ("18", "18"), ("-5", "-5"), ("it is 7.", "7"), ("3/4 cup", "3/4"), ("10-5", None),
    ("5 to 6", None), ("none", None), ("1/0", None), ("covid-19", "19"), ("5 = 5", "5"), ("1e3", "1000"), ("10{,}000", "10000"),
    ("12, 345", "12345"), ("x_3", "3"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), NUMBERS)
def test_number(text: str, value: str | None) -> None:
    found = number(text)
    assert (None if isinstance(found, str) else str(found)) == value


def test_number_grader() -> None:
    assert outcome("number", "18", "She makes it.\n#### $18.00") == "correct"
    assert outcome("number", "18", "The answer is 18 dollars.") == "correct"
    assert outcome("number", "18", "The answer is 17 or 18.") == "unparsed"
    assert outcome("number", "18", "#### 19") == "wrong"
    assert outcome("number", "eighteen", "#### 18") == "error"
    assert outcome("number", "100", "\\boxed{100.5}", tolerance=0.01) == "correct"
    assert outcome("number", "100", "\\boxed{102}", tolerance=0.01) == "wrong"


def test_exact_grader() -> None:
    assert outcome("exact", "New York", "<think>Boston</think> new  york.") == "correct"
    assert outcome("exact", "New York", "<think>New York</think>Boston") == "wrong"
    assert outcome("exact", "New York", "new york", ignore_case=False) == "wrong"
    assert outcome("exact", "its", "it's", ignore_punctuation=True) == "correct"
    assert outcome("exact", ["a", "b"], "b") == "correct"


CHOICES = [
    ("B", "B"), ("(B)", "B"), ("B.", "B"), ("B) because", "B"), ("**B**", "B"), ("\\boxed{\\text{(B)}}", "B"),
    ("\\boxed{b}", "B"),
    ("The answer is (C).", "C"), ("Answer: D", "D"), ("option E", "E"), ("\\boxed{\\text{A}}", "A"), ("B because it is", "B"),
    ("$\\textbf{(A)}$", "A"), ("the answer is A cat", None), ("cat", None), ("F", None), ("B, C", None), ("a dog", None),
    ("\\boxed{A} or \\boxed{B}", None), ("<think>A</think>", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "letter"), CHOICES)
def test_choice(text: str, letter: str | None) -> None:
    found = grade("choice", reference="A", completion=text)
    assert found.outcome == ("unparsed" if letter is None else "correct" if letter == "A" else "wrong")
    if letter is not None:
        assert found.parts["answer"] == letter
        assert grade("choice", reference="ABCDE".index(letter), completion=text).correct


# -- form, length, language --------------------------------------------------------------------------------------------


def completion(thinking: str | None, answer: str | None, tokens: int = 3) -> Completion:
    return Completion(tuple(range(tokens)), (0.0,) * tokens, "stop", text="?", thinking=thinking, answer=answer)


def test_format() -> None:
    assert outcome("format", None, "<think>a</think>b") == "correct"
    for bad in (
        "b",
        "<think>a",
        "<think>a</think>",
        "<think>a</think>b</think>",
        "x<think>a</think>b",
        "<think><think>a</think>b",
    ):
        found = grade("format", completion=bad)
        assert (found.score, found.outcome) == (0.0, "wrong")
        assert found.reason
    assert outcome("format", None, "a</think>b", opened_by_prompt=True) == "correct"
    assert outcome("format", None, "<think>a</think>b", need_box=True) == "wrong"
    assert outcome("format", None, "<think>a</think>\\boxed{b}", need_box=True) == "correct"
    assert grade("format", completion=completion("a", "b")).correct
    assert not grade("format", completion=completion("a", None)).correct
    assert not grade("format", completion=completion("a", "b</think>c")).correct
    assert not grade("format", completion=completion(None, "b")).correct


def test_length_falls_linearly_between_the_limits() -> None:
    scores = [grade("length", completion=completion("", "", n), soft=10, hard=20).score for n in (5, 10, 15, 20, 30)]
    assert scores == [0.0, 0.0, -0.5, -1.0, -1.0]
    assert grade("length", completion="<think>" + "a" * 15 + "</think>b", soft=10, hard=20, of="thinking").score == -0.5
    with pytest.raises(ConfigError, match="soft"):
        make("length", soft=5, hard=5)


def test_language() -> None:
    english = "So we have 3 apples and then x = \\frac{1}{2} of the total."
    assert share(english, "en") == (9, 9)
    assert grade("language", completion=f"<think>{english}</think>5").score == 1.0
    assert grade("language", completion=f"<think>{english}</think>5", language="zh").score == 0.0
    mixed = grade("language", completion="<think>So we have 苹果</think>5")
    assert mixed.score == pytest.approx(3 / 5)
    assert mixed.outcome == "wrong"
    german = "Also ist die Summe nicht das was wir haben"
    assert grade("language", completion=f"<think>{german}</think>5", language="de").score == 1.0
    assert (grade("language", completion=f"<think>{german}</think>5").score or 0) < 0.5
    assert grade("language", completion="<think>так вот сумма</think>5", language="ru").score == 1.0
    assert grade("language", completion="<think>12 + 3 = 15</think>15").score is None
    assert grade("language", completion="15").score is None
    with pytest.raises(ConfigError, match="language"):
        make("language", language="klingon")


# -- weighted sums, user graders ---------------------------------------------------------------------------------------


class Broken:
    def grade(self, problem: Problem, completion: Completion) -> Grade:
        return Grade(None, "timeout", reason="too slow")


class Echo:
    def grade(self, problem: Problem, completion: Completion) -> Grade:
        return Grade(float(completion.answer == problem.reference), "correct")


def test_weighted() -> None:
    text = "<think>so the sum is</think>\\boxed{2}"
    found = grade("weighted", reference="2", completion=text, parts={"math": 1.0, "format": 0.25})
    assert (found.score, found.outcome) == (1.25, "correct")
    assert found.parts["math"] == 1.0
    assert found.parts["format"] == 1.0
    wrong = grade(
        "weighted",
        reference="3",
        completion=text,
        parts={"math": {"weight": 2}, "length": {"options": {"soft": 0, "hard": 5}}},
    )
    assert (wrong.score, wrong.outcome) == (-1.0, "wrong")
    with pytest.raises(ConfigError, match="part 'math'"):
        make("weighted", parts={"math": {"wait": 1}})
    with pytest.raises(ConfigError, match="at least one"):
        make("weighted", parts={})


def test_a_part_without_score_leaves_the_sum_without_score_unless_optional() -> None:
    parts = {"math": 1.0, "slow": {"grader": Broken()}}
    found = grade("weighted", reference="2", completion="2", parts=parts)
    assert (found.score, found.outcome) == (None, "error")
    assert "too slow" in found.reason
    parts["slow"] = {"grader": Broken(), "optional": True}
    assert grade("weighted", reference="2", completion="2", parts=parts).score == 1.0


def test_a_users_grader_sees_the_split_completion() -> None:
    assert (
        grade("weighted", reference="b", completion="<think>a</think>b", parts={"own": {"grader": Echo()}}).score == 1.0
    )


# -- classes -----------------------------------------------------------------------------------------------------------


def test_classes() -> None:
    assert classes(["1/2", "0.5", None, "3", "\\frac12", " ", "3.0"]) == [0, 0, None, 1, 0, None, 1]
    assert classes(["5", "5 cm", "5\\text{ m}"]) in ([0, 0, 1], [1, 0, 1], [0, 1, 0])
    assert classes([]) == []


def test_classes_do_not_depend_on_order() -> None:
    answers = ["5", "5 cm", "5\\text{ m}", "5.0", "6", "x=5"]
    base = classes(answers)
    for shift in range(len(answers)):
        moved = answers[shift:] + answers[:shift]
        found = dict(zip(moved, classes(moved), strict=True))
        pairs = [(a, b) for a in answers for b in answers]
        together = dict(zip(answers, base, strict=True))
        assert all((found[a] == found[b]) == (together[a] == together[b]) for a, b in pairs)


def test_classes_of_unreadable_answers_stay_apart() -> None:
    assert classes(["\\int x", "\\int y", "\\int x"]) == [0, 1, 0]
