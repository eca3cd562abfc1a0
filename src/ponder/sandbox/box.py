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
import tempfile
import threading
from collections.abc import Sequence
from functools import partial
from typing import cast, get_args

from ponder.errors import ConfigError, WorkError
from ponder.sandbox import languages, probes
from ponder.sandbox.batch import Batch
from ponder.sandbox.cell import WAYS, Way
from ponder.sandbox.jobs import Job, Level, Result
from ponder.sandbox.keeper import Keeper
from ponder.sandbox.packages import find

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
        self._batch: Batch | None = None
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
            self._batch = Batch(self._idle, self.level, start, self.workers, jobs, self._builds)
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
            batch = Batch(idle, level, partial(Keeper, level, cell), 1, jobs, languages.Builds())
            return probes.judge(batch.run())
        finally:
            for keeper in idle:
                keeper.close()
