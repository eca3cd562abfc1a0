"""What an answer says: an expression, a set, an interval, an equation, a text, with its unit and the name it is given.

Design: `read` turns text into a `Value` once (cached, bounded); `same` compares two values under a `Policy` and says
True, False, or None when only symbolic work can tell. All rules are symmetric; docs/grading.md states the policies.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal, cast

from ponder.graders import normal
from ponder.graders.lexer import Limit, NotMath
from ponder.graders.normal import Form
from ponder.graders.syntax import MAX_ITEMS, Node, parse

Kind = Literal[
    "expr", "text", "list", "set", "seq", "union", "ratio", "matrix", "equation", "inequality", "base", "never"
]


@dataclass(frozen=True, slots=True)
class Policy:
    """How answers are compared; every rule is symmetric."""

    percent: Literal["value", "drop"] = "value"
    """"value": 10% is 1/10; "drop": 10% is 10."""
    units: Literal["optional", "required", "drop"] = "optional"
    """"optional": a unit missing on one side is forgiven, different units are not; "drop": units are not compared."""
    names: Literal["optional", "drop"] = "optional"
    """"optional": x=5 equals 5 and x=5, not y=5; "drop": the name left of "=" is never compared."""
    ordered_lists: bool = False
    """Whether 1,2 and 2,1 without brackets differ. Tuples in brackets are ordered and sets in braces never are."""
    tolerance: Fraction = Fraction(0)
    """Largest relative difference of rational numbers still called equal; 0 is exact."""
    symbolic: bool = True
    """Whether open cases go to the symbolic workers."""
    deadline: float = 2.0
    """Seconds of execution a symbolic comparison may take."""


DEFAULT = Policy()


@dataclass(frozen=True, slots=True)
class Value:
    """A read answer: `form` and `node` of an expression, `items` of a collection, `extra` its brackets or digits."""

    kind: Kind
    form: Form | None = None
    node: Node | None = None
    items: tuple[Value, ...] = ()
    extra: str = ""
    unit: str = ""
    name: str = ""
    number: Fraction | None = None


_SIMPLE = re.compile(r"(-?)(?:\\[dt]?frac\{(\d{1,30})\}\{(\d{1,30})\}|(\d{1,30})/(\d{1,30}))", re.ASCII)


@lru_cache(maxsize=8192)
def _read_short(text: str, drop_percent: bool) -> Value | str:
    return _read(text, drop_percent)


def read(text: str, policy: Policy = DEFAULT) -> Value | str:
    """The value of an answer, or the reason it can not be read ("limit: ..." when it exceeds a static limit)."""
    reader = _read_short if len(text) <= 200 else _read
    return reader(text, policy.percent == "drop")


def _read(text: str, drop_percent: bool) -> Value | str:
    simple = _SIMPLE.fullmatch(text)
    if simple:
        top, bottom, plain_top, plain_bottom = simple.group(2, 3, 4, 5)
        below = int(bottom or plain_bottom)
        if below:
            number = Fraction(int(top or plain_top) * (-1 if simple.group(1) else 1), below)
            return Value("expr", form=normal.constant(number), node=("num", number), number=number)
    normal.fresh_work()
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


# -- trees to values ---------------------------------------------------------------------------------------------------


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
        inner, unit = self.value(node[1]), _unit(node[2])
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
        """What stands before the sign counts; x \\approx 2.5 alone is the value 2.5 given to x."""
        first = ops.index("~")
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
        form = normal.subtract(normal.normalise(sides[0]), normal.normalise(sides[1]))
        return Value("equation", form=_scaled(form, signed=True))

    def inequality(self, ops: tuple[str, ...], sides: tuple[Node, ...]) -> Value:
        interval = self.interval(ops, sides)
        if interval:
            return interval
        items: list[Value] = []
        for op, left, right in zip(ops, sides[:-1], sides[1:], strict=True):
            if op[0] == ">":
                left, right, op = right, left, "<" + op[1:]
            form = normal.subtract(normal.normalise(left), normal.normalise(right))
            items.append(Value("inequality", form=_scaled(form, signed=op == "!="), extra=op))
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


def _scaled(form: Form, signed: bool) -> Form:
    """The left side of `form = 0` or `form < 0`, freed of its denominator's and leading coefficient's size."""
    if not form.top:
        return form
    leading = form.top[min(form.top)]
    factor = 1 / (leading if signed else abs(leading))
    return Form({m: c * factor for m, c in form.top.items()}, form.bottom, form.opaque)


_PLURAL = {
    "feet": "ft", "foot": "ft", "inches": "in", "inch": "in", "meter": "m", "metre": "m", "centimeter": "cm",
    "mile": "mi", "centimetre": "cm", "millimeter": "mm", "kilometer": "km", "kilometre": "km", "dollar": "$",
    "usd": "$", "degree": "deg", "hour": "hr", "hrs": "hr", "minute": "min", "second": "sec", "s": "sec", "h": "hr",
    "gram": "g", "kilogram": "kg", "pound": "lb", "lbs": "lb", "ounce": "oz", "liter": "l", "litre": "l",
    "yard": "yd", "cent": "cent", "percent": "percent", "percentage": "percent", "pct": "percent", "per": "/", "radian": "rad",
    "L": "l", "mph": "mi / hr", "sq": "square", "cu": "cubic",
}  # fmt: skip


def _unit(text: str) -> str:
    words: list[str] = []
    for word in text.split():
        word = word if len(word) == 1 else word.lower()
        word = (
            _PLURAL.get(word)
            or _PLURAL.get(word.removesuffix("s"))
            or (word.removesuffix("s") if len(word) > 3 else word)
        )
        if word == "squared" or word == "cubed":
            word = "^2" if word == "squared" else "^3"
        words.append(word)
    if words and words[0] in ("square", "cubic") and len(words) > 1:
        words = [*words[1:], "^2" if words[0] == "square" else "^3"]
    return " ".join(words)


# -- comparison --------------------------------------------------------------------------------------------------------

Truth = bool | None


def same(a: Value, b: Value, policy: Policy = DEFAULT, decide: Callable[[Value, Value], Truth] | None = None) -> Truth:
    """Whether two values are equal; `decide` is asked about two expressions the normal form leaves open."""
    if a.kind == "never" or b.kind == "never":
        return False
    if a.name and b.name and a.name != b.name and policy.names == "optional":
        return False
    if a.unit != b.unit and not _units_agree(a, b, policy):
        return False
    if a.kind == "expr" and b.kind == "expr":
        return _same_expression(a, b, policy, decide)
    if a.kind != b.kind:
        return _same_mixed(a, b, policy, decide)
    if a.kind in ("text", "base"):
        return a.extra == b.extra
    if a.kind in ("equation", "inequality") and not a.items and not b.items:
        return a.extra == b.extra and _same_form(a, b)
    if a.kind in ("set", "union") or (a.kind == "list" and not policy.ordered_lists):
        return _matched(a.items, b.items, policy, decide)
    if a.extra != b.extra or len(a.items) != len(b.items):
        return False
    return _all(same(x, y, policy, decide) for x, y in zip(a.items, b.items, strict=True))


def _units_agree(a: Value, b: Value, policy: Policy) -> bool:
    return policy.units == "drop" or (policy.units == "optional" and not (a.unit and b.unit))


def _same_expression(a: Value, b: Value, policy: Policy, decide: Callable[[Value, Value], Truth] | None) -> Truth:
    x, y = a.number, b.number
    if x is not None and y is not None:
        return x == y or (bool(policy.tolerance) and abs(x - y) <= policy.tolerance * max(abs(x), abs(y)))
    if a.form is None or b.form is None:
        return None
    if a.unit != b.unit:
        a, b = _unit_as_factor(a, b), _unit_as_factor(b, a)
        assert a.form
        assert b.form
    verdict = normal.difference_is_zero(a.form, b.form)
    return decide(a, b) if verdict is None and decide else verdict


def _unit_as_factor(a: Value, other: Value) -> Value:
    """5 m where `m` was read as a unit, as the product 5·m, when the other side was read that way."""
    if len(a.unit) == 1 and a.form and other.form and a.unit in other.form.symbols and a.unit not in a.form.symbols:
        return replace(a, form=normal.times(a.form, normal.normalise(("sym", a.unit))))
    return a


def _same_form(a: Value, b: Value) -> Truth:
    return normal.difference_is_zero(a.form, b.form) if a.form and b.form else None


def _same_mixed(a: Value, b: Value, policy: Policy, decide: Callable[[Value, Value], Truth] | None) -> Truth:
    """Values of different kinds: a bare list is the set of its items, and y = f is also the equation y - f = 0."""
    if (
        {a.kind, b.kind} == {"list", "set"}
        or (a.kind == "set" and len(a.items) == 1)
        or (b.kind == "set" and len(b.items) == 1)
    ):
        return _matched(_members(a), _members(b), policy, decide)
    if "equation" in (a.kind, b.kind):
        plain, other = (a, b) if a.kind == "equation" else (b, a)
        if other.kind == "expr" and other.name and other.form and plain.form:
            form = normal.subtract(normal.normalise(("sym", other.name)), other.form)
            return normal.difference_is_zero(plain.form, _scaled(form, signed=True))
    return False


def _members(value: Value) -> tuple[Value, ...]:
    return value.items if value.kind in ("list", "set") else (value,)


def _matched(
    a: tuple[Value, ...], b: tuple[Value, ...], policy: Policy, decide: Callable[[Value, Value], Truth] | None
) -> Truth:
    """Whether the items pair off, in any order."""
    if len(a) != len(b):
        return False
    rest = list(b)
    left: list[tuple[Value, list[Truth]]] = []
    for x in a:
        verdicts = [same(x, y, policy, decide) for y in rest]
        if True in verdicts:
            at = verdicts.index(True)
            rest.pop(at)
            for _, earlier in left:
                earlier.pop(at)
        elif None in verdicts:
            left.append((x, verdicts))
        else:
            return False
    return True if not left else None if _can_pair([v for _, v in left]) else False


def _can_pair(rows: list[list[Truth]]) -> bool:
    """Whether each row can be given a column of its own among those not ruled out (augmenting paths)."""
    taken: dict[int, int] = {}

    def place(row: int, seen: set[int]) -> bool:
        for column, verdict in enumerate(rows[row]):
            if verdict is False or column in seen:
                continue
            seen.add(column)
            if column not in taken or place(taken[column], seen):
                taken[column] = row
                return True
        return False

    return all(place(row, set()) for row in range(len(rows)))


def _all(verdicts: object) -> Truth:
    found: Truth = True
    for verdict in verdicts:  # type: ignore[attr-defined]
        if verdict is False:
            return False
        found = None if verdict is None else found
    return found


_SPACES = re.compile(r"\s+|\\[!,;: ]|\\(?:left|right)(?![a-zA-Z])|\$")


def plain(text: str) -> str:
    """Text without spacing and delimiters, for literal identity."""
    return _SPACES.sub("", text)
