"""A strict codec for plain values, between the sandbox and code that must not be trusted.

Exact types only (no subclasses, so nothing with an `__eq__` of its own): None, bool, int, float, complex, str, bytes,
list, tuple, dict, set, frozenset. Depth and size are bounded on both sides; a value that holds itself is refused; so
are keys made to collide, in their hashes or on their way through the table, which would take the reader quadratic time.
Standard library only: the worker loads it.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable
from typing import Any, cast

DEPTH = 200
COLLISIONS = 64
PIECE = 100
TABLE_SECONDS, KEY_SECONDS = 0.25, 3e-6  # of processor; honest keys take less
_SIZE = struct.Struct(">I")
_FLOAT = struct.Struct(">d")
_COMPLEX = struct.Struct(">dd")
_SEQUENCES: dict[type, bytes] = {list: b"l", tuple: b"t", set: b"e", frozenset: b"z"}


class Refused(ValueError):
    """A value that is not plain data, too deep or too large; or bytes that no encoder wrote."""


def encode(value: Any, limit: int) -> bytes:
    """The bytes of `value`, at most `limit` of them."""
    parts = _Parts(limit)
    _write(value, parts, set(), 0)
    return b"".join(parts.items)


class _Parts:
    """The pieces written so far, held to a size."""

    __slots__ = ("items", "left", "limit")

    def __init__(self, limit: int) -> None:
        self.items: list[bytes] = []
        self.left = self.limit = limit

    def reserve(self, size: int) -> None:
        """Refuse before a large piece is made."""
        if size > self.left:
            raise Refused(f"the value is larger than {self.limit} bytes")

    def add(self, piece: bytes) -> None:
        self.reserve(len(piece))
        self.left -= len(piece)
        self.items.append(piece)


def _write(value: Any, parts: _Parts, inside: set[int], depth: int) -> None:
    kind = cast("type[Any]", type(value))
    if value is None or kind is bool:
        parts.add(b"n" if value is None else b"T" if value else b"F")
    elif kind is int:
        size = value.bit_length() // 8 + 1
        parts.reserve(size + 5)
        parts.add(b"i" + _SIZE.pack(size) + value.to_bytes(size, "big", signed=True))
    elif kind is float:
        parts.add(b"f" + _FLOAT.pack(value))
    elif kind is complex:
        parts.add(b"c" + _COMPLEX.pack(value.real, value.imag))
    elif kind is str or kind is bytes:
        parts.reserve(len(value) + 5)
        data = cast("bytes", value if kind is bytes else value.encode("utf-8", "surrogatepass"))
        parts.add((b"b" if kind is bytes else b"s") + _SIZE.pack(len(data)) + data)
    elif kind is dict or kind in _SEQUENCES:
        _write_container(value, kind, parts, inside, depth)
    else:
        raise Refused(f"a value of type {kind.__name__[:80]} is not plain data")


def _write_container(value: Any, kind: type[Any], parts: _Parts, inside: set[int], depth: int) -> None:
    if id(value) in inside:
        raise Refused("the value contains itself")
    if depth >= DEPTH:
        raise Refused(f"the value is nested deeper than {DEPTH}")
    parts.reserve(len(value) + 5)
    inside.add(id(value))
    parts.add((b"d" if kind is dict else _SEQUENCES[kind]) + _SIZE.pack(len(value)))
    items: Iterable[Any] = value
    if kind is dict:
        items = (part for pair in value.items() for part in pair)
    for item in items:
        _write(item, parts, inside, depth + 1)
    inside.discard(id(value))


def decode(data: bytes) -> Any:
    """The value of `data`; raises `Refused` unless it is exactly one well-formed value."""
    try:
        value, end = _read(data, 0, 0)
    except Refused:
        raise
    except (IndexError, struct.error, UnicodeDecodeError, TypeError, OverflowError, MemoryError) as error:
        raise Refused(f"malformed value: {type(error).__name__}") from None
    if end != len(data):
        raise Refused("malformed value: bytes are left over")
    return value


def _read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    tag = data[at : at + 1]
    at += 1
    if tag in (b"n", b"T", b"F"):
        return {b"n": None, b"T": True, b"F": False}[tag], at
    if tag == b"f":
        return _FLOAT.unpack_from(data, at)[0], at + 8
    if tag == b"c":
        return complex(*_COMPLEX.unpack_from(data, at)), at + 16
    size = _SIZE.unpack_from(data, at)[0]
    at += 4
    if size > len(data) - at:
        raise Refused("malformed value: a length beyond the end")
    if tag in (b"i", b"s", b"b"):
        return _scalar(tag, data[at : at + size]), at + size
    if tag not in (b"l", b"t", b"e", b"z", b"d") or depth >= DEPTH:
        raise Refused("malformed value: an unknown tag, or too deep")
    return _read_container(tag, size, data, at, depth)


def _scalar(tag: bytes, piece: bytes) -> Any:
    if tag == b"i":
        return int.from_bytes(piece, "big", signed=True)
    return piece.decode("utf-8", "surrogatepass") if tag == b"s" else piece


def _read_container(tag: bytes, size: int, data: bytes, at: int, depth: int) -> tuple[Any, int]:
    items: list[Any] = []
    for _ in range(size * 2 if tag == b"d" else size):
        item, at = _read(data, at, depth + 1)
        items.append(item)
    if tag == b"l":
        return items, at
    if tag == b"t":
        return tuple(items), at
    if tag == b"d":
        return _built(dict[Any, Any](), items[::2], list(zip(items[::2], items[1::2], strict=True))), at
    found = _built(set[Any](), items, items)
    return (found if tag == b"e" else frozenset(found)), at


def _built(table: Any, keys: list[Any], entries: list[Any]) -> Any:
    """The empty dict or set filled with its entries, a piece at a time, and given up when that takes too long."""
    hashes = sorted(map(hash, keys))
    if any(one == other for one, other in zip(hashes, hashes[COLLISIONS:], strict=False)):
        raise Refused("the keys of a set or dict were made to collide")
    deadline = time.thread_time() + TABLE_SECONDS + KEY_SECONDS * len(keys)
    for at in range(0, len(entries), PIECE):
        table.update(entries[at : at + PIECE])
        if time.thread_time() > deadline:
            raise Refused("the keys of a set or dict were made to collide")
    return table
