"""Assert-style tests as calls with expected values.

`assert f(1, 2) == 3` becomes the call f(1, 2) and the value 3, so that the value stays here while the call runs elsewhere.
Rewritten are asserts of one call whose arguments and expected value are constants (arithmetic of constants and set(...),
tuple(...) and the like of them included):

    assert f(…) == value     assert f(…) is True     assert f(…)     assert not f(…)     assert abs(f(…) - value) < bound

`def check(candidate):` as HumanEval writes it is read as its body. What can not be rewritten (loops, helpers, calls inside
larger expressions) stays a script for `behind`. Test text comes from data sets, not from models; it is parsed here, not run.
"""

from __future__ import annotations

import ast
import builtins
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, cast

from ponder.graders.same import shown

Relation = Literal["same", "true", "false"]
_LARGEST = 1_000_000
_OPERATIONS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
    ast.Pow: lambda a, b: a**b,
}
_MAKERS: Mapping[str, Callable[..., Any]] = {
    "set": set, "frozenset": frozenset, "tuple": tuple, "list": list, "sorted": sorted, "float": float,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One call and what is expected of its value. `expression` (instead of the arguments): text to evaluate beside the
    program, whose value is judged."""

    entry: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    want: Any = None
    relation: Relation = "same"
    tolerance: float | None = None
    expression: str = ""
    exact: bool = False

    @property
    def call(self) -> str:
        """The call as a reader writes it."""
        words = [shown(a) for a in self.args] + [f"{k}={shown(v)}" for k, v in self.kwargs.items()]
        return self.expression or f"{self.entry}({', '.join(words)})"


@dataclass(frozen=True, slots=True)
class Script:
    """What asserts became: cases, and the rest as text with the names in it that the program must give."""

    cases: tuple[Case, ...]
    rest: str = ""
    names: tuple[str, ...] = ()


@lru_cache(maxsize=2048)
def read(source: str, entry: str = "", beside: bool = False) -> Script:
    """The asserts of a test text. `beside`: arguments that are no constants are evaluated beside the program.

    Raises `ValueError` in words for a text that is not Python.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the text's style is no concern here
            body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"the asserts are not Python: {error}") from None
    body = list(_opened(body, entry))
    mine = _Names.of(body, entry)
    cases: list[Case] = []
    rest: list[ast.stmt] = []
    for statement in body:
        if _idle(statement):
            continue
        case = _case(statement, mine, beside) if isinstance(statement, ast.Assert) else None
        if case is None:
            rest.append(statement)
        else:
            cases.append(case)
    if not any(isinstance(node, ast.Assert) for statement in rest for node in ast.walk(statement)):
        rest = []
    if not cases and not rest:
        raise ValueError("the asserts hold no test")
    return Script(tuple(cases), "\n".join(map(ast.unparse, rest)), tuple(sorted(mine.given)))


