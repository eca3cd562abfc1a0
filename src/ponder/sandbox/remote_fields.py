"""A `Job` or `Result` as plain fields and back, so that whatever fields it gains travel with it.

Fields that have their default are left out: a side that does not know a field only fails where that field is used. What
comes in is checked against the annotations before anything is made of it.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from ponder.sandbox.codec import Refused, decode, encode

T = TypeVar("T")


def pack(record: Any, limit: int) -> bytes:
    """The bytes of a dataclass; raises `Refused` where a field holds what is not plain data, or is too large."""
    return encode(_plain(record), limit)


def unpack(cls: type[T], data: bytes) -> T:
    """The dataclass that `pack` wrote; raises `Refused` for anything else."""
    return _build(cls, decode(data))


def _plain(value: Any) -> Any:
    """A dataclass as the fields that differ from their defaults; other values as they are."""
    if not dataclasses.is_dataclass(value):
        return dict(cast("Mapping[Any, Any]", value)) if isinstance(value, Mapping) else value
    found: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        given, default = getattr(value, field.name), _default(field)
        if type(given) is not type(default) or given != default:
            found[field.name] = _plain(given)
    return found


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _build(cls: type[T], fields: object) -> T:
    hints = _hints(cls)
    if type(fields) is not dict:
        raise Refused(f"{cls.__name__}: not a record")
    made: dict[str, Any] = {}
    for name, value in cast("dict[Any, Any]", fields).items():
        if type(name) is not str or name not in hints:
            raise Refused(f"{cls.__name__}: the field {name!r:.60} is not known here; the two sides differ in version")
        if get_origin(hints[name]) is tuple and type(value) is list:
            value = tuple(cast("list[Any]", value))
        made[name] = _build(hints[name], value) if dataclasses.is_dataclass(hints[name]) else value
        if not _fits(made[name], hints[name]):
            raise Refused(f"{cls.__name__}: {name} is not {hints[name]}")
    try:
        return cls(**made)
    except (TypeError, ValueError) as error:
        raise Refused(f"{cls.__name__}: {error!s:.200}") from None


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _fits(given: object, hint: Any) -> bool:
    """Whether a decoded value is of an annotated type."""
    value = cast("Any", given)
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any or dataclasses.is_dataclass(hint):
        return True
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin in (tuple, list, Sequence):
        return type(given) in ((tuple,) if origin is tuple else (list, tuple)) and _all_fit(value, inner)
    if origin in (dict, Mapping):
        return type(given) is dict and _all_fit(list(value), inner[:1]) and _all_fit(list(value.values()), inner[1:])
    if hint is float:
        return type(value) in (int, float)
    return value is None if hint in (None, type(None)) else type(value) is hint


def _all_fit(items: Sequence[Any], inner: tuple[Any, ...]) -> bool:
    """Whether items are of the types given: one for all of them, or one for each."""
    each = inner[:1] * len(items) if len(inner) == 1 or inner[1:] == (...,) else inner
    return len(items) == len(each) and all(map(_fits, items, each))
