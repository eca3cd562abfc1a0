"""What normal forms leave open is decided in workers, and never for longer than the deadline."""

from __future__ import annotations

import threading
import time

import pytest

from ponder.graders import symbolic
from ponder.graders.math import MathGrader, Policy, compare, equal

TRUE = [
    ("\\cos 15^\\circ", "\\frac{\\sqrt6+\\sqrt2}{4}"), ("\\sqrt{3+2\\sqrt2}", "1+\\sqrt2"), ("\\sin^2 x+\\cos^2 x", "1"),
    ("\\ln 8", "3\\ln 2"), ("\\log 8", "3\\log 2"), ("\\log_2 8", "3"), ("\\frac{\\ln 3}{\\ln 2}", "\\log_2 3"),
    ("2^{x+1}", "2\\cdot 2^x"), ("e^{i\\pi}", "-1"), ("\\sqrt{xy}", "\\sqrt x\\sqrt y"), ("|x|", "\\sqrt{x^2}"),
    ("\\tan x", "\\frac{\\sin x}{\\cos x}"), ("\\arcsin 1", "\\frac{\\pi}{2}"), ("(x+1)^{30}", "(x+1)^{10}(x+1)^{20}"),
]  # fmt: skip
FALSE = [
    ("\\cos 15^\\circ", "\\frac{\\sqrt6-\\sqrt2}{4}"), ("\\sqrt{x^2}", "x"), ("\\log_2 8", "4"), ("2^x", "x^2"), ("|x|", "x"),
    ("\\sin x", "\\cos x"), ("\\sqrt{2+\\sqrt3}", "2"), ("\\ln 2", "0.693147"), ("\\sin 1", "\\sin 1 + 10^{-20}"),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), TRUE)
def test_proved(a: str, b: str) -> None:
    assert equal(a, b) is True
    assert equal(b, a) is True


@pytest.mark.parametrize(("a", "b"), FALSE)
def test_refuted(a: str, b: str) -> None:
    assert equal(a, b) is False
    assert equal(b, a) is False


def test_log_without_a_base_is_decided_only_when_no_base_matters() -> None:
    assert equal("\\log 100", "2") is None
    assert "base" in compare("\\log 100", "2").reason
    assert equal("\\log_{10} 100", "2") is True
    assert equal("\\log 100", "100") is False


def test_a_deadline_is_a_timeout_with_no_score() -> None:
    grader = MathGrader(Policy(deadline=0.3))
    grade = grader.check("5", "\\boxed{9^{9^{9\\sin(\\pi/2)}}}")
    assert (grade.score, grade.outcome) == (None, "timeout")
    assert grader.check("\\frac12", "\\boxed{\\cos 60^\\circ}").correct


def test_without_symbolic_work_open_cases_stay_open() -> None:
    verdict = compare("\\cos 15^\\circ", "\\frac{\\sqrt6+\\sqrt2}{4}", Policy(symbolic=False))
    assert verdict.truth is None
    assert verdict.reason


def test_off_the_main_thread() -> None:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(equal("\\cos 75^\\circ", "\\frac{\\sqrt6-\\sqrt2}{4}")))
    thread.start()
    thread.join(60)
    assert found == [True]


def test_memory_of_answers_is_bounded_and_keeps_no_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbolic, "REMEMBERED", 5)
    for n in range(12):
        assert equal(f"\\sin^2 {n} + \\cos^2 {n}", "2") is False
    remembered = symbolic._answers  # pyright: ignore[reportPrivateUsage]
    assert len(remembered) <= 5
    before = len(remembered)
    assert equal("9^{9^{9\\cos 0}}", "5", Policy(deadline=0.2)) is None
    assert len(remembered) <= before
    started = time.monotonic()
    assert equal("\\sin^2 11 + \\cos^2 11", "2") is False
    assert time.monotonic() - started < 0.2


def test_one_deadline_covers_all_parts_of_an_answer() -> None:
    slow = "\\{" + ",".join(f"9^{{9^{{9\\sin({k}\\pi/2)}}}}" for k in range(1, 41, 4)) + "\\}"
    started = time.monotonic()
    verdict = compare(slow, slow.replace("sin", "cos"), Policy(deadline=0.3))
    assert verdict.truth is None
    assert "deadline" in verdict.reason
    assert time.monotonic() - started < 6  # a hundred pairs, each of which would use up the deadline
