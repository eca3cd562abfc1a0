"""The thread behind a `RemoteSandbox`: its links, and the one batch of jobs they share."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import ssl
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from typing import cast

from ponder.errors import WorkError
from ponder.sandbox.codec import Refused
from ponder.sandbox.jobs import Job, Level, Result
from ponder.sandbox.keeper import ARGUMENT_BYTES
from ponder.sandbox.remote_fields import pack
from ponder.sandbox.remote_frames import GREETING_SECONDS
from ponder.sandbox.remote_link import OWN_LEVELS, Link

TRIES = 3
OTHERS_SECONDS = 2.0


class _Batch:
    """One call of `run`."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.results: list[Result | None] = [None] * len(jobs)
        self.waiting = deque(range(len(jobs)))
        self.tries = [0] * len(jobs)
        self.left = len(jobs)
        self.done = asyncio.Event()

    def settle(self, at: int, result: Result) -> None:
        self.results[at] = result
        self.left -= 1
        if not self.left:
            self.done.set()


class Client:
    """The links and the thread that tends them; everything below runs there but `start`, `run`, `cancel` and `close`."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self.batch: _Batch | None = None
        self.links: list[Link] = []
        self.owner = os.getpid()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=_tend, args=(self.loop, self.links), name="remote sandbox", daemon=True)

    def add(self, host: str, port: int, token: bytes, require: str | None, tls: ssl.SSLContext | None) -> None:
        self.links.append(Link(host, port, token, require, tls, self._feed, self._take, self._lose))

    @property
    def own(self) -> str:
        """The least level of its own that a server reached so far has."""
        return min((hello.level for link in self.links if (hello := link.hello) is not None), default="L1")

    @property
    def level(self) -> Level:
        return _seen_from_here(self.own)

    def start(self) -> None:
        """Wait until a server is there. Raises for the first that the user must put right, or when none answers."""
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self._wait(), self.loop).result()
        for link in self.links:
            if link.fault is not None:
                raise link.fault
        if not any(link.up for link in self.links):
            reasons = "; ".join(f"{link.name}: {link.reason}" for link in self.links)
            raise WorkError(f"no sandbox server answers: {reasons}; start one with 'ponder sandbox serve'")

    async def _wait(self) -> None:
        """All were tried, or one is up and the others had a little while."""
        tried = [asyncio.ensure_future(link.tried.wait()) for link in self.links]
        await asyncio.wait(tried, timeout=3 * GREETING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        rest = OTHERS_SECONDS if any(link.up for link in self.links) else 3 * GREETING_SECONDS
        await asyncio.wait(tried, timeout=rest)
        for task in tried:
            task.cancel()

    def run(self, jobs: Sequence[Job]) -> list[Result]:
        future: Future[list[Result]] = asyncio.run_coroutine_threadsafe(self._run(jobs), self.loop)
        try:
            return future.result()
        except CancelledError:
            raise WorkError("this sandbox was closed") from None
        except BaseException:
            future.cancel()
            raise

    def cancel(self) -> None:
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._give_up, "the batch was cancelled")

    def close(self) -> None:
        """Hang up and end the thread, unless it is that of the process this one was forked from."""
        if self.owner != os.getpid():
            return
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.loop.stop)
        if self.thread.is_alive() and self.thread is not threading.current_thread():
            self.thread.join()

    async def _run(self, jobs: Sequence[Job]) -> list[Result]:
        batch = self.batch = _Batch(jobs)
        if not jobs:
            return []
        heard = time.monotonic()
        try:
            for link in self.links:
                self._feed(link)
            while not batch.done.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(batch.done.wait(), 0.25)
                heard = time.monotonic() if any(link.up for link in self.links) else heard
                if time.monotonic() - heard > self.patience:
                    reasons = "; ".join(f"{link.name}: {link.reason}" for link in self.links)
                    self._give_up(f"no sandbox server answers: {reasons}")
        finally:
            self.batch = None
            for link in self.links:
                link.hang_up()
        return [cast(Result, result) for result in batch.results]

    def _feed(self, link: Link) -> None:
        """Send what a link can take."""
        batch = self.batch
        while batch is not None and batch.waiting and link.free:
            at = batch.waiting.popleft()
            try:
                data = pack(batch.jobs[at], ARGUMENT_BYTES)
            except Refused as error:
                batch.settle(at, Result("refused", error=f"the arguments: {error}", level=self.level))
            else:
                batch.tries[at] += 1
                link.send(at, data)

    def _take(self, at: int, result: Result) -> None:
        if self.batch is not None and self.batch.results[at] is None:
            self.batch.settle(at, dataclasses.replace(result, level=_seen_from_here(result.level)))
        for link in self.links:
            self._feed(link)

    def _lose(self, jobs: list[int], reason: str) -> None:
        """A server is gone: its jobs are for another, or given up."""
        if self.batch is None:
            return
        for at in jobs:
            if self.batch.tries[at] < TRIES:
                self.batch.waiting.appendleft(at)
            else:
                self.batch.settle(at, Result("infra", error=f"tried {TRIES} times; {reason}", level=self.level))
        for link in self.links:
            self._feed(link)

    def _give_up(self, reason: str) -> None:
        if self.batch is None:
            return
        self.batch.waiting.clear()
        for at, result in enumerate(self.batch.results):
            if result is None:
                self.batch.settle(at, Result("infra", error=reason, level=self.level))


def _tend(loop: asyncio.AbstractEventLoop, links: Sequence[Link]) -> None:
    """The thread: tends every link until the loop is stopped, then lets go of everything."""
    asyncio.set_event_loop(loop)
    tasks = [loop.create_task(link.tend()) for link in links]
    try:
        loop.run_forever()
        for task in (*tasks, *asyncio.all_tasks(loop)):
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, *asyncio.all_tasks(loop), return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def _seen_from_here(level: str) -> Level:
    """The level of a run elsewhere whose own level is `level`."""
    return "L4" if OWN_LEVELS.index(level) >= OWN_LEVELS.index("L2") else "L1"
