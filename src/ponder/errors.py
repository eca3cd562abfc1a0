"""Errors a user can cause or meet. A message says what was tried, what exists, and what to do.

`PonderError` derives from `ValueError`: wrong input is a value problem, and callers who know nothing of ponder still
catch it sensibly. The command line prints one line and exits with `exit_code`. Invariants use `assert` instead.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PonderError(ValueError):
    """Something the user can put right; `str(error)` is the one line they need."""

    exit_code = 2


class ConfigError(PonderError):
    """A configuration key or value that can not be used."""


class DataError(PonderError):
    """A data set, row or file that can not be read; the message carries `path:line`."""


class CheckpointError(PonderError):
    """A checkpoint or model folder that is missing, damaged, or of another kind."""


class RunError(PonderError):
    """A run directory that is in use, foreign, or can not be resumed."""


class WorkError(PonderError):
    """The input was fine but the work failed (disk full, worker lost)."""

    exit_code = 1


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, None when nothing is close."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return near[0] if near else None


def unknown(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """The error for a name that does not exist: nearest match first, then the whole list."""
    names = sorted(known)
    near = nearest(name, names)
    hint = f"; did you mean '{near}'?" if near else "."
    return ConfigError(f"unknown {kind} '{name}'{hint} Known: {', '.join(names) or 'none'}")
