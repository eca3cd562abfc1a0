"""Frames between a remote pool and its clients: proven to come from who holds the token, in order, once.

A frame is a length, a payload and an HMAC-SHA256 of its number and payload, under a key of this connection and direction;
so a frame that is altered, repeated, reflected or left out ends the connection and is never believed. The greeting names
the version and proves the shared token both ways by challenge and response: the token itself never crosses, and each
side has put a nonce into the keys. Over TLS the server's certificate goes into the proof as well, so that nobody in
the middle can pass it on. Values are written by the strict codec alone.
Not covered: secrecy without TLS (jobs hold programs and inputs, never what is expected of them), and a token that can
be guessed, which a listener could try out at leisure: use 32 random bytes, as `fresh_token` makes.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import secrets
import struct
from pathlib import Path
from typing import Any, cast

from ponder.errors import ConfigError
from ponder.sandbox.codec import Refused, decode, encode
from ponder.sandbox.keeper import ARGUMENT_BYTES

NAME, VERSION = "ponder sandbox", 1
GREETING_BYTES = 4096
FRAME_BYTES = ARGUMENT_BYTES + 64
GREETING_SECONDS = 10.0
BODY_SECONDS = 120.0
SILENCE_SECONDS = 30.0
PULSE_SECONDS = 5.0
TOKEN_CHARACTERS = 16
JOB, RESULT, ALIVE, HELLO = b"J", b"R", b"A", b"H"
_LENGTH = struct.Struct(">I")
NUMBER = struct.Struct(">Q")
_MAC = 32
_NONCE = 32


class Broken(OSError):
    """The connection is of no more use: closed, silent, out of order, or not from who it should be."""


class Channel:
    """One proven connection. `send` and `receive` belong to one event loop."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, send_key: bytes, receive_key: bytes
    ) -> None:
        self._reader, self._writer = reader, writer
        self._send_key, self._receive_key = send_key, receive_key
        self._sent = self._received = 0

    def send(self, kind: bytes, body: bytes = b"") -> None:
        """Put a frame on its way; `drain` waits until the other side takes what is there."""
        payload = kind + body
        mac = hmac.digest(self._send_key, NUMBER.pack(self._sent) + payload, "sha256")
        self._sent += 1
        self._writer.write(_LENGTH.pack(len(payload)) + payload + mac)

    async def drain(self, seconds: float = BODY_SECONDS) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._writer.drain()
        except TimeoutError:
            raise Broken(f"the other side took nothing for {seconds:g} s") from None
        except OSError as error:
            raise Broken(f"the connection was lost: {error}") from None

    async def receive(self, silence: float = SILENCE_SECONDS) -> tuple[bytes, bytes]:
        """The next frame's kind and body; `Broken` after `silence` seconds without one, and for any that is not proven."""
        head = await _exactly(self._reader, _LENGTH.size, silence)
        size = _length(head, FRAME_BYTES)
        data = await _exactly(self._reader, size + _MAC, BODY_SECONDS)
        payload = data[:size]
        mac = hmac.digest(self._receive_key, NUMBER.pack(self._received) + payload, "sha256")
        if not hmac.compare_digest(mac, data[size:]):
            raise Broken("a frame was not from who it should be, or not in its turn")
        self._received += 1
        return payload[:1], payload[1:]

    def close(self) -> None:
        """Drop the connection at once, whatever waits to be sent."""
        self._writer.transport.abort()


