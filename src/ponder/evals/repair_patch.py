"""Is a patch valid? Every file parses, and the syntax tree of one differs from the buggy one.

Comments, layout and strings that stand alone are no change. The parsing happens in the sandbox, whatever the text is made to do
to a parser: here only the finding is read. Not covered: whether the program imports or runs; the tests tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ponder.graders.code import Runs
from ponder.sandbox.jobs import Job, Result

COMPARE = """\
import ast

def shape(text):
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    return ast.dump(tree)

def compare(before, after):
    same = True
    for name in after:
        try:
            new = shape(after[name])
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return name + ": " + str(error)
        try:
            same = same and shape(before[name]) == new
        except (SyntaxError, ValueError):
            same = False
    return "same" if same else "changed"
"""


def faults(box: Runs, patches: Sequence[tuple[Mapping[str, str], Mapping[str, str]]]) -> list[str | None]:
    """Why each patch (the files before and after) is not valid: empty for a valid one, None where the sandbox failed."""
    jobs = [Job(COMPARE, "call", "compare", (dict(before), dict(after))) for before, after in patches]
    return [_fault(result) for result in (box.run(jobs) if jobs else ())]


def _fault(result: Result) -> str | None:
    if result.status == "infra":
        return None
    if result.status != "ok" or not isinstance(result.value, str):
        return f"the program could not be parsed ({result.status})"
    if result.value == "same":
        return "the program is the same as before, up to comments and layout"
    return "" if result.value == "changed" else f"the program does not parse: {result.value[:200]}"
