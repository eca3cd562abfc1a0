"""The clock a sample is judged by: its processor time, and the wall time it let pass without using the processor.

So on a busy machine a program that computes is not ended for the time it had to wait for its turn; one that sleeps, or waits
for what never comes, is. Time is looked at in windows of up to a second: a window in which the sample used less than a
five-hundredth of it was idle. A sample that wakes now and then to seem busy is ended after `LONGEST` times its wall time.
Standard library only: the worker loads it.
"""

from __future__ import annotations

import time

WINDOW_SECONDS = 1.0
BUSY_SHARE = 0.002
LONGEST = 12.0


class Clock:
    """Of one run. `whole`: all its wall time counts, since its work may be done by processes of its own."""

    __slots__ = ("_began", "_idle", "_limit", "_longest", "_since", "_used", "_window")

    def __init__(self, limit: float, whole: bool = False, now: float | None = None) -> None:
        self._began = self._since = time.monotonic() if now is None else now
        self._limit, self._longest = limit, limit if whole else LONGEST * limit
        self._window = min(WINDOW_SECONDS, limit / 4)
        self._idle = self._used = 0.0

    def left(self, used: float, now: float | None = None) -> float:
        """Seconds that may still pass idle (none: at most 0), when `used` seconds of processor time have been used."""
        now = time.monotonic() if now is None else now
        passed = now - self._since
        idle = passed if used - self._used < BUSY_SHARE * passed else 0.0
        if passed >= self._window:
            self._idle, self._since, self._used, idle = self._idle + idle, now, used, 0.0
        return min(self._limit - self._idle - idle, self._began + self._longest - now)


def processor_seconds(pid: int) -> float:
    """Processor seconds of a process so far, all its threads; 0 where the system does not tell."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except (OSError, OverflowError):
        return 0.0
