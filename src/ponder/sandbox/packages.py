"""Installed packages that samples may import, opened one by one: `Sandbox(packages=("numpy",))`.

They are imported in the worker before anything is given up, so a sample starts with them; of the folder they lie in, only
they (and the libraries that wheels put beside them, `numpy.libs`) can be read. What a package needs is named as well. Every
fork carries the package's memory, so a run with numpy costs more. Not covered: packages that start threads when imported.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence

from ponder.errors import ConfigError


def find(names: Sequence[str]) -> tuple[str, ...]:
    """The folders (or files) of installed packages; `ConfigError` for one that is not there."""
    found: list[str] = []
    for name in names:
        spec = importlib.util.find_spec(name) if name.isidentifier() else None
        if spec is None or spec.origin is None or not os.path.isabs(spec.origin):
            raise ConfigError(f"sandbox package '{name}': it is not installed here; install it or leave it out")
        found.append(os.path.dirname(spec.origin) if spec.submodule_search_locations else spec.origin)
    return tuple(found)
