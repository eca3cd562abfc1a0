"""`Sandbox`: runs jobs of untrusted code on a few pre-started zygotes and gives their results in order.

Levels: L1, portable: a fresh process per job with resource limits, its own session, an empty environment, no inherited
files, killed by a clock outside of it. L2, Linux: on top of it no new privileges, Landlock and seccomp (no files beyond
a scratch folder and the standard library, no network, no exec, no fork, no signals to others). A level is believed only
when the probe that tries to break it failed. Not covered: kernel bugs, side channels, and code of kind "exec" that
claims in its own process to have finished; what must be judged is returned as a value and compared by the caller.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import cast, get_args

from ponder.errors import ConfigError, WorkError
from ponder.sandbox.codec import Refused
from ponder.sandbox.jobs import Job, Level, Limits, Result
from ponder.sandbox.keeper import Keeper, KeeperError

RECYCLE = 2000
TRIES = 2
_held: dict[Level, str] = {}

PROBE = """
import ctypes, os, socket
def probe(secret, target):
    leaks = []
    def attempt(name, action):
        try:
            action()
            leaks.append(name)
        except OSError:
            pass
    def child():
        pid = os.fork()
        if pid == 0:
            os._exit(0)
    def call(*numbers):
        if ctypes.CDLL(None, use_errno=True).syscall(*numbers) < 0:
            raise OSError(ctypes.get_errno())
    attempt("read a file", lambda: open(secret).close())
    attempt("write a file", lambda: open(secret, "a").close())
    attempt("delete a file", lambda: os.unlink(secret))
    attempt("list the root folder", lambda: os.listdir("/"))
    attempt("read /proc", lambda: open("/proc/self/status").close())
    attempt("open a TCP socket", lambda: socket.socket().close())
    attempt("open a UDP socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close())
    attempt("open a unix socket", lambda: socket.socket(socket.AF_UNIX).close())
    attempt("signal its parent", lambda: os.kill(os.getppid(), 0))
    attempt("signal the caller", lambda: os.kill(target, 0))
    attempt("signal everyone", lambda: os.kill(-1, 0))
    attempt("fork", child)
    attempt("make a user namespace", lambda: call(272, 0x10000000))
    attempt("execute a program", lambda: os.execv("/bin/true", ["true"]))
    return leaks
"""


class Sandbox:
    """Runs untrusted code. `level` None is the best that held; `require` refuses to run below a level."""

    def __init__(self, level: Level | None = None, require: str | None = None, workers: int = 2) -> None:
        if workers < 1:
            raise ConfigError(f"workers = {workers}: the sandbox needs at least 1")
        self.level: Level = _choose(level, require)
        self.workers = workers
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._idle: list[Keeper] = []
        self._batch: _Batch | None = None
        self._closed = False

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, jobs: Sequence[Job]) -> list[Result]:
        """A result per job, in order; from any thread, one batch at a time."""
        with self._lock:
            if self._closed:
                raise WorkError("this sandbox is closed")
            if self._owner != os.getpid():
                self._forget()
            self._batch = _Batch(self._idle, self.level, self.workers, jobs)
            return self._batch.run()

    def cancel(self) -> None:
        """From another thread: end the batch that is running now; what it has not finished becomes "infra"."""
        if self._batch is not None:
            self._batch.cancel()

    def _forget(self) -> None:
        """In a forked copy: the workers belong to the parent process."""
        for keeper in self._idle:
            keeper.abandon()
        self._idle, self._owner = [], os.getpid()

    def close(self) -> None:
        """End the workers. Safe to call twice."""
        self._closed = True
        if self._owner == os.getpid():
            while self._idle:
                self._idle.pop().close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


class _Batch:
    """One call of `run`: keeps every worker busy until all jobs have a result."""

    def __init__(self, idle: list[Keeper], level: Level, workers: int, jobs: Sequence[Job]) -> None:
        self.idle, self.workers, self.jobs = idle, workers, jobs
        self.level: Level = level
        self.results: list[Result | None] = [None] * len(jobs)
        self.waiting = [(at, 0) for at in reversed(range(len(jobs)))]
        self.busy: dict[Keeper, tuple[int, int]] = {}
        self.cancelled = False

    def cancel(self) -> None:
        """Kill what is busy and start nothing more."""
        self.cancelled = True
        for keeper in list(self.busy):
            keeper.process.kill()

    def run(self) -> list[Result]:
        with selectors.DefaultSelector() as selector:
            try:
                while self.waiting or self.busy:
                    self._feed(selector)
                    self._collect(selector)
            finally:
                for keeper in self.busy:
                    keeper.close()
        return [result or self._infra("the job was not run") for result in self.results]

    def _feed(self, selector: selectors.BaseSelector) -> None:
        """Give every free worker a job."""
        if self.cancelled:
            self.waiting.clear()
        while self.waiting and len(self.busy) < self.workers:
            at, tries = self.waiting.pop()
            keeper: Keeper | None = None
            try:
                keeper = self.idle.pop() if self.idle else Keeper(self.level)
                keeper.start(self.jobs[at])
            except Refused as error:
                self.results[at] = Result("refused", error=f"the arguments: {error}", level=self.level)
                if keeper is not None:
                    self.idle.append(keeper)
            except OSError as error:
                if keeper is not None:
                    keeper.close()
                self._again(at, tries, str(error))
            else:
                self.busy[keeper] = (at, tries)
                selector.register(keeper.control, selectors.EVENT_READ, keeper)

    def _collect(self, selector: selectors.BaseSelector) -> None:
        """Take what is done; end workers whose time is over."""
        if self.cancelled:  # also ends a worker that was started while `cancel` looked around
            self.cancel()
        if not self.busy:
            return
        first = min(keeper.deadline for keeper in self.busy)
        for key, _ in selector.select(max(0.0, first - time.monotonic())):
            self._take(cast(Keeper, key.data), selector)
        now = time.monotonic()
        for keeper in [k for k in self.busy if k.deadline < now]:
            self._lose(keeper, selector, "the worker did not answer in time")

    def _take(self, keeper: Keeper, selector: selectors.BaseSelector) -> None:
        at, _ = self.busy[keeper]
        try:
            self.results[at] = keeper.finish()
        except KeeperError as error:
            self._lose(keeper, selector, str(error))
            return
        selector.unregister(keeper.control)
        del self.busy[keeper]
        if keeper.runs >= RECYCLE or not keeper.clean:
            keeper.close()
        else:
            self.idle.append(keeper)

    def _lose(self, keeper: Keeper, selector: selectors.BaseSelector, reason: str) -> None:
        selector.unregister(keeper.control)
        at, tries = self.busy.pop(keeper)
        keeper.close()
        self._again(at, tries, reason)

    def _again(self, at: int, tries: int, reason: str) -> None:
        if self.cancelled:
            self.results[at] = self._infra("the batch was cancelled")
        elif tries + 1 < TRIES:
            self.waiting.append((at, tries + 1))
        else:
            self.results[at] = self._infra(reason)

    def _infra(self, reason: str) -> Result:
        return Result("infra", error=reason, level=self.level)


def _choose(level: Level | None, require: str | None) -> Level:
    """The level to run at, proven by its probe."""
    known = get_args(Level)
    for name, value in (("level", level), ("require", require)):
        if value is not None and value not in known:
            raise ConfigError(f"sandbox {name} '{value}': it is one of {', '.join(known)}")
    if level is None:
        level = "L2" if held("L2") == "" else "L1"
    if require is not None and known.index(level) < known.index(cast(Level, require)):
        reason = held("L2") if level == "L1" else "no higher level is available here"
        raise ConfigError(
            f"the sandbox reaches only {level}, and {require} is required: {reason or 'level is set lower'}"
        )
    if reason := held(level):
        raise ConfigError(f"sandbox level {level} does not hold here: {reason}; see 'ponder doctor --sandbox'")
    return level


def held(level: Level) -> str:
    """Why a level does not hold on this machine, tried once per process; empty when it does."""
    if level not in _held:
        why = {"L3": "it needs bubblewrap, and is not there yet", "L4": "it is a pool elsewhere, see RemoteSandbox"}
        _held[level] = why[level] if level in why else _try(level)
    return _held[level]


def _try(level: Level) -> str:
    code = PROBE if level == "L2" else "def probe(secret, target): return []"
    with tempfile.NamedTemporaryFile() as secret:
        job = Job(code, "call", "probe", (secret.name, os.getpid()), limits=Limits(cpu_seconds=5))
        idle: list[Keeper] = []
        try:
            result = _Batch(idle, level, 1, [job]).run()[0]
        finally:
            for keeper in idle:
                keeper.close()
        if result.status == "ok" and result.value == []:
            return ""
        return f"code could {', '.join(result.value)}" if result.status == "ok" else f"{result.status}: {result.error}"
