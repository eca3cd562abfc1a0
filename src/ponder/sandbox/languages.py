"""The compiled languages of the sandbox, one row each, and what was built from sources, kept for the next input.

A source is compiled once in a cell (L3) under limits of its own; its binary is kept here, in the process that asks, as a
file that nobody can change (a sealed memfd), under the hash of source and command line, the least recently used leaving
first. What does not compile is remembered as well. To add a language that compiles to one program, add a row.
Not covered: interpreters other than Python, several source files, libraries beyond the compiler's own.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ponder.errors import ConfigError, unknown
from ponder.sandbox.jobs import Job, Limits, Result

BUILD = Limits(cpu_seconds=10.0, wall_seconds=120.0, memory_mb=2048, output_bytes=1 << 16, value_bytes=64 << 20)
KEPT_BYTES, KEPT = 256 << 20, 256
SEARCHED = "/usr/local/bin:/usr/bin:/bin"
_SHARED = ("-O2", "-pipe", "-static", "-w", "-fmax-errors=3", "-fno-diagnostics-show-caret", "-pthread")


PYTHON = ("python", "py", "python3")


@dataclass(frozen=True, slots=True)
class Language:
    """How a source becomes a program: its file's name, the compiler's command line, the names a fenced block may bear."""

    file: str
    compiler: tuple[str, ...]
    fences: tuple[str, ...]
    links: tuple[str, ...] = ()


LANGUAGES: Mapping[str, Language] = {
    "cpp": Language("main.cpp", ("g++", "-std=gnu++20", *_SHARED), ("cpp", "c++", "cc", "cxx")),
    "c": Language("main.c", ("gcc", "-std=gnu17", *_SHARED), ("c",), ("-lm",)),
}


def language(name: str) -> Language:
    """The row of a language; `ConfigError` for one that is not there, or whose compiler this machine lacks."""
    if name not in LANGUAGES:
        raise unknown("language of programs", name, ["python", *LANGUAGES])
    row = LANGUAGES[name]
    if shutil.which(row.compiler[0], path=SEARCHED) is None:
        raise ConfigError(
            f"language {name} needs the compiler {row.compiler[0]} in {SEARCHED}; install it and try again"
        )
    return row


def named(word: str) -> str | None:
    """The language that a word means (`c++`, `py`), None for one that is not there."""
    if word in PYTHON:
        return "python"
    return next((name for name, row in LANGUAGES.items() if word in (name, *row.fences)), None)


def fences(name: str) -> tuple[str, ...]:
    """What a fenced block of a language may be marked with."""
    return PYTHON if name == "python" else LANGUAGES[name].fences


def key(job: Job) -> str:
    """What a binary is kept under."""
    row = LANGUAGES[job.language]
    text = "\0".join((*row.compiler, *row.links, job.code))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def broken(result: Result) -> Result:
    """How a build ended that made no binary: the compiler's complaints, or the limit it met. A compiler does not wait, so
    one that ran out of wall time had a machine that was too busy: the sandbox's failure, not the source's."""
    if result.status == "timeout" and result.cpu_seconds < BUILD.cpu_seconds:
        return replace(result, status="infra", error=f"the compiler had too little of a busy machine: {result.error}")
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line or "undefined reference" in line]
    if result.status == "infra":
        return result
    words = result.error if result.status in ("timeout", "memory", "output") else ""
    text = f"the compiler took {words}" if words else " | ".join((errors or lines)[:4]) or result.error
    return replace(result, status="compile", value=None, stdout="", stderr=result.stderr[:4000], error=text[:1000])


class Builds:
    """Binaries by key, bounded in number and bytes; `failed` holds what did not compile."""

    def __init__(self, most_bytes: int = KEPT_BYTES, most: int = KEPT) -> None:
        self._files: OrderedDict[str, int] = OrderedDict()
        self._failed: OrderedDict[str, Result] = OrderedDict()
        self._most_bytes, self._most = most_bytes, most
        self.bytes = 0

    def binary(self, name: str) -> int | None:
        """The descriptor of a binary, still ours; None where there is none."""
        if name not in self._files:
            return None
        self._files.move_to_end(name)
        return self._files[name]

    def failed(self, name: str) -> Result | None:
        """How the build ended, for what does not compile."""
        return self._failed.get(name)

    def keep(self, name: str, binary: bytes) -> None:
        self._forget(name)
        self._files[name] = sealed(binary)
        self.bytes += len(binary)
        while len(self._files) > 1 and (self.bytes > self._most_bytes or len(self._files) > self._most):
            self._forget(next(iter(self._files)))

    def fail(self, name: str, result: Result) -> None:
        self._failed[name] = result
        while len(self._failed) > self._most:
            self._failed.popitem(last=False)

    def _forget(self, name: str) -> None:
        if name in self._files:
            descriptor = self._files.pop(name)
            self.bytes -= os.fstat(descriptor).st_size
            os.close(descriptor)

    def close(self) -> None:
        for name in list(self._files):
            self._forget(name)


def sealed(data: bytes) -> int:
    """A new file in memory that holds `data`, can be executed and can not be changed any more."""
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        descriptor = os.memfd_create("program", flags | 0x10)  # MFD_EXEC: kernels since 6.3 may ask for it
    except OSError:
        descriptor = os.memfd_create("program", flags)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        raise
    return descriptor
