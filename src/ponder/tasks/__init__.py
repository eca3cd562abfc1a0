"""Where problems come from: generators with exact step labels, files, named benchmarks.

`get` finds a task by name, by `file:PATH` or by `module:attr`; `translate` reads a user's line of text as a problem of the
miniature language.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

from ponder.errors import unknown
from ponder.registry import Registry
from ponder.tasks.arithmetic import Arithmetic, parse_text
from ponder.tasks.chain import Chain, compile_expression, read
from ponder.tasks.countdown import Countdown
from ponder.tasks.files import FileTask
from ponder.tasks.named import NAMED
from ponder.tasks.synthesis import Synthesis
from ponder.tasks.synthesis import from_text as read_function
from ponder.types import Problem

GENERATED = {"chain": Chain, "countdown": Countdown, "arithmetic": Arithmetic, "synthesis": Synthesis}
LATE = {"bugs": "ponder.tasks.bugs:Bugs"}  # its grader runs programs
TASKS = Registry("task", {**GENERATED, **LATE, **NAMED}, "ponder.tasks")


def get(name: str, **options: Any) -> Any:
    """The task called `name` with `options`; an unknown name or option is a `ConfigError` that lists what exists."""
    if name.startswith("file:"):
        return FileTask(name.removeprefix("file:"), **_checked(name, FileTask, options))
    factory = TASKS.get(name)
    return factory(**_checked(name, factory, options))


def _checked(name: str, factory: Any, options: dict[str, Any]) -> dict[str, Any]:
    known = [k for k in inspect.signature(factory).parameters if k != "name"]
    for key in options:
        if key not in known:
            raise unknown(f"option of task '{name}'", key, known)
    return {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}


_MAKE = re.compile(r"\s*(\d{1,2}(?:[,\s]+\d{1,2}){1,5})\s*(?:>|->|=>|→)\s*(\d{1,2})\s*")


def translate(text: str) -> Problem | None:
    """What the miniature can read, else None.

    `3, 7, 12 -> 33` (countdown), `a=3+4;b=a*2?b` and expressions that stay within 0 to 99 (chain), `347*28` (arithmetic),
    `+7;>20?-3:+5` (synthesis).
    """
    match = _MAKE.fullmatch(text)
    if match is not None:
        return Countdown().problem([int(n) for n in re.findall(r"\d+", match[1])], int(match[2]))
    program = read(text) or compile_expression(text)
    if program is not None:
        return Chain().problem(program)
    if (function := read_function(text)) is not None:
        return function
    parts = parse_text(text)
    if parts is None or (parts[1] == "-" and parts[0] < parts[2]):
        return None
    return Arithmetic().problem(*parts)
