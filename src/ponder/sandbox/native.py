"""Programs of other languages, in the worker: compile one, run one, or run a given command. Only inside a cell (L3).

Three modes beside Python's. `BUILD` writes the source into the scratch folder, runs the compiler, and answers with the
binary. `RUN` becomes that binary, handed over as a sealed file: one process that may have threads but can neither fork
nor execute anything but what it may open, with standard input, output and error and nothing else open, under the same
list of allowed system calls as Python. `COMMAND` writes files and becomes a program of the cell; it and the compiler
may fork and execute, so a list of forbidden calls holds for them, and the cell ends whatever they leave.
Standard library only: the worker loads it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from typing import Any

PYTHON, RUN, BUILD, COMMAND = 0, 1, 2, 3
NOT_STARTED = 127


def environment(scratch: str) -> dict[str, str]:
    """All that a program finds in its environment."""
    path = f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin"
    return {"PATH": path, "HOME": scratch, "TMPDIR": scratch, "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


def prepare(mode: int, confine: Any, scratch: str) -> None:
    """Before the system calls are filtered: the size of the stack, signals as a program expects them, and for `RUN`
    nothing left to read or execute by a path but the scratch folder."""
    memory, hard = resource.getrlimit(resource.RLIMIT_AS)[0], resource.getrlimit(resource.RLIMIT_STACK)[1]
    stack = max(8 << 20, memory // 8)
    resource.setrlimit(resource.RLIMIT_STACK, (stack if hard == resource.RLIM_INFINITY else min(stack, hard), hard))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if mode == RUN:
        confine.fence(["/dev/null", "/dev/zero", "/dev/urandom"], scratch)


def sweep() -> float:
    """End everything else in the cell, of which this is process 1; the processor seconds of what had lost its parent."""
    used = 0.0
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            usage = os.wait4(-1, 0)[2]
            used += usage.ru_utime + usage.ru_stime
    return used


def serve(mode: int, take: Any, files: list[int], scratch: str) -> None:
    """In the sample, confined: become the program, or answer with a binary. Never returns.

    A program that could not be started is told of in the reply, which is closed when one starts."""
    reply = files[3]
    try:
        job = take(*files[:3])
        _only(files[3:])
        words = environment(scratch)
        if mode == BUILD:
            os._exit(_build(job, reply, words))
        if mode == RUN:
            os.execve(files[4], ["program"], words)
        _place(job["files"])
        os.execvpe(job["argv"][0], job["argv"], words)
    except BaseException as error:  # noqa: BLE001 (nothing of ours may go on)
        os.pwrite(reply, f"{type(error).__name__}: {error}"[:1000].encode(), 0)
    finally:
        os._exit(NOT_STARTED)


def _only(kept: list[int]) -> None:
    """Close every file but the standard ones and `kept`, and these for the program that is executed."""
    low = 3
    for descriptor in sorted(kept):
        os.set_inheritable(descriptor, False)
        os.closerange(low, descriptor)
        low = descriptor + 1
    os.closerange(low, 4096)


def _place(files: dict[str, str]) -> None:
    for name, text in files.items():
        if os.path.dirname(name):
            os.makedirs(os.path.dirname(name), exist_ok=True)
        with open(name, "w", encoding="utf-8", errors="replace", newline="") as file:
            file.write(text)


def _build(job: dict[str, Any], reply: int, words: dict[str, str]) -> int:
    """Compile; the compiler's exit status, and with status 0 the binary in `reply`."""
    with open(job["file"], "w", encoding="utf-8", errors="replace", newline="") as file:
        file.write(job["code"])
    pid = os.posix_spawnp(job["argv"][0], [*job["argv"], "-o", "program", job["file"], *job["links"]], words)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != 0:
        return 1
    with open("program", "rb", buffering=0) as made:
        at = 0
        while piece := made.read(1 << 20):
            at += os.pwrite(reply, piece, at)
    return 0
