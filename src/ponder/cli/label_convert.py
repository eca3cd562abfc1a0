"""`ponder label --convert FILE`: a public file of step labels as labelled samples. No model is asked."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ponder.cli.label import LabelConfig, settings, summary
from ponder.errors import ConfigError
from ponder.progress import Progress
from ponder.verifiers.labels.book import Book
from ponder.verifiers.labels.convert import Reading, convert
from ponder.verifiers.labels.work import tally
from ponder.verifiers.samples import LabelledSample

BATCH = 256


def convert_file(config: LabelConfig) -> dict[str, Any]:
    """Write the rows of a public file as labelled samples; the summary of everything the file holds."""

    source = Path(config.convert).expanduser()
    if source.resolve() == Path(config.out).resolve():
        raise ConfigError(f"out: {config.out} is the file that is read; choose another --out")
    reading = Reading(neutral={"right": 1.0, "wrong": 0.0, "none": None}[config.neutral])
    keys: list[str] = []
    waiting: list[LabelledSample] = []
    began = time.monotonic()
    with Book(config.out, settings(config), config.fresh) as book, Progress(f"converting {source}") as progress:
        bar, resumed = progress.bar("rows"), len(book.done)

        def flush() -> None:
            if keys:
                book.add(keys, waiting, tally(waiting) | {"rows": len(keys)})
                bar.advance(len(keys), samples=f"{book.counts['samples']:,.0f}")
                keys.clear()
                waiting.clear()

        try:
            for number, samples in convert(source, config.format, reading):
                if str(number) not in book.done:
                    keys.append(str(number))
                    waiting += samples
                if len(keys) >= BATCH:
                    flush()
        finally:
            flush()
        met = {"repeats": reading.repeats, "empty": reading.empty}
        seconds = time.monotonic() - began
        return {**summary(config, book), **met, "format": config.format, "resumed": resumed, "seconds": seconds}
