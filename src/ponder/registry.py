"""One visible dict per kind of thing users can replace, plus `module:attr` strings and an entry-point group.

A built-in is an object or a `"module:attr"` string imported when first asked for, so listing names costs nothing.
Order of look-up: built-in name, `module:attr`, entry point. Nothing is scanned at import and nothing registers itself.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any

from ponder.errors import ConfigError, nearest, unknown

_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*\Z")


class Registry:
    """Names of one `kind`, such as "task"; `entries` maps a name to an object or a `"module:attr"` string."""

    def __init__(self, kind: str, entries: Mapping[str, Any], group: str) -> None:
        self.kind = kind
        self.entries = dict(entries)
        self.group = group

    def get(self, name: str) -> Any:
        """The object called `name`; ConfigError when unknown (nearest name first) or not importable."""
        if name in self.entries:
            entry = self.entries[name]
            return locate(entry, f"{self.kind} '{name}'") if isinstance(entry, str) else entry
        if _PATH.match(name):
            return locate(name, self.kind)
        for point in entry_points(group=self.group):
            if point.name == name:
                return locate(point.value, f"{self.kind} '{name}' of an installed package")
        raise unknown(self.kind, name, self.names())

    def names(self) -> list[str]:
        """Built-in names and those of installed packages, sorted."""
        return sorted({*self.entries, *(point.name for point in entry_points(group=self.group))})

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())


def locate(target: str, what: str = "object") -> Any:
    """Import `"module:attr"` (attr may be dotted).

    ConfigError says which half failed; errors raised inside the module pass through.
    """
    module_name, _, attribute = target.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module exists and itself lacks something: that is the more useful message
        raise ConfigError(
            f"{what}: no module '{error.name}' (in '{target}'); is it installed and on the path?"
        ) from None
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = nearest(part, [n for n in dir(found) if not n.startswith("_")])
            hint = f"; did you mean '{near}'?" if near else ""
            raise ConfigError(f"{what}: '{module_name}' has no '{part}'{hint}")
        found = getattr(found, part)
    return found
