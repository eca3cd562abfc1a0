"""The child of `sandbox.pool`: limits its own memory, imports one function, then answers one request at a time.

Run as `python -m ponder.sandbox.worker MODULE:FUNCTION MEMORY_BYTES`. Requests arrive pickled from the parent, which is
trusted; replies leave as JSON. When the parent is gone the pipe ends and so does the worker, in the middle of its work as well.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import resource
import struct
import sys
import threading
import time
from typing import Any, BinaryIO

HEADER = struct.Struct(">I")


def read_exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise EOFError
    return data


def send(stream: BinaryIO, value: Any) -> None:
    data = json.dumps(value).encode()
    stream.write(HEADER.pack(len(data)) + data)
    stream.flush()


def end_with(parent: int) -> None:
    """Wait until another process has adopted this one, which means that `parent` was killed, and end."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(4)


def main() -> None:
    target, memory = sys.argv[1], int(sys.argv[2])
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    requests = sys.stdin.buffer
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing printed can reach the reply channel
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    module, _, name = target.partition(":")
    function = getattr(importlib.import_module(module), name)
    send(replies, {"ready": True})
    while True:
        try:
            size = HEADER.unpack(read_exactly(requests, HEADER.size))[0]
            arguments = pickle.loads(read_exactly(requests, size))
        except EOFError:
            return
        try:
            reply = {"value": function(*arguments)}
        except MemoryError:
            os._exit(3)  # what is left of this process is not to be trusted
        except Exception as error:  # noqa: BLE001 (whatever the function raises is its answer)
            reply = {"error": f"{type(error).__name__}: {str(error)[:200]}"}
        send(replies, reply)


if __name__ == "__main__":
    main()
