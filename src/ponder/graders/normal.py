"""Expression trees → exact normal forms, and whether two are equal.

Design: products of distinct prime roots are linearly independent over the rationals (Besicovitch 1940), so without
opaque atoms a difference is zero exactly when its polynomial is empty: that is final, True or False. pi and e count as
independent. What the form does not see through (sines, logarithms, roots of sums) stays an opaque atom: equal forms are
equal, different ones are left to `symbolic`.
"""

from __future__ import annotations

import math
from fractions import Fraction

from ponder.graders.forms import (
    UNIT,
    Form,
    atom,
    constant,
    int_power,
    invert,
    monomial_power,
    multiply,
    negate,
    reduce_powers,
    times,
    total,
)
from ponder.graders.lexer import Limit, NotMath
from ponder.graders.primary import Node

MAX_EXPAND = 64
MAX_FACTORIAL = 4_000
_TRIAL = 10_000
_PRIMES: list[int] = []


def difference_is_zero(a: Form, b: Form) -> bool | None:
    """Exact comparison; None when opaque atoms leave it open or a limit is met."""
    try:
        left, right = multiply(a.top, b.bottom), multiply(b.top, a.bottom)
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
        return _SYMBOLS.get(node[1]) or atom(node[1])
    if kind == "add":
        return total([normalise(n) for n in node[1:]])
    if kind == "neg":
        return negate(normalise(node[1]))
    if kind == "mul":
        form = normalise(node[1])
        for factor in node[2:]:
            form = times(form, normalise(factor))
        return form
    if kind in ("div", "frac"):
        return times(normalise(node[1]), invert(normalise(node[2])))
    if kind == "pow":
        return power(normalise(node[1]), normalise(node[2]))
    if kind == "root":
        return _root(normalise(node[1]), normalise(node[2]))
    if kind == "fn":
        return _function(node[1], [normalise(n) for n in node[2:]])
    if kind == "pct":
        return times(normalise(node[1]), constant(Fraction(1, 100)))
    if kind == "deg":
        return times(normalise(node[1]), times(atom("pi"), constant(Fraction(1, 180))))
    raise NotMath(f"a {kind} is not a number")


_SYMBOLS = {"i": atom("#i"), "j": atom("j")}


def power(base: Form, exponent: Form) -> Form:
    value = exponent.number
    if value is None:
        if base.number == 1:
            return base
        return atom(f"@pow({base.key()};{exponent.key()})", opaque=True)
    if value.denominator != 1:
        return _fractional_power(base, value)
    count = value.numerator
    number = base.number
    if number is not None:
        return constant(int_power(number, count))
    if count < 0:
        return invert(power(base, constant(-count)))
    if count == 0:
        return constant(1)
    if len(base.top) == 1 and len(base.bottom) == 1:
        return Form(monomial_power(base.top, count), base.bottom, base.opaque)
    if count > MAX_EXPAND:
        raise Limit("power is too large")
    out = base
    for _ in range(count - 1):
        out = times(out, base)
    return out


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
    if len(base.top) == 1 and base.bottom == UNIT:
        ((monomial, coefficient),) = base.top.items()
        free = [(a, e) for a, e in monomial if not _is_positive(a)]
        plain = not free or (len(free) == 1 and free[0][0][0] not in "#@" and free[0][1] == 1)
        if plain and (coefficient > 0 or not monomial):
            number = _number_root(coefficient, exponent)
            if number is not None:
                rest, factor = reduce_powers({a: e * exponent for a, e in monomial})
                return times(number, Form({rest: factor}, UNIT)) if monomial else number
    if base.top == base.bottom:
        return constant(1)
    return atom(f"@pow({base.key()};{exponent})", opaque=True)


def _is_positive(atom: str) -> bool:
    return atom in ("pi", "e") or (atom[0] == "#" and atom != "#i")


def _number_root(value: Fraction, exponent: Fraction) -> Form | None:
    form = constant(1)
    if value < 0:
        if exponent.denominator == 2:
            form = power(atom("#i"), constant(exponent.numerator % 4))
        elif exponent.denominator % 2 == 0:
            return None
        elif exponent.numerator % 2:
            form = constant(-1)
    for part, sign in ((abs(value.numerator), 1), (value.denominator, -1)):
        factors = _factor(part)
        if factors is None:
            return None
        for prime, count in factors.items():
            monomial, factor = reduce_powers({f"#{prime}": count * exponent * sign})
            form = times(form, Form({monomial: factor}, UNIT))
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


def _function(name: str, args: list[Form]) -> Form:
    numbers = [a.number for a in args]
    if all(n is not None for n in numbers):
        exact = _exact_function(name, [n for n in numbers if n is not None])
        if exact is not None:
            return constant(exact)
    if name == "exp" and len(args) == 1:
        return power(atom("e"), args[0])
    if name in ("log", "ln") and len(args) == 1 and numbers[0] == 1:
        return constant(0)
    if name == "ln" and args[0].key() == atom("e").key():
        return constant(1)
    return atom(f"@{name}({';'.join(a.key() for a in args)})", opaque=True)


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
