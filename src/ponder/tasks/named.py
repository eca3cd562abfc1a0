"""Named benchmarks of school and competition mathematics, read from a path, PONDER_DATA or their public names.

Design: a benchmark is one `FileTask` per split and a function that reads its raw rows; nothing else differs. Files are
looked for at `path=…`, else under the folder in PONDER_DATA, else fetched by public name (`huggingface_hub`, parquet)
where that is installed. A published test file is declared to be the test split. Training files give up the tenth of
their problems whose hash says dev, to watch progress without looking at the test (`dev=False` keeps them).
Every reference is checked by `tests/tasks/test_named.py`: handed in as the answer, it is graded correct.
Not covered: few-shot prompts; the benchmarks' own graders, which our `math` grader replaces.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import random
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ponder.errors import DataError
from ponder.progress import Progress
from ponder.tasks.base import SPLITS
from ponder.tasks.benchmarks import DESIGNS, Design, Source
from ponder.tasks.files import FileTask, checked_limit, grader_of, ordered
from ponder.tasks.rows import Row, read_rows
from ponder.types import Demonstration, Effort, Grader, Problem, Split

BOXED = "{question}\nPut the final answer in \\boxed{}."
PUBLIC_REVISION = "refs/convert/parquet"


class Benchmark:
    """A task of one source per split. Raises `DataError` when a split does not exist or its data can not be got.

    `path` is the file of one split (a name with "train" in it is the training split) or a folder that holds the files
    by their usual names. `template` wraps the question; `dev` False leaves the training file whole.
    """

    def __init__(
        self,
        name: str,
        design: Design,
        *,
        path: str | Path | None = None,
        template: str = BOXED,
        grader: str | Grader = "math",
        dev: bool = True,
    ) -> None:
        self.name, self.design = name, design
        self._path, self._dev, self._grader = path, dev, grader
        self._make: Callable[..., FileTask] = partial(
            FileTask, columns=design.columns, name=name, template=template, convert=design.convert
        )
        self._only: Split | None = _split_of(Path(path), design) if path and Path(path).is_file() else None
        self._parts: dict[Split, FileTask] = {}

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits this benchmark has; dev is carved out of train."""
        have = {self._only} if self._only else set(self.design.sources)
        return tuple(s for s in SPLITS if s in have or (s == "dev" and self._dev and "train" in have))

    @property
    def grader(self) -> Grader:
        """The grader of every split."""
        self._grader = grader_of(self._grader)
        return self._grader

    def problems(self, split: Split, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """The first `limit` problems of `split` in the order of `seed`."""
        if split not in self.splits:
            raise DataError(f"{self.name}: has no {split} split; it has: {', '.join(self.splits)}")
        part = self._part("test" if split == "test" else "train")
        mine = (p for p in part.stream() if self._member(p, split))
        return ordered(mine, checked_limit(limit), seed)

    def _member(self, problem: Problem, split: Split) -> bool:
        if split == "test":
            return True
        mine = not self._dev or (problem.split == "dev") == (split == "dev")
        return mine and problem.id not in self.design.left_out

    def demonstrate(
        self, problem: Problem, effort: Effort | None = None, rng: random.Random | None = None
    ) -> Demonstration:
        """The written solution of a problem this task gave: as thinking, then the boxed answer."""
        return self._part("train" if "train" in self.splits else "test").demonstrate(problem, effort, rng)

    def _part(self, split: Split) -> FileTask:
        if split not in self._parts:
            self._parts[split] = self._locate(split)
        return self._parts[split]

    def _locate(self, split: Split) -> FileTask:
        source = self.design.sources[split]
        if self._path is not None:
            return self._make(_inside(Path(self._path).expanduser(), source), split=split)
        data = os.environ.get("PONDER_DATA")
        if data and (file := Path(data).expanduser() / source.file).exists():
            return self._make(file, split=split)
        if source.public and importlib.util.find_spec("huggingface_hub") is not None:
            return self._make(source.public, split=split, read=partial(_public_rows, source))
        tried = f"not found in PONDER_DATA ({data})" if data else "PONDER_DATA is not set"
        extra = f"; or pip install 'ponder[hub,parquet]' to fetch {source.public}" if source.public else ""
        raise DataError(
            f"{self.name}: no data for the {split} split: {source.file} {tried}; "
            f"give its file or folder with path=…, or set PONDER_DATA to the folder above it{extra}"
        )


def _split_of(path: Path, design: Design) -> Split:
    named: list[Split] = [s for s, source in design.sources.items() if Path(source.file).name == path.name]
    split: Split = named[0] if named else "train" if "train" in path.name else "test"
    if split not in design.sources:
        raise DataError(f"{path}: looks like a {split} split; this benchmark has only {', '.join(design.sources)}")
    return split


def _inside(path: Path, source: Source) -> Path:
    """The file of a source in a folder, by its whole usual path or its last name; a path that is a file is itself."""
    if not path.is_dir():
        return path
    return next((f for f in (path / source.file, path / Path(source.file).name) if f.exists()), path / source.file)


def _public_rows(source: Source, path: str | Path) -> Iterator[Row | DataError]:
    """Rows of a public data set: its parquet files, fetched once into the usual cache."""
    hub: Any = importlib.import_module("huggingface_hub")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its retries are ours to report
    for part in source.parts:
        Progress().note(f"looking up {part} of the public data set {source.public}")
        try:
            file = hub.hf_hub_download(source.public, part, repo_type="dataset", revision=PUBLIC_REVISION)
        except Exception as error:  # noqa: BLE001 - the library raises its own, requests' and OSError alike
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise DataError(
                f"{source.public}: {part} can not be fetched ({first}); give its file with path=…, or set PONDER_DATA"
            ) from None
        yield from read_rows(file)


NAMED: Mapping[str, Callable[..., Benchmark]] = {
    name: partial(Benchmark, name, design) for name, design in DESIGNS.items()
}
