"""Scratch folders: made for a worker, held by a lock while its owner lives, cleared away when the owner was killed.

A killed process leaves its folders behind. So each is locked (flock, on the folder itself) by the process that made it, and the
first new folder of a process removes those of the same user that nobody has locked. A lock ends with its process, whatever
killed it, and means the same in every container that shares the folder, which a process number does not.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time

from ponder.sandbox.scratch import empty, open_folder

PREFIX = "ponder-sandbox-"
YOUNG_SECONDS = 60.0  # between the making of a folder and its lock
_swept: set[tuple[int, str]] = set()


class Place:
    """A scratch folder inside one of ours: whoever it is given to can not put something else in its place."""

    def __init__(self) -> None:
        parent = tempfile.gettempdir()
        if (os.getpid(), parent) not in _swept:
            _swept.add((os.getpid(), parent))
            sweep(parent)
        self.outer = tempfile.mkdtemp(prefix=PREFIX)
        self.path = os.path.join(self.outer, "scratch")
        self._lock: int | None = None
        try:
            self._lock = open_folder(self.outer)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            os.chmod(self.outer, 0o711)
            os.mkdir(self.path, 0o700)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove the folder and all that is in it. Safe to call twice."""
        if self._lock is not None:
            _remove(self.outer)
        self.abandon()

    def abandon(self) -> None:
        """Let go of our descriptor only: what a forked copy of this process does."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def sweep(parent: str) -> int:
    """Remove this user's folders that no living process holds; how many."""
    removed = 0
    try:
        names = [name for name in os.listdir(parent) if name.startswith(PREFIX)]
    except OSError:
        return 0
    for name in names:
        path = os.path.join(parent, name)
        with contextlib.suppress(OSError):
            folder = open_folder(path)
            try:
                about = os.fstat(folder)
                if about.st_uid == os.geteuid() and about.st_mtime < time.time() - YOUNG_SECONDS:
                    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(path)
                    removed += 1
            finally:
                os.close(folder)
    return removed


def _remove(outer: str) -> None:
    scratch = os.path.join(outer, "scratch")
    with contextlib.suppress(OSError):
        folder = open_folder(scratch)
        try:
            empty(folder)
        finally:
            os.close(folder)
        os.rmdir(scratch)
    with contextlib.suppress(OSError):
        os.rmdir(outer)
