"""A run is a directory that holds everything one command did, and from which it resumes.

Design: what is appended (metrics, attempts) is appended in one write per row, and a partial last line, the worst that
kill -9 can leave, is cut off on the next open. What is replaced (reports, checkpoints) is written beside its place,
flushed to disk and renamed. An exclusive `flock` on `.lock` keeps a second process out and vanishes with its holder,
however that died. A directory belongs to ponder when its `config.json` says so; any other non-empty one is left alone.
Not covered: Windows (no flock), file systems shared between machines without lock support.
"""

from __future__ import annotations

import fcntl
import os
import platform
import subprocess
import weakref
from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import msgspec

from ponder.config import differences
from ponder.errors import RunError
from ponder.files import TEMP, append_line, encode, guard, read_rows, remove, write_atomic

METRICS, CONFIG, LOCK = "metrics.jsonl", "config.json", ".lock"
VERSIONED = ("ponder", "torch", "numpy", "safetensors", "tokenizers", "msgspec")


class Run:
    """An open, locked run directory; made by `Run.open`, and a context manager."""

    def __init__(self, path: Path, lock: int, record: dict[str, Any], resumed: bool) -> None:
        self.path = path
        self.record = record
        self.resumed = resumed
        self.checkpoints = path / "checkpoints"
        self._lock: int | None = lock
        _open_runs.add(self)

    @classmethod
    def open(
        cls,
        path: str | Path,
        command: str,
        config: Mapping[str, Any],
        resume: bool | None = None,
        may_change: Collection[str] = (),
    ) -> Run:
        """Create or resume the run at `path` and lock it.

        `resume` None continues an unfinished or finished run of the same command and settings, and starts one where
        there is none; True insists that one exists; False starts anew and moves an earlier run to `path.1`, `path.2`, …
        On resume, settings may differ only in the dotted keys of `may_change`.
        Raises RunError (in use, foreign, other command or settings), WorkError (disk full).
        """
        folder = Path(path)
        with guard(folder):
            _refuse_foreign(folder)
            if resume and not (folder / CONFIG).exists():
                raise RunError(f"{folder}: there is no run to resume here")
            folder.mkdir(parents=True, exist_ok=True)
            lock = _lock(folder)
            try:
                return cls._opened(folder, lock, command, config, resume, may_change)
            except BaseException:
                os.close(lock)
                raise

    @classmethod
    def _opened(
        cls,
        folder: Path,
        lock: int,
        command: str,
        config: Mapping[str, Any],
        resume: bool | None,
        may_change: Collection[str],
    ) -> Run:
        plain = cast("dict[str, Any]", msgspec.json.decode(encode(config)))
        earlier = read_record(folder)
        if earlier is not None and resume is False:
            folder.rename(_free_name(folder))
            os.close(lock)
            return cls.open(folder, command, config, resume=False)
        if earlier is not None and _worked(folder):
            _refuse_other(folder, earlier, command, plain, may_change)
        sweep(folder)
        started = earlier["started"] if earlier else _now()
        record = {"ponder": _version("ponder"), "command": command, "seed": plain.get("seed"), "config": plain}
        record |= {"started": started, "opened": _now(), "versions": versions(), "commit": commit()}
        run = cls(folder, lock, record, resumed=earlier is not None)
        run.write_json(CONFIG, record)
        return run

    def log(self, row: Mapping[str, Any]) -> None:
        """Append a row to `metrics.jsonl`; it is with the operating system when this returns."""
        self.append(METRICS, row)

    def append(self, name: str, row: Mapping[str, Any]) -> None:
        """Append a row to the JSONL file `name`. Disk full: WorkError, and the file is as it was."""
        assert self._lock is not None, "the run is closed"
        append_line(self.path / name, encode(row))

    def rows(self, name: str = METRICS) -> list[dict[str, Any]]:
        """The rows of the JSONL file `name` so far; empty when there is none."""
        return read_rows(self.path / name)

    def truncate_metrics(self, step: int) -> None:
        """Drop the metrics rows with a `step` above the given one: what the resumed run will log again."""
        rows = self.rows()
        kept = [row for row in rows if (row.get("step") or 0) <= step]
        if len(kept) < len(rows):
            write_atomic(self.path / METRICS, b"".join(encode(row) + b"\n" for row in kept))

    def write_json(self, name: str, value: Any) -> Path:
        """Write `value` as indented JSON, atomically; NaN and infinities become null."""
        return write_atomic(self.path / name, msgspec.json.format(encode(value), indent=2) + b"\n")

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file, atomically."""
        return write_atomic(self.path / name, text.encode("utf-8"))

    def close(self) -> None:
        """Give the directory free; harmless when repeated."""
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_UN)  # at once, even while a child just forked still has its copy
            self.forget()

    def forget(self) -> None:
        """Drop this process's handle on the lock without unlocking: what a forked child does first."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def read_record(path: str | Path) -> dict[str, Any] | None:
    """What `config.json` of the run at `path` says, None when there is no run. RunError when it is not ponder's."""
    file = Path(path) / CONFIG
    try:
        record = msgspec.json.decode(file.read_bytes())
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise RunError(f"{file}: damaged ({error}); choose another --out") from None
    if not isinstance(record, dict) or "ponder" not in record or "command" not in record:
        raise RunError(f"{path}: holds files that are not a ponder run; choose another --out")
    return cast("dict[str, Any]", record)


