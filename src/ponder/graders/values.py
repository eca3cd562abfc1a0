"""What an answer says, and when two answers say the same.

Design: a `Value` is an expression, a set, an interval, an equation or a text, with its unit and the name it is given
(`reading` makes them from text). `same` compares two under a `Policy` and says True, False, or None when only symbolic
work can tell. All rules are symmetric; docs/grading.md states them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from ponder.graders import normal
from ponder.graders.forms import Form, subtract, times
from ponder.graders.primary import Node

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


Truth = bool | None
Decide = Callable[[Value, Value], Truth]


def same(a: Value, b: Value, policy: Policy = DEFAULT, decide: Decide | None = None) -> Truth:
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


def _same_expression(a: Value, b: Value, policy: Policy, decide: Decide | None) -> Truth:
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
        return replace(a, form=times(a.form, normal.normalise(("sym", a.unit))))
    return a


def _same_form(a: Value, b: Value) -> Truth:
    return normal.difference_is_zero(a.form, b.form) if a.form and b.form else None


def _same_mixed(a: Value, b: Value, policy: Policy, decide: Decide | None) -> Truth:
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
            form = subtract(normal.normalise(("sym", other.name)), other.form)
            return normal.difference_is_zero(plain.form, scaled(form, signed=True))
    return False


def scaled(form: Form, signed: bool) -> Form:
    """The left side of `form = 0` or `form < 0`, freed of its denominator's and leading coefficient's size."""
    if not form.top:
        return form
    leading = form.top[min(form.top)]
    factor = 1 / (leading if signed else abs(leading))
    return Form({m: c * factor for m, c in form.top.items()}, form.bottom, form.opaque)


def _members(value: Value) -> tuple[Value, ...]:
    return value.items if value.kind in ("list", "set") else (value,)


def _matched(a: tuple[Value, ...], b: tuple[Value, ...], policy: Policy, decide: Decide | None) -> Truth:
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


def _all(verdicts: Iterable[Truth]) -> Truth:
    found: Truth = True
    for verdict in verdicts:
        if verdict is False:
            return False
        found = None if verdict is None else found
    return found
