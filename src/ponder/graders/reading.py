"""Answer text → `Value`: what the tree of an answer means.

Design: text is read once (cached, bounded); what can not be read comes back as the reason, not as an exception.
Relations become what they say: x=5 is 5 with a name, 3+4=7 is 7, 9=7 is never anything, x<5 is an interval.
Not covered: conditions in words, systems of inequalities in several variables as regions.
"""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Any, cast

from ponder.graders import normal, units
from ponder.graders.forms import constant, fresh_work, subtract
from ponder.graders.lexer import Limit, NotMath
from ponder.graders.primary import MAX_ITEMS, Node
from ponder.graders.syntax import parse
from ponder.graders.values import DEFAULT, Kind, Policy, Value, same, scaled

_SIMPLE = re.compile(r"(-?)(?:\\[dt]?frac\{(\d{1,30})\}\{(\d{1,30})\}|(\d{1,30})/(\d{1,30}))", re.ASCII)

MAX_KEPT = 20_000


@lru_cache(maxsize=8192)
def _read_short(text: str, drop_percent: bool) -> Value | str:
    value = _read(text, drop_percent)
    if not isinstance(value, str) and _size(value) > MAX_KEPT:
        raise _TooBigError(value)
    return value


class _TooBigError(Exception):
    """Carries a value past the cache, which keeps no exceptions."""

    def __init__(self, value: Value) -> None:
        self.value = value


def _size(value: Value) -> int:
    """Bits of all coefficients of a value, roughly."""
    polynomials = (value.form.top, value.form.bottom) if value.form else ()
    own = sum(8 + c.numerator.bit_length() + c.denominator.bit_length() for p in polynomials for c in p.values())
    return own + sum(_size(item) for item in value.items)


def read(text: str, policy: Policy = DEFAULT) -> Value | str:
    """The value of an answer, or the reason it can not be read ("limit: ..." when it exceeds a static limit)."""
    drop = policy.percent == "drop"
    if len(text) > 200:
        return _read(text, drop)
    try:
        return _read_short(text, drop)
    except _TooBigError as error:
        return error.value


def _read(text: str, drop_percent: bool) -> Value | str:
    simple = _SIMPLE.fullmatch(text)
    if simple:
        top, bottom, plain_top, plain_bottom = simple.group(2, 3, 4, 5)
        below = int(bottom or plain_bottom)
        if below:
            number = Fraction(int(top or plain_top) * (-1 if simple.group(1) else 1), below)
            return Value("expr", form=constant(number), node=("num", number), number=number)
    fresh_work()
    try:
        return _Builder(drop_percent).value(parse(text))
    except NotMath as error:
        return str(error)
    except Limit as error:
        return f"limit: {error}"
    except (RecursionError, OverflowError, MemoryError):
        return "limit: too complex"
    except ZeroDivisionError:
        return "division by zero"


