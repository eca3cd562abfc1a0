"""The client's end of one server: connects, keeps the connection proven and alive, carries jobs there and results back.

A link has at most the server's window of jobs under way. When the connection is lost, for whatever reason, the owner gets
those jobs back and the link connects again, waiting longer each time. A server that says it is alive while its pool ends no run
at all for longer than any run may take counts as lost too.
"""

from __future__ import annotations

import asyncio
import hmac
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from ponder.errors import ConfigError
from ponder.sandbox.clock import LONGEST
from ponder.sandbox.codec import Refused, decode
from ponder.sandbox.jobs import Result
from ponder.sandbox.remote_fields import unpack
from ponder.sandbox.remote_frames import (
    ALIVE,
    FRAME_BYTES,
    GREETING_SECONDS,
    HELLO,
    JOB,
    NUMBER,
    PULSE_SECONDS,
    RESULT,
    SILENCE_SECONDS,
    Broken,
    Channel,
    greet,
)

PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.1, 5.0
STALL_SECONDS = 120.0
OWN_LEVELS = ("L1", "L2", "L3", "L4")


@dataclass(frozen=True, slots=True)
class Hello:
    """What a server says of itself."""

    level: str
    workers: int
    window: int
    wall_seconds: float
    machine: bytes

    def __post_init__(self) -> None:
        if self.level not in OWN_LEVELS or self.window < 1 or not 0 < self.wall_seconds < 1e9:
            raise ValueError("a server that describes itself so is none")


@dataclass(eq=False, slots=True)
class Link:
    """One server. `on_result(job, result)`, `on_up(link)` and `on_lost(jobs, reason)` are called in the loop's thread."""

    host: str
    port: int
    token: bytes
    least: str | None
    tls: ssl.SSLContext | None
    on_up: Callable[[Link], None]
    on_result: Callable[[int, Result], None]
    on_lost: Callable[[list[int], str], None]
    hello: Hello | None = None
    """What the server said of itself last; stays when it is lost."""
    reason: str = "not tried yet"
    fault: ConfigError | None = None
    """Why the server can not be used until the user changes something."""
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    _channel: Channel | None = None
    _flight: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])
    _number: int = 0
    _progress: tuple[int, float] = (0, 0.0)

    @property
    def name(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def up(self) -> bool:
        return self._channel is not None

    @property
    def free(self) -> bool:
        """Whether another job may be sent now."""
        if self._channel is None or self.hello is None or len(self._flight) >= self.hello.window:
            return False
        return sum(size for _, size in self._flight.values()) <= FRAME_BYTES // 2

    def send(self, job: int, data: bytes) -> None:
        """Send a packed job, to be known as `job` when its result comes."""
        assert self._channel is not None
        if not self._flight:
            self._progress = (self._progress[0], time.monotonic())
        self._number += 1
        self._flight[self._number] = (job, len(data))
        self._channel.send(JOB, NUMBER.pack(self._number) + data)

    def hang_up(self) -> None:
        """Forget the jobs under way and let the server know by closing; the link connects again by itself."""
        if self._flight and self._channel is not None:
            self._flight.clear()
            self._channel.close()

    async def tend(self) -> None:
        """Keep the link up for ever."""
        pause = PAUSE_SECONDS
        while True:
            began = time.monotonic()
            try:
                await self._session()
            except ConfigError as error:
                self.fault = ConfigError(f"sandbox server {self.name}: {error}")
                self.reason = str(error)
            except (OSError, Refused) as error:
                self.reason = _why(error)
            finally:
                self._lose()
            self.tried.set()
            pause = PAUSE_SECONDS if time.monotonic() - began > MAX_PAUSE_SECONDS else min(2 * pause, MAX_PAUSE_SECONDS)
            await asyncio.sleep(pause)

    def _lose(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
        jobs = [job for job, _ in self._flight.values()]
        self._flight.clear()
        if jobs:
            self.on_lost(jobs, f"sandbox server {self.name}: {self.reason}")

    async def _session(self) -> None:
        async with asyncio.timeout(GREETING_SECONDS):
            reader, writer = await asyncio.open_connection(self.host, self.port, ssl=self.tls, limit=1 << 20)
        try:
            channel = await greet(reader, writer, self.token, _certificate(writer))
            kind, body = await channel.receive(GREETING_SECONDS)
            if kind != HELLO:
                raise Broken("the server did not introduce itself")
            self.hello = unpack(Hello, body)
            self._check_level(self.hello)
            self._channel, self.fault, self._progress = channel, None, (0, time.monotonic())
            self.tried.set()
            self.on_up(self)
            await _both(self._read(channel, self.hello), self._pulse(channel))
        finally:
            writer.transport.abort()

    def _check_level(self, hello: Hello) -> None:
        least = "L2" if self.least == "L4" else self.least
        if least is not None and OWN_LEVELS.index(hello.level) < OWN_LEVELS.index(least):
            raise ConfigError(f"it reaches only {hello.level}, and {self.least} is required")

    async def _read(self, channel: Channel, hello: Hello) -> None:
        while True:
            kind, body = await channel.receive(SILENCE_SECONDS)
            if kind == ALIVE:
                self._watch(decode(body), hello)
            elif kind == RESULT and len(body) >= NUMBER.size:
                self._result(NUMBER.unpack_from(body)[0], body[NUMBER.size :])
            else:
                raise Broken("a frame that no server sends")

    def _result(self, number: int, body: bytes) -> None:
        if number not in self._flight:
            raise Broken("a result that nobody asked for")
        result = unpack(Result, body)
        job, _ = self._flight.pop(number)
        self._progress = (self._progress[0], time.monotonic())
        self.on_result(job, result)

    def _watch(self, done: Any, hello: Hello) -> None:
        """Has the pool ended any run, of whomever, in the time that the longest may take?"""
        if done != self._progress[0]:
            self._progress = (cast(int, done), time.monotonic())
        elif self._flight and time.monotonic() - self._progress[1] > LONGEST * hello.wall_seconds + STALL_SECONDS:
            raise Broken("the server is alive, but its pool stands still")

    async def _pulse(self, channel: Channel) -> None:
        while True:
            await asyncio.sleep(PULSE_SECONDS)
            channel.send(ALIVE)


async def _both(*sides: Any) -> None:
    """Run two endless halves of a connection until one fails, and raise that."""
    tasks = [asyncio.ensure_future(side) for side in sides]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def client_tls(certificate: str | None) -> ssl.SSLContext | None:
    """Trust that one certificate (or what it has signed), whatever name it is of: the token proves who answers."""
    if certificate is None:
        return None
    try:
        context = ssl.create_default_context(cafile=certificate)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"certificate {certificate}: can not be used ({error})") from None
    context.check_hostname = False
    return context


def _certificate(writer: asyncio.StreamWriter) -> bytes:
    found = writer.get_extra_info("ssl_object")
    return found.getpeercert(binary_form=True) or b"" if found is not None else b""


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or error})"
    if isinstance(error, TimeoutError):
        return "does not answer; a server that speaks TLS takes a certificate here"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there (connection refused)"
    return str(error) or type(error).__name__


def same_machine(hello: Hello | None, mark: bytes) -> bool:
    """Whether a server runs on this very kernel."""
    return hello is not None and bool(mark) and hmac.compare_digest(hello.machine, mark)
