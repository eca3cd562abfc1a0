"""Equality of answers: a table of cases, each in both directions, and the laws equality must obey."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.graders import reading
from ponder.graders.math import MathGrader, Policy, compare, equal

TRUE = [
    ("1/2", "0.5"), ("\\frac12", "\\dfrac{1}{2}"), ("\\frac{625}4", "156.25"), ("\\frac 59", "5/9"),
    (".5", "\\tfrac12"),
    ("3\\frac18", "25/8"), ("1 1/2", "1.5"), ("-2\\frac{1}{2}", "-2.5"), ("12\\frac{3}{5}", "12.6"), ("5.", "5"),
    ("1,000", "1000"), ("10{,}000", "10000"), ("5,\\!040", "5040"), ("111, \\! 111, \\! 111", "111111111"),
    ("10\\,000", "10000"), ("1e3", "1000"), ("3 \\times 10^{5}", "300000"), ("6.02e-3", "0.00602"), ("4.50", "4.5"),
    ("10\\%", "0.1"), ("30 percent", "30%"), ("150%", "1.5"), ("\\$18.90", "18.9"), ("$18", "18"), ("$5$", "5"),
    ("-\\$5", "-5"), ("5 cm", "5"), ("5\\text{ cm}", "5 centimeters"), ("25 \\text{ ft}", "25 feet"), ("7 apples", "7"),
    ("144 \\mbox{ m}^3", "144"), ("9 square feet", "9\\text{ ft}^2"), ("20 degrees", "20^\\circ"),
    ("5m", "5\\text{ m}"),
    ("2\\sqrt{3}", "\\sqrt{12}"), ("\\sqrt2", "2^{1/2}"), ("\\frac{1}{\\sqrt{10}}", "\\frac{\\sqrt{10}}{10}"),
    ("\\sqrt[3]{16}", "2\\sqrt[3]{2}"), ("\\sqrt[3]{-8}", "-2"), ("\\sqrt{-4}", "2i"), ("i^2", "-1"),
    ("\\frac{1}{1+\\sqrt2}", "\\sqrt{2}-1"), ("(\\sqrt6+\\sqrt2)^2", "8+4\\sqrt3"), ("\\sqrt{10^{400}}", "10^{200}"),
    ("(x+1)(x+2)", "x^2+3x+2"), ("4(3-x)(3+x)", "36-4x^2"), ("\\frac{2x-7}{(x+1)(x-2)}", "(2x-7)/(x^2-x-2)"),
    ("36x \\sqrt{35x}", "36 x\\sqrt{35}\\sqrt x"), ("\\frac{\\pi}{3}", "\\pi/3"), ("2 \\pi + 4", "2(\\pi+2)"),
    ("2π", "2pi"),
    ("\\frac{7}{5} + \\frac{1}{5} i.", "\\frac{7+i}{5}"), ("(x^2-1)/(x-1)", "x+1"), ("x**2", "x^2"), ("2*x", "2x"),
    ("x=5", "5"), ("x = \\frac{3}{2}", "1.5"), ("f(x)=x+1", "1+x"), ("3+4=7", "7"), ("x=3+4=7", "7"),
    ("y = x+3", "x - y + 3 = 0"), ("x^2+y^2=13", "13=x^2+y^2"), ("2x+4y=6", "x+2y=3"),
    ("(1,2)", "( 1 , 2 )"), ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3,\\pi/2)"), ("\\{1,2\\}", "\\{2,1\\}"),
    ("{1,2}", "\\{2, 1\\}"), ("1,2", "2,1"), ("1,2", "\\{1,2\\}"), ("\\{5\\}", "5"), ("1, 2 and 3", "3,2,1"),
    ("12\\text{ and }13", "12, 13"), ("x=1 or x=2", "x=2, x=1"), ("1 \\pm \\sqrt{19}", "1+\\sqrt{19},1-\\sqrt{19}"),
    ("\\{1\\pm\\sqrt{5},-2\\}", "-2, 1-\\sqrt5, 1+\\sqrt5"), ("45^\\circ, 135^\\circ", "135, 45"),
    ("x<5", "(-\\infty,5)"), ("5 > x", "x<5"), ("[1,2)", "1\\le x<2"), ("2>x\\ge1", "[1,2)"), ("x \\in [1,2]", "[1,2]"),
    ("(-\\infty,0)\\cup (0,\\infty)", "x \\ne 0"), ("(0,\\infty)\\cup(-\\infty,0)", "(-\\infty,0)\\cup (0,\\infty)"),
    ("\\mathbb{R}", "(-\\infty,\\infty)"), ("(-∞, 3]", "x ≤ 3"),
    ("\\begin{pmatrix} 1/5 \\\\ -18/5 \\end{pmatrix}", "\\begin{bmatrix} 0.2 \\\\ -3.6 \\end{bmatrix}"),
    ("\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\\\ \\end{pmatrix}", "\\begin{pmatrix} 1&2\\\\3&4\\end{pmatrix}"),
    ("\\text{even}", "Even"), ("\\text{(B)}", "B"), ("(\\text{E})", "E"), ("\\text{C, F, H}", "F, H, C"),
    ("Monday", "monday"),
    ("f(2) < f(1) < f(4)", "f(2)<f(1)<f(4)"), ("1010_2", "1010_{2}"), ("-221_3", "-221_{3}"), ("1:2", "1 : 2"),
    ("\\frac{1}{2004!}", "1/2004!"), ("5!", "120"), ("\\binom{5}{2}", "10"), ("\\lfloor 2.7 \\rfloor", "2"),
    ("|-3|", "3"),
    ("\\gcd(12,18)", "6"), ("2=x", "x=2"), ("2=x", "2"), ("(p,q) = (\\frac15, \\frac16)", "(1/5,1/6)"),
    ("1 000", "1000"),
    ("\\frac{\\sqrt{3}}{3} \\approx 0.577", "\\frac{\\sqrt{3}}{3}"), ("x \\approx 2.5", "2.5"), ("185\\", "185"),
    ("\\angle APC = 74^\\circ", "74"), ("28 pct", "0.28"), ("\\sqrt{\\sqrt{2}}", "2**(1/4)"), ("1 234/500", "734/500"),
    ("\\sqrt{\\pi x}", "\\sqrt\\pi\\sqrt x"), ("$\\{1,2,3\\}$", "$\\{3, 2, 1\\}$"),
    ("10\\sqrt{3} + \\sqrt4", "10\\sqrt3 + 2"),
    ("\\tfrac{1}{2} +\\! \\frac1{72}", "\\frac{37}{72}"), ("\\frac34i", "\\frac{3}{4}i"), ("x<2", "2>x"),
    ("2024^{4046}", "2024^{4046}"), ("9\\text{ a.m.}", "9\\text{ a.m.}"),
]  # fmt: skip
FALSE = [
    ("9 = 7", "7"), ("9 = 7", "9"), ("x=5=6", "5"), ("x=5", "y=5"), ("x=5", "6"), ("0.333", "1/3"), ("2 \\pi", "6.28"),
    ("10\\%", "10"), ("5 cm", "5 m"), ("5 cm", "6"), ("7 apples", "7 oranges"), ("(1,2)", "(2,1)"), ("(1,2)", "[1,2]"),
    ("\\{1,2\\}", "(1,2)"), ("1,2", "1,2,3"), ("1,1", "1,2"), ("1-1/e", "1+1/e"), ("2^{-99}", "2^{-98}"), ("-5", "5"),
    ("10^{-20}", "10^{-21}"), ("\\frac{1}{2004!}", "\\frac{1}{2006!}"), ("1010_2", "1010"), ("1010_2", "10"),
    ("1010_2", "1010_3"), ("x<5", "x\\le5"), ("x<5", "x>5"), ("(0,1)", "(0,1]"), ("x^2+y^2=13", "x^2+y^2=14"),
    ("odd", "even"),
    ("\\sqrt{2}", "1.41421356"), ("3\\frac18", "3/8"), ("(x+1)^2", "x^2+1"), ("1,234", "1"), ("A", "B"),
    ("odd", "\\text{oddd}"), ("E", "\\mathrm{E}*2"), ("\\sqrt{67},-\\sqrt{85}", "\\sqrt{67}"),
    ("5x - 7y + 11z + 4 = 0", "x + y - z + 2 = 0"), ("2^{2025}", "3^{2025}"), ("\\pi \\approx 3.14", "3.14"),
    ("2=x", "3"), ("6290000", "6287000"),
    ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} 1 & 2 \\end{pmatrix}"), ("5\\%", "5\\text{ cm}"),
    ("4t", "4"),
]  # fmt: skip
UNDECIDED = [
    ("9^{9^{9^9}}", "5"), ("1000000!", "5"), ("1/0", "5"), ("", "5"), ("", ""),
    ("__import__('os')", "5"), ("\\int_0^1 x dx", "1/2"), ("\x00", "5"), ("1/(1-1)", "5"), ("0^{-1}", "5"),
    ("((1)", "1"), ("2^{2^{2^{2^{2^2}}}}", "4"), ("(x+y+z)^{1000}", "1"), ("1e999999999", "1"), ("\\frac{1}{", "1"),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), TRUE)
def test_equal(a: str, b: str) -> None:
    assert equal(a, b) is True
    assert equal(b, a) is True


@pytest.mark.parametrize(("a", "b"), FALSE)
def test_different(a: str, b: str) -> None:
    assert equal(a, b) is False
    assert equal(b, a) is False


@pytest.mark.parametrize(("a", "b"), UNDECIDED)
def test_undecided_has_a_reason(a: str, b: str) -> None:
    verdict = compare(a, b)
    assert verdict.truth is None
    assert verdict.reason
    assert equal(b, a) is None


def test_policies() -> None:
    drop = Policy(percent="drop")
    assert equal("30\\%", "30", drop) is True
    assert equal("30\\%", "0.3", drop) is False
    assert equal("30 percent", "30", drop) is True
    assert equal("5 cm", "5", Policy(units="required")) is False
    assert equal("5 cm", "5\\text{ m}", Policy(units="drop")) is True
    assert equal("1,2", "2,1", Policy(ordered_lists=True)) is False
    assert equal("x=5", "y=5", Policy(names="drop")) is True
    near = Policy(tolerance=Fraction(1, 100))
    assert equal("3.14", "3.15", near) is True
    assert equal("3.14", "3.25", near) is False
    assert equal("3.14", "3.15") is False


# -- laws --------------------------------------------------------------------------------------------------------------

NUMBERS = st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=1000)


def write(value: Fraction, style: int) -> str:
    """One of the ways to write a rational number."""
    top, bottom = value.numerator, value.denominator
    sign = "-" if top < 0 else ""
    if style == 0:
        return f"{top}/{bottom}"
    if style == 1:
        return f"{sign}\\frac{{{abs(top)}}}{{{bottom}}}"
    if style == 2:
        return f"${sign}\\dfrac{{{2 * abs(top)}}}{{{2 * bottom}}}$"
    if style == 3:
        return f"x = {top} \\div {bottom}"
    if style == 4:
        whole, rest = divmod(abs(top), bottom)
        return f"{sign}{whole}\\frac{{{rest}}}{{{bottom}}}" if whole and rest else f"{top}/{bottom}"
    return f"\\left({top:,} \\cdot \\frac1{{{bottom}}}\\right)" if abs(top) < 1000 else f"{top} * {bottom}^{{-1}}"


@settings(deadline=None)
@given(NUMBERS, st.integers(0, 5), st.integers(0, 5))
def test_one_number_in_two_notations_is_equal(value: Fraction, one: int, two: int) -> None:
    assert equal(write(value, one), write(value, two)) is True


@settings(deadline=None)
@given(NUMBERS, NUMBERS, st.integers(0, 5), st.integers(0, 5))
def test_other_numbers_are_different(a: Fraction, b: Fraction, one: int, two: int) -> None:
    assert equal(write(a, one), write(b, two)) is (a == b)


@settings(deadline=None)
@given(NUMBERS, st.integers(0, 5), st.sampled_from(["+1", "-1", "*-1", "*10", "/10"]))
def test_mutated_numbers_are_rejected(value: Fraction, style: int, change: str) -> None:
    wrong = {"+1": value + 1, "-1": value - 1, "*-1": -value, "*10": value * 10, "/10": value / 10}[change]
    assert equal(write(value, style), write(wrong, style)) is (value == wrong)


atoms = st.one_of(
    st.integers(0, 99).map(str),
    st.sampled_from(["x", "y", "\\pi", "e", "i", "\\sqrt{2}", "\\sqrt{x}", "\\frac{2}{3}", "0.25", "|x|"]),
)
expressions = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda p: f"({p[0]}+{p[1]})"),
        st.tuples(inner, inner).map(lambda p: f"{p[0]}-{p[1]}"),
        st.tuples(inner, inner).map(lambda p: f"({p[0]})({p[1]})"),
        st.tuples(inner, inner).map(lambda p: f"\\frac{{{p[0]}}}{{{p[1]}}}"),
        st.tuples(inner, st.integers(-3, 4)).map(lambda p: f"({p[0]})^{{{p[1]}}}"),
    ),
    max_leaves=6,
)
answers = st.one_of(
    expressions,
    st.tuples(expressions, expressions).map(lambda p: f"({p[0]}, {p[1]})"),
    st.tuples(expressions, expressions).map(lambda p: f"\\{{{p[0]}, {p[1]}\\}}"),
    st.tuples(expressions, expressions).map(lambda p: f"{p[0]} = {p[1]}"),
    st.tuples(expressions, expressions).map(lambda p: f"[{p[0]}, {p[1]})"),
    st.tuples(expressions, st.sampled_from(["cm", "%", "\\text{ apples}", "^\\circ"])).map(lambda p: f"{p[0]} {p[1]}"),
    expressions.map(lambda e: f"x = {e}"),
    st.text(max_size=20),
    st.text(alphabet="0123456789xy+-*/^=<>(){}[],.\\$%!|_ frac sqrt", max_size=24),
)
FAST = Policy(symbolic=False)


@settings(deadline=None, max_examples=200)
@given(answers)
def test_reflexive(answer: str) -> None:
    assert equal(answer, answer) is (True if answer.strip() else None)


@settings(deadline=None, max_examples=200)
@given(answers, answers)
def test_symmetric(a: str, b: str) -> None:
    assert equal(a, b, FAST) is equal(b, a, FAST)


@settings(deadline=None, max_examples=200)
@given(expressions, st.sampled_from(["1+{}", "({})-1", "({})+\\pi", "({})+x^7-\\sqrt{11}", "({})+i"]))
def test_mutated_expressions_are_never_equal(expression: str, change: str) -> None:
    assert equal(expression, change.replace("{}", expression), FAST) is not True


@settings(deadline=None, max_examples=200)
@given(
    expressions, st.sampled_from(["({})+0", "1({})", "-(-({}))", "({})+7-7", "\\frac{{2({})}}{{2}}", "$ {} $", "z={}"])
)
def test_rewritten_expressions_are_never_different(expression: str, change: str) -> None:
    assert equal(expression, change.format(expression), FAST) is not False


# -- the grader --------------------------------------------------------------------------------------------------------


def test_outcomes() -> None:
    grader = MathGrader()
    good = grader.check("1/2", "<think>perhaps \\boxed{3}</think>so \\boxed{0.5}")
    assert (good.score, good.outcome, good.parts["answer"]) == (1.0, "correct", "0.5")
    assert grader.check("1/2", "<think></think>\\boxed{1/3}").outcome == "wrong"
    assert grader.check("1/2", "<think>\\boxed{1/2}").outcome == "unparsed"
    hostile = grader.check("5", "\\boxed{9^{9^{9^9}}}")
    assert (hostile.score, hostile.outcome) == (0.0, "unparsed")
    assert "limit" in hostile.reason
    broken = grader.check("\\int", "\\boxed{5}")
    assert (broken.score, broken.outcome) == (None, "error")
    assert grader.check(None, "5").score is None
    assert grader.check(7, "7").correct
    assert grader.check(7.0, "7").correct
    assert grader.check(Fraction(1, 3), "1/3").correct


def test_several_references() -> None:
    grader = MathGrader(several=True)
    assert grader.check(["1", "2"], "\\boxed{2}").correct
    assert grader.check(["1", "2"], "\\boxed{3}").outcome == "wrong"


HEAVY = [
    "(\\frac{10^{900}}{7^{900}}x+\\frac{3^{900}}{11^{900}}y+z)^{40}",
    "(1+\\sqrt2+\\sqrt3+\\sqrt5+\\sqrt7)^{60}",
    "((x+1)^{60})^{60}",
    "+".join(f"{k}!" for k in range(3900, 3990)),
    "\\binom{4000}{2000}" * 20,
    "\\frac{1}{x+1}" * 40 + "+" + "\\frac{1}{y+1}" * 40,
    "\\sqrt{" * 25 + "x" + "}" * 25,
    "-" * 1_500 + "1",
    "2^" * 500 + "2",
    "5" + "!" * 500,
    "\\{" + ",".join(f"\\sin {k}" for k in range(60)) + "\\}",
]


@pytest.mark.parametrize("text", HEAVY, ids=lambda t: t[:20])
def test_work_is_bounded_before_it_is_done(text: str) -> None:
    started = time.process_time()
    assert equal(text, "\\frac{x+1}{y}", FAST) is not True
    assert equal(text, text) is True
    assert time.process_time() - started < 1.0


def test_what_is_remembered_is_bounded() -> None:
    remembered = reading._read_short  # pyright: ignore[reportPrivateUsage]
    before = remembered.cache_info().currsize
    for power in range(2_000, 2_040):  # each a form of some thousand digits
        assert equal(f"(9^{{{power}}}x+7^{{{power}}}y)^2", "x", FAST) is False
    assert remembered.cache_info().currsize <= before + 1  # "x" alone
    assert remembered.cache_info().maxsize == 8192
