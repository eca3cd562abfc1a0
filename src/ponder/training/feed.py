"""Feeding a training run: examples in a fixed order, made ahead of time in a process of their own.

The order is that of the source, so the cursor of a checkpoint is one number: how many examples were consumed. A worker
process (`python -m ponder.training.feed`) holds only the source, no torch; it answers block numbers with token ids over a
pipe and ends when the pipe closes, so a killed parent leaves nothing behind. With `workers=False` blocks are made inline.
"""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from typing import IO, Any

import msgspec
import numpy as np

from ponder import errors
from ponder.errors import PonderError, WorkError
from ponder.training.examples import Example
from ponder.training.sources import BLOCK, Source, open_source

AHEAD = 8  # blocks asked for before they are needed


class Feed:
    """Examples from `cursor` on. `take(tokens)` is the next optimiser step's examples; `cursor` moves with it.

    `spec` describes the source, or is one already opened (which has no worker).
    """

    def __init__(self, spec: Mapping[str, Any] | Source, cursor: int = 0, worker: bool = False) -> None:
        self.cursor = cursor
        self._buffer: deque[Example] = deque()
        self._next = cursor // BLOCK
        self._skip = cursor % BLOCK
        plain = spec if isinstance(spec, Mapping) else None
        self._worker = Worker(plain) if worker and plain is not None else None
        self._source: Source | None = None
        if self._worker is None:
            self._source = spec if not isinstance(spec, Mapping) else open_source(spec)
        self._pending: deque[Future[list[Example]]] = deque()

    def take(self, tokens: int) -> list[Example]:
        """As many examples as fit `tokens` tokens, at least one."""
        taken: list[Example] = []
        total = 0
        while True:
            if not self._buffer:
                self._fill()
            if taken and total + len(self._buffer[0]) > tokens:
                return taken
            taken.append(self._buffer.popleft())
            total += len(taken[-1])
            self.cursor += 1

    def _fill(self) -> None:
        if self._worker is None:
            assert self._source is not None
            block = self._source.block(self._next)
            self._next += 1
        else:
            while len(self._pending) < AHEAD:
                self._pending.append(self._worker.ask(self._next))
                self._next += 1
            block = self._pending.popleft().result()
        self._buffer.extend(block[self._skip :])
        self._skip = 0

    def close(self) -> None:
        """Stop the worker."""
        if self._worker is not None:
            self._worker.close()

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Worker:
    """The other process; `ask` returns at once with a future."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "ponder.training.feed"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self._waiting: deque[Future[list[Example]]] = deque()
        send(self._in, msgspec.json.encode(spec))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ask(self, number: int) -> Future[list[Example]]:
        future: Future[list[Example]] = Future()
        self._waiting.append(future)
        with contextlib.suppress(OSError):  # the reader reports the death of the worker
            send(self._in, msgspec.json.encode(number))
        if not self._reader.is_alive():
            self._fail(WorkError("the process that makes training examples ended unexpectedly"))
        return future

    def _read(self) -> None:
        while (message := receive(self._out)) is not None:
            reply = msgspec.msgpack.decode(message)
            if "error" in reply:
                kind = getattr(errors, reply["kind"], WorkError)
                self._fail(kind(reply["error"]))
                return
            self._waiting.popleft().set_result(unpack(reply))
        self._fail(WorkError("the process that makes training examples ended unexpectedly"))

    def _fail(self, error: PonderError) -> None:
        while self._waiting:
            self._waiting.popleft().set_exception(error)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join(timeout=5)
        self._in.close()
        self._out.close()


def send(pipe: IO[bytes], message: bytes) -> None:
    """Write one length-prefixed message."""
    pipe.write(struct.pack("<I", len(message)) + message)
    pipe.flush()


def receive(pipe: IO[bytes]) -> bytes | None:
    """Read one message; None when the other side is gone."""
    head = pipe.read(4)
    if len(head) < 4:
        return None
    size = struct.unpack("<I", head)[0]
    message = pipe.read(size)
    return message if len(message) == size else None


def to_wire(block: list[Example]) -> dict[str, Any]:
    """Imitation examples as three byte strings."""
    return {
        "lengths": [len(e) for e in block],
        "tokens": b"".join(e.token_ids.astype("<i4").tobytes() for e in block),
        "trainable": b"".join(e.trainable.tobytes() for e in block),
    }


def unpack(reply: Mapping[str, Any]) -> list[Example]:
    """The examples of `to_wire`."""
    cuts = np.cumsum(reply["lengths"])[:-1]
    tokens = np.split(np.frombuffer(reply["tokens"], dtype="<i4").astype(np.int32), cuts)
    trainable = np.split(np.frombuffer(reply["trainable"], dtype=bool).copy(), cuts)
    return [Example(t, m) for t, m in zip(tokens, trainable, strict=True)]


def serve() -> None:
    """The worker's life: a specification, then block numbers until the pipe closes."""
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    first = receive(stdin)
    try:
        source = open_source(msgspec.json.decode(first or b"{}"))
        while (message := receive(stdin)) is not None:
            send(stdout, msgspec.msgpack.encode(to_wire(source.block(msgspec.json.decode(message)))))
    except BrokenPipeError:
        pass
    except Exception as error:  # noqa: BLE001 - reported to the parent, which raises it
        kind = type(error).__name__
        text = str(error) if isinstance(error, PonderError) else f"making training examples failed: {kind}: {error}"
        send(stdout, msgspec.msgpack.encode({"error": text, "kind": kind}))


if __name__ == "__main__":
    serve()
