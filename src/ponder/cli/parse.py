"""From words and flags to one settings struct: defaults < TOML < words and flags, every mistake one line.

tyro reads the flags (and prints `--help`); checking keys and bounds is `ponder.config`'s work, so a wrong flag and a
wrong line of TOML are answered alike. A bare word may stand before or after the flags.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from typing import Any

from msgspec import inspect

from ponder import config
from ponder.cli.table import COMMON, Command
from ponder.config import Config
from ponder.errors import ConfigError


def parse(name: str, command: Command, arguments: Sequence[str]) -> Config:
    """The settings of command `name` for these arguments. `--help` prints and raises SystemExit(0)."""
    from ponder.registry import locate

    cls: type[Config] = locate(command.config, f"settings of '{name}'")
    words, flags = _leading_words(arguments)
    asks_help = any(flag in ("-h", "--help") for flag in flags)
    if not asks_help:
        _refuse_unknown(cls, flags)
    path, overrides = _assign(name, command, words)
    base = cls() if asks_help else config.load(cls, path, overrides)
    parsed, late = _tyro(cls, f"ponder {name} {_usage(command)}".strip(), command.help, base, flags)
    if late:
        path, overrides = _assign(name, command, [*words, *late])
        base = config.load(cls, path, overrides)
        parsed, _ = _tyro(cls, name, command.help, base, flags)
    _require(name, command, path, overrides, parsed)
    given = {key: value for key in config.fields(cls) if (value := _at(parsed, key)) != _at(base, key)}
    leaves = {key: value for key, value in given.items() if not isinstance(value, Config)}
    return config.load(cls, path, {**overrides, **leaves})


def _leading_words(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    for k, argument in enumerate(arguments):
        if argument == "--":
            return [*arguments[:k], *arguments[k + 1 :]], []
        if argument.startswith("--") or argument == "-h":
            return list(arguments[:k]), list(arguments[k:])
    return list(arguments), []


def _assign(name: str, command: Command, words: Sequence[Any]) -> tuple[Any, dict[str, Any]]:
    """Path of the recipe (or None) and the settings that bare words give."""
    slots = ("recipe",) if command.recipe else tuple(word.strip("[]") for word in command.words)
    if _many(command) and len(words) >= len(slots):
        words = [*words[: len(slots) - 1], tuple(words[len(slots) - 1 :])]
    if len(words) > len(slots):
        takes = f"takes {_usage(command)}" if slots else "takes no bare words"
        hint = "; put quotes around a text with spaces" if slots == ("text",) else ""
        raise ConfigError(f"ponder {name} {takes}, but '{words[len(slots)]}' was given as well{hint}")
    if command.recipe:
        return (config.find_recipe(words[0]) if words else None), {}
    return None, dict(zip(slots, words, strict=False))


def _many(command: Command) -> bool:
    """Whether the last bare word is a list of settings' values and takes all words that are left."""
    from ponder.registry import locate

    if command.recipe or not command.words:
        return False
    kind = config.fields(locate(command.config))[command.words[-1].strip("[]")].type
    return isinstance(kind, inspect.VarTupleType)


def _require(name: str, command: Command, path: Any, overrides: dict[str, Any], parsed: Any) -> None:
    for word in () if command.recipe else command.words:
        if not word.startswith("[") and word not in overrides and not _at(parsed, word):
            raise ConfigError(f"ponder {name} needs {word.upper()}: ponder {name} {_usage(command)}")


def _usage(command: Command) -> str:
    more = " ..." if _many(command) else ""
    return "[RECIPE.toml]" if command.recipe else " ".join(word.upper() for word in command.words) + more


def _refuse_unknown(cls: type[Config], flags: Sequence[str]) -> None:
    known = config.fields(cls)
    for flag in flags:
        if flag == "--":
            return
        if not flag.startswith("--"):
            continue
        key = flag[2:].split("=")[0].replace("-", "_")
        head, _, last = key.rpartition(".")
        positive = f"{head}.{last.removeprefix('no_')}".lstrip(".")
        if key not in known and positive not in known:
            config.check_keys(cls, {key: None} if not head else config.nest(key, None), "flag")


def _tyro(cls: type[Config], program: str, text: str, base: Config, flags: Sequence[str]) -> tuple[Any, list[str]]:
    import tyro

    said = io.StringIO()
    only = [name for name, field in config.fields(cls).items() if _is_table(field.type)]
    tables = f" Tables are written in the recipe: {', '.join(only)}." if only else ""
    try:
        with contextlib.redirect_stderr(said):
            parsed, left = tyro.cli(
                cls,
                prog=program,
                description=f"{text}.{tables} {COMMON}",
                args=flags,
                default=base,
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            print()
            raise
        raise ConfigError(_one_line(cls, said.getvalue(), flags)) from None
    stuck = next((word for word in left if word.startswith("--")), None)
    if stuck is not None:
        raise ConfigError(f"{stuck} can not be given as a flag; set it in a recipe file")
    return parsed, left


def _is_table(kind: inspect.Type) -> bool:
    """True for what TOML writes as a table or a list of tables, which no flag can spell."""
    item = kind.item_type if isinstance(kind, inspect.ListType) else kind
    return isinstance(item, inspect.DictType)


def _one_line(cls: type[Config], box: str, flags: Sequence[str]) -> str:
    """tyro's message (boxed, or ruled where the terminal has no box) as one line, with what the setting accepts."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box)
    lines = [line.strip("│ ") for line in plain.splitlines()[1:]]
    while lines and re.fullmatch(r"[-─]*", lines[0]):
        lines.pop(0)
    cut = next((k for k, line in enumerate(lines) if re.fullmatch(r"[-─╰╯]{3,}", line)), len(lines))
    message = " ".join(lines[:cut]) or plain.strip()
    found = re.search(r"--([\w.-]+)", message)
    field = config.fields(cls).get(found.group(1).replace("-", "_")) if found else None
    if found is None or field is None:
        return message
    values = _values(found.group(0), flags)
    values = (
        values if isinstance(field.type, inspect.ListType | inspect.VarTupleType | inspect.TupleType) else values[:1]
    )
    accepts, shown = config.allowed(field.type), " ".join(values)
    return f"{found.group(0)} {shown} is not allowed: expected {accepts}" if shown else f"{message} ({accepts})"


def _values(flag: str, flags: Sequence[str]) -> list[str]:
    for k, token in enumerate(flags):
        name, equals, value = token.partition("=")
        if name.replace("_", "-") == flag.replace("_", "-"):
            return [value] if equals else _until_flag(flags[k + 1 :])
    return []


def _until_flag(tokens: Sequence[str]) -> list[str]:
    end = next((k for k, token in enumerate(tokens) if token.startswith("--")), len(tokens))
    return list(tokens[:end])


def _at(value: Any, key: str) -> Any:
    for part in key.split("."):
        value = getattr(value, part, None)
    return value