class _Builder:
    def __init__(self, drop_percent: bool) -> None:
        self.drop_percent = drop_percent

    def value(self, node: Node) -> Value:
        kind = node[0]
        if kind == "text":
            return Value("text", extra=node[1])
        if kind == "unit":
            return self.with_unit(node)
        if kind == "list":
            return _collection("list", self.flat(node[1:]))
        if kind == "set":
            return _collection("set", self.flat(node[1:]))
        if kind == "seq":
            return Value("seq", items=tuple(self.bound(n) for n in node[3:]), extra=node[1] + node[2])
        if kind == "union":
            return Value("union", items=tuple(self.value(n) for n in node[1:]))
        if kind == "ratio":
            return Value("ratio", items=tuple(self.value(n) for n in node[1:]))
        if kind == "matrix":
            cells = tuple(self.value(n) for row in node[1] for n in row)
            return Value("matrix", items=cells, extra=f"{len(node[1])}x{len(node[1][0])}")
        if kind == "base" or (kind == "neg" and node[1][0] == "base"):
            return _based(node)
        if kind == "rel":
            return self.relation(node[1], node[2:])
        if node == ("sym", "mathbbR"):
            return Value("seq", items=(_infinite(-1), _infinite(1)), extra="()")
        return self.expression(node)

    def expression(self, node: Node) -> Value:
        unit = ""
        if node[0] == "neg" and node[1][0] in ("deg", "pct"):
            node = (node[1][0], ("neg", node[1][1]))
        if node[0] == "deg":
            node, unit = node[1], "deg"
        elif node[0] == "pct" and self.drop_percent:
            node = node[1]
        choices = _signs(node)
        if len(choices) > 1:
            return _collection("list", [self.expression(n) for n in choices])
        form = normal.normalise(choices[0])
        return Value("expr", form=form, node=choices[0], unit=unit, number=form.number)

    def with_unit(self, node: Node) -> Value:
        inner, unit = self.value(node[1]), units.canonical(node[2])
        if inner.kind not in ("expr", "ratio"):
            raise NotMath("a unit after something that is not a number")
        if unit == "percent":
            return inner if self.drop_percent else self.expression(("pct", node[1]))
        return replace(inner, unit=unit)

    def flat(self, nodes: tuple[Node, ...]) -> list[Value]:
        """Items with nested lists (from a plus-minus sign) spliced in."""
        out: list[Value] = []
        for node in nodes:
            value = self.value(node)
            out += value.items if value.kind == "list" else [value]
        if len(out) > MAX_ITEMS:
            raise Limit("too many items")
        return out

    def bound(self, node: Node) -> Value:
        sign = {"inf": 1}.get(node[0], 0) or (-1 if node == ("neg", ("inf",)) else 0)
        return _infinite(sign) if sign else self.value(node)

    def relation(self, ops: tuple[str, ...], sides: tuple[Node, ...]) -> Value:
        if set(ops) <= {"="}:
            return self.equation(sides)
        if ops == ("in",):
            return replace(self.value(sides[1]), name=_name(sides[0]) or "?")
        if "~" in ops:
            return self.approximation(ops, sides)
        if "in" in ops:
            raise NotMath("a relation that is not read")
        return self.inequality(ops, sides)

    def approximation(self, ops: tuple[str, ...], sides: tuple[Node, ...]) -> Value:
        """What stands before the sign counts; x \\approx 2.5 alone gives x the value 2.5; 7 \\approx 9 is never anything."""
        first = ops.index("~")
        numbers = [n for n in (self.value(side).number for side in sides if not _name(side)) if n is not None]
        if self.value(sides[-1]).number is None:
            raise NotMath("an approximation that is no number")
        if max(numbers) - min(numbers) > _ROUGH * max(map(abs, numbers)):
            return Value("never")
        if first == 0:
            name = _name(sides[0])
            return replace(self.value(sides[1]), name=name) if name and len(sides) == 2 else self.value(sides[0])
        return self.relation(ops[:first], sides[: first + 1])

    def equation(self, sides: tuple[Node, ...]) -> Value:
        if not _name(sides[0]) and sides[-1][0] == "sym" and len(sides) == 2:
            sides = sides[::-1]
        name = _name(sides[0])
        rest = [self.value(n) for n in (sides[1:] if name else sides)]
        if any(same(rest[0], other, _EXACT) is not True for other in rest[1:]):
            if len(sides) > 2 or name or all(v.kind == "expr" and v.form and not v.form.symbols for v in rest):
                return Value("never")
            return self.plain_equation(sides)
        if not name:
            if len(sides) == 2 and rest[0].form and rest[0].form.symbols:
                return Value("never")
            return rest[0]
        value = rest[0]
        if value.kind == "expr" and value.form and name in value.form.symbols:
            return self.plain_equation(sides)
        return replace(value, name=name)

    def plain_equation(self, sides: tuple[Node, ...]) -> Value:
        if sides[0][0] == "text" or sides[1][0] == "text":
            raise NotMath("a relation between words")
        form = subtract(normal.normalise(sides[0]), normal.normalise(sides[1]))
        return Value("equation", form=scaled(form, signed=True))

    def inequality(self, ops: tuple[str, ...], sides: tuple[Node, ...]) -> Value:
        interval = self.interval(ops, sides)
        if interval:
            return interval
        items: list[Value] = []
        for op, left, right in zip(ops, sides[:-1], sides[1:], strict=True):
            if op[0] == ">":
                left, right, op = right, left, "<" + op[1:]
            form = subtract(normal.normalise(left), normal.normalise(right))
            items.append(Value("inequality", form=scaled(form, signed=op == "!="), extra=op))
        return items[0] if len(items) == 1 else Value("inequality", items=tuple(items), extra="all")

    def interval(self, ops: tuple[str, ...], sides: tuple[Node, ...]) -> Value | None:
        """x<5, 1<=x<2, x!=3 as the set of numbers they leave."""
        if len(sides) == 2 and sides[1][0] == "sym" and sides[0][0] != "sym":
            sides, ops = (sides[1], sides[0]), (_FLIP[ops[0]],)
        if len(sides) == 2 and sides[0][0] == "sym":
            bound, name, op = self.bound(sides[1]), sides[0][1], ops[0]
            if bound.form is not None and name in bound.form.symbols:
                return None
            if op == "!=":
                below = Value("seq", items=(_infinite(-1), bound), extra="()")
                return Value("union", items=(below, Value("seq", items=(bound, _infinite(1)), extra="()")), name=name)
            closed = op.endswith("=")
            if op[0] == "<":
                return Value("seq", items=(_infinite(-1), bound), extra="(]" if closed else "()", name=name)
            return Value("seq", items=(bound, _infinite(1)), extra="[)" if closed else "()", name=name)
        if len(sides) == 3 and sides[1][0] == "sym" and {o[0] for o in ops} in ({"<"}, {">"}):
            if ops[0][0] == ">":
                sides, ops = sides[::-1], tuple(_FLIP[op] for op in ops[::-1])
            brackets = ("[" if ops[0] == "<=" else "(") + ("]" if ops[-1] == "<=" else ")")
            return Value("seq", items=(self.bound(sides[0]), self.bound(sides[2])), extra=brackets, name=sides[1][1])
        return None


