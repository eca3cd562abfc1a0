"""Exact normal forms: polynomials over the rationals in atoms, and quotients of them.

Design: a monomial is a sorted tuple of (atom, exponent); an atom is a symbol, `#i`, a prime under a root (`#2` with an
exponent between 0 and 1), or an opaque application `@...` keyed by the text of its normalised arguments. Products of
distinct prime roots are linearly independent over the rationals (Besicovitch 1940), so without opaque atoms a
difference is zero exactly when its polynomial is empty: that is final, True or False. pi and e count as independent.
Every growth (powers, digits, terms) is bounded before it happens. Opaque atoms are left to `symbolic`.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ponder.graders.lexer import Limit, NotMath

Node = tuple[Any, ...]
Monomial = tuple[tuple[str, Fraction], ...]
Poly = dict[Monomial, Fraction]
MAX_BITS = 40_000
MAX_TERMS = 300
MAX_PRODUCT = 4_000
MAX_EXPAND = 64
MAX_WORK = 40_000
MAX_FACTORIAL = 4_000
_TRIAL = 10_000
ONE = Fraction(1)
HALF = Fraction(1, 2)


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
        if len(self.top) == 1 and self.bottom == _UNIT:
            return self.top.get(())
        return None

    @property
    def symbols(self) -> frozenset[str]:
        return frozenset(a for p in (self.top, self.bottom) for m in p for a, _ in m if a[0] not in "#")

    def key(self) -> str:
        return _text(self.top) + ("" if self.bottom == _UNIT else "/" + _text(self.bottom))


class _Work(threading.local):
    left = MAX_WORK


_UNIT: Poly = {(): ONE}
_work = _Work()
_PRIMES: list[int] = []


def fresh_work() -> None:
    """Allow this thread another answer's worth of term products."""
    _work.left = MAX_WORK


def constant(value: Fraction | int) -> Form:
    value = Fraction(value)
    return Form({(): value} if value else {}, _UNIT)


def _atom(name: str, exponent: Fraction = ONE, opaque: bool = False) -> Form:
    return Form({((name, exponent),): ONE}, _UNIT, opaque)


def difference_is_zero(a: Form, b: Form) -> bool | None:
    """Exact comparison; None when opaque atoms leave it open or a limit is met."""
    try:
        left, right = _multiply(a.top, b.bottom), _multiply(b.top, a.bottom)
    except Limit:
        return None
    if left == right:
        return True
    return None if a.opaque or b.opaque else False


def normalise(node: Node) -> Form:
    """The normal form of an expression tree; raises `NotMath` or `Limit`."""
    kind = node[0]
    if kind == "num":
        return constant(node[1])
    if kind == "sym":
        return _SYMBOLS.get(node[1]) or _atom(node[1])
    if kind == "add":
        return _sum([normalise(n) for n in node[1:]])
    if kind == "neg":
        return negate(normalise(node[1]))
    if kind == "mul":
        form = normalise(node[1])
        for factor in node[2:]:
            form = times(form, normalise(factor))
        return form
    if kind in ("div", "frac"):
        return times(normalise(node[1]), _invert(normalise(node[2])))
    if kind == "pow":
        return power(normalise(node[1]), normalise(node[2]))
    if kind == "root":
        return _root(normalise(node[1]), normalise(node[2]))
    if kind == "fn":
        return _function(node[1], [normalise(n) for n in node[2:]])
    if kind == "pct":
        return times(normalise(node[1]), constant(Fraction(1, 100)))
    if kind == "deg":
        return times(normalise(node[1]), times(_atom("pi"), constant(Fraction(1, 180))))
    raise NotMath(f"a {kind} is not a number")


_SYMBOLS = {"i": _atom("#i"), "j": _atom("j")}


# -- arithmetic --------------------------------------------------------------------------------------------------------


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


def _multiply(a: Poly, b: Poly) -> Poly:
    if b == _UNIT:
        return a
    if a == _UNIT:
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
    return _reduce(exponents)


