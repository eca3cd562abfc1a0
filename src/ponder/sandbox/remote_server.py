"""A pool of local sandboxes that answers over the network: what `ponder sandbox serve` runs.

Design: one event loop for the connections, a thread per worker (`remote_turns`). A client sends jobs, at most a window of
them at once, and gets each result as it is done; both sides say that they are alive every few seconds, so that a long
run is told from a dead peer. A client that sends nonsense, nothing, or too much is dropped and its jobs with it; one
that does not take its results gets no more runs until it does. Below L2 nothing is served unless that is asked for.
Not covered: accounts and quotas of several users; whoever holds the token has the whole pool.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ponder.errors import ConfigError, WorkError
from ponder.sandbox.codec import Refused, encode
from ponder.sandbox.jobs import Result
from ponder.sandbox.remote_fields import pack
from ponder.sandbox.remote_frames import (
    ALIVE,
    BODY_SECONDS,
    FRAME_BYTES,
    HELLO,
    JOB,
    NUMBER,
    PULSE_SECONDS,
    RESULT,
    SILENCE_SECONDS,
    Broken,
    Channel,
    welcome,
)
from ponder.sandbox.remote_turns import Caps, Pool, Ticket, Turns, home

MAX_CLIENTS = 256
BACKLOG_BYTES = 16 << 20


@dataclass(eq=False, slots=True)
class _Visitor:
    """A client that has proven the token."""

    channel: Channel
    out: asyncio.Queue[tuple[bytes, bytes]] = field(default_factory=asyncio.Queue[tuple[bytes, bytes]])
    unsent: int = 0
    numbers: dict[int, int] = field(default_factory=dict[int, int])
    """Jobs not answered yet, with their sizes."""


class Server:
    """`workers` sandboxes made by `make`, offered at host and port (0: any free one, see `port` after `start`)."""

    def __init__(
        self,
        make: Callable[[], Pool],
        workers: int = 2,
        host: str = "127.0.0.1",
        port: int = 0,
        token: bytes = b"",
        certificate: str | None = None,
        key: str | None = None,
        caps: Caps | None = None,
    ) -> None:
        if not token and not _only_here(host):
            raise ConfigError(f"host {host}: others can reach it, so a token is needed (--token-file)")
        self.make, self.workers, self.host, self.port = make, workers, host, port
        self.caps = caps or Caps()
        self.window = max(16, 4 * workers)
        self._token = token
        self._tls, self._binding = _server_tls(certificate, key)
        self._visitors: set[_Visitor] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.clients = self.refused = 0

    async def start(self) -> None:
        """Start the workers, then listen. WorkError when a worker does not run; ConfigError when the address is not free."""
        self._loop = asyncio.get_running_loop()
        self.turns = Turns(self.make, self.workers, self._deliver, self.caps)
        self.began = time.monotonic()
        try:
            if reason := await asyncio.to_thread(self.turns.start):
                raise WorkError(f"the sandbox does not run here: {reason}; see 'ponder doctor --sandbox'")
            self._listener = await asyncio.start_server(self._visit, self.host, self.port, ssl=self._tls, limit=1 << 20)
        except OSError as error:
            await asyncio.to_thread(self.turns.close)
            raise ConfigError(f"can not listen on {self.host}:{self.port}: {error.strerror or error}") from None
        except BaseException:
            await asyncio.to_thread(self.turns.close)
            raise
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Hang up, kill what runs, and wait until every process is gone."""
        self._listener.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self.turns.close)

    def totals(self) -> dict[str, float | int | str]:
        """What the pool has done so far."""
        seconds = time.monotonic() - self.began
        return {
            "runs": self.turns.done,
            "infra": self.turns.infra,
            "dropped": self.turns.dropped,
            "clients": self.clients,
            "refused": self.refused,
            "connected": len(self._visitors),
            "level": self.turns.level,
            "seconds": round(seconds, 3),
            "runs_per_second": round(self.turns.done / seconds, 1),
        }

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its greeting to its end."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            channel = await self._proven(reader, writer)
            if channel is not None:
                await self._attend(_Visitor(channel))
        except asyncio.CancelledError:
            writer.close()  # the server stops
        finally:
            self._tasks.discard(task)

    async def _proven(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Channel | None:
        """The connection once it has proven the token; None, and closed, where it has not."""
        try:
            if len(self._tasks) > MAX_CLIENTS:
                raise Broken("too many clients")
            return await welcome(reader, writer, self._token, self._binding)
        except OSError:
            self.refused += 1
            writer.close()
            return None

    async def _attend(self, visitor: _Visitor) -> None:
        self.clients += 1
        self._visitors.add(visitor)
        hello = {
            "level": self.turns.level,
            "workers": self.workers,
            "window": self.window,
            "wall_seconds": self.caps.wall_seconds,
            "machine": machine(self._token),
        }
        visitor.out.put_nowait((HELLO, encode(hello, 4096)))
        sides = [asyncio.create_task(side(visitor)) for side in (self._read, self._write, self._pulse)]
        try:
            await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        finally:
            visitor.channel.close()
            self._visitors.discard(visitor)
            self.turns.drop(visitor)
            for side in sides:
                side.cancel()
            await asyncio.gather(*sides, return_exceptions=True)

    async def _read(self, visitor: _Visitor) -> None:
        while True:
            kind, body = await visitor.channel.receive(SILENCE_SECONDS)
            if kind == ALIVE:
                continue
            if kind != JOB or len(body) < NUMBER.size:
                raise Broken("a frame that no client sends")
            number = NUMBER.unpack_from(body)[0]
            size = sum(visitor.numbers.values()) + len(body)
            if number in visitor.numbers or len(visitor.numbers) >= self.window or size > 2 * FRAME_BYTES:
                raise Broken("more jobs at once than the server takes")
            visitor.numbers[number] = len(body)
            data = body[NUMBER.size :]
            self.turns.put(Ticket(visitor, number, data, home(data)))

    async def _write(self, visitor: _Visitor) -> None:
        while True:
            kind, body = await visitor.out.get()
            if kind == RESULT:
                visitor.numbers.pop(NUMBER.unpack_from(body)[0], None)
            visitor.channel.send(kind, body)
            await visitor.channel.drain(BODY_SECONDS)
            before, visitor.unsent = visitor.unsent, visitor.unsent - len(body) * (kind == RESULT)
            if before > BACKLOG_BYTES >= visitor.unsent:
                self.turns.hold(visitor, False)

    async def _pulse(self, visitor: _Visitor) -> None:
        while True:
            await asyncio.sleep(PULSE_SECONDS)
            visitor.out.put_nowait((ALIVE, encode(self.turns.done, 64)))

    def _deliver(self, ticket: Ticket, result: Result) -> None:
        """In a worker's thread: the result, on its way to the loop."""
        try:
            body = pack(result, FRAME_BYTES - 64)
        except Refused as error:
            body = pack(Result("infra", error=f"the result can not be sent: {error}", level=result.level), 4096)
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            self._loop.call_soon_threadsafe(self._hand_over, ticket, NUMBER.pack(ticket.number) + body)

    def _hand_over(self, ticket: Ticket, body: bytes) -> None:
        visitor = ticket.client
        assert isinstance(visitor, _Visitor)
        if visitor in self._visitors:
            before, visitor.unsent = visitor.unsent, visitor.unsent + len(body)
            if visitor.unsent > BACKLOG_BYTES >= before:
                self.turns.hold(visitor, True)
            visitor.out.put_nowait((RESULT, body))


def machine(token: bytes) -> bytes:
    """A mark by which two holders of the token can tell whether they run on one kernel; empty where that is unknown."""
    try:
        return hmac.digest(token, b"machine " + Path("/proc/sys/kernel/random/boot_id").read_bytes(), "sha256")
    except OSError:
        return b""


def _only_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _server_tls(certificate: str | None, key: str | None) -> tuple[ssl.SSLContext | None, bytes]:
    """The context, and the certificate as it goes into the proof of the token."""
    if certificate is None:
        if key is not None:
            raise ConfigError(f"key {key}: a certificate is needed as well (--certificate)")
        return None, b""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
        text = Path(certificate).read_text(encoding="ascii")
        first = text[text.index("-----BEGIN CERTIFICATE") :].split("-----END CERTIFICATE-----")[0]
        return context, ssl.PEM_cert_to_DER_cert(first + "-----END CERTIFICATE-----")
    except (OSError, ValueError) as error:
        raise ConfigError(f"certificate {certificate}: can not be used ({error})") from None
