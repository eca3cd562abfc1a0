"""One frozen model per command: defaults < TOML < flags, and every mistake answered with one line.

A command's settings are a subclass of `Config`. Bounds stand beside the field they bind (`Annotated[int, Meta(ge=2)]`),
rules across fields in `__post_init__` (raise `ValueError`). `load` merges the sources, refuses unknown keys with the
nearest name, and says which file or flag a bad value came from and what would be allowed.
Not covered: includes between TOML files, interpolation, environment variables.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast, dataclass_transform

import msgspec
from msgspec import inspect

from ponder.errors import ConfigError, nearest, unknown

C = TypeVar("C", bound="Config")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every command's settings; immutable, refuses keys it does not know.

    A subclass with a required field behind an optional one repeats `kw_only=True`: msgspec does not inherit that.
    """


def load(cls: type[C], path: str | Path | None = None, overrides: Mapping[str, Any] | None = None) -> C:
    """Settings of `cls`: its defaults, then the TOML file at `path`, then `overrides` (dotted keys allowed).

    Raises ConfigError: unreadable file, unknown key (with the nearest name), value of a wrong type or out of range.
    """
    tree = read_toml(path) if path is not None else {}
    source = dict.fromkeys(_leaves(tree), str(path))
    check_keys(cls, tree, str(path))
    for key, value in (overrides or {}).items():
        override = nest(key, value)
        check_keys(cls, override, "flag")
        _merge(tree, override)
        source.update(dict.fromkeys(_leaves(override), "flag"))
    return build(cls, tree, source)


