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
from pathlib import Path
from typing import Any, cast

from ponder.sandbox.codec import Refused, decode, encode
from ponder.sandbox.jobs import Job, Level, Result, Status
from ponder.sandbox.scratch import empty, open_folder
from ponder.sandbox.zygote import ANSWER, CPU, ENDED, REQUEST, SETUP, TOKEN, WALL

ARGUMENT_BYTES = 64 << 20
FLAGS = ("-S", "-s", "-P", "-B", "-X", "utf8", str(Path(__file__).with_name("zygote.py")))
START_SECONDS = 60.0
GRACE_SECONDS = 10.0
CLAIMS: tuple[Status, ...] = ("ok", "raised", "exited", "memory", "refused")


class KeeperError(OSError):
    """The zygote did not start, or is gone, or said something it never says."""


class Keeper:
    """One zygote and the job it runs."""

    def __init__(self, level: Level) -> None:
        self.level: Level = level
        self.runs = 0
        self.clean = True
        self.job: Job | None = None
        self._files: list[int] = []
        self._token = b""
        self.deadline = 0.0
        self.scratch = _scratch()
        ours, theirs = socket.socketpair()
        self.control = ours
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, *FLAGS, str(theirs.fileno()), level, self.scratch],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()], env={"PYTHONHASHSEED": "0"}, start_new_session=True,
            )  # fmt: skip
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

    def start(self, job: Job) -> None:
        """Hand over a job; raises `Refused` for arguments that are not plain data."""
        request = _request(job)
        limits = job.limits
        size = max(limits.output_bytes, limits.value_bytes) + 4096
        head = REQUEST.pack(
            limits.cpu_seconds, limits.wall_seconds, limits.memory_mb << 20, size, limits.value_bytes, 0
        )  # fmt: skip
        self._token = secrets.token_bytes(TOKEN)
        self._files = [_blank() for _ in range(4)]
        try:
            _write_all(self._files[0], request)
            socket.send_fds(self.control, [head], self._files)
            self.control.sendall(self._token)
        except OSError as error:
            self._drop_files()
            raise KeeperError(f"the worker is gone: {error}") from None
        self.job, self.runs = job, self.runs + 1
        self.deadline = time.monotonic() + limits.wall_seconds + GRACE_SECONDS

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

        def result(state: Status, error: str = "", value: Any = None) -> Result:
            return Result(state, value, stdout, stderr, error, cpu, self.level)

        if why == SETUP:
            return result("infra", "the sample could not be confined")
        if why in (CPU, WALL) or _killed_by(status, "SIGXCPU"):
            spent = (
                f"{limits.wall_seconds:g} s of wall time" if why == WALL else f"{limits.cpu_seconds:g} s of processor"
            )
            return result("timeout", f"more than {spent}")
        assert why == ENDED
        if flood or flood_too or _killed_by(status, "SIGXFSZ"):
            return result("output", f"more than {limits.output_bytes} bytes of output")
        if status != 0:
            return result("exited", _ending(status))
        claim = _claim(reply, limits.value_bytes)
        if claim is None:
            done = job.kind == "stdin"  # a program may well end by os._exit(0)
            return result("ok") if done else result("exited", "the process ended before the code was done")
        return result(claim[0], claim[1], claim[2])

    def _drop_files(self) -> None:
        for descriptor in self._files:
            os.close(descriptor)
        self._files = []

    def close(self) -> None:
        """End the zygote and its sample, remove the scratch folder."""
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait()
        self.abandon()
        _remove(self.scratch)

    def abandon(self) -> None:
        """Let go of our descriptors only: what a forked copy of this process does."""
        self.control.close()
        self._drop_files()


def _scratch() -> str:
    """A new scratch folder, inside one of ours: whoever it is given to can not put something else in its place."""
    outer = tempfile.mkdtemp(prefix="ponder-")
    os.chmod(outer, 0o711)
    scratch = os.path.join(outer, "scratch")
    os.mkdir(scratch, 0o700)
    return scratch


def _remove(scratch: str) -> None:
    """The folder of `_scratch` and all that is in it."""
    with contextlib.suppress(OSError):
        folder = open_folder(scratch)
        try:
            empty(folder)
        finally:
            os.close(folder)
        os.rmdir(scratch)
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(scratch))


def _request(job: Job) -> bytes:
    """Standard input, then the job, then where the job begins."""
    stdin = job.stdin.encode("utf-8", "surrogatepass")
    fields = {"kind": job.kind, "code": job.code, "entry": job.entry, "args": job.args, "kwargs": dict(job.kwargs)}
    return stdin + encode(fields, ARGUMENT_BYTES) + len(stdin).to_bytes(8, "big")


def _blank() -> int:
    """A new file that no path leads to."""
    if hasattr(os, "memfd_create"):
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
    return status, error[:1000], reply.get("value") if status == "ok" else None


def _killed_by(status: int, name: str) -> bool:
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == getattr(signal, name)


def _ending(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"killed by signal {os.WTERMSIG(status)} ({signal.strsignal(os.WTERMSIG(status))})"
    return f"the process ended with exit status {os.waitstatus_to_exitcode(status)}"
