"""The parent's end of one zygote: starts it, hands it jobs, reads what became of them.

A job travels in a file of its own that only the sample reads; output and reply come back in files as well, so a sample
can write at most its file-size limit and there is no stream to flood or to forge. The zygote's word about how the
sample ended must carry the token of this request.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ponder.sandbox.cell import Way, command
from ponder.sandbox.clock import LONGEST
from ponder.sandbox.codec import Refused, decode, encode
from ponder.sandbox.jobs import Job, Level, Result, Status
from ponder.sandbox.languages import BUILD as BUILD_LIMITS
from ponder.sandbox.languages import language
from ponder.sandbox.native import BUILD, COMMAND, PYTHON, RUN
from ponder.sandbox.places import Place
from ponder.sandbox.scratch import MOST_BYTES, MOST_FILES
from ponder.sandbox.usage import usage
from ponder.sandbox.zygote import ANSWER, CPU, ENDED, REQUEST, SETUP, SPACE, TOKEN, WALL

ARGUMENT_BYTES = 64 << 20
FLAGS = ("-S", "-s", "-P", "-B", "-X", "utf8", str(Path(__file__).with_name("zygote.py")))
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # a process with threads forks badly
ENVIRONMENT = {"PYTHONHASHSEED": "0", "LD_BIND_NOW": "1", **dict.fromkeys(THREADS, "1")}  # bound once, before the fork
START_SECONDS = 60.0
GRACE_SECONDS = 10.0
CLAIMS: tuple[Status, ...] = ("ok", "raised", "exited", "memory", "refused")


class KeeperError(OSError):
    """The zygote did not start, or is gone, or said something it never says."""


class Keeper:
    """One zygote and the job it runs."""

    def __init__(self, level: Level, way: Way = "namespaces", packages: Sequence[str] = ()) -> None:
        self.level: Level = level
        self.mode, self.spent = PYTHON, 0.0
        self.runs = 0
        self.clean = True
        self.job: Job | None = None
        self._files: list[int] = []
        self._token = b""
        self.deadline = 0.0
        before = command(way) if level == "L3" else []
        python = os.path.realpath(sys.executable) if level == "L3" else sys.executable  # a link may not be in the cell
        self.place = Place()
        self.scratch = self.place.path
        self.control, theirs = socket.socketpair()
        words = [*before, python, *FLAGS, str(theirs.fileno()), level, self.scratch, way, *packages]
        try:
            with theirs:
                self.process = _begin(words, theirs.fileno())
        except BaseException:
            self.place.close()
            self.control.close()
            raise
        try:
            self._ready()
        except BaseException:
            self.close()
            raise

    def _ready(self) -> None:
        self.control.settimeout(START_SECONDS)
        word = self.control.recv(256)
        if word != b"+":
            raise KeeperError(word[1:].decode(errors="replace") or "the worker process ended at its start")
        self.control.settimeout(GRACE_SECONDS)

    def start(self, job: Job, binary: int | None = None) -> None:
        """Hand over a job; raises `Refused` for arguments that are not plain data.

        One in a compiled language is built, without a `binary`, the value then being that; with one it is run."""
        if job.native and self.level != "L3":
            raise Refused(f"level L3 is needed to run {'a command' if job.kind == 'command' else job.language}")
        self.mode = _mode(job, binary)
        job = replace(job, limits=BUILD_LIMITS) if self.mode == BUILD else job
        request = _request(job, self.mode)
        limits = job.limits
        size = max(limits.output_bytes, limits.value_bytes) + 4096
        head = REQUEST.pack(
            limits.cpu_seconds, limits.wall_seconds, limits.memory_mb << 20, size, limits.value_bytes, self.mode
        )  # fmt: skip
        self.spent = usage(self.process.pid)[0] if self.mode == COMMAND else 0.0
        self._token = secrets.token_bytes(TOKEN)
        self._files = [_blank() for _ in range(4)]
        try:
            _write_all(self._files[0], request)
            files = [*self._files, binary] if binary is not None else self._files
            socket.send_fds(self.control, [head, self._token], files)  # the token is read once the sample is forked
        except OSError as error:
            self._drop_files()
            raise KeeperError(f"the worker is gone: {error}") from None
        self.job, self.runs = job, self.runs + 1
        self.deadline = time.monotonic() + LONGEST * limits.wall_seconds + GRACE_SECONDS

    def finish(self) -> Result:
        """The result, once the control socket is readable."""
        job, self.job = self.job, None
        assert job is not None
        try:
            answer = self.control.recv(TOKEN + ANSWER.size, socket.MSG_WAITALL)
            if len(answer) != TOKEN + ANSWER.size or not secrets.compare_digest(answer[:TOKEN], self._token):
                raise KeeperError("the worker died or answered out of turn")
            status, cpu, why, clean = ANSWER.unpack(answer[TOKEN:])
            self.clean = bool(clean)
            return self._judge(job, status, cpu, why)
        except (OSError, struct.error) as error:
            raise KeeperError(str(error)) from None
        finally:
            self._drop_files()

    def _judge(self, job: Job, status: int, cpu: float, why: int) -> Result:
        limits, (_, out, err, reply) = job.limits, self._files
        stdout, flood = _text(out, limits.output_bytes)
        stderr, flood_too = _text(err, limits.output_bytes)

        code = os.waitstatus_to_exitcode(status) if why == ENDED else None

        def result(state: Status, error: str = "", value: Any = None, code: int | None = code) -> Result:
            return Result(state, value, stdout, stderr, error, cpu, self.level, code)

        if why == SETUP:
            return result("infra", "the sample could not be started and confined")
        if why in (CPU, WALL) or _killed_by(status, "SIGXCPU"):
            spent = (
                f"{limits.wall_seconds:g} s of wall time" if why == WALL else f"{limits.cpu_seconds:g} s of processor"
            )
            return result("timeout", f"more than {spent}")
        if why == SPACE:
            return result("output", f"more than {MOST_BYTES >> 20} MiB or {MOST_FILES} files in its folder")
        assert why == ENDED
        if flood or flood_too or _killed_by(status, "SIGXFSZ"):
            return result("output", f"more than {limits.output_bytes} bytes of output")
        if self.mode != PYTHON:
            return self._judge_native(result, status, stderr)
        if status != 0:
            return result("exited", _ending(status))
        claim = _claim(reply, limits.value_bytes)
        if claim is None:
            done = job.kind == "stdin"  # a program may well end by os._exit(0)
            return result("ok") if done else result("exited", "the process ended before the code was done")
        if claim[0] == "exited":
            return result("exited", claim[1], code=claim[2] if type(claim[2]) is int else code)
        return result(*claim)

    def _judge_native(self, result: Callable[..., Result], status: int, stderr: str) -> Result:
        reply = self._files[3]
        told = os.pread(reply, os.fstat(reply).st_size, 0)
        if self.mode == BUILD and status == 0 and told.startswith(b"\x7fELF"):
            return result("ok", value=told)
        if told:
            return result("infra", f"the program could not be started: {told[:500].decode(errors='replace')}")
        if self.mode != BUILD and status == 0:
            return result("ok")
        if _killed_by(status, "SIGABRT") and "bad_alloc" in stderr:
            return result("memory", "the memory limit was reached")
        return result("exited", _ending(status))

    def overrun(self) -> Result | None:
        """For a command, whose processes are judged together: the result once they have used too much, which ends them."""
        if self.mode != COMMAND or self.job is None:
            return None
        (spent, memory), limits = usage(self.process.pid), self.job.limits
        spent -= self.spent
        if memory > limits.memory_mb << 20:
            ending = Result("memory", error=f"its processes held more than {limits.memory_mb} MB", level=self.level)
        elif spent > limits.cpu_seconds:
            ending = Result("timeout", error=f"more than {limits.cpu_seconds:g} s of processor", level=self.level)
        else:
            return None
        return replace(ending, cpu_seconds=spent)

    def _drop_files(self) -> None:
        for descriptor in self._files:
            os.close(descriptor)
        self._files = []

    def close(self) -> None:
        """End the zygote and its sample, remove the scratch folder."""
        self.process.kill()
        self.process.wait()
        self.place.close()
        self.abandon()

    def abandon(self) -> None:
        """Let go of our descriptors only: what a forked copy of this process does."""
        self.control.close()
        self._drop_files()
        self.place.abandon()


def _begin(words: list[str], control: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        pass_fds=[control], env=ENVIRONMENT, start_new_session=True,
    )  # fmt: skip


def _mode(job: Job, binary: int | None) -> int:
    if job.kind == "command":
        return COMMAND
    return PYTHON if job.language == "python" else BUILD if binary is None else RUN


def _request(job: Job, mode: int) -> bytes:
    """Standard input, then the job, then where the job begins."""
    stdin = job.stdin.encode("utf-8", "surrogatepass")
    fields: dict[str, Any] = {}
    if mode == PYTHON:
        fields = {"kind": job.kind, "code": job.code, "entry": job.entry, "args": job.args, "kwargs": dict(job.kwargs)}
    elif mode == BUILD:
        row = language(job.language)
        fields = {"code": job.code, "file": row.file, "argv": list(row.compiler), "links": list(row.links)}
    elif mode == COMMAND:
        fields = {"argv": list(job.args), "files": dict(job.files)}
    return stdin + encode(fields, ARGUMENT_BYTES) + len(stdin).to_bytes(8, "big")


def _blank() -> int:
    """A new file that no path leads to."""
    with contextlib.suppress(AttributeError, OSError):  # another system, an old kernel
        return os.memfd_create("sample")
    handle, path = tempfile.mkstemp()
    os.unlink(path)
    return handle


def _write_all(descriptor: int, data: bytes) -> None:
    at = 0
    while at < len(data):
        at += os.pwrite(descriptor, data[at:], at)


def _text(descriptor: int, limit: int) -> tuple[str, bool]:
    """What stands in a file, and whether that is more than `limit` bytes."""
    size = os.fstat(descriptor).st_size
    if size == 0:
        return "", False
    return os.pread(descriptor, limit, 0).decode("utf-8", "replace"), size > limit


def _claim(descriptor: int, limit: int) -> tuple[Status, str, Any] | None:
    """What the sample says of itself: None when it left no reply, or one that no honest sample writes."""
    size = os.fstat(descriptor).st_size
    if size == 0 or size > limit + 4096:
        return None
    try:
        reply = decode(os.pread(descriptor, size, 0))
    except Refused as error:
        return "refused", str(error), None
    if type(reply) is not dict:
        return None
    reply = cast("dict[Any, Any]", reply)
    status, error = reply.get("status"), reply.get("error", "")
    if status not in CLAIMS or type(error) is not str:
        return None
    return status, error[:1000], reply.get("value") if status in ("ok", "exited") else None


def _killed_by(status: int, name: str) -> bool:
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == getattr(signal, name)


def _ending(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"killed by signal {os.WTERMSIG(status)} ({signal.strsignal(os.WTERMSIG(status))})"
    return f"the process ended with exit status {os.waitstatus_to_exitcode(status)}"
