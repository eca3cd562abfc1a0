"""The faults that one expression can have: what may stand in a node's place. `mutants` says what each kind is called.

Nothing here knows statements or programs, and nothing is run. Docstrings, annotations and f-strings are left alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

_COMPARE: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.FloorDiv,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_ONE_WAY = (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.LShift, ast.RShift)
PARTS = (ast.ExceptHandler, ast.match_case)


@dataclass(frozen=True, slots=True)
class Slot:
    """A node inside a statement, and where it hangs, so that another can take its place."""

    owner: ast.AST
    field: str
    index: int | None
    node: ast.AST

    def put(self, new: ast.expr) -> None:
        """Hang `new` there."""
        if self.index is None:
            setattr(self.owner, self.field, new)
        else:
            getattr(self.owner, self.field)[self.index] = new


def slots(owner: ast.AST, all_of_it: bool = False) -> Iterator[Slot]:
    """The nodes of a statement itself, not of the statements in it; with `all_of_it`, also annotations, decorators, patterns
    and what is in f-strings."""
    for field, value in ast.iter_fields(owner):
        if field in ("annotation", "returns", "decorator_list", "pattern", "type_params") and not all_of_it:
            continue
        held = cast("list[object]", value) if isinstance(value, list) else [value]
        for index, node in enumerate(held):
            if not isinstance(node, ast.AST) or isinstance(node, (ast.stmt, *PARTS)):
                continue
            yield Slot(owner, field, index if isinstance(value, list) else None, node)
            if all_of_it or not isinstance(node, ast.JoinedStr):
                yield from slots(node, all_of_it)


def variants(slot: Slot) -> list[tuple[str, ast.expr]]:
    """What may stand in a node's place, with the operator's name."""
    node = slot.node
    found: list[tuple[str, ast.expr]] = []
    match node:
        case ast.Compare():
            for i, op in enumerate(node.ops):
                for other in _COMPARE[type(op)]:
                    ops = [*node.ops[:i], other(), *node.ops[i + 1 :]]
                    found.append(("comparison", ast.Compare(node.left, ops, node.comparators)))
        case ast.BinOp():
            found.append(("arithmetic", ast.BinOp(node.left, _swapped(node.op), node.right)))
            if isinstance(node.op, _ONE_WAY) and ast.dump(node.left) != ast.dump(node.right):
                found.append(("argument", ast.BinOp(node.right, node.op, node.left)))
        case ast.BoolOp():
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            found.append(("boolean", ast.BoolOp(other, node.values)))
        case ast.UnaryOp(op=ast.Not()):
            found.append(("boolean", node.operand))
        case ast.Constant(value=bool()):
            found.append(("boolean", ast.Constant(not node.value)))
        case ast.Constant(value=int()):
            found += [("constant", new) for new in _beside(slot, node)]
        case ast.Call():
            found += _calls(node)
        case ast.Slice():
            for lower, upper in [(d, 0) for d in (1, -1)] + [(0, d) for d in (1, -1)]:
                if (lower and _moves(node.lower)) or (upper and _moves(node.upper)):
                    found.append(("bound", ast.Slice(_shift(node.lower, lower), _shift(node.upper, upper), node.step)))
        case _:
            pass
    if slot.field == "test" and not isinstance(node, (ast.Compare, ast.UnaryOp)):
        found.append(("boolean", ast.UnaryOp(ast.Not(), cast("ast.expr", node))))
    return found


def _calls(node: ast.Call) -> list[tuple[str, ast.expr]]:
    """A call with neighbours swapped; of `range`, also with an end moved by one."""
    found: list[tuple[str, ast.expr]] = []
    args = node.args
    if any(isinstance(arg, ast.Starred) for arg in args):
        return found
    for i, (a, b) in enumerate(pairwise(args)):
        if ast.dump(a) != ast.dump(b):
            found.append(("argument", ast.Call(node.func, [*args[:i], b, a, *args[i + 2 :]], node.keywords)))
    if isinstance(node.func, ast.Name) and node.func.id == "range":
        for i, end in enumerate(args[:2]):
            for by in (1, -1) if _moves(end) else ():
                moved = _shift(end, by)
                assert moved is not None
                found.append(("bound", ast.Call(node.func, [*args[:i], moved, *args[i + 1 :]], node.keywords)))
    return found


def _swapped(op: ast.operator) -> ast.operator:
    return ARITHMETIC[type(op)]() if type(op) in ARITHMETIC else ast.Mult()


def _beside(slot: Slot, node: ast.Constant) -> list[ast.expr]:
    """n + 1 and n - 1; not an `x + 0`, which no one writes."""
    value = node.value
    assert isinstance(value, int)
    added = isinstance(slot.owner, ast.BinOp) and isinstance(slot.owner.op, (ast.Add, ast.Sub))
    return [_number(n) for n in (value + 1, value - 1) if n or not added]


def _number(n: int) -> ast.expr:
    return ast.Constant(n) if n >= 0 else ast.UnaryOp(ast.USub(), ast.Constant(-n))


def _moves(end: ast.expr | None) -> bool:
    """Is this an end to move? A plain number is one for the operator `constant`."""
    return end is not None and not isinstance(end, (ast.Constant, ast.UnaryOp))


def _shift(end: ast.expr | None, by: int) -> ast.expr | None:
    """The expression `by` more, as one would write it: n - 1 and 1 more is n."""
    match end:
        case None:
            return None
        case _ if not by:
            return end
        case ast.BinOp(op=ast.Add() | ast.Sub(), right=ast.Constant(value=int(k))):
            by += k if isinstance(end.op, ast.Add) else -k
            end = end.left
        case _:
            pass
    return end if not by else ast.BinOp(end, ast.Add() if by > 0 else ast.Sub(), ast.Constant(abs(by)))
