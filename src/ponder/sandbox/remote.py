"""`RemoteSandbox`: level L4, the jobs of a `Sandbox` run by pools elsewhere (`ponder sandbox serve`).

Design: one background thread holds a connection to every address (`remote_link`); each server has at most its window of
jobs under way and gets the next as one returns, so the faster one does more. Servers are proven by the shared token. What
a lost server had not answered goes to another, or to the same one when it is back, at most three times; when none answers for
`patience` seconds, what is left is "infra", never a wrong answer, and never a hang.
A result says L4 when the pool that ran it held L2 or more by its own probes, else L1. What L4 adds is another machine, which
a holder of the token vouches for: `same_machine` tells when it is this one after all.
Not covered: secrecy of programs and inputs without TLS (`certificate`); what is expected of them never leaves here.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence
from typing import get_args

from ponder.errors import ConfigError, WorkError
from ponder.sandbox.jobs import Job, Level, Result
from ponder.sandbox.remote_client import Client
from ponder.sandbox.remote_frames import read_token
from ponder.sandbox.remote_link import Link, client_tls, same_machine
from ponder.sandbox.remote_server import machine

_left: list[object] = []
"""In a forked copy: what belongs to the parent and must be neither used nor closed."""


class RemoteSandbox:
    """Runs untrusted code on other machines. `addresses`: "host:port", several with commas or as a list.

    `token` is the secret shared with the servers; `require` the level their own pools must hold ("L4" asks for L2 of them);
    `certificate` a file with the certificate to trust, for servers that speak TLS; `patience` the seconds without any server
    after which what is left is given up. Raises ConfigError (wrong token, version, level) and WorkError (nobody answers).
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        token: str | bytes = b"",
        require: str | None = None,
        certificate: str | None = None,
        patience: float = 30.0,
    ) -> None:
        self.addresses = _addresses(addresses)
        if require is not None and require not in get_args(Level):
            raise ConfigError(f"sandbox require '{require}': it is one of {', '.join(get_args(Level))}")
        self.require, self.patience = require, patience
        self._token = token.encode() if isinstance(token, str) else token
        self._tls = client_tls(certificate)
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._closed = False
        self._connect()

    def _connect(self) -> None:
        self._owner = os.getpid()
        self._client = Client(self.patience)
        for host, port in self.addresses:
            self._client.add(host, port, self._token, self.require, self._tls)
        weakref.finalize(self, self._client.close)
        try:
            self._client.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RemoteSandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def level(self) -> Level:
        """L4 when every server reached so far holds L2 or more itself."""
        return self._client.level if self._client is not None else "L1"

    @property
    def workers(self) -> int:
        """How many runs the servers that answer can do at once."""
        return max(1, sum(link.hello.workers for link in self._links() if link.up and link.hello is not None))

    @property
    def servers(self) -> dict[str, str]:
        """What is known of each address: its own level, or why it is left out."""
        return {
            link.name: link.hello.level if link.up and link.hello is not None else link.reason for link in self._links()
        }

    @property
    def same_machine(self) -> list[str]:
        """Addresses whose server runs on this very kernel, where L4 separates no more than the server's own level."""
        mark = machine(self._token)
        return [link.name for link in self._links() if same_machine(link.hello, mark)]

    def _links(self) -> list[Link]:
        return self._client.links if self._client is not None else []

    def run(self, jobs: Sequence[Job]) -> list[Result]:
        """A result per job, in order; from any thread, one batch at a time. `ConfigError` for jobs that need a higher level."""
        with self._lock:
            if self._closed or self._client is None:
                raise WorkError("this sandbox is closed")
            if self._owner != os.getpid():
                _left.append(self._client)
                self._connect()
            if self._client.own < "L3" and any(job.native for job in jobs):
                raise ConfigError(
                    f"commands and programs in other languages than Python run at L3, and a sandbox server holds only "
                    f"{self._client.own}; start it with 'ponder sandbox serve --require L3'"
                )
            return self._client.run(jobs)

    def cancel(self) -> None:
        """From another thread: end the batch that is running now; what it has not finished becomes "infra"."""
        if self._client is not None:
            self._client.cancel()

    def close(self) -> None:
        """Hang up. Safe to call twice."""
        self._closed = True
        if self._client is not None and self._owner == os.getpid():
            self._client.close()


def _addresses(given: str | Sequence[str]) -> list[tuple[str, int]]:
    words = given.split(",") if isinstance(given, str) else list(given)
    found: list[tuple[str, int]] = []
    for word in words:
        host, colon, port = word.strip().rpartition(":")
        if not colon or not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigError(f"sandbox address '{word.strip()}': it is written host:port")
        found.append((host.strip("[]"), int(port)))
    if not found:
        raise ConfigError("no sandbox address was given; one is written host:port")
    return found


def from_environment(addresses: str, level: str | None = None, require: str | None = None) -> RemoteSandbox:
    """The pools at `addresses`; token and certificate are in the files that PONDER_SANDBOX_TOKEN_FILE and
    PONDER_SANDBOX_CERTIFICATE name. As `level` only L4 can be asked for."""
    if level not in (None, "L4"):
        raise ConfigError(
            f"sandbox level '{level}': the pool at {addresses} has its own; ask for the least with require"
        )
    file, certificate = os.environ.get("PONDER_SANDBOX_TOKEN_FILE"), os.environ.get("PONDER_SANDBOX_CERTIFICATE")
    token = read_token(file) if file else b""
    return RemoteSandbox(addresses, token, require or level, certificate or None)