def _reduce(exponents: dict[str, Fraction]) -> tuple[Monomial, Fraction]:
    factor = ONE
    for atom, exponent in list(exponents.items()):
        if atom == "#i":
            turns = int(exponent) % 4
            exponents[atom] = Fraction(turns % 2)
            factor = -factor if turns >= 2 else factor
        elif atom[0] == "#":
            whole = math.floor(exponent)
            if whole:
                factor *= _int_power(Fraction(int(atom[1:])), whole)
                exponents[atom] = exponent - whole
    return tuple(sorted((a, e) for a, e in exponents.items() if e)), factor


def _sum(forms: list[Form]) -> Form:
    top, bottom, opaque = forms[0].top, forms[0].bottom, forms[0].opaque
    for form in forms[1:]:
        if form.bottom == bottom:
            top = _add(top, form.top)
        else:
            top = _add(_multiply(top, form.bottom), _multiply(form.top, bottom))
            bottom = _multiply(bottom, form.bottom)
        opaque = opaque or form.opaque
    return Form(top, bottom, opaque)


def negate(form: Form) -> Form:
    return Form(_scale(form.top, -ONE), form.bottom, form.opaque)


def subtract(a: Form, b: Form) -> Form:
    return _sum([a, negate(b)])


def times(a: Form, b: Form) -> Form:
    return Form(_multiply(a.top, b.top), _multiply(a.bottom, b.bottom), a.opaque or b.opaque)


def _invert(form: Form) -> Form:
    if not form.top:
        raise NotMath("division by zero")
    if len(form.top) == 1:
        ((monomial, coefficient),) = form.top.items()
        inverse, factor = _reduce({a: -e for a, e in monomial})
        return Form(_multiply(form.bottom, {inverse: factor / coefficient}), _UNIT, form.opaque)
    return Form(form.bottom, form.top, form.opaque)


def _int_power(base: Fraction, exponent: int) -> Fraction:
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    if size > 1 and size * abs(exponent) > MAX_BITS:
        raise Limit("power is too large")
    if exponent < 0 and base == 0:
        raise NotMath("division by zero")
    return base**exponent if abs(base) != 1 else base ** (exponent % 2)


def power(base: Form, exponent: Form) -> Form:
    value = exponent.number
    if value is None:
        if base.number == 1:
            return base
        return _atom(f"@pow({base.key()};{exponent.key()})", opaque=True)
    if value.denominator != 1:
        return _fractional_power(base, value)
    count = value.numerator
    number = base.number
    if number is not None:
        return constant(_int_power(number, count))
    if count < 0:
        return _invert(power(base, constant(-count)))
    if count == 0:
        return constant(1)
    if len(base.top) == 1 and len(base.bottom) == 1:
        return Form(_monomial_power(base.top, count), base.bottom, base.opaque)
    if count > MAX_EXPAND:
        raise Limit("power is too large")
    out = base
    for _ in range(count - 1):
        out = times(out, base)
    return out


def _monomial_power(poly: Poly, count: int) -> Poly:
    ((monomial, coefficient),) = poly.items()
    raised, factor = _reduce({a: e * count for a, e in monomial})
    return {raised: _bounded(factor * _int_power(coefficient, count))}


# -- roots -------------------------------------------------------------------------------------------------------------


def _root(inner: Form, index: Form) -> Form:
    count = index.number
    if count is None or count.denominator != 1 or not 2 <= count <= 1_000:
        raise NotMath("the index of a root must be a whole number")
    return _fractional_power(inner, 1 / count)


def _fractional_power(base: Form, exponent: Fraction) -> Form:
    """Real roots of rationals split into prime roots; odd roots of negatives are real, square roots imaginary."""
    if exponent.denominator > 1_000 or abs(exponent.numerator) > 1_000:
        raise Limit("power is too large")
    if not base.top:
        if exponent < 0:
            raise NotMath("division by zero")
        return base
    if len(base.top) == 1 and base.bottom == _UNIT:
        ((monomial, coefficient),) = base.top.items()
        free = [(a, e) for a, e in monomial if not _is_positive(a)]
        plain = not free or (len(free) == 1 and free[0][0][0] not in "#@" and free[0][1] == 1)
        if plain and (coefficient > 0 or not monomial):
            number = _number_root(coefficient, exponent)
            if number is not None:
                rest, factor = _reduce({a: e * exponent for a, e in monomial})
                return times(number, Form({rest: factor}, _UNIT)) if monomial else number
    if base.top == base.bottom:
        return constant(1)
    return _atom(f"@pow({base.key()};{exponent})", opaque=True)


