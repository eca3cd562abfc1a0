"""A few killable worker processes that each compute one thing at a time, for work that may never end.

Design: a worker is a fresh Python process (not a fork of ours: no inherited threads, locks or memory) that has imported
its function before the first request, so the deadline measures execution only: neither the wait for a free worker nor
start-up counts, and a busy machine does not shorten it, because the clock is the worker's own processor time (wall
time, five times as long, bounds it too). A worker that overruns is killed and replaced. Works from any thread, and in
forked or spawned processes, each of which gets its own workers. Memory is bounded by RLIMIT_AS.
Not covered: hostile *code*. A worker runs our function on data; it is not a jail.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import pickle
import select
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ponder.sandbox.worker import HEADER

Status = Literal["done", "failed", "timeout", "lost"]
START_SECONDS = 60.0
WALL_FACTOR = 5.0
MAX_REPLY = 1 << 20
_TICKS = os.sysconf("SC_CLK_TCK")
_pools: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request: "done" with a value, "failed" (it raised), "timeout", or "lost" (the worker died)."""

    status: Status
    value: Any = None
    reason: str = ""
    seconds: float = 0.0


class _DeadError(Exception):
    pass


class _LateError(Exception):
    pass


class WorkerPool:
    """`size` workers running `target` ("module:function"), started on first use.

    `call(*arguments, deadline=2.0)` gives an `Outcome`; it never raises for what happens inside the worker.
    """

    def __init__(self, target: str, *, size: int = 1, memory: int = 1 << 30) -> None:
        self.target, self.size, self.memory = target, size, memory
        self._reset()
        _pools.add(self)

    def _reset(self) -> None:
        self._slots = threading.Semaphore(self.size)
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._closed = False

    def call(self, *arguments: Any, deadline: float = 2.0) -> Outcome:
        """Run the function in a worker; `deadline` in seconds of processor time from the start of execution."""
        with self._slots:
            try:
                worker = self._take()
            except (_DeadError, _LateError, OSError) as error:
                return Outcome("lost", reason=f"the worker could not start: {error}")
            started = time.monotonic()
            try:
                outcome = worker.run(arguments, deadline)
            except _LateError:
                worker.kill()
                return Outcome("timeout", reason=f"deadline of {deadline:g} s", seconds=time.monotonic() - started)
            except (_DeadError, OSError, ValueError):
                worker.kill()
                return Outcome("lost", reason="the worker died (memory limit?)", seconds=time.monotonic() - started)
            except BaseException:
                worker.kill()
                raise
            with self._lock:
                self._idle.append(worker)
            return outcome

    def _take(self) -> _Worker:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.process.poll() is None:
                    return worker
                worker.kill()
        return _Worker(self.target, self.memory)

    def close(self) -> None:
        """Kill the idle workers; a later call starts new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()

    def _forget(self) -> None:
        """In a forked child: the workers belong to the parent; drop our ends of their pipes and start anew."""
        for worker in self._idle:
            worker.abandon()
        self._reset()


class _Worker:
    def __init__(self, target: str, memory: int) -> None:
        source = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ponder.sandbox.worker", target, str(memory)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )  # fmt: skip
        try:
            self._receive(time.monotonic() + START_SECONDS)
        except BaseException:
            self.kill()
            raise

    def run(self, arguments: tuple[Any, ...], deadline: float) -> Outcome:
        data = pickle.dumps(arguments)
        before, started = self._cpu(), time.monotonic()
        assert self.process.stdin is not None
        self.process.stdin.write(HEADER.pack(len(data)) + data)
        reply = self._receive(started + WALL_FACTOR * deadline, before + deadline)
        seconds = time.monotonic() - started
        if "error" in reply:
            return Outcome("failed", reason=reply["error"], seconds=seconds)
        return Outcome("done", reply["value"], seconds=seconds)

    def _receive(self, wall: float, cpu: float | None = None) -> Any:
        size = HEADER.unpack(self._read(HEADER.size, wall, cpu))[0]
        if size > MAX_REPLY:
            raise _DeadError
        return json.loads(self._read(size, wall, cpu))

    def _read(self, size: int, wall: float, cpu: float | None) -> bytes:
        assert self.process.stdout is not None
        descriptor, data = self.process.stdout.fileno(), b""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while len(data) < size:
            left = wall - time.monotonic()
            if cpu is not None:
                left = min(left, max(cpu - self._cpu(), 0.0))
            if left <= 0:
                raise _LateError
            if poll.poll(min(max(left, 0.01), 0.5) * 1000):
                part = os.read(descriptor, size - len(data))
                if not part:
                    raise _DeadError
                data += part
        return data

    def _cpu(self) -> float:
        """Processor seconds the worker has used; wall time where the system does not tell."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return time.monotonic()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self.process.kill()
        self.abandon()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)

    def abandon(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def _close_all() -> None:
    for pool in list(_pools):
        pool.close()


def _forget_all() -> None:
    for pool in list(_pools):
        pool._forget()  # pyright: ignore[reportPrivateUsage]


atexit.register(_close_all)
os.register_at_fork(after_in_child=_forget_all)
