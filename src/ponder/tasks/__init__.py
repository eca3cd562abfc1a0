"""Where problems come from: generators with exact step labels, files, named benchmarks."""

from __future__ import annotations

import re
from typing import Any

from ponder.errors import ConfigError, unknown
from ponder.tasks.arithmetic import Arithmetic, parse_text
from ponder.tasks.chain import Chain, compile_expression, read
from ponder.tasks.countdown import Countdown
from ponder.types import Problem

TASKS: dict[str, Any] = {"chain": Chain, "countdown": Countdown, "arithmetic": Arithmetic}


def get(name: str, **options: Any) -> Any:
    """The task called `name` with `options`; an unknown name or option is a `ConfigError` that lists what exists."""
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    factory = TASKS[name]
    fields = getattr(factory, "__dataclass_fields__", None)
    for key in options if fields else ():
        if key not in fields:
            raise unknown(f"option of task '{name}'", key, fields)
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    try:
        return factory(**values)
    except TypeError as error:
        raise ConfigError(f"task '{name}': {error}") from None


_MAKE = re.compile(r"\s*(\d{1,2}(?:[,\s]+\d{1,2}){1,5})\s*(?:>|->|=>|→)\s*(\d{1,2})\s*")


def translate(text: str) -> Problem | None:
    """What the miniature can read: `3,7,12 -> 33`, programs, expressions within 0 to 99, sums of long numbers; else None."""
    match = _MAKE.fullmatch(text)
    if match is not None:
        return Countdown().problem([int(n) for n in re.findall(r"\d+", match[1])], int(match[2]))
    program = read(text) or compile_expression(text)
    if program is not None:
        return Chain().problem(program)
    parts = parse_text(text)
    if parts is None or (parts[1] == "-" and parts[0] < parts[2]):
        return None
    return Arithmetic().problem(*parts)