_EXACT = Policy(symbolic=False)
_ROUGH = Fraction(1, 10)
_FLIP = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "!=": "!="}


def _collection(kind: Kind, items: list[Value]) -> Value:
    return items[0] if len(items) == 1 and kind == "list" else Value(kind, items=tuple(items))


def _infinite(sign: int) -> Value:
    return Value("text", extra="inf" if sign > 0 else "-inf")


def _name(node: Node) -> str:
    if node[0] == "sym":
        return "" if node[1] == "pi" else node[1]
    if node[0] == "text":
        return node[1]
    if node[0] == "seq" and node[1:3] == ("(", ")") and all(n[0] == "sym" for n in node[3:]):
        return "(" + ",".join(n[1] for n in node[3:]) + ")"
    if node[0] == "fn" and node[1] in ("f", "g", "h") and len(node) == 3 and node[2][0] == "sym":
        return f"{node[1]}({node[2][1]})"
    return ""


def _based(node: Node) -> Value:
    sign, node = ("-", node[1]) if node[0] == "neg" else ("", node)
    base = normal.normalise(node[2]).number
    if base is None or base.denominator != 1 or not 2 <= base <= 36:
        raise NotMath("a numeral with a base that is not a number")
    return Value("base", extra=f"{sign}{node[1]}_{base}")


def _signs(node: Node) -> list[Node]:
    """The expressions a tree with plus-minus signs stands for: all upper signs, all lower signs."""
    if not _contains(node, "pm"):
        return [node]
    return [_choose(node, "+"), _choose(node, "-")]


def _contains(node: Node, kind: str) -> bool:
    return node[0] == kind or any(_contains(n, kind) for n in _inner(node))


def _inner(node: Node) -> list[Node]:
    return [cast(Node, n) for n in node[1:] if isinstance(n, tuple) and n]


def _choose(node: Node, sign: str) -> Node:
    if node[0] == "pm":
        inner = _choose(node[1], sign)
        return inner if sign == "+" else ("neg", inner)
    parts: list[Any] = [_choose(cast(Node, n), sign) if isinstance(n, tuple) and n else n for n in node]
    return tuple(parts)


_SPACES = re.compile(r"\s+|\\[!,;: ]|\\(?:left|right)(?![a-zA-Z])|\$")


def plain(text: str) -> str:
    """Text without spacing and delimiters, for literal identity."""
    return _SPACES.sub("", text)
