"""One batch of jobs on the workers of a sandbox: every worker kept busy until each job has a result.

A worker that is lost or silent is replaced and its job tried once more; then the job is "infra", never a wrong answer. A
program of another language waits while its binary is built, and shares it with all that have the same source.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Sequence
from typing import cast

from ponder.sandbox import languages
from ponder.sandbox.codec import Refused
from ponder.sandbox.jobs import Job, Level, Result
from ponder.sandbox.keeper import Keeper, KeeperError
from ponder.sandbox.native import BUILD, COMMAND

RECYCLE = 2000
TRIES = 2
WATCH_SECONDS = 0.05


class Batch:
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