@dataclass(frozen=True, slots=True)
class _Names:
    """Names the program gives, and what each stands for (`candidate` is the entry)."""

    given: frozenset[str]
    alias: Mapping[str, str]

    @classmethod
    def of(cls, body: Sequence[ast.stmt], entry: str) -> _Names:
        nodes = [node for statement in body for node in ast.walk(statement)]
        made = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        made |= {a.asname or a.name.split(".")[0] for n in nodes if isinstance(n, _IMPORTS) for a in n.names}
        made |= {n.name for n in nodes if isinstance(n, _DEFINITIONS)}
        made |= {a.arg for n in nodes if isinstance(n, ast.arguments) for a in (*n.args, *n.kwonlyargs)}
        called = {n.func.id for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
        if entry:
            return cls(frozenset({entry, "candidate"} - made), {"candidate": entry})
        own = frozenset(name for name in called - made if not hasattr(builtins, name))
        return cls(own or frozenset(called - made), {})  # a program may define a `sum` of its own


_IMPORTS = (ast.Import, ast.ImportFrom)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _opened(body: Iterable[ast.stmt], entry: str) -> Iterator[ast.stmt]:
    """The statements, `def check(candidate)` replaced by its body, a call check(f) left out."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "check" and entry:
            if len(statement.args.args) == 1:
                statement.args.args[0].arg = "candidate"
            yield from statement.body
        elif not (entry and isinstance(statement, ast.Expr) and _calls(statement.value, "check")):
            yield statement


def _calls(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def _idle(statement: ast.stmt) -> bool:
    """Whether a statement tests nothing: `assert True`, a text, `pass`, METADATA = {…}."""
    if isinstance(statement, ast.Assert):
        return isinstance(statement.test, ast.Constant) and bool(statement.test.value)
    if isinstance(statement, ast.Assign):
        names = [t.id for t in statement.targets if isinstance(t, ast.Name)]
        return names == ["METADATA"]
    plain = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant | ast.Name)
    return plain or isinstance(statement, ast.Pass)


def _case(statement: ast.Assert, mine: _Names, beside: bool) -> Case | None:
    """The case an assert states; None when it can not be rewritten."""
    try:
        return _stated(statement.test, mine, beside)
    except (ValueError, TypeError, ArithmeticError, RecursionError, MemoryError, SyntaxError):
        return None


def _stated(test: ast.expr, mine: _Names, beside: bool) -> Case:
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _call(test.operand, mine, beside, relation="false")
    if not isinstance(test, ast.Compare):
        return _call(test, mine, beside, relation="true")
    if len(test.ops) != 1:
        raise ValueError("a chain of comparisons")
    left, sign, right = test.left, test.ops[0], test.comparators[0]
    if isinstance(sign, ast.Eq):
        if not _is_call(left, mine):
            left, right = right, left
        return _call(left, mine, beside, want=fold(right))
    if isinstance(sign, ast.Is) and isinstance(right, ast.Constant) and right.value in (True, False, None):
        return _call(left, mine, beside, want=right.value, exact=True)
    if isinstance(sign, ast.Lt | ast.LtE) and _calls(left, "abs"):
        inner = cast(ast.Call, left).args[0]
        if isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Sub):
            bound = float(fold(right))
            return _call(inner.left, mine, beside, want=fold(inner.right), tolerance=bound)
    raise ValueError("another comparison")


def _is_call(node: ast.expr, mine: _Names) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in mine.given


def _call(node: ast.expr, mine: _Names, beside: bool, **expected: Any) -> Case:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or not _is_call(node, mine):
        raise ValueError("not a call of the program")
    entry = mine.alias.get(node.func.id, node.func.id)
    try:
        args = tuple(fold(a) for a in node.args)
        kwargs = {_keyword(k): fold(k.value) for k in node.keywords}
    except (ValueError, TypeError):
        if not beside:
            raise
        text = ast.unparse(ast.Call(ast.Name(entry), node.args, node.keywords))
        return Case(entry, expression=text, **expected)
    return Case(entry, args, kwargs, **expected)


def _keyword(keyword: ast.keyword) -> str:
    if keyword.arg is None:
        raise ValueError("unpacked keywords")
    return keyword.arg


def fold(node: ast.expr) -> Any:
    """The value of an expression of constants; `ValueError` for any other."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        values = [fold(e) for e in node.elts]
        return values if isinstance(node, ast.List) else tuple(values) if isinstance(node, ast.Tuple) else set(values)
    if isinstance(node, ast.Dict):
        return {fold(_there(k)): fold(v) for k, v in zip(node.keys, node.values, strict=True)}
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = fold(node.operand)
        return -value if isinstance(node.op, ast.USub) else +value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        return _worked(node.op, fold(node.left), fold(node.right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords and len(node.args) < 2:
        maker = _MAKERS.get(node.func.id)
        if maker is not None:
            return maker(*(fold(a) for a in node.args))
    raise ValueError("not a constant")


def _there(key: ast.expr | None) -> ast.expr:
    if key is None:
        raise ValueError("an unpacked dict")
    return key


def _worked(sign: ast.operator, left: Any, right: Any) -> Any:
    """Arithmetic within bounds: the text of a test can not make this process work or grow."""
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    if isinstance(sign, ast.Pow) and not (numbers and abs(left) <= _LARGEST and abs(right) <= 100):
        raise ValueError("a power that is too large")
    if isinstance(sign, ast.Mult) and not numbers:
        sized, times = cast("tuple[Any, Any]", (left, right) if isinstance(right, int) else (right, left))
        if not isinstance(times, int) or len(sized) * times > _LARGEST:
            raise ValueError("a product that is too large")
    if isinstance(sign, ast.Mod) and not numbers:
        raise ValueError("formatted text")
    return _OPERATIONS[type(sign)](left, right)
