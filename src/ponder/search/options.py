"""A strategy with its options as words: `m=4` on a command line, `beam(n=16,m=4)` in a key."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Any, cast

import msgspec

from ponder.errors import ConfigError


def read_options(words: Iterable[str]) -> dict[str, Any]:
    """Options written as NAME=VALUE, each value read as JSON where it is JSON (4, 0.5, true, null) and as text otherwise; a list
    needs no quotes ([shelf,mbpp]), since a shell takes them away.

    ConfigError: a word without '=' or without a name, a name given twice.
    """
    found: dict[str, Any] = {}
    for word in words:
        name, mark, value = word.partition("=")
        name = name.strip().replace("-", "_")
        if not mark or not name.isidentifier():
            raise ConfigError(f"option '{word}' of the strategy: write it as NAME=VALUE, such as m=4")
        if name in found:
            raise ConfigError(f"option '{name}' of the strategy is given twice")
        found[name] = _value(value)
    return found


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        pass
    inside = text[1:-1]
    if text[:1] != "[" or text[-1:] != "]" or any(c in inside for c in '[]{}"'):
        return text
    return [_value(word.strip()) for word in inside.split(",")]


def options_of(strategy: Any) -> dict[str, Any]:
    """The settings of a strategy as JSON values, but for how it selects; empty for one that is no dataclass."""
    if not dataclasses.is_dataclass(strategy):
        return {}
    left_out = ("select", "needs_verifier")
    return {
        field.name: _plain(getattr(strategy, field.name))
        for field in dataclasses.fields(strategy)
        if field.name not in left_out
    }


def describe(name: str, strategy: Any) -> str:
    """`name(option=value,…)` with every option, so that a default that changes later changes no stored key."""
    shown = ",".join(f"{option}={_word(value)}" for option, value in options_of(strategy).items())
    return f"{name}({shown})" if shown else name


def plain_name(strategy: Any) -> str:
    """The name of a strategy's class as a name is written: StepSearch is step_search, BestOfN best_of_n."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(strategy).__name__).lower()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return describe(plain_name(value), value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast("Iterable[Any]", value)]
    return getattr(value, "__qualname__", None) or type(value).__name__


def _word(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
