"""`ponder sandbox serve`: this machine's sandboxes for others. `ponder sandbox run`: one program, to see what becomes of it."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from ponder.cli.terminal import printable
from ponder.config import Config
from ponder.errors import ConfigError, DataError
from ponder.progress import is_quiet

LevelName = Literal["L1", "L2", "L3"]
Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
EVERY_SECONDS = 60.0


class ServeConfig(Config):
    """Settings of `ponder sandbox serve`."""

    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    """Address to listen on. Anything but this machine itself takes a token."""
    port: Port = 0
    """Port to listen on; 0 picks a free one, which the first line of output tells."""
    workers: Count = 2
    """Programs that run at once: the number of cores, say."""
    level: LevelName | None = None
    """Isolation of the runs; by default the best that holds here."""
    require: LevelName = "L2"
    """Least isolation; without it nothing is served. Results of a pool that holds less than L2 do not count as L4."""
    token_file: str | None = None
    """File with the secret that clients must share; made, with a fresh one, where it is not there."""
    certificate: str | None = None
    """PEM file of a certificate: connections are then encrypted (TLS). Clients name it in PONDER_SANDBOX_CERTIFICATE."""
    key: str | None = None
    """PEM file of the certificate's key, unless it is in the same file."""
    wall_seconds: Seconds = 60.0
    """The most time that a client may ask for a run."""
    memory_mb: Count = 4096
    """The most memory that a client may ask for a run."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Taken because every command takes it; serving draws nothing."""
    out: str | None = None
    """Also write the totals to this file, as JSON, at the end."""


def serve(config: ServeConfig) -> dict[str, Any]:
    """Serve until a signal comes; the totals. After Ctrl-C `interrupted` is True."""
    from ponder.sandbox import Sandbox
    from ponder.sandbox.remote_frames import fresh_token, read_token
    from ponder.sandbox.remote_server import Server
    from ponder.sandbox.remote_turns import Caps

    token, file = b"", config.token_file
    if file is not None:
        token = read_token(file) if Path(file).expanduser().exists() else fresh_token(file)
    server = Server(
        lambda: Sandbox(config.level, config.require, workers=1),
        config.workers,
        config.host,
        config.port,
        token,
        config.certificate,
        config.key,
        Caps(config.wall_seconds, config.memory_mb),
    )
    result = asyncio.run(_until_signal(server))
    if config.out is not None:
        from ponder.files import encode, write_atomic

        write_atomic(config.out, encode(result) + b"\n")
    return result


async def _until_signal(server: Any) -> dict[str, Any]:
    loop, stop, caught = asyncio.get_running_loop(), asyncio.Event(), list[int]()

    def end(number: int) -> None:
        caught.append(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
    await server.start()
    began = time.monotonic()
    try:
        host = f"[{server.host}]" if ":" in server.host else server.host
        print(f"serving {host}:{server.port} with {server.workers} workers at {server.turns.level}", flush=True)
        while not stop.is_set():
            try:
                await asyncio.wait_for(stop.wait(), EVERY_SECONDS)
            except TimeoutError:
                _tell(server.totals())
    finally:
        await server.stop()
    totals = {**server.totals(), "seconds": round(time.monotonic() - began, 3)}
    return {**totals, "interrupted": True} if caught[0] == signal.SIGINT else totals


def _tell(totals: dict[str, Any]) -> None:
    if not is_quiet():
        print(show_serve(totals), file=sys.stderr, flush=True)


def show_serve(result: dict[str, Any]) -> str:
    """What the pool did, in a line."""
    return (
        f"{result['runs']:,} runs in {result['seconds']:,.0f} s ({result['infra']} infra, {result['dropped']} dropped), "
        f"{result['connected']} of {result['clients']} clients connected, {result['refused']} refused"
    )


class RunConfig(Config):
    """Settings of `ponder sandbox run`."""

    file: str = ""
    """The program."""
    stdin: str | None = None
    """File that the program reads as its standard input; - is the standard input of this command."""
    level: LevelName | None = None
    """Isolation; by default the best that holds here."""
    require: Literal["L1", "L2", "L3", "L4"] | None = None
    """Least isolation to accept."""
    remote: str | None = None
    """Run on the pool at host:port; its token is in the file that PONDER_SANDBOX_TOKEN_FILE names."""
    language: Annotated[str, Meta(min_length=1)] | None = None
    """Language of the program; by default told by the file's name, else Python."""
    cpu_seconds: Seconds = 2.0
    """Processor time it may use."""
    wall_seconds: Seconds = 5.0
    """Time it may wait without using the processor (twelve times that in all)."""
    memory_mb: Count = 512
    """Memory it may use."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Taken because every command takes it; running draws nothing."""
    out: str | None = None
    """Also write the JSON result to this file."""


def run(config: RunConfig) -> dict[str, Any]:
    """Run the program; `ok` is False unless it ended well."""
    from ponder.sandbox.jobs import Job, Limits
    from ponder.sandbox.shared import shared

    limits = Limits(config.cpu_seconds, config.wall_seconds, config.memory_mb)
    try:
        job = Job(_read(config.file), "stdin", stdin=_read(config.stdin), limits=limits, language=_language(config))
    except ValueError as error:
        raise ConfigError(str(error)) from None
    require = config.require or ("L3" if job.native and config.level is None else None)
    found = shared(config.level, require, config.remote).run([job])[0]
    fields = ("status", "stdout", "stderr", "error", "exit_code", "cpu_seconds", "level")
    result: dict[str, Any] = {"ok": found.status == "ok", **{name: getattr(found, name) for name in fields}}
    if config.out is not None:
        from ponder.files import encode, write_atomic

        write_atomic(config.out, encode(result) + b"\n")
    return result


def _read(name: str | None) -> str:
    """The text of a file; - is standard input."""
    if name is None:
        return ""
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).expanduser().read_bytes()
    except OSError as error:
        raise DataError(f"{name}: can not be read ({error.strerror})") from None
    return data.decode("utf-8", "surrogateescape")


def _language(config: RunConfig) -> str:
    from ponder.sandbox.languages import LANGUAGES

    if config.language is not None:
        return config.language
    suffix = Path(config.file).suffix
    return next((name for name, row in LANGUAGES.items() if suffix == Path(row.file).suffix), "python")


def show_run(result: dict[str, Any]) -> str:
    """What it printed, and a line on how it ended."""
    parts = [printable(result[name], keep="\n\t").removesuffix("\n") for name in ("stdout", "stderr") if result[name]]
    how = f"{result['status']}{': ' + printable(result['error']) if result['error'] else ''}"
    return "\n".join([*parts, f"[{how}, {result['cpu_seconds']:.3f} s of processor, level {result['level']}]"])
