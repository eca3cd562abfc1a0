"""What a process and all its descendants use, read from /proc: for commands, which may fork.

Pages that processes share are counted for each of them. The time of children that a process chose not to be told of
(SIGCHLD ignored) is lost when they end, so the wall clock is what bounds a tree that hides in this way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def usage(root: int) -> tuple[float, int]:
    """(processor seconds, resident bytes) of `root` and its descendants, those that ended and were waited for included."""
    rows = {pid: (parent, ticks, pages) for pid, parent, ticks, pages in _processes()}
    inside, outside = {root}, set[int]()
    for pid in rows:
        path: list[int] = []
        at = pid
        while at in rows and at not in inside and at not in outside:
            path.append(at)
            at = rows[at][0]
        (inside if at in inside else outside).update(path)
    found = [rows[pid] for pid in inside if pid in rows]
    return sum(row[1] for row in found) / _TICK, sum(row[2] for row in found) * _PAGE


def _processes() -> Iterator[tuple[int, int, int, int]]:
    """(process, parent, ticks of its own and of its ended children, resident pages) of every process."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    words = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            yield int(name), int(words[1]), sum(map(int, words[11:15])), int(words[21])
