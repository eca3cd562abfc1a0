"""`Sandbox`: runs jobs of untrusted code on a few pre-started zygotes and gives their results in order.

Levels: L1, portable: a fresh process per job with resource limits, no terminal, an empty environment, no inherited files,
killed by a clock outside of it. L2, Linux: on top of it no new privileges, Landlock and seccomp (no files beyond a scratch
folder and the standard library, no network, no exec, no fork, no signals to others). L3: all that in a cell of namespaces
(see `cell`), where programs of other languages and commands run as well. A level is believed only when the probe that tries
to break it failed. Not covered: kernel bugs, side channels, and code of kind "exec" that claims in its own process to have
finished; what must be judged is returned as a value and compared by the caller.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast, get_args

from ponder.errors import ConfigError, WorkError
from ponder.sandbox import languages, probes
from ponder.sandbox.cell import WAYS, Way
from ponder.sandbox.codec import Refused
from ponder.sandbox.jobs import Job, Level, Result
from ponder.sandbox.keeper import Keeper, KeeperError
from ponder.sandbox.native import BUILD, COMMAND
from ponder.sandbox.packages import find

RECYCLE = 2000
TRIES = 2
WATCH_SECONDS = 0.05
_held: dict[tuple[Level, Way | None], str] = {}
_way: list[Way] = []  # how cells are made here, once that was tried


class Sandbox:
    """Runs untrusted code. `level` None is the best that held of L1 and L2, or `require` where that is more; L3 costs a
    worker more at its start, so it is asked for. `require` refuses to run below a level. `cell` is how cells are made, by
    default the first way that holds. `packages` are installed ones that the code may import (L1 and L2)."""

    def __init__(
        self, level: Level | None = None, require: str | None = None, workers: int = 2, cell: Way | None = None,
        packages: Sequence[str] = (),
    ) -> None:  # fmt: skip
        if workers < 1:
            raise ConfigError(f"workers = {workers}: the sandbox needs at least 1")
        self.level: Level = _choose(level, require, cell)
        self.workers = workers
        self._way: Way = cell or (_way[0] if _way else "namespaces")
        self._packages = find(packages)
        if packages and self.level == "L3":
            raise ConfigError("packages can be opened at sandbox levels L1 and L2, and this sandbox is at L3")
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._idle: list[Keeper] = []
        self._builds = languages.Builds()
        self._batch: _Batch | None = None
        self._closed = False

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, jobs: Sequence[Job]) -> list[Result]:
        """A result per job, in order; from any thread, one batch at a time. `ConfigError` for jobs that need a higher level
        or a compiler that is not there."""
        for job in jobs:
            if job.native and self.level != "L3":
                what = "commands" if job.kind == "command" else f"programs in {job.language}"
                raise ConfigError(f"{what} run at sandbox level L3, and this sandbox is at {self.level}")
        for name in {job.language for job in jobs} - {"python"}:
            languages.language(name)
        with self._lock:
            if self._closed:
                raise WorkError("this sandbox is closed")
            if self._owner != os.getpid():
                self._forget()
            start = partial(Keeper, self.level, self._way, self._packages)
            self._batch = _Batch(self._idle, self.level, start, self.workers, jobs, self._builds)
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
        self._builds.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


class _Batch:
    """One call of `run`: keeps every worker busy until all jobs have a result."""

    def __init__(
        self,
        idle: list[Keeper],
        level: Level,
        begin: Callable[[], Keeper],
        workers: int,
        jobs: Sequence[Job],
        builds: languages.Builds,
    ) -> None:
        self.idle, self.begin, self.workers, self.jobs, self.builds = idle, begin, workers, jobs, builds
        self.level: Level = level
        self.building: dict[str, list[tuple[int, int]]] = {}  # the jobs that wait for a binary that is being built
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
            job = self.jobs[at]
            key, binary = "", None
            if job.language != "python":
                key = languages.key(job)
                if key in self.building:
                    self.building[key].append((at, tries))
                    continue
                if failed := self.builds.failed(key):
                    self.results[at] = failed
                    continue
                binary = self.builds.binary(key)
            try:
                keeper = self.idle.pop() if self.idle else self.begin()
                keeper.start(job, binary)
            except Refused as error:
                self.results[at] = Result("refused", error=f"the arguments: {error}", level=self.level)
                if keeper is not None:
                    self.idle.append(keeper)
            except OSError as error:
                if keeper is not None:
                    keeper.close()
                self._again(at, tries, str(error))
            except BaseException:  # interrupted
                if keeper is not None:
                    keeper.close()
                raise
            else:
                self.busy[keeper] = (at, tries)
                if key and binary is None:
                    self.building[key] = []
                selector.register(keeper.control, selectors.EVENT_READ, keeper)

    def _collect(self, selector: selectors.BaseSelector) -> None:
        """Take what is done; end workers whose time is over."""
        if self.cancelled:  # also ends a worker that was started while `cancel` looked around
            self.cancel()
        if not self.busy:
            return
        first = min(keeper.deadline for keeper in self.busy)
        watched = any(keeper.mode == COMMAND for keeper in self.busy)
        left = max(0.0, first - time.monotonic())
        for key, _ in selector.select(min(left, WATCH_SECONDS) if watched else left):
            self._take(cast(Keeper, key.data), selector)
        for keeper in [k for k in self.busy if k.mode == COMMAND]:
            if over := keeper.overrun():
                self.results[self.busy[keeper][0]] = over
                self._drop(keeper, selector)
        now = time.monotonic()
        for keeper in [k for k in self.busy if k.deadline < now]:
            self._lose(keeper, selector, "the worker did not answer in time")

    def _take(self, keeper: Keeper, selector: selectors.BaseSelector) -> None:
        at, tries = self.busy[keeper]
        try:
            result = keeper.finish()
        except KeeperError as error:
            self._lose(keeper, selector, str(error))
            return
        selector.unregister(keeper.control)
        del self.busy[keeper]
        if keeper.runs >= RECYCLE or not keeper.clean:
            keeper.close()
        else:
            self.idle.append(keeper)
        if keeper.mode == BUILD:
            self._built(languages.key(self.jobs[at]), at, tries, result)
        else:
            self.results[at] = result

    def _built(self, key: str, at: int, tries: int, result: Result) -> None:
        """Go on with the jobs that waited for a binary, or tell them why there is none."""
        waited = [*self.building.pop(key, []), (at, tries)]
        if result.status == "ok":
            self.builds.keep(key, result.value)
        else:
            result = languages.broken(result)
            if result.status != "infra":
                self.builds.fail(key, result)
        for index, so_far in waited:
            if result.status == "ok":
                self.waiting.append((index, so_far))
            else:
                self.results[index] = result

    def _drop(self, keeper: Keeper, selector: selectors.BaseSelector) -> tuple[int, int]:
        """End a worker; the job it had, and how often that was tried."""
        selector.unregister(keeper.control)
        at, tries = self.busy.pop(keeper)
        if keeper.mode == BUILD:
            self.waiting += self.building.pop(languages.key(self.jobs[at]), [])
        keeper.close()
        return at, tries

    def _lose(self, keeper: Keeper, selector: selectors.BaseSelector, reason: str) -> None:
        self._again(*self._drop(keeper, selector), reason)

    def _again(self, at: int, tries: int, reason: str) -> None:
        if self.cancelled:
            self.results[at] = self._infra("the batch was cancelled")
        elif tries + 1 < TRIES:
            self.waiting.append((at, tries + 1))
        else:
            self.results[at] = self._infra(reason)

    def _infra(self, reason: str) -> Result:
        return Result("infra", error=reason, level=self.level)


def _choose(level: Level | None, require: str | None, cell: Way | None) -> Level:
    """The level to run at, proven by its probe."""
    known = [name for name in get_args(Level) if name != "L4"]
    for name, value in (("level", level), ("require", require)):
        if value is not None and value not in known:
            raise ConfigError(f"sandbox {name} '{value}': it is one of {', '.join(known)}")
    if cell is not None and cell not in WAYS:
        raise ConfigError(f"sandbox cell '{cell}': it is one of {', '.join(WAYS)}")
    if level is None:
        level = "L3" if require == "L3" else "L2" if held("L2") == "" else "L1"
    if require is not None and known.index(level) < known.index(cast(Level, require)):
        reason = held(cast(Level, require)) or "level is set lower"
        raise ConfigError(f"the sandbox reaches only {level}, and {require} is required: {reason}")
    if reason := held(level, cell):
        raise ConfigError(f"sandbox level {level} does not hold here: {reason}; see 'ponder doctor --sandbox'")
    return level


def held(level: Level, cell: Way | None = None) -> str:
    """Why a level does not hold on this machine, tried once per process; empty when it does."""
    if (level, cell) not in _held:
        if level == "L4":
            _held[level, cell] = "it is a pool elsewhere, see RemoteSandbox"
        elif level == "L3" and cell is None:
            reasons = {way: held("L3", way) for way in WAYS}
            _way[:] = [way for way in WAYS if not reasons[way]]
            _held[level, cell] = "" if _way else "; ".join(f"{way}: {reason}" for way, reason in reasons.items())
        else:
            _held[level, cell] = _try(level, cell or "namespaces")
    return _held[level, cell]


def _try(level: Level, cell: Way) -> str:
    idle: list[Keeper] = []
    with tempfile.NamedTemporaryFile() as secret:
        jobs = probes.jobs(level, secret.name)
        try:
            batch = _Batch(idle, level, partial(Keeper, level, cell), 1, jobs, languages.Builds())
            return probes.judge(batch.run())
        finally:
            for keeper in idle:
                keeper.close()
