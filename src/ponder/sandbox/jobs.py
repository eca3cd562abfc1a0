"""What the sandbox is asked and what it answers.

A job is one run of untrusted code on one input. Expected values are no part of it: the caller compares, so that nothing
the code can reach knows what would be right. `Result.status` says how the run ended; "infra" means that the sandbox
itself failed, which is never the code's fault and must never count as a wrong answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["call", "stdin", "exec", "command"]
Level = Literal["L1", "L2", "L3", "L4"]
Status = Literal["ok", "raised", "timeout", "memory", "output", "exited", "refused", "compile", "infra"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use. Processor time is judged; of wall time only what passes without using the processor (and twelve times
    `wall_seconds` in all), so that a busy machine fails nobody; all of it where a compiler or a command does the work."""

    cpu_seconds: float = 2.0
    wall_seconds: float = 5.0
    memory_mb: int = 512
    output_bytes: int = 1 << 20
    value_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise ValueError(f"limits.{name} = {getattr(self, name)}: a limit is above 0")


@dataclass(frozen=True, slots=True)
class Job:
    """Code and one input.

    call: run `code`, then call its global `entry` with `args` and `kwargs`; the value is what it returned.
    stdin: run `code` as a program that reads `stdin`; what it prints is the answer, and leaving with `exit(0)` is fine.
    exec: run `code` to its end (asserts, say); the value is that of the global `entry`, where one is named.
    command: run the program and arguments in `args`, in a folder that holds `files` (name: text); level L3 only. Its limits
    hold for all its processes together. It is "ok" when it ends with exit status 0.

    `language` other than "python" (see `languages`): `code` is compiled once and run; kind "stdin" and level L3 only.
    """

    code: str
    kind: Kind
    entry: str = ""
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    stdin: str = ""
    limits: Limits = Limits()
    language: str = "python"
    files: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if self.language != "python" and self.kind != "stdin":
            raise ValueError(f"a job in {self.language} is a program that reads standard input (kind 'stdin')")
        if self.kind == "command" and not (self.args and all(isinstance(word, str) for word in self.args)):
            raise ValueError("a command's args are the program and its arguments, texts")
        for name in self.files:
            if name.startswith("/") or {"", ".", ".."} & set(name.split("/")) or "\0" in name:
                raise ValueError(f"'{name}' is no name of a file in the folder of a command")

    @property
    def native(self) -> bool:
        """Whether it runs another program than the worker's Python, which takes L3."""
        return self.language != "python" or self.kind == "command"


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended.

    ok: it finished (with `value`). raised: an exception, its type and text in `error`. timeout, memory, output: a limit.
    exited: the process left or died before it was done. refused: a value (an argument, or what it returned) that is not
    plain data or is too large. compile: the program does not compile, the compiler's words in `error`. infra: the sandbox
    failed; the code has not been judged. `exit_code` is the exit status, negative for the signal that ended it, None when
    the sandbox ended it.
    """

    status: Status
    value: Any = None
    stdout: str = ""
    stderr: str = ""
    error: str = ""
    cpu_seconds: float = 0.0
    level: Level = "L1"
    exit_code: int | None = None