def build(cls: type[C], tree: Mapping[str, Any], source: Mapping[str, str] | None = None) -> C:
    """Turn a nested mapping into `cls`; `source` says for each dotted key where it came from, for error messages."""
    _check_finite(tree, source or {})
    try:
        return msgspec.convert(tree, cls, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise _explain(cls, tree, str(error), source or {}) from None


def read_toml(path: str | Path) -> dict[str, Any]:
    """Parse a TOML file; ConfigError naming the file, and the line where the syntax breaks."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: can not be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def find_recipe(name: str) -> Path:
    """The TOML file called `name`: a path, or the name of a recipe that ships with ponder, `.toml` or not."""
    if Path(name).exists():
        return Path(name)
    shipped = {file.stem: file for folder in _recipe_folders() for file in sorted(folder.glob("*.toml"))}
    stem = Path(name).name.removesuffix(".toml")
    if stem in shipped and Path(name).parent.name in ("", "recipes"):
        return shipped[stem]
    raise unknown("recipe", name, shipped)


def _recipe_folders() -> list[Path]:
    """`recipes/` of a checkout, or of the installed package."""
    here = Path(__file__).resolve().parent
    return [folder for folder in (here / "recipes", here.parents[1] / "recipes") if folder.is_dir()]


def to_dict(config: Config) -> dict[str, Any]:
    """Plain nested dict of a config, ready for JSON."""
    return cast("dict[str, Any]", msgspec.to_builtins(config, enc_hook=str))


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ between two nested dicts, with both values (None where absent)."""
    before, after = dict(_items(old)), dict(_items(new))
    keys = dict.fromkeys([*before, *after])
    return {k: (before.get(k), after.get(k)) for k in keys if before.get(k) != after.get(k)}


def fields(cls: type) -> dict[str, inspect.Field]:
    """Every setting of `cls` by dotted name, nested structs opened."""
    found: dict[str, inspect.Field] = {}
    for field in _struct(inspect.type_info(cls)).fields:
        found[field.encode_name] = field
        nested = _nested_struct(field.type)
        if nested is not None:
            found |= {f"{field.encode_name}.{k}": v for k, v in fields(nested.cls).items()}
    return found


def allowed(kind: inspect.Type) -> str:
    """What a setting accepts, in words: `int from 2`, `one of 'low', 'high'`, `float above 0 up to 1 or none`."""
    match kind:
        case inspect.IntType() | inspect.FloatType():
            name = "int" if isinstance(kind, inspect.IntType) else "number"
            low = f" from {kind.ge:g}" if kind.ge is not None else f" above {kind.gt:g}" if kind.gt is not None else ""
            high = (
                f" up to {kind.le:g}" if kind.le is not None else f" below {kind.lt:g}" if kind.lt is not None else ""
            )
            return name + low + high
        case inspect.LiteralType(values=values):
            return "one of " + ", ".join(repr(v) for v in values)
        case inspect.UnionType(types=types):
            return " or ".join(allowed(t) for t in types)
        case inspect.NoneType():
            return "none"
        case inspect.StrType(min_length=least) if least:
            return "non-empty text" if least == 1 else f"text of at least {least} characters"
        case inspect.StrType():
            return "text"
        case inspect.BoolType():
            return "true or false"
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return f"list of {allowed(item)}"
        case inspect.CustomType(cls=cls) if cls is Path:
            return "path"
        case _:
            return type(kind).__name__.removesuffix("Type").lower()


def _explain(cls: type, tree: Mapping[str, Any], message: str, source: Mapping[str, str]) -> ConfigError:
    found = re.search(r" - at `\$\.?([^`]*)`", message)
    key = found.group(1) if found else ""
    plain = message[: found.start()] if found else message
    if missing := re.search(r"missing required field `([^`]+)`", plain):
        key = f"{key}.{missing.group(1)}".lstrip(".")
        return ConfigError(f"'{key}' is required: set it in the recipe or give --{key.replace('_', '-')}")
    name = re.sub(r"\[.*", "", key)
    value = _lookup(tree, name)
    where = source.get(name, "")
    prefix = "" if where in ("", "flag") else f"{where}: "
    shown = f"--{name.replace('_', '-')} {value}" if where == "flag" else f"{name} = {value!r}"
    field = fields(cls).get(name)
    if not name or isinstance(value, Mapping) or not plain.startswith(("Expected", "Invalid enum")) or field is None:
        files = {w for w in source.values() if w != "flag"}
        prefix = prefix or "".join(f"{f}: " for f in sorted(files))
        return ConfigError(f"{prefix}{f'{name}: ' if name else ''}{plain}")
    return ConfigError(f"{prefix}{shown} is not allowed: expected {allowed(field.type)}")


def check_keys(cls: type, tree: Mapping[str, Any], where: str, prefix: str = "") -> None:
    """ConfigError, with the nearest name, for the first key of `tree` that `cls` lacks; `where` is a file or "flag"."""
    known = {f.encode_name: f.type for f in _struct(inspect.type_info(cls)).fields}
    for key, value in tree.items():
        if key not in known:
            inside = [prefix + name for name in fields(cls)]
            same = [name for name in inside if name.endswith(f".{key}")]
            near = same[0] if same else nearest(prefix + key, [prefix + k for k in known]) or nearest(key, inside)
            hint = f"; did you mean '{near}'?" if near else f". Known: {', '.join(sorted(known))}"
            source = "" if where == "flag" else f"{where}: "
            raise ConfigError(f"{source}unknown setting '{prefix}{key}'{hint}")
        nested = _nested_struct(known[key])
        if nested is not None and isinstance(value, Mapping):
            check_keys(nested.cls, cast("Mapping[str, Any]", value), where, f"{prefix}{key}.")


def _check_finite(tree: Mapping[str, Any], source: Mapping[str, str]) -> None:
    for key, value in _items(tree):
        if isinstance(value, float) and math.isnan(value):
            where = source.get(key, "")
            raise ConfigError(f"{'' if where in ('', 'flag') else where + ': '}'{key}' is not a number (nan)")


def _struct(kind: inspect.Type) -> inspect.StructType:
    assert isinstance(kind, inspect.StructType), kind
    return kind


def _nested_struct(kind: inspect.Type) -> inspect.StructType | None:
    options = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    return next((t for t in options if isinstance(t, inspect.StructType)), None)


def nest(key: str, value: Any) -> dict[str, Any]:
    """`nest("a.b", 1)` is `{"a": {"b": 1}}`."""
    head, _, rest = key.partition(".")
    return {head: nest(rest, value)} if rest else {head: value}


def _merge(tree: dict[str, Any], extra: Mapping[str, Any]) -> None:
    for key, value in extra.items():
        here = tree.get(key)
        if isinstance(here, dict) and isinstance(value, Mapping):
            _merge(cast("dict[str, Any]", here), cast("Mapping[str, Any]", value))
        else:
            tree[key] = value


def _items(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _items(cast("Mapping[str, Any]", value), f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _leaves(tree: Mapping[str, Any]) -> list[str]:
    return [key for key, _ in _items(tree)]


def _lookup(tree: Mapping[str, Any], key: str) -> Any:
    here: Any = tree
    for part in key.split("."):
        here = cast("Mapping[str, Any]", here).get(part) if isinstance(here, Mapping) else None
    return here


def _decode(kind: type, value: Any) -> Any:
    if kind is Path:
        if isinstance(value, str | Path):
            return Path(value)
        raise ValueError("Expected a path")
    raise NotImplementedError(f"settings of type {kind.__name__} are not supported")
