"""Tests that can not be rewritten, run behind the split: the test text in one process, the program in others.

The names the program gives are stand-ins in the test's process. A call of one answers with the value the program gave for
these arguments in a process of its own, or, where it has not been asked yet, writes the call down and leaves the assert. So a
run of the test ends with a list of calls; they are made; the test runs again, until nothing is left to ask. Only plain values
cross: no `__eq__`, no frame and no file of the program is near the test, and no expected value near the program.

The test's random numbers are seeded, so that it asks the same again. Not covered: tests of what a call does to its arguments,
of state kept between calls, or that pass functions.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from ponder.graders.asserts import Script
from ponder.sandbox.jobs import Job, Limits, Result

ROUNDS = 24
MAX_CALLS = 2000
HARNESS = """
def _ponder_test(setup, text, names, known):
    import copy, random

    class Ask(BaseException):
        pass

    class Failed(Exception):
        pass

    answers = {repr((n, a, k)): (ok, v) for n, a, k, ok, v in known}
    asked, keys, verdicts = [], set(), []

    def stand_in(name):
        def call(*args, **kwargs):
            key = repr((name, args, kwargs))
            if key not in answers:
                if key not in keys:
                    keys.add(key)
                    asked.append([name, list(copy.deepcopy(args)), copy.deepcopy(kwargs)])
                raise Ask
            ok, value = answers[key]
            if not ok:
                raise Failed(value)
            return copy.deepcopy(value)
        return call

    def check(thunk, source):
        try:
            verdicts.append([source, bool(thunk()), ""])
        except Ask:
            pass
        except (NameError, ImportError):
            raise
        except Exception as error:
            verdicts.append([source, False, type(error).__name__ + ": " + str(error)[:200]])

    space = {"__name__": "test"}
    broken = failed = ""
    try:
        exec(setup, space)
        space.update({name: stand_in(aim) for name, aim in names})
        space.update(_ponder_check=check, _ponder_ask=Ask)
        random.seed(0)
        exec(text, space)
    except Ask:
        pass
    except (NameError, ImportError, SyntaxError) as error:
        broken = type(error).__name__ + ": " + str(error)[:200]
    except Exception as error:
        failed = type(error).__name__ + ": " + str(error)[:200]
    return [asked, verdicts, broken, failed]
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the test said of the program: asserts passed and made, the first that failed; or why it could not be run."""

    passed: int = 0
    total: int = 0
    first: str = ""
    unfit: str = ""
    status: str = "ok"
    levels: frozenset[str] = frozenset()


def run(
    script: Script, setup: str, entry: str, target: Callable[[str], tuple[str, str]], limits: Limits
) -> Generator[list[Job], list[Result], Finding]:
    """Ask and test in turn; yields jobs, is sent their results. `target`: the program and the
    global by which a name of it is called."""
    text = guarded(script.rest)
    names = [[name, entry if name == "candidate" else name] for name in script.names]
    known: list[list[Any]] = []
    status, levels = "ok", set[str]()
    for _ in range(ROUNDS):
        test = Job(HARNESS, "call", "_ponder_test", (setup, text, names, known), limits=limits)
        reply = (yield [test])[0]
        if known and reply.status not in ("ok", "infra"):
            why = f"the test did not end with the values that the program gave ({reply.status}: {reply.error[:200]})"
            return Finding(0, 1, why, "", reply.status, frozenset(levels | {reply.level}))
        if reply.status != "ok":
            return Finding(unfit=f"the test could not be run ({reply.status}: {reply.error[:200]})", status="infra")
        asked, verdicts, broken, failed = cast("tuple[list[Any], list[Any], str, str]", reply.value)
        if not asked:
            return _finding(verdicts, broken, failed, status, frozenset(levels | {reply.level}))
        if len(known) + len(asked) > MAX_CALLS:
            break
        jobs = [Job(*_aim(target(n)), tuple(a), dict(k), limits=limits) for n, a, k in asked]
        results = yield jobs
        for (name, args, kwargs), result in zip(asked, results, strict=True):
            if result.status == "infra":
                return Finding(unfit=result.error, status="infra")
            levels.add(result.level)
            ok = result.status == "ok"
            status = status if ok else result.status
            known.append(
                [name, tuple(args), kwargs, ok, result.value if ok else f"{result.status}: {result.error[:200]}"]
            )
    return Finding(unfit="the test asks for ever more calls", status="infra")


def _aim(target: tuple[str, str]) -> tuple[str, Literal["call"], str]:
    return target[0], "call", target[1]


def _finding(verdicts: Sequence[Any], broken: str, failed: str, status: str, levels: frozenset[str]) -> Finding:
    if broken:
        return Finding(unfit=f"the test needs what is not there ({broken})", status="infra")
    passed = sum(1 for v in verdicts if v[1])
    first = next((f"{v[0]}{': ' if v[2] else ''}{v[2]}" for v in verdicts if not v[1]), failed)
    total = len(verdicts) + bool(failed)
    if not total:
        return Finding(unfit="the test made no assert", status="infra")
    return Finding(passed, total, first, "", status, levels)


def guarded(text: str) -> str:
    """The test with every assert handed to the harness, and every other simple statement free to wait for an answer."""
    return ast.unparse(ast.fix_missing_locations(_Guard().visit(ast.parse(text))))


class _Guard(ast.NodeTransformer):
    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        body = ast.Lambda(ast.arguments([], [], None, [], [], None, []), node.test)
        source = ast.Constant(ast.unparse(node)[:200])
        return ast.Expr(ast.Call(ast.Name("_ponder_check", ast.Load()), [body, source], []))

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        return _waiting(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        return _waiting(node)

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        return _waiting(node)


def _waiting(node: ast.stmt) -> ast.stmt:
    handler = ast.ExceptHandler(ast.Name("_ponder_ask", ast.Load()), None, [ast.Pass()])
    return ast.Try([node], [handler], [], [])