async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: bytes, binding: bytes) -> Channel:
    """The server's side of the greeting; `Broken` unless the client proves the token in time."""
    ours = secrets.token_bytes(_NONCE)
    async with asyncio.timeout(GREETING_SECONDS):
        _put(writer, [NAME, VERSION, ours])
        answer = await _get(reader)
        version, theirs, proof = answer[1:] if len(answer) == 4 and answer[0] == NAME else (None, None, None)
        if version != VERSION:
            raise _deny(writer, f"the server speaks version {VERSION} of the protocol, the client another")
        if type(theirs) is not bytes or type(proof) is not bytes or len(theirs) != _NONCE:
            raise Broken("a greeting that no client sends")
        keys = _keys(token, ours, theirs, binding)
        if not hmac.compare_digest(proof, keys["client proof"]):
            raise _deny(writer, "the token is not the server's")
        _put(writer, [NAME, keys["server proof"]])
        await writer.drain()
    return Channel(reader, writer, keys["to client"], keys["to server"])


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: bytes, binding: bytes) -> Channel:
    """The client's side. ConfigError: another version, or another token. `Broken`: anything else."""
    async with asyncio.timeout(GREETING_SECONDS):
        hello = await _get(reader)
        if len(hello) != 3 or hello[0] != NAME or type(hello[2]) is not bytes or len(hello[2]) != _NONCE:
            raise Broken("what answers is no ponder sandbox")
        if hello[1] != VERSION:
            raise ConfigError(f"the server speaks version {hello[1]!s:.20} of the protocol and this side {VERSION}")
        ours = secrets.token_bytes(_NONCE)
        keys = _keys(token, hello[2], ours, binding)
        _put(writer, [NAME, VERSION, ours, keys["client proof"]])
        answer = await _get(reader)
    if len(answer) == 3 and answer[1] == "refused":
        raise ConfigError(f"{answer[2]!s:.200}")
    if len(answer) != 2 or type(answer[1]) is not bytes or not hmac.compare_digest(answer[1], keys["server proof"]):
        raise ConfigError("the server does not know the token; results from it would not be believed")
    return Channel(reader, writer, keys["to server"], keys["to client"])


def _keys(token: bytes, server_nonce: bytes, client_nonce: bytes, binding: bytes) -> dict[str, bytes]:
    """Proofs and keys of one connection, each from the token and all that was said."""
    said = f"{NAME} {VERSION}".encode() + server_nonce + client_nonce + hashlib.sha256(binding).digest()
    names = ("client proof", "server proof", "to client", "to server")
    return {name: hmac.digest(token, name.encode() + b"\0" + said, "sha256") for name in names}


def _deny(writer: asyncio.StreamWriter, reason: str) -> Broken:
    _put(writer, [NAME, "refused", reason])
    return Broken(reason)


def _put(writer: asyncio.StreamWriter, value: list[Any]) -> None:
    data = encode(value, GREETING_BYTES)
    writer.write(_LENGTH.pack(len(data)) + data)


async def _get(reader: asyncio.StreamReader) -> list[Any]:
    size = _length(await _exactly(reader, _LENGTH.size, GREETING_SECONDS), GREETING_BYTES)
    try:
        value = decode(await _exactly(reader, size, GREETING_SECONDS))
    except Refused as error:
        raise Broken(f"a greeting that can not be read: {error}") from None
    return cast("list[Any]", value) if type(value) is list else []


def _length(head: bytes, most: int) -> int:
    size = _LENGTH.unpack(head)[0]
    if not 0 < size <= most:
        raise Broken(f"a frame of {size} bytes, where at most {most} are allowed")
    return size


async def _exactly(reader: asyncio.StreamReader, size: int, seconds: float) -> bytes:
    try:
        async with asyncio.timeout(seconds):
            return await reader.readexactly(size)
    except TimeoutError:
        raise Broken(f"nothing was heard for {seconds:g} s") from None
    except asyncio.IncompleteReadError:
        raise Broken("the connection was closed") from None
    except OSError as error:
        raise Broken(f"the connection was lost: {error}") from None


def read_token(path: str | Path) -> bytes:
    """The token that a file holds, without the space around it."""
    try:
        token = Path(path).expanduser().read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"token file {path}: can not be read ({error.strerror})") from None
    if len(token) < TOKEN_CHARACTERS:
        raise ConfigError(f"token file {path}: holds {len(token)} characters, at least {TOKEN_CHARACTERS} are needed")
    return token


def fresh_token(path: str | Path) -> bytes:
    """Write a new random token to a file that only its owner may read."""
    path = Path(path).expanduser()
    token = secrets.token_hex(32).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(token + b"\n")
    except OSError as error:
        raise ConfigError(f"token file {path}: can not be written ({error.strerror})") from None
    return token
