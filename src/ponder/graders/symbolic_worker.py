"""Inside a worker: two expression trees → sympy objects → equal, different, or open.

Numbers refute, algebra proves: at fixed rational points where both sides are real, a difference is final; equality is
only claimed when sympy reduces the difference to zero. Variables stand for real numbers; when that leaves a proof open,
for positive ones. "log" without a base stands for one unknown base. Imports sympy, so only workers import this module.
"""

from __future__ import annotations

import importlib
from typing import Any, cast

sympy: Any = importlib.import_module("sympy")  # it has no types
I, Rational, Symbol = sympy.I, sympy.Rational, sympy.Symbol

Node = tuple[Any, ...]
_POINTS = ((7, 3), (-11, 5), (13, 17), (29, 4), (-3, 19))
_DIGITS = 50
_SIMPLE: dict[str, Any] = {
    "sin": sympy.sin, "cos": sympy.cos, "tan": sympy.tan, "cot": sympy.cot, "sec": sympy.sec, "csc": sympy.csc,
    "arcsin": sympy.asin, "arccos": sympy.acos, "arctan": sympy.atan, "sinh": sympy.sinh, "cosh": sympy.cosh,
    "tanh": sympy.tanh, "exp": sympy.exp, "ln": sympy.log, "abs": sympy.Abs, "floor": sympy.floor,
    "ceil": sympy.ceiling, "factorial": sympy.factorial, "binomial": sympy.binomial, "max": sympy.Max,
    "min": sympy.Min, "gcd": sympy.gcd, "lcm": sympy.lcm,
}  # fmt: skip
_BASE = Symbol("base of log", positive=True)
_CONSTANTS = {"pi": sympy.pi, "e": sympy.E, "i": I}


def decide(a: Node, b: Node) -> tuple[bool | None, str]:
    """(truth, reason): whether two trees are the same function of their variables."""
    left, right = build(a, "real"), build(b, "real")
    if _BASE not in (left - right).free_symbols:
        return _compare(a, b, left, right)
    if _vanishes(left - right):
        return True, ""
    if all(_numeric(left.subs(_BASE, base), right.subs(_BASE, base)) is False for base in (2, sympy.E, 10)):
        return False, ""
    return None, "depends on the base of log"


def _compare(a: Node, b: Node, left: Any, right: Any) -> tuple[bool | None, str]:
    if left == right:
        return True, ""
    verdict = _numeric(left, right)
    if verdict is False:
        return False, ""
    if _vanishes(left - right):
        return True, ""
    if (left - right).free_symbols and _vanishes(build(a, "positive") - build(b, "positive")):
        return True, ""
    return None, "neither proved nor refuted"


def build(node: Node, domain: str) -> Any:
    """The sympy object of a tree of `syntax`."""
    kind = node[0]
    if kind == "num":
        return Rational(node[1].numerator, node[1].denominator)
    if kind == "sym":
        return _CONSTANTS.get(node[1]) or Symbol(node[1], **{domain: True})
    parts = [build(cast(Node, n), domain) for n in node[1:] if isinstance(n, tuple)] if kind != "matrix" else []
    if kind == "add":
        return sympy.Add(*parts)
    if kind == "mul":
        return sympy.Mul(*parts)
    if kind == "neg":
        return -parts[0]
    if kind in ("div", "frac"):
        return parts[0] / parts[1]
    if kind == "pow":
        return sympy.Pow(parts[0], parts[1])
    if kind == "root":
        if parts[1].is_odd and parts[0].is_real:
            return sympy.real_root(parts[0], parts[1])
        return sympy.root(parts[0], parts[1])
    if kind == "pct":
        return parts[0] / 100
    if kind == "deg":
        return parts[0] * sympy.pi / 180
    if kind == "matrix":
        return sympy.Matrix([[build(n, domain) for n in row] for row in node[1]])
    if kind == "fn":
        return _function(node[1], parts)
    raise ValueError(f"a {kind} has no symbolic form")


def _function(name: str, args: list[Any]) -> Any:
    if name == "lg":
        return sympy.log(args[0], 10)
    if name in _SIMPLE:
        return _SIMPLE[name](*args)
    if name == "log":
        base = args[1] if len(args) == 2 else _BASE
        return sympy.log(args[0]) / sympy.log(base)
    if name == "det":
        return args[0].det()
    if name.startswith("arc"):
        return getattr(sympy, "a" + name[3:])(*args)
    return sympy.Function(name)(*args)


def _numeric(left: Any, right: Any) -> bool | None:
    """False when the sides differ at a point where both are real (or, when there is none, both are complex numbers)."""
    symbols = sorted(left.free_symbols | right.free_symbols, key=str)
    complex_verdict: bool | None = None
    for shift in range(len(_POINTS) if symbols else 1):
        chosen = [Rational(*_POINTS[(shift + 2 * i) % len(_POINTS)]) for i in range(len(symbols))]
        values = {s: abs(v) if s.is_positive else v for s, v in zip(symbols, chosen, strict=True)}
        if symbols and not (_defined(left, values) and _defined(right, values)):
            continue
        x, y = (sympy.N(side.subs(values), _DIGITS) for side in (left, right))
        if not (x.is_number and y.is_number and x.is_finite and y.is_finite):
            continue
        size = max(abs(x), abs(y))
        if size < sympy.Float(10) ** -40:
            continue
        differ = bool(abs(x - y) > size * sympy.Float(10) ** -30)
        if x.is_real and y.is_real:
            if differ:
                return False
            complex_verdict = True
        elif complex_verdict is None and differ:
            complex_verdict = False
    return complex_verdict


def _defined(side: Any, values: dict[Any, Any]) -> bool:
    """Whether every root and logarithm in `side` is taken of something not negative at this point."""
    roots = [p.base for p in side.atoms(sympy.Pow) if p.exp.is_Rational and not p.exp.is_integer]
    arguments = roots + [f.args[0] for f in side.atoms(sympy.log)]
    return all(sympy.N(a.subs(values)).is_extended_nonnegative is not False for a in arguments if a.free_symbols)


def _vanishes(difference: Any) -> bool:
    if difference == 0 or sympy.expand(difference) == 0:
        return True
    if sympy.sqrtdenest(sympy.radsimp(difference)) == 0 or sympy.simplify(difference) == 0:
        return True
    if sympy.simplify(sympy.expand_log(sympy.expand_trig(difference))) == 0:
        return True
    if not difference.free_symbols and difference.is_algebraic:
        x = Symbol("x")
        return sympy.minimal_polynomial(difference, x) == x
    return difference.equals(0) is True
