"""Inside the sample: read the job, run it, write what it returned. Everything here is at the mercy of the tested code.

So the reply is only a claim about a value, decoded strictly on the other side; how the process ended, what it cost and
whether it was killed are told by the zygote. Nothing here knows what would be right.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import sys
import types
from typing import Any

_codec: Any = sys.modules["ponder_sandbox_codec"]  # loaded by the zygote, from a file and not from a path

Reply = dict[str, Any]
FILE = "<solution>"


def run(job: Reply) -> Reply:
    """The reply to a job: status, and value or error."""
    try:
        namespace = _module("solution" if job["kind"] == "call" else "__main__")
        exec(compile(job["code"], FILE, "exec", dont_inherit=True), namespace)
        value = None
        if job["kind"] == "call":
            value = _resolve(namespace, job["entry"])(*job["args"], **job["kwargs"])
        elif job["kind"] == "exec" and job["entry"]:
            value = namespace[job["entry"]]
        elif job["kind"] == "stdin":
            _finish()
        return {"status": "ok", "value": value}
    except SystemExit as error:
        if job["kind"] == "stdin":
            _finish()
            if error.code in (None, 0):
                return {"status": "ok"}
        left = error.code if type(error.code) is int else int(error.code is not None)
        return {"status": "exited", "error": f"the code left with exit({str(error.code)[:200]})", "value": left & 0xFF}
    except MemoryError:
        return {"status": "memory", "error": "the memory limit was reached"}
    except BaseException as error:  # noqa: BLE001 (whatever the code raises is its answer)
        return {"status": "raised", "error": _describe(error)}


def _module(name: str) -> dict[str, Any]:
    module = types.ModuleType(name)
    module.__dict__["__builtins__"] = builtins
    sys.modules[name] = module
    return module.__dict__


def _resolve(namespace: dict[str, Any], entry: str) -> Any:
    """The global `entry`; of `Class.method` the method of a new instance."""
    first, *rest = entry.split(".")
    target: Any = namespace[first]
    for name in rest:
        target = getattr(target() if isinstance(target, type) else target, name)
    return target


def _finish() -> None:
    """What the interpreter would do at the end of a program: wait for its threads, run what was registered."""
    import atexit

    threading = sys.modules.get("threading")
    if threading is not None:
        threading.__dict__["_shutdown"]()
    atexit.__dict__["_run_exitfuncs"]()


def _describe(error: BaseException) -> str:
    """Its type, its text, and the last line of the code that it went through, with the file where that is another."""
    kind, text, place = type(error).__name__, "(its message raised as well)", ""
    with contextlib.suppress(BaseException):
        trace = error.__traceback__
        while trace is not None:
            name = trace.tb_frame.f_code.co_filename
            if name == FILE:
                place = f" (line {trace.tb_lineno})"
            elif name.endswith(".py") and "/" not in name:  # a module that the code serves from memory
                place = f" ({name[:80]}, line {trace.tb_lineno})"
            trace = trace.tb_next
        text = str(error)[:500]
        if isinstance(error, SyntaxError) and error.filename:
            place = ""  # its text says it
    return f"{kind}: {text}{place}"


def take(job_fd: int, out: int, err: int) -> Reply:
    """The job; its files become standard input (all that the job's file then holds), output and error."""
    data = os.pread(job_fd, os.fstat(job_fd).st_size, 0)
    at = int.from_bytes(data[-8:], "big")
    job: Reply = _codec.decode(data[at:-8])
    os.ftruncate(job_fd, at)
    del data
    for target, source in ((0, job_fd), (1, out), (2, err)):
        os.dup2(source, target)
        os.close(source)
    os.lseek(0, 0, os.SEEK_SET)
    return job


def serve(job_fd: int, out: int, err: int, reply_fd: int, value_bytes: int) -> None:
    """Take the job, become the program, answer once."""
    reply = run(take(job_fd, out, err))
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
    os.pwrite(reply_fd, _encode(reply, value_bytes), 0)


def _encode(reply: Reply, limit: int) -> bytes:
    try:
        return _codec.encode(reply, limit + 2048)
    except _codec.Refused as error:
        return _codec.encode({"status": "refused", "error": str(error)[:500]}, 4096)
    except MemoryError:
        return _codec.encode({"status": "memory", "error": "the memory limit was reached"}, 4096)
