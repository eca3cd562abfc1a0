"""A tiny interpreter of arithmetic programs, so that tests run mutants without running them: a step budget, no built-ins
but a few, no attributes, no imports. Whatever it does not know is a failure of the program."""

from __future__ import annotations

import ast
import contextlib
import operator

BINARY = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
COMPARE = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
CALLS = {"range": range, "len": len, "abs": abs, "min": min, "max": max}


class Returned(Exception):
    pass


class Skip(Exception):
    pass


class Tiny:
    def __init__(self, source: str, steps: int = 2000) -> None:
        (self.function,) = ast.parse(source).body
        self.left = steps

    def call(self, *args: object) -> object:
        self.names = dict(zip([a.arg for a in self.function.args.args], args, strict=True))
        try:
            self.block(self.function.body)
        except Returned as done:
            return done.args[0]
        return None

    def block(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self.left -= 1
            assert self.left > 0, "out of steps"
            getattr(self, "do_" + type(statement).__name__)(statement)

    def do_Assign(self, s: ast.Assign) -> None:
        self.names[s.targets[0].id] = self.value(s.value)

    def do_AugAssign(self, s: ast.AugAssign) -> None:
        self.names[s.target.id] = BINARY[type(s.op)](self.names[s.target.id], self.value(s.value))

    def do_Return(self, s: ast.Return) -> None:
        raise Returned(self.value(s.value))

    def do_Pass(self, s: ast.Pass) -> None:
        pass

    def do_Expr(self, s: ast.Expr) -> None:
        self.value(s.value)

    def do_Continue(self, s: ast.Continue) -> None:
        raise Skip

    def do_If(self, s: ast.If) -> None:
        self.block(s.body if self.value(s.test) else s.orelse)

    def do_While(self, s: ast.While) -> None:
        while self.value(s.test):
            self.turn(s.body)

    def do_For(self, s: ast.For) -> None:
        for held in self.value(s.iter):
            self.names[s.target.id] = held
            self.turn(s.body)

    def turn(self, body: list[ast.stmt]) -> None:
        self.left -= 1
        assert self.left > 0, "out of steps"
        with contextlib.suppress(Skip):
            self.block(body)

    def value(self, e: ast.expr) -> object:
        match e:
            case ast.Constant():
                return e.value
            case ast.Name():
                return self.names[e.id]
            case ast.BinOp():
                return BINARY[type(e.op)](self.value(e.left), self.value(e.right))
            case ast.Compare(ops=[op]):
                return COMPARE[type(op)](self.value(e.left), self.value(e.comparators[0]))
            case ast.BoolOp():
                found = [bool(self.value(v)) for v in e.values]
                return all(found) if isinstance(e.op, ast.And) else any(found)
            case ast.UnaryOp():
                held = self.value(e.operand)
                return not held if isinstance(e.op, ast.Not) else -held
            case ast.Call():
                return CALLS[e.func.id](*[self.value(a) for a in e.args])
            case ast.Subscript(slice=ast.Slice() as s):
                low, high = (None if x is None else self.value(x) for x in (s.lower, s.upper))
                return self.value(e.value)[low:high]
            case ast.Subscript():
                return self.value(e.value)[self.value(e.slice)]
        raise NotImplementedError(ast.dump(e))


def run(source: str, *args: object) -> object:
    """What the program's one function returns; any exception is the program's failure."""
    return Tiny(source).call(*args)