def sweep(folder: Path) -> None:
    """Remove what an interrupted `staged` left in the run and its checkpoints."""
    for place in (folder, folder / "checkpoints"):
        for leftover in place.glob(f"{TEMP}*"):
            remove(leftover)


def versions() -> dict[str, str]:
    """Versions that decide numbers, without importing any of them."""
    found = {name: _version(name) for name in VERSIONED}
    return {"python": platform.python_version(), "platform": platform.platform(), **found}


def commit() -> str | None:
    """Commit of the checkout ponder runs from, with `+` when tracked files differ; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file, not a directory; choose another --out")
    if folder.is_dir() and read_record(folder) is None:
        foreign = [entry.name for entry in folder.iterdir() if entry.name != LOCK and not entry.name.startswith(TEMP)]
        if foreign:
            raise RunError(f"{folder}: not empty and not a ponder run (holds '{min(foreign)}'); choose another --out")


def _worked(folder: Path) -> bool:
    """Whether the run there got further than its settings; one that failed before is no reason to refuse a corrected try."""
    return any(entry.name not in (LOCK, CONFIG) and not entry.name.startswith(TEMP) for entry in folder.iterdir())


def _refuse_other(
    folder: Path, earlier: Mapping[str, Any], command: str, config: Mapping[str, Any], may_change: Collection[str]
) -> None:
    if earlier["command"] != command:
        raise RunError(f"{folder}: is a run of '{earlier['command']}', not '{command}'; choose another --out")
    changed = {k: v for k, v in differences(earlier.get("config") or {}, config).items() if k not in may_change}
    if changed:
        shown = ", ".join(f"{key} was {old!r}, now {new!r}" for key, (old, new) in list(changed.items())[:3])
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise RunError(f"{folder}: the run there has other settings ({shown}{more}); choose another --out")


def _lock(folder: Path) -> int:
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 32, 0).decode(errors="replace").strip()
        os.close(handle)
        raise RunError(
            f"{folder}: in use by process {holder or 'unknown'}; wait for it or choose another --out"
        ) from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)
    return handle


def _free_name(folder: Path) -> Path:
    number = 1
    while (candidate := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    return candidate


_open_runs: weakref.WeakSet[Run] = weakref.WeakSet()


def _release_in_child() -> None:
    """A forked worker must not keep its parent's run locked after that dies; closing its copy frees nothing early."""
    for run in list(_open_runs):
        run.forget()


os.register_at_fork(after_in_child=_release_in_child)
