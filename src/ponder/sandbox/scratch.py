"""Measuring and emptying a folder that hostile code has filled: any depth, any modes, any number of files.

A folder inside is lifted to the top before it is removed, so nothing recurses, no path grows and one descriptor is held at a
time; everything goes by the descriptor of the folder, never by its name, which at L1 its owner may have given to another
place. Standard library only: the worker loads it.
"""

from __future__ import annotations

import os
import time
from itertools import islice

BATCH = 1000
MOST_BYTES = 64 << 20
MOST_FILES = 1000
MOST_DEPTH = 20


def open_folder(path: str, dir_fd: int | None = None) -> int:
    """A descriptor of a folder; `OSError` when there is something else, a link included."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)


def empty(folder: int, seconds: float = float("inf")) -> bool:
    """Remove all that is in an open folder; False when that took longer than `seconds`. `OSError` when it can not be."""
    deadline = time.monotonic() + seconds
    prefix, lifted = os.urandom(8).hex(), 0
    while entries := _first(folder):
        for name, inside in entries:
            if time.monotonic() > deadline:
                return False
            if not inside:
                os.unlink(name, dir_fd=folder)
                continue
            _unlock(name, folder)
            try:
                os.rmdir(name, dir_fd=folder)
            except OSError:
                lifted = _lift(name, folder, prefix, lifted)
    return True


def _first(folder: int) -> list[tuple[str, bool]]:
    """Up to `BATCH` entries: name, and whether it is a folder."""
    with os.scandir(folder) as entries:
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in islice(entries, BATCH)]


def _lift(name: str, folder: int, prefix: str, lifted: int) -> int:
    """Move what is in the folder `name` up into `folder`, and remove it; how many were moved so far."""
    inner = open_folder(name, folder)
    try:
        while entries := _first(inner):
            for below, inside in entries:
                if inside:
                    _unlock(below, inner)
                os.rename(below, f"{prefix}-{lifted}", src_dir_fd=inner, dst_dir_fd=folder)
                lifted += 1
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=folder)
    return lifted


def _unlock(name: str, folder: int) -> None:
    """Let its owner into a folder that was made without rights; root needs none, and must not be led by a link."""
    if os.geteuid() != 0:
        os.chmod(name, 0o700, dir_fd=folder)


def over(folder: int) -> bool:
    """Whether an open folder holds more than a sample may have: in bytes, in files, in depth, or where one can not look."""
    try:
        return _left(folder, MOST_BYTES, MOST_FILES, MOST_DEPTH)[0] < 0
    except OSError:
        return True


def _left(folder: int, size: int, files: int, depth: int) -> tuple[int, int]:
    """What is left of `size` and `files` after all that is in a folder; the size is below 0 when one is used up."""
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                size, files = size - entry.stat(follow_symlinks=False).st_blocks * 512, files - 1
                if size < 0 or files < 0 or depth < 0:
                    return -1, files
                if entry.is_dir(follow_symlinks=False):
                    inner = open_folder(entry.name, folder)
                    try:
                        size, files = _left(inner, size, files, depth - 1)
                    finally:
                        os.close(inner)
            except (FileNotFoundError, NotADirectoryError):  # removed or replaced meanwhile
                continue
    return size, files
