"""Live progress: bars on a terminal, a plain line now and then elsewhere, always on standard error, silent when told.

Work code writes `with Progress("title") as p: bar = p.bar("GRPO", total=100); bar.advance(1, reward="0.61")` and does
not care where it runs. Nothing here is needed for correctness: every number shown is also logged by the run.
"""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

PLAIN_SECONDS = 10.0
_quiet = False


def set_quiet(quiet: bool) -> None:
    """Silence every later `Progress` of this process (the command line's --quiet)."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Was this process told to be silent?"""
    return _quiet


class Bar:
    """One line of progress; made by `Progress.bar`."""

    def __init__(self, owner: Progress, name: str, total: int | None) -> None:
        self.owner, self.name, self.total = owner, name, total
        self.done = 0
        self.fields: dict[str, Any] = {}
        self.started = time.monotonic()
        self._printed = self.started
        self._task: TaskID | None = None
        if owner.live is not None:
            self._task = owner.live.add_task(name, total=total, fields="")

    def advance(self, amount: int = 1, **fields: Any) -> None:
        """Move by `amount` and show `fields` (name=value) beside the bar; fields not given keep their last value."""
        self.done += amount
        self.fields.update(fields)
        if self.owner.live is not None and self._task is not None:
            self.owner.live.update(self._task, advance=amount, fields=self._shown())
        elif not self.owner.quiet:
            finished = self.total is not None and self.done >= self.total
            if finished or time.monotonic() - self._printed >= PLAIN_SECONDS:
                self.print()

    def print(self) -> None:
        """Write the present state as one plain line."""
        self._printed = time.monotonic()
        of = f"/{self.total}" if self.total is not None else ""
        line = f"{self.name} {self.done}{of} {self._printed - self.started:.1f}s {self._shown()}"
        print(line.rstrip(), file=sys.stderr, flush=True)

    def _shown(self) -> str:
        return "  ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.fields.items())


class Progress:
    """A titled group of bars and notes.

    `quiet` None follows `set_quiet`; `live` None asks whether standard error is a terminal.
    """

    def __init__(self, title: str = "", quiet: bool | None = None, live: bool | None = None) -> None:
        self.title = title
        self.quiet = _quiet if quiet is None else quiet
        terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.live: RichProgress | None = None
        if not self.quiet and (terminal if live is None else live):
            self.live = _rich()

    def __enter__(self) -> Progress:
        if self.title:
            self.note(self.title)
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live is not None:
            self.live.stop()

    def bar(self, name: str, total: int | None = None) -> Bar:
        """A new bar; `total` None when the end is not known."""
        return Bar(self, name, total)

    def note(self, text: str) -> None:
        """Print one line above the bars."""
        if self.quiet:
            return
        if self.live is not None:
            self.live.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)


def _rich() -> RichProgress:
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(bar_width=24),
        rich.MofNCompleteColumn(),
        rich.TimeElapsedColumn(),
        rich.TextColumn("{task.fields[fields]}", style="cyan"),
    )
    return rich.Progress(*columns, console=Console(stderr=True), refresh_per_second=4)
