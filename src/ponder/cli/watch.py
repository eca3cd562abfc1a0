"""Watching a search: the first sample's thinking as it comes, and how far the search is once it takes long."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from ponder.cli.terminal import printable
from ponder.progress import Bar, Progress
from ponder.types import DoneEvent, Event, TokenEvent

DIM, PLAIN = "\x1b[2m", "\x1b[0m"
THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
WHOLE = ("greedy", "sample", "vote", "best_of_n", "weighted_vote", "rerank", "adaptive", "confidence")
"""Strategies that draw their first sample in one piece, so that its thinking can be read along."""
LONG_SECONDS = 2.0
EVERY = 64  # tokens between two updates


class Watcher:
    """Listens to a search's events and writes to standard error; silent when `quiet`.

    `thinking`: stream the first sample's thinking, dimmed; the other samples think in silence. A search of more than
    `LONG_SECONDS` gets a bar of its tokens, finished completions and speed.
    """

    def __init__(self, text: str, thinking: bool, quiet: bool) -> None:
        self.quiet = quiet
        self.tokens = self.shown = self.completions = 0
        self.began = time.monotonic()
        self._open = thinking and not quiet
        self._progress = Progress(quiet=quiet)
        self._bar: Bar | None = None
        self._dim, self._plain = (DIM, PLAIN) if sys.stderr.isatty() else ("", "")
        if not quiet:
            sys.stderr.write(f"{printable(text, keep=chr(10))}\n{self._dim if self._open else ''}")

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open:
            self._close()
        if self._bar is not None:
            self._progress.__exit__(kind, error, trace)

    def __call__(self, event: Event) -> None:
        if isinstance(event, TokenEvent):
            self.tokens += 1
        else:
            self.completions += 1
        if self._open and event.index == 0:
            self._stream(event)
        if not self._open and self.tokens - self.shown >= EVERY:
            self._show()

    def _stream(self, event: Event) -> None:
        if isinstance(event, DoneEvent) or event.text == THINK_CLOSE:
            self._close()
        elif event.text != THINK_OPEN:
            sys.stderr.write(printable(event.text, keep="\n"))
            sys.stderr.flush()

    def _close(self) -> None:
        self._open = False
        sys.stderr.write(f"{self._plain}\n")
        sys.stderr.flush()

    def _show(self) -> None:
        seconds = time.monotonic() - self.began
        if seconds < LONG_SECONDS or self.quiet:
            return
        if self._bar is None:
            self._progress.__enter__()
            self._bar = self._progress.bar("tokens")
        speed = f"{self.tokens / seconds:,.0f} tokens/s"
        self._bar.advance(self.tokens - self.shown, completions=self.completions, speed=speed)
        self.shown = self.tokens
