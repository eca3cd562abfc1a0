"""The workers of a remote pool, taking the jobs of several clients in turn.

Design: a thread per worker, each with a sandbox of its own, takes one job at a time; clients with something waiting are
served round robin, so one with ten thousand jobs does not keep out one with ten. A program that must be compiled has a home,
the worker that keeps its binary; others take its jobs when many wait. A client that is dropped has what waits forgotten
and what runs killed. What a worker can not run at all is "infra", never a wrong answer.
"""

from __future__ import annotations

import contextlib
import threading
import zlib
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ponder.errors import ConfigError
from ponder.sandbox.codec import Refused
from ponder.sandbox.jobs import Job, Level, Limits, Result
from ponder.sandbox.remote_fields import unpack
from ponder.sandbox.remote_frames import FRAME_BYTES

FIRST = Job("def f(x): return x + 1", "call", "f", (41,), limits=Limits(cpu_seconds=10, wall_seconds=60))
HOME_BYTES = 1 << 20
PATIENT = 4


class Pool(Protocol):
    """What a worker needs of a sandbox."""

    level: Level

    def run(self, jobs: Sequence[Job]) -> list[Result]: ...
    def cancel(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Caps:
    """The most a client may ask for in one job."""

    wall_seconds: float = 60.0
    memory_mb: int = 4096

    def objection(self, limits: Limits) -> str:
        """Why a job is not taken; empty when it is."""
        if max(limits.cpu_seconds, limits.wall_seconds) > self.wall_seconds:
            return f"the server allows at most {self.wall_seconds:g} s a run (serve --wall-seconds)"
        if limits.memory_mb > self.memory_mb:
            return f"the server allows at most {self.memory_mb} MB a run (serve --memory-mb)"
        if 2 * limits.output_bytes + limits.value_bytes > FRAME_BYTES // 4:
            return f"the server allows at most {FRAME_BYTES // 4} bytes of output and value a run"
        return ""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A job as it came: whose it is, its number there, its bytes; for a program that is compiled, a hash of its source."""

    client: Hashable
    number: int
    data: bytes
    home: int | None = None


def home(data: bytes) -> int | None:
    """The `home` of a packed job. What can not be read is told by the worker that tries."""
    if len(data) > HOME_BYTES or b"language" not in data:
        return None
    try:
        job = unpack(Job, data)
    except Refused:
        return None
    return zlib.crc32(job.code.encode("utf-8", "surrogatepass")) if job.language != "python" else None


class Turns:
    """Worker threads and what waits for them. `deliver` is called in a worker's thread with a ticket and its result."""

    def __init__(
        self, make: Callable[[], Pool], workers: int, deliver: Callable[[Ticket, Result], None], caps: Caps
    ) -> None:
        self._make, self._deliver, self.caps = make, deliver, caps
        self._change = threading.Condition()
        self._waiting: OrderedDict[Hashable, deque[Ticket]] = OrderedDict()
        self._held: set[Hashable] = set()
        self._closing = False
        self.done = self.infra = self.dropped = 0
        self._workers = [_Worker(self, number, make()) for number in range(workers)]
        self.level: Level = self._workers[0].pool.level

    def start(self) -> str:
        """Run a first job on every worker, then let them take turns; why that failed, or nothing."""
        for worker in self._workers:
            result = worker.pool.run([FIRST])[0]
            if result.status != "ok" or result.value != 42:
                return f"{result.status}: {result.error or 'a wrong value from a first job'}"
        for worker in self._workers:
            worker.thread.start()
        return ""

    def put(self, ticket: Ticket) -> None:
        with self._change:
            self._waiting.setdefault(ticket.client, deque()).append(ticket)
            self._change.notify_all()

    def hold(self, client: Hashable, held: bool) -> None:
        """Start nothing more for a client that does not take its results, until it does."""
        with self._change:
            (self._held.add if held else self._held.discard)(client)
            self._change.notify_all()

    def drop(self, client: Hashable) -> None:
        """Forget a client: what waits is never run, what runs is killed."""
        with self._change:
            self.dropped += len(self._waiting.pop(client, ()))
            self._held.discard(client)
        for worker in self._workers:
            worker.cancel(client)

    def close(self) -> None:
        """End every worker; blocks until its processes are gone."""
        with self._change:
            self._closing = True
            self._waiting.clear()
            self._change.notify_all()
        for worker in self._workers:
            while worker.thread.is_alive():
                worker.cancel(None)
                worker.thread.join(0.1)
            worker.pool.close()

    def take(self, worker: int) -> Ticket | None:
        """The next ticket for a worker, of the client whose turn it is; waits for one, None at the end."""
        with self._change:
            while not self._closing:
                for client, tickets in self._waiting.items():
                    at = None if client in self._held else self._first(tickets, worker)
                    if at is not None:
                        ticket = tickets[at]
                        del tickets[at]
                        self._waiting.move_to_end(client)
                        if not tickets:
                            del self._waiting[client]
                        return ticket
                self._change.wait()
        return None

    def _first(self, tickets: deque[Ticket], worker: int) -> int | None:
        """Which ticket a worker should take: its own and those without a home, then of what waits in numbers elsewhere."""
        foreign: Counter[int] = Counter()
        for at, ticket in enumerate(tickets):
            if ticket.home is None or ticket.home % len(self._workers) == worker:
                return at
            foreign[ticket.home] += 1
        many = {name for name, count in foreign.items() if count > PATIENT}
        return next((at for at, ticket in enumerate(tickets) if ticket.home in many), None)

    def finish(self, ticket: Ticket, result: Result) -> None:
        with self._change:
            self.done += 1
            self.infra += result.status == "infra"
        self._deliver(ticket, result)

    def renew(self) -> Pool:
        return self._make()


class _Worker:
    """A thread and its sandbox."""

    def __init__(self, turns: Turns, number: int, pool: Pool) -> None:
        self._turns, self._number, self.pool = turns, number, pool
        self._lock = threading.Lock()
        self._client: Hashable = None
        self.thread = threading.Thread(target=self._work, name="ponder sandbox worker", daemon=True)

    def cancel(self, client: Hashable) -> None:
        """Kill the run that is under way for `client`; None: for anyone."""
        with self._lock:
            if self._client is not None and client in (None, self._client):
                self.pool.cancel()

    def _work(self) -> None:
        while (ticket := self._turns.take(self._number)) is not None:
            with self._lock:
                self._client = ticket.client
            result = self._run(ticket.data)
            with self._lock:
                self._client = None
            self._turns.finish(ticket, result)

    def _run(self, data: bytes) -> Result:
        try:
            job = unpack(Job, data)
        except Refused as error:
            return self._infra(f"the server can not read the job: {error}")
        if objection := self._turns.caps.objection(job.limits):
            return self._infra(objection)
        try:
            return self.pool.run([job])[0]
        except ConfigError as error:  # a language or a level that is not there
            return self._infra(str(error))
        except Exception as error:  # noqa: BLE001 (whatever it was, the program has not been judged)
            with contextlib.suppress(Exception):
                self.pool.close()
                self.pool = self._turns.renew()
            return self._infra(f"the sandbox failed: {type(error).__name__}: {error!s:.200}")

    def _infra(self, reason: str) -> Result:
        return Result("infra", error=reason, level=self.pool.level)
