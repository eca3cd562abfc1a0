"""Connections that lie: garbage, half frames, silence, impossible lengths, forged and repeated frames, floods."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from remote_tools import TOKEN, Serving, echo, middle, until

from ponder.errors import ConfigError, WorkError
from ponder.sandbox import RemoteSandbox, remote_frames, remote_server
from ponder.sandbox.codec import encode

MAGIC = b"ponder sandbox"


@pytest.fixture
def pool() -> Iterator[Serving]:
    with Serving(workers=1) as serving:
        yield serving


def raw(pool: Serving) -> socket.socket:
    return socket.create_connection(("127.0.0.1", pool.server.port), timeout=10)


def hung_up(connection: socket.socket) -> bool:
    """Whether the server ends the connection; what it says before is read and dropped."""
    try:
        while connection.recv(1 << 16):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def frame(value: object) -> bytes:
    data = encode(value, 1 << 16)
    return struct.pack(">I", len(data)) + data


NONSENSE = {
    "garbage": bytes(range(256)) * 40,
    "a request of the web": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a frame of 4 GB": b"\xff" * 4,
    "10 GB in a number of 64 bits": struct.pack(">Q", 10 << 30),
    "an empty frame": b"\0" * 4,
    "a frame that is no value": struct.pack(">I", 3) + b"xyz",
    "a value that is no greeting": frame({"a": 1}),
    "a greeting of another kind": frame(["http", 1, b"", b""]),
    "a version that is not there": frame(["ponder sandbox", 2, b"n" * 32, b"p" * 32]),
    "a nonce of no length": frame(["ponder sandbox", 1, b"", b"p" * 32]),
    "a proof that is a guess": frame(["ponder sandbox", 1, b"n" * 32, b"p" * 32]),
    "a proof that is no bytes": frame(["ponder sandbox", 1, b"n" * 32, [1, 2]]),
    "a value nested too deeply": struct.pack(">I", 4000) + b"l\0\0\0\1" * 800,
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_ends_its_connection_alone(pool: Serving, name: str) -> None:
    with RemoteSandbox(pool.address, TOKEN) as box, raw(pool) as connection:
        connection.sendall(NONSENSE[name])
        assert hung_up(connection)
        assert [r.value for r in box.run(echo(3))] == [(0,), (1,), (2,)]
    assert pool.server.refused == 1


def test_half_a_greeting_and_slow_bytes_end_in_time(pool: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_frames, "GREETING_SECONDS", 0.3)
    with raw(pool) as half, raw(pool) as slow, raw(pool) as silent:
        half.sendall(frame(["ponder sandbox", 1])[:7])
        with contextlib.suppress(OSError):
            for byte in frame(["ponder sandbox", 1, b"n" * 32, b"p" * 32]):
                slow.sendall(bytes([byte]))
                time.sleep(0.02)
        assert hung_up(half) and hung_up(slow) and hung_up(silent)
    assert until(lambda: pool.server.refused == 3)


def test_a_flood_of_connections_leaves_room(pool: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_server, "MAX_CLIENTS", 5)
    with contextlib.ExitStack() as stack:
        box = stack.enter_context(RemoteSandbox(pool.address, TOKEN))
        flood = [stack.enter_context(raw(pool)) for _ in range(20)]
        assert hung_up(flood[-1])
        assert box.run(echo(5))[4].value == (4,)


def test_half_a_frame_of_a_proven_client_ends_in_time(pool: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_frames, "BODY_SECONDS", 0.3)
    with RemoteSandbox(pool.address, TOKEN) as box:
        client = box._client
        assert client is not None
        channel = client.links[0]._channel
        assert channel is not None
        client.loop.call_soon_threadsafe(channel._writer.write, struct.pack(">I", 1000) + b"J" * 10)
        assert until(lambda: pool.server.totals()["clients"] == 2)  # dropped, and back
        assert box.run(echo(2))[1].value == (1,)


def test_more_jobs_than_the_window_are_not_taken(pool: Serving) -> None:
    with RemoteSandbox(pool.address, TOKEN) as box:
        client = box._client
        assert client is not None
        link = client.links[0]
        object.__setattr__(link.hello, "window", 10**6)
        results = box.run(echo(300))  # the connection is lost, and the next knows the window again
        assert [r.value for r in results] == [(k,) for k in range(300)]
        assert pool.server.clients == 2


@pytest.mark.slow
def test_a_client_that_takes_no_results_gets_no_more_runs(pool: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_server, "BACKLOG_BYTES", 1 << 20)
    held: list[bool] = []
    hold = pool.server.turns.hold
    monkeypatch.setattr(pool.server.turns, "hold", lambda client, on: (held.append(on), hold(client, on)))
    jam, jobs = threading.Event(), echo(30)
    for k, job in enumerate(jobs):
        object.__setattr__(job, "args", (k, "x" * (1 << 20)))

    def change(data: bytes, towards_client: bool) -> bytes:
        if towards_client and jam.is_set() and len(data) > 10_000:
            until(lambda: not jam.is_set())
        return data

    with middle(pool.server.port, change) as between, RemoteSandbox(between.address, TOKEN) as box:
        jam.set()
        threading.Timer(0.7, jam.clear).start()
        results = box.run(jobs)
        assert [r.value[0] for r in results] == list(range(30))
    assert held[0] is True
    assert held.count(True) == held.count(False)


def flip(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "a bit of the value": flip(-40),
    "a bit of the proof": flip(-1),
    "a bit of the length": flip(3),
    "the frame twice": lambda data: data * 2,
    "the frame left out": lambda data: b"",
    "a frame of one's own": lambda data: struct.pack(">I", 5) + b"Rxxxx" + b"m" * 32 + data,
}


SLOW = {"the frame left out"}  # noticed by silence


@pytest.mark.parametrize("towards_client", [True, False])
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in CHANGES])
def test_nobody_in_the_middle_changes_a_verdict(pool: Serving, name: str, towards_client: bool) -> None:
    """Changed once, the jobs are asked for again; no result is ever another than it was."""
    changed: list[bytes] = []
    ready = threading.Event()

    def change(data: bytes, to: bool) -> bytes:
        if not ready.is_set() or to != towards_client or changed or len(data) < 45:
            return data
        changed.append(data)
        return CHANGES[name](data)

    with middle(pool.server.port, change) as between, RemoteSandbox(between.address, TOKEN) as box:
        box.run(echo(1))
        ready.set()
        for _ in range(3):
            results = box.run(echo(10))
            assert [(r.status, r.value) for r in results] == [("ok", (k,)) for k in range(10)]
        assert changed
        assert between.connections == 2


@pytest.mark.slow
def test_what_is_always_changed_is_infra_and_never_wrong(pool: Serving) -> None:
    ready = threading.Event()

    def change(data: bytes, to: bool) -> bytes:
        return flip(-1)(data) if ready.is_set() and to else data

    with middle(pool.server.port, change) as between, RemoteSandbox(between.address, TOKEN, patience=1.0) as box:
        ready.set()
        results = box.run(echo(5))
    assert {(r.status, r.value) for r in results} == {("infra", None)}


def test_a_recorded_connection_can_not_be_played_again(pool: Serving) -> None:
    said = bytearray()

    def change(data: bytes, to: bool) -> bytes:
        said.extend(b"" if to else data)
        return data

    with middle(pool.server.port, change) as between, RemoteSandbox(between.address, TOKEN) as box:
        box.run(echo(3))
    runs = pool.server.turns.done
    with raw(pool) as again:
        again.sendall(bytes(said))
        assert hung_up(again)
    assert pool.server.turns.done == runs
    assert TOKEN not in said


@contextlib.contextmanager
def impostor(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Something that listens and is no pool."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_a_server_without_the_token_is_not_believed() -> None:
    def reflect(connection: socket.socket) -> None:
        """Give the client its own proof back."""
        connection.sendall(frame(["ponder sandbox", 1, b"n" * 32]))
        reply = connection.recv(4096)
        connection.sendall(frame(["ponder sandbox", reply[-32:]]))

    with impostor(reflect) as address, pytest.raises(ConfigError, match="does not know the token"):
        RemoteSandbox(address, TOKEN)


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", WorkError, "at most 4096 are allowed"),
        (frame(["something else", 1, b"n" * 32]), WorkError, "no ponder sandbox"),
        (frame(["ponder sandbox", 7, b"n" * 32]), ConfigError, "version 7 of the protocol and this side 1"),
        (b"", WorkError, "the connection was closed"),
    ],
)
def test_what_is_no_pool_is_said_to_be_none(said: bytes, error: type[Exception], words: str) -> None:
    with impostor(lambda connection: connection.sendall(said)) as address, pytest.raises(error, match=words):
        RemoteSandbox(address, TOKEN)


def test_a_client_of_another_version_is_told(pool: Serving) -> None:
    with raw(pool) as connection:
        connection.sendall(frame(["ponder sandbox", 9, b"n" * 32, b"p" * 32]))
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(4096):
                said += data
    assert b"speaks version 1" in said
