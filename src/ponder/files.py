"""Files that survive kill -9 and a full disk: rows appended all or nothing, files and folders replaced by renaming.

A partial last line, the worst that a kill can leave of an append, is passed over by readers and cut off by the next
append. What can be made again goes to the user's cache folder. The file system's refusals become one clear line each (`guard`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import msgspec

from ponder.errors import RunError, WorkError

TEMP = ".tmp-"


def encode(value: Any) -> bytes:
    """JSON of plain values, dataclasses, structs, and anything with `item()` or `tolist()` (numpy, torch)."""
    return msgspec.json.encode(value, enc_hook=_plain)


def append_line(path: Path, line: bytes) -> None:
    """Append `line` and a newline as one write, after cutting off a partial last line; all or nothing."""
    with guard(path):
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            end = _cut_partial(handle)
            data = line + b"\n"
            try:
                while data:
                    data = data[os.write(handle, data) :]
            except OSError:
                os.ftruncate(handle, end)
                raise
        finally:
            os.close(handle)


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """Rows of a JSONL file; a partial last line is passed over, any other broken line is a RunError naming it."""
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines[:-1], 1):
        try:
            rows.append(msgspec.json.decode(line, type=dict[str, Any]))
        except msgspec.DecodeError as error:
            raise RunError(f"{path}:{number}: damaged row ({error}); remove the line to go on") from None
    return rows


def write_atomic(path: str | Path, data: bytes) -> Path:
    """Replace the file at `path` by `data`: after a crash it holds the old bytes or the new ones, never a mixture."""
    with staged(path) as temporary:
        temporary.write_bytes(data)
    return Path(path)


@contextlib.contextmanager
def staged(path: str | Path) -> Generator[Path]:
    """Yield a name beside `path` to write a file or folder to; when the block ends well it is flushed and renamed.

    A file replaces its predecessor atomically. A folder that replaces another leaves a moment in which neither has the
    name, so give checkpoints a new name each. When the block fails, what it wrote is removed.
    """
    target = Path(path)
    with guard(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / f"{TEMP}{os.getpid()}-{target.name}"
        remove(temporary)
        try:
            yield temporary
            for file in [temporary, *temporary.rglob("*")] if temporary.is_dir() else [temporary]:
                _sync(file)
            if target.is_dir():
                aside = target.parent / f"{TEMP}{os.getpid()}-old-{target.name}"
                target.rename(aside)
                temporary.rename(target)
                remove(aside)
            else:
                temporary.replace(target)
            _sync(target.parent)
        except BaseException:
            remove(temporary)
            raise


@contextlib.contextmanager
def guard(path: str | Path) -> Generator[None]:
    """Turn the file system's refusals into one line: disk full is a WorkError, no permission a RunError."""
    try:
        yield
    except OSError as error:
        _refused(path, error.errno, error.strerror)
        raise
    except Exception as error:
        native = re.search(r"\(os error (\d+)\)", str(error))  # how safetensors passes the system's refusal on
        if native is not None:
            _refused(path, int(native.group(1)), os.strerror(int(native.group(1))))
        raise


def _refused(path: str | Path, number: int | None, reason: str | None) -> None:
    """The one clear line for a refusal the user can do something about; returns for any other."""
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        full = "the disk is full" if number != errno.EFBIG else "larger than this system lets a file grow (ulimit -f)"
        raise WorkError(
            f"{path}: {full}; what was saved before is intact; free some space and run the command again"
        ) from None
    if number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
        raise RunError(f"{path}: can not be written ({reason}); choose another --out") from None


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def cache_folder() -> Path | None:
    """The user's folder for what can be made again, $XDG_CACHE_HOME/ponder or ~/.cache/ponder; None where it can not be made or
    is not ours alone to write."""
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(home) / "ponder"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            return folder if ours(folder) else None
    except (OSError, RuntimeError):
        return None


def ours(path: Path) -> bool:
    """Whether it exists, belongs to us, and nobody else may write it."""
    try:
        state = path.stat()
    except OSError:
        return False
    return state.st_uid == os.getuid() and not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _cut_partial(handle: int) -> int:
    """Cut the file behind its last newline and return its length."""
    size = os.fstat(handle).st_size
    end = size
    while end and os.pread(handle, 1, end - 1) != b"\n":
        end -= 1
    if end < size:
        os.ftruncate(handle, end)
    return end


def _plain(value: Any) -> Any:
    for method in ("item", "tolist"):
        if hasattr(value, method) and (method == "tolist" or getattr(value, "size", 1) == 1):
            return getattr(value, method)()
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"can not write {type(value).__name__} as JSON")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
