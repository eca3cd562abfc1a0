"""Small faults in a reference program: where they can be made, and the program with some of them made.

    comparison   < ↔ <=, == ↔ !=, in ↔ not in …        arithmetic   + ↔ -, * → +, // → /, & ↔ | …
    constant     n → n ± 1                              boolean      and ↔ or, not x → x, True ↔ False, a test negated
    bound        range(a, b) and x[a:b], an end ± 1     argument     f(x, y) → f(y, x), a - b → b - a
    drop         a simple statement left out            return       None, or another variable, in place of the value

Programs are read with `ast` and written with `ast.unparse`, the reference too, so that neither layout nor comments tell a
mutant from it. A step is a statement in the order of the text; the head of a compound statement is one, and an `else:` goes
with what follows it. Docstrings belong to the head they follow. Nothing is run here. Not covered: faults across statements
(swapped or missing blocks), deletion of compound statements, decorators, default arguments of lambdas as their own steps.
"""

from __future__ import annotations

import ast
import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from types import CodeType
from typing import cast

from ponder.errors import DataError
from ponder.tasks.faults import ARITHMETIC, PARTS, slots, variants

_DROPPABLE = (ast.Assign, ast.AugAssign, ast.Expr, ast.Return, ast.Break, ast.Continue, ast.Delete)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
NAMES = 3
LONGEST = 100_000


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """One fault: in which statement (in the order of the text), which of its possible faults, and what kind it is of."""

    statement: int
    number: int
    operator: str


@dataclass(frozen=True, slots=True)
class Written:
    """A program's steps, and for each the place of its statement in the reference; joined, the steps are the program."""

    steps: tuple[str, ...]
    places: tuple[int, ...]

    @property
    def text(self) -> str:
        """The program."""
        return "".join(self.steps)


Change = tuple[str, Callable[[], None]]


def parse(source: str) -> ast.Module:
    """The program's tree, as it is after being written once; DataError when it is no program or out of all measure."""
    if len(source) > LONGEST:
        raise DataError(f"a program of {len(source)} characters; {LONGEST} at most")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(ast.unparse(ast.parse(source)))
            if next(statements(tree), None) is None:
                raise DataError("a program without statements")
            copy.deepcopy(tree)  # finds out here whether it is nested too deeply
            return tree
    except DataError:
        raise
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise DataError(f"not a Python program: {error}") from None
    except ValueError as error:
        raise DataError(f"not a program to mutate: {error}") from None


def statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """Every statement but docstrings, in the order of the text."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.stmt):
            if not _is_docstring(child, tree):
                yield child
                yield from statements(child)
        elif isinstance(child, PARTS):
            yield from statements(child)


def edits(tree: ast.Module) -> list[Edit]:
    """Every fault that can be made, in the order of the text."""
    return [
        Edit(place, number, operator)
        for place, statement in enumerate(statements(tree))
        for number, (operator, _) in enumerate(_changes(tree, statement))
    ]


def mutated(tree: ast.Module, chosen: Sequence[Edit]) -> Written:
    """The program with the faults `chosen`, at most one a statement."""
    assert len({edit.statement for edit in chosen}) == len(chosen), "at most one fault a statement"
    twin = copy.deepcopy(tree)
    order = list(statements(twin))
    for place, statement in enumerate(order):
        statement.lineno = place  # rides along: nothing writes line numbers, and a statement's stand-in copies it
    todo = [_changes(twin, order[edit.statement])[edit.number][1] for edit in chosen]
    for change in todo:
        change()
    text = ast.unparse(twin) + "\n"
    return Written(_cut(text), tuple(statement.lineno for statement in statements(twin)))


def _cut(text: str) -> tuple[str, ...]:
    """The text in steps: each ends with the last line of its statement, or of the head and docstring of a compound one."""
    lines = [line + "\n" for line in text.split("\n")[:-1]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cuts = [0, *(_last_line(statement) for statement in statements(ast.parse(text)))]
    cuts[-1] = len(lines)
    return tuple("".join(lines[a:b]) for a, b in pairwise(cuts))


def _last_line(statement: ast.stmt) -> int:
    nodes = [slot.node for slot in slots(statement, all_of_it=True)]
    ends = [statement.lineno, *(getattr(node, "end_lineno", None) or 0 for node in nodes)]
    body: list[ast.stmt] = getattr(statement, "body", [])
    if body and _is_docstring(body[0], statement):
        ends.append(body[0].end_lineno or 0)
    return max(ends) if body or isinstance(statement, ast.Match) else statement.end_lineno or statement.lineno


def _is_docstring(statement: ast.stmt, owner: ast.AST) -> bool:
    if not isinstance(owner, (*_FUNCTIONS, ast.ClassDef, ast.Module)) or owner.body[0] is not statement:
        return False
    match statement:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case _:
            return False


def _changes(tree: ast.Module, statement: ast.stmt) -> list[Change]:
    """What can be made wrong in one statement; the order is the same for equal trees."""
    found: list[Change] = []
    for slot in slots(statement):
        found += [(operator, partial(slot.put, new)) for operator, new in variants(slot)]
    if isinstance(statement, ast.AugAssign) and type(statement.op) in ARITHMETIC:
        found.append(("arithmetic", partial(setattr, statement, "op", ARITHMETIC[type(statement.op)]())))
    if isinstance(statement, ast.Return) and statement.value is not None:
        found += [("return", partial(setattr, statement, "value", new)) for new in _others(tree, statement)]
    found += _drop(tree, statement)
    return found


def _others(tree: ast.Module, statement: ast.Return) -> list[ast.expr]:
    """None, and the first few variables of the function that returns, in place of what it returns."""
    value = statement.value
    around = [f for f in ast.walk(tree) if isinstance(f, _FUNCTIONS) and any(s is statement for s in statements(f))]
    names: dict[str, None] = {}
    for node in ast.walk(around[-1]) if around else ():
        if isinstance(node, ast.arg):
            names[node.arg] = None
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names[node.id] = None
    own = value.id if isinstance(value, ast.Name) else ""
    nothing = isinstance(value, ast.Constant) and value.value is None
    found: list[ast.expr] = [] if nothing else [ast.Constant(None)]
    found += [ast.Name(name, ast.Load()) for name in [n for n in names if n not in (own, "self", "_")][:NAMES]]
    return found


def _drop(tree: ast.Module, statement: ast.stmt) -> list[Change]:
    """The statement left out (`pass` where nothing else would be left); never the last of the text, which no step follows."""
    if not isinstance(statement, _DROPPABLE) or statement is list(statements(tree))[-1]:
        return []
    for owner in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            held: object = getattr(owner, field, None)
            block = cast("list[ast.stmt]", held) if isinstance(held, list) else []
            if any(s is statement for s in block):
                if isinstance(owner, _FUNCTIONS) and isinstance(statement, ast.Return) and block[-1] is statement:
                    return []  # the operator `return` makes this fault
                return [("drop", partial(_leave_out, owner, block, statement))]
    return []


def _leave_out(owner: ast.AST, block: list[ast.stmt], statement: ast.stmt) -> None:
    place = next(i for i, other in enumerate(block) if other is statement)
    if len([other for other in block if not _is_docstring(other, owner)]) > 1:
        del block[place]
    else:
        block[place] = ast.copy_location(ast.Pass(), statement)


def fingerprint(text: str) -> object:
    """Equal for programs that compile to the same bytecode; the text itself where it does not compile. Compiling runs nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _essence(compile(text, "", "exec", dont_inherit=True))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text


def _essence(code: CodeType) -> object:
    """The bytecode with its names and constants (1, True and 1.0 apart), without lines and positions."""
    constants = tuple(_essence(c) if isinstance(c, CodeType) else (type(c).__name__, repr(c)) for c in code.co_consts)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_name)
    return (code.co_code, constants, names, code.co_exceptiontable, code.co_argcount, code.co_flags)
