"""Quotients of polynomials over the rationals in atoms, and their arithmetic.

Design: a monomial is a sorted tuple of (atom, exponent); an atom is a symbol, `#i`, a prime under a root (`#2` with an
exponent between 0 and 1), or an opaque application `@...` keyed by the text of its normalised arguments. Every growth
(powers, digits, terms, work) is bounded before it happens, by `Limit`.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from fractions import Fraction

from ponder.graders.lexer import Limit, NotMath

Monomial = tuple[tuple[str, Fraction], ...]
Poly = dict[Monomial, Fraction]
MAX_BITS = 40_000
MAX_TERMS = 300
MAX_PRODUCT = 4_000
MAX_WORK = 40_000
ONE = Fraction(1)
UNIT: Poly = {(): ONE}


@dataclass(frozen=True, slots=True)
class Form:
    """A quotient of polynomials. `opaque` when some atom is a function the normal form does not see through."""

    top: Poly
    bottom: Poly
    opaque: bool = False

    @property
    def number(self) -> Fraction | None:
        """The value when it is rational."""
        if not self.top:
            return Fraction(0)
        if len(self.top) == 1 and self.bottom == UNIT:
            return self.top.get(())
        return None

    @property
    def symbols(self) -> frozenset[str]:
        return frozenset(a for p in (self.top, self.bottom) for m in p for a, _ in m if a[0] not in "#")

    def key(self) -> str:
        return _text(self.top) + ("" if self.bottom == UNIT else "/" + _text(self.bottom))


class _Work(threading.local):
    left = MAX_WORK


_work = _Work()


def fresh_work() -> None:
    """Allow this thread another answer's worth of term products."""
    _work.left = MAX_WORK


def constant(value: Fraction | int) -> Form:
    value = Fraction(value)
    return Form({(): value} if value else {}, UNIT)


def atom(name: str, exponent: Fraction = ONE, opaque: bool = False) -> Form:
    return Form({((name, exponent),): ONE}, UNIT, opaque)


def _add(a: Poly, b: Poly) -> Poly:
    out = dict(a)
    for monomial, coefficient in b.items():
        total = out.get(monomial, 0) + coefficient
        if total:
            out[monomial] = Fraction(total)
        else:
            out.pop(monomial, None)
    if len(out) > MAX_TERMS:
        raise Limit("too many terms")
    return out


def _scale(a: Poly, factor: Fraction) -> Poly:
    return {m: c * factor for m, c in a.items()} if factor else {}


def multiply(a: Poly, b: Poly) -> Poly:
    if b == UNIT:
        return a
    if a == UNIT:
        return b
    _work.left -= len(a) * len(b) * (1 + _bits(a) // 400 + _bits(b) // 400)
    if len(a) * len(b) > MAX_PRODUCT or _work.left < 0:
        raise Limit("too many terms")
    out: Poly = {}
    for m1, c1 in a.items():
        for m2, c2 in b.items():
            monomial, factor = _join(m1, m2)
            total = out.get(monomial, 0) + c1 * c2 * factor
            if total:
                out[monomial] = _bounded(total)
            else:
                out.pop(monomial, None)
    if len(out) > MAX_TERMS:
        raise Limit("too many terms")
    return out


def _bits(poly: Poly) -> int:
    """The size of one coefficient, as a sample of all."""
    coefficient = next(iter(poly.values()), ONE)
    return coefficient.numerator.bit_length() + coefficient.denominator.bit_length()


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() > MAX_BITS or value.denominator.bit_length() > MAX_BITS:
        raise Limit("number has too many digits")
    return value


def _join(a: Monomial, b: Monomial) -> tuple[Monomial, Fraction]:
    """The product of two monomials, with whole powers of primes and of i moved into the coefficient."""
    if not a:
        return b, ONE
    if not b:
        return a, ONE
    exponents = dict(a)
    for atom, exponent in b:
        exponents[atom] = exponents.get(atom, 0) + exponent
    return reduce_powers(exponents)


def reduce_powers(exponents: dict[str, Fraction]) -> tuple[Monomial, Fraction]:
    factor = ONE
    for atom, exponent in list(exponents.items()):
        if atom == "#i":
            turns = int(exponent) % 4
            exponents[atom] = Fraction(turns % 2)
            factor = -factor if turns >= 2 else factor
        elif atom[0] == "#":
            whole = math.floor(exponent)
            if whole:
                factor *= int_power(Fraction(int(atom[1:])), whole)
                exponents[atom] = exponent - whole
    return tuple(sorted((a, e) for a, e in exponents.items() if e)), factor


def total(forms: list[Form]) -> Form:
    top, bottom, opaque = forms[0].top, forms[0].bottom, forms[0].opaque
    for form in forms[1:]:
        if form.bottom == bottom:
            top = _add(top, form.top)
        else:
            top = _add(multiply(top, form.bottom), multiply(form.top, bottom))
            bottom = multiply(bottom, form.bottom)
        opaque = opaque or form.opaque
    return Form(top, bottom, opaque)


def negate(form: Form) -> Form:
    return Form(_scale(form.top, -ONE), form.bottom, form.opaque)


def subtract(a: Form, b: Form) -> Form:
    return total([a, negate(b)])


def times(a: Form, b: Form) -> Form:
    return Form(multiply(a.top, b.top), multiply(a.bottom, b.bottom), a.opaque or b.opaque)


def invert(form: Form) -> Form:
    if not form.top:
        raise NotMath("division by zero")
    if len(form.top) == 1:
        ((monomial, coefficient),) = form.top.items()
        inverse, factor = reduce_powers({a: -e for a, e in monomial})
        return Form(multiply(form.bottom, {inverse: factor / coefficient}), UNIT, form.opaque)
    return Form(form.bottom, form.top, form.opaque)


def int_power(base: Fraction, exponent: int) -> Fraction:
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    if size > 1 and size * abs(exponent) > MAX_BITS:
        raise Limit("power is too large")
    if exponent < 0 and base == 0:
        raise NotMath("division by zero")
    return base**exponent if abs(base) != 1 else base ** (exponent % 2)


def monomial_power(poly: Poly, count: int) -> Poly:
    ((monomial, coefficient),) = poly.items()
    raised, factor = reduce_powers({a: e * count for a, e in monomial})
    return {raised: _bounded(factor * int_power(coefficient, count))}


def _text(poly: Poly) -> str:
    if not poly:
        return "0"
    rows = (f"{c.numerator:x}:{c.denominator:x}" + "".join(f"*{a}^{e}" for a, e in m) for m, c in sorted(poly.items()))
    return "+".join(rows)
