"""A remote pool in a thread, with workers that only pretend; and somebody in the middle of a connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ponder.sandbox import Job, Level, Result
from ponder.sandbox.remote_server import Server

TOKEN = b"a secret of twenty-odd characters"


class FakePool:
    """Answers with the arguments. Codes: "sleep" waits for args[0] seconds or `cancel`; "break" raises."""

    def __init__(self, level: Level = "L2") -> None:
        self.level: Level = level
        self.seen: list[Any] = []
        self.codes: list[str] = []
        self.cancelled = threading.Event()
        self.closed = False

    def run(self, jobs: Sequence[Job]) -> list[Result]:
        self.seen += [job.args for job in jobs]
        self.codes += [job.code for job in jobs]
        return [self._one(job) for job in jobs]

    def _one(self, job: Job) -> Result:
        if job.code == "break":
            raise RuntimeError("a fault of the sandbox")
        if job.code == "sleep":
            self.cancelled.clear()
            if self.cancelled.wait(job.args[0]):
                return Result("infra", error="cancelled", level=self.level)
        value = 42 if job.entry == "f" and job.args == (41,) else job.args
        return Result("ok", value, stdout="said", cpu_seconds=0.5, level=self.level)

    def cancel(self) -> None:
        self.cancelled.set()

    def close(self) -> None:
        self.closed = True


class Serving:
    """A server in a thread of its own; `kill` hangs up on everybody at once."""

    def __init__(self, make: Callable[[], Any] = FakePool, workers: int = 2, **options: Any) -> None:
        self.pools: list[Any] = []
        self.server = Server(lambda: self._made(make), workers, **{"token": TOKEN, **options})
        self._ready, self._fault = threading.Event(), list[BaseException]()
        self._thread = threading.Thread(target=self._main)
        self._thread.start()
        self._ready.wait()
        if self._fault:
            self._thread.join()
            raise self._fault[0]

    def _made(self, make: Callable[[], Any]) -> Any:
        self.pools.append(make())
        return self.pools[-1]

    def _main(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            await self.server.start()
        except BaseException as error:
            self._fault.append(error)
            self._ready.set()
            return
        self._ready.set()
        await self._stop.wait()
        await self.server.stop()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def kill(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Middle:
    """Passes bytes between clients and a server, as `change(data, towards_client)` leaves them."""

    def __init__(self, port: int, change: Callable[[bytes, bool], bytes]) -> None:
        self._port, self._change = port, change
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", self._port))
            self._sockets += [client, server]
            for pair in ((client, server, False), (server, client, True)):
                self._threads.append(threading.Thread(target=self._pass, args=pair))
                self._threads[-1].start()

    def _pass(self, source: socket.socket, target: socket.socket, towards_client: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(self._change(data, towards_client))
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in self._sockets:
            end.close()


@contextlib.contextmanager
def middle(port: int, change: Callable[[bytes, bool], bytes]) -> Iterator[Middle]:
    between = Middle(port, change)
    try:
        yield between
    finally:
        between.close()


def until(true: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether something becomes true in time."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


def echo(count: int, code: str = "echo") -> list[Job]:
    return [Job(code, "call", "g", (k,)) for k in range(count)]
