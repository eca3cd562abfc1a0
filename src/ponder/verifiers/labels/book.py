"""The file that labels go into: rows appended, and a second file that says what is finished and how long the first is.

Beside `labels.jsonl` stands `labels.jsonl.progress`: the settings, then for each finished batch its keys (problems, or rows of
a converted file), counts, and the size of `labels.jsonl` behind it. Rows are written before their batch is noted; whoever
continues cuts the rows of a batch that was not, so after kill -9 nothing is there twice or in part. A lock keeps a second
process out. Not covered: several machines.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from ponder.errors import ConfigError, RunError
from ponder.files import append_line, encode, guard, read_rows
from ponder.types import content_hash
from ponder.verifiers.samples import LabelledSample

Counts = dict[str, float]


class Book:
    """An open file of labels; a context manager. `done` are the keys finished, `counts` their sums.

    `settings` must be those the file was begun with (ConfigError); `fresh` begins it anew.
    """

    def __init__(self, out: str | Path, settings: Mapping[str, Any], fresh: bool = False) -> None:
        self.path = Path(out)
        self.notes = self.path.with_name(self.path.name + ".progress")
        self.done: set[str] = set()
        self.counts: Counts = {}
        self.resumed = False
        with guard(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.notes)
            try:
                self._open(content_hash(settings), dict(settings), fresh)
            except BaseException:
                self.close()
                raise

    def _open(self, identity: str, settings: dict[str, Any], fresh: bool) -> None:
        if fresh:
            self.path.unlink(missing_ok=True)
            os.truncate(self.notes, 0)
        rows = read_rows(self.notes)
        if not rows:
            if self.path.exists() and self.path.stat().st_size:
                raise ConfigError(f"{self.path}: exists and was not begun here; use --fresh or choose another --out")
            self.path.touch()
            append_line(self.notes, encode({"settings": identity, "of": settings}))
            return
        if rows[0].get("settings") != identity:
            changed = _changed(rows[0].get("of"), settings)
            raise ConfigError(
                f"{self.path}: was begun with other settings{changed}; use --fresh or choose another --out"
            )
        self.resumed = True
        size = 0
        for row in rows[1:]:
            self._note(row)
            size = row["size"]
        held = self.path.stat().st_size if self.path.exists() else 0
        if held < size:
            raise RunError(f"{self.path}: is shorter than it was ({held} of {size} bytes); use --fresh to begin anew")
        if held > size:
            os.truncate(self.path, size)

    def _note(self, row: Mapping[str, Any]) -> None:
        self.done.update(row["keys"])
        for name, value in row["counts"].items():
            self.counts[name] = self.counts.get(name, 0) + value

    def add(self, keys: Sequence[str], samples: Sequence[LabelledSample], counts: Mapping[str, float]) -> None:
        """Write the rows of a finished batch, then note it. Disk full: WorkError, and the batch counts as not done."""
        if samples:
            append_line(self.path, b"\n".join(msgspec.json.encode(sample) for sample in samples))
        row = {"keys": list(keys), "counts": dict(counts), "size": self.path.stat().st_size}
        append_line(self.notes, encode(row))
        self._note(row)

    def close(self) -> None:
        """Give the file free; harmless when repeated."""
        if self._lock is not None:
            with contextlib.suppress(OSError):
                os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Book:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _lock(path: Path) -> int | None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise RunError(f"{path}: in use by another process; wait for it or choose another --out") from None
    return handle


def _changed(before: Any, now: Mapping[str, Any]) -> str:
    if not isinstance(before, dict):
        return ""
    from ponder.config import differences

    found = differences(cast("dict[str, Any]", before), msgspec.json.decode(encode(now)))
    shown = ", ".join(f"{key} was {old!r}, now {new!r}" for key, (old, new) in list(found.items())[:3])
    return f" ({shown})" if shown else ""