def _is_positive(atom: str) -> bool:
    return atom in ("pi", "e") or (atom[0] == "#" and atom != "#i")


def _number_root(value: Fraction, exponent: Fraction) -> Form | None:
    form = constant(1)
    if value < 0:
        if exponent.denominator == 2:
            form = power(_atom("#i"), constant(exponent.numerator % 4))
        elif exponent.denominator % 2 == 0:
            return None
        elif exponent.numerator % 2:
            form = constant(-1)
    for part, sign in ((abs(value.numerator), 1), (value.denominator, -1)):
        factors = _factor(part)
        if factors is None:
            return None
        for prime, count in factors.items():
            monomial, factor = _reduce({f"#{prime}": count * exponent * sign})
            form = times(form, Form({monomial: factor}, _UNIT))
    return form


def _factor(value: int) -> dict[int, int] | None:
    """Prime factors by bounded trial division; None when a large cofactor is neither prime for sure nor a square."""
    if value.bit_length() > 512:
        return None
    if not _PRIMES:
        sieve = bytearray([1]) * _TRIAL
        for n in range(2, _TRIAL):
            if sieve[n]:
                _PRIMES.append(n)
                sieve[n * n :: n] = bytes(len(range(n * n, _TRIAL, n)))
    out: dict[int, int] = {}
    for prime in _PRIMES:
        if prime * prime > value:
            break
        while value % prime == 0:
            value //= prime
            out[prime] = out.get(prime, 0) + 1
    if value > 1:
        count = 1
        if value >= _TRIAL * _TRIAL:
            side = math.isqrt(value)
            if side * side != value or side >= _TRIAL * _TRIAL:
                return None
            value, count = side, 2
        out[value] = out.get(value, 0) + count
    return out


# -- functions ---------------------------------------------------------------------------------------------------------


def _function(name: str, args: list[Form]) -> Form:
    numbers = [a.number for a in args]
    if all(n is not None for n in numbers):
        exact = _exact_function(name, [n for n in numbers if n is not None])
        if exact is not None:
            return constant(exact)
    if name == "exp" and len(args) == 1:
        return power(_atom("e"), args[0])
    if name in ("log", "ln") and len(args) == 1 and numbers[0] == 1:
        return constant(0)
    if name == "ln" and args[0].key() == _atom("e").key():
        return constant(1)
    return _atom(f"@{name}({';'.join(a.key() for a in args)})", opaque=True)


def _exact_function(name: str, args: list[Fraction]) -> Fraction | None:
    first = args[0]
    if name == "abs":
        return abs(first)
    if name in ("floor", "ceil"):
        return Fraction(math.floor(first) if name == "floor" else math.ceil(first))
    if name in ("max", "min"):
        return max(args) if name == "max" else min(args)
    if any(a.denominator != 1 for a in args):
        return None
    whole = [int(a) for a in args]
    if name == "factorial" and whole[0] >= 0:
        if whole[0] > MAX_FACTORIAL:
            raise Limit("factorial is too large")
        return Fraction(math.factorial(whole[0]))
    if name == "binomial" and len(whole) == 2 and min(whole) >= 0:
        if whole[0] > MAX_FACTORIAL:
            raise Limit("binomial is too large")
        return Fraction(math.comb(*whole))
    if name in ("gcd", "lcm"):
        return Fraction(math.gcd(*whole) if name == "gcd" else math.lcm(*whole))
    return None


def _text(poly: Poly) -> str:
    if not poly:
        return "0"
    rows = (f"{c.numerator:x}:{c.denominator:x}" + "".join(f"*{a}^{e}" for a, e in m) for m, c in sorted(poly.items()))
    return "+".join(rows)
