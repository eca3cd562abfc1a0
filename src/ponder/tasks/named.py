"""Named benchmarks, read from a path, PONDER_DATA or their public names.

Design: a benchmark is one `FileTask` per split and a function that reads its raw rows; nothing else differs. Files are
looked for at `path=…`, else under the folder in PONDER_DATA, else fetched by public name (`huggingface_hub`, parquet)
where that is installed. A published test file is declared to be the test split, a published dev file the dev split.
Training files without one give up the tenth of their problems whose hash says dev, to watch progress without looking
at the test (`dev=False` keeps them). Every reference is checked by `tests/tasks`: handed in as the answer, it is graded
correct. Not covered: few-shot prompts; the benchmarks' own graders, which ours replace.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ponder.errors import DataError, unknown
from ponder.progress import Progress
from ponder.tasks.base import SPLITS
from ponder.tasks.benchmarks import BOXED, DESIGNS, Design, Source
from ponder.tasks.files import FileTask, checked_limit, grader_of, ordered
from ponder.tasks.programs import PROGRAMS
from ponder.tasks.quizzes import QUIZZES
from ponder.tasks.rows import Row, read_rows
from ponder.types import Demonstration, Effort, Grader, Problem, Split

__all__ = ["BOXED", "NAMED", "Benchmark"]
PUBLIC_REVISION = "refs/convert/parquet"


class Benchmark:
    """A task of one source per split. Raises `DataError` when a split does not exist or its data can not be got.

    `path` is the file of one split (a name with "train" in it is the training split) or a folder that holds the files
    by their usual names. `template` wraps the question and `grader` replaces the benchmark's own; `dev` False leaves the
    training file whole. `subset` names the parts to take of a benchmark that has several files: all that are there
    unless told.
    """

    def __init__(
        self,
        name: str,
        design: Design,
        *,
        path: str | Path | None = None,
        template: str = "",
        grader: str | Mapping[str, Any] | Grader = "",
        dev: bool = True,
        subset: str | Sequence[str] = (),
    ) -> None:
        self.name, self.design = name, design
        self._path, self._dev, self._grader = path, dev, grader or design.grader
        self._subsets = (subset,) if isinstance(subset, str) else tuple(subset)
        for part in self._subsets:
            if part not in design.subsets:
                raise unknown(f"subset of '{name}'", part, design.subsets)
        self._make: Callable[..., FileTask] = partial(
            FileTask,
            columns=design.columns,
            name=name,
            template=template or design.template,
            convert=design.convert,
            repeats="error" if design.unique else "usual",
        )
        self._only: Split | None = _split_of(Path(path), design) if path and Path(path).is_file() else None
        self._parts: dict[Split, FileTask] = {}

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits this benchmark has; dev is carved out of train where none was published."""
        have = {self._only} if self._only else set(self.design.sources)
        return tuple(s for s in SPLITS if s in have or (s == "dev" and self._carves and "train" in have))

    @property
    def _carves(self) -> bool:
        return self._dev and "dev" not in self.design.sources

    @property
    def grader(self) -> Grader:
        """The grader of every split."""
        self._grader = grader_of(self._grader, self.design.grader)
        return self._grader

    def problems(self, split: Split, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """The first `limit` problems of `split` in the order of `seed`."""
        if split not in self.splits:
            raise DataError(f"{self.name}: has no {split} split; it has: {', '.join(self.splits)}")
        part = self._part(split if split in self.design.sources else "train")
        mine = (p for p in part.stream() if self._member(p, split))
        return ordered(mine, checked_limit(limit), seed)

    def _member(self, problem: Problem, split: Split) -> bool:
        if split == "test":
            return True
        mine = not self._carves or (problem.split == "dev") == (split == "dev")
        return mine and problem.id not in self.design.left_out

    def demonstrate(
        self, problem: Problem, effort: Effort | None = None, rng: random.Random | None = None
    ) -> Demonstration:
        """The written solution of a problem this task gave: as thinking, then the boxed answer."""
        part = next((p for p in self._parts.values() if p.shows(problem)), None)
        return (part or self._part("train" if "train" in self.splits else "test")).demonstrate(problem, effort, rng)

    def _part(self, split: Split) -> FileTask:
        if split not in self._parts:
            self._parts[split] = self._locate(split)
        return self._parts[split]

    def _locate(self, split: Split) -> FileTask:
        source = self.design.sources[split]
        if self._path is not None:
            return self._from(_inside(Path(self._path).expanduser(), source), source, split)
        data = os.environ.get("PONDER_DATA")
        for name in (source.file, *source.also) if data else ():
            file = Path(data or "").expanduser() / name
            if (file.parent if _many(source) else file).exists():
                return self._from(file, source, split)
        if source.public and importlib.util.find_spec("huggingface_hub") is not None:
            return self._make(source.public, split=split, read=partial(_public_rows, source, self._wanted))
        tried = f"not found in PONDER_DATA ({data})" if data else "PONDER_DATA is not set"
        extra = f"; or pip install 'ponder[hub,parquet]' to fetch {source.public}" if source.public else ""
        raise DataError(
            f"{self.name}: no data for the {split} split: {source.file} {tried}; "
            f"give its file or folder with path=…, or set PONDER_DATA to the folder above it{extra}"
        )

    def _from(self, file: Path, source: Source, split: Split) -> FileTask:
        """The rows of a file, or of the files of all subsets where its name holds `{subset}`."""
        if not self.design.subsets:
            return self._make(file, split=split, read=source.read)
        if not _many(source, file):
            return self._make(file, split=split, read=partial(_several, source, {file.name.split(".")[0]: file}))
        files = {subset: file.with_name(file.name.replace("{subset}", subset)) for subset in self._wanted}
        if not self._subsets:
            files = {subset: path for subset, path in files.items() if path.exists()} or files
        return self._make(file.parent, split=split, read=partial(_several, source, files))

    @property
    def _wanted(self) -> tuple[str, ...]:
        return self._subsets or self.design.subsets


def _many(source: Source, file: Path | None = None) -> bool:
    return "{subset}" in (file.name if file is not None else source.file)


def _several(source: Source, files: Mapping[str, Path], path: str | Path) -> Iterator[Row | DataError]:
    """The rows of several files, each with the name of its subset."""
    for subset, file in files.items():
        for row in source.read(file):
            yield row if isinstance(row, DataError) else Row(row.where, {**row.data, "subset": subset})


def _split_of(path: Path, design: Design) -> Split:
    named: list[Split] = [s for s, source in design.sources.items() if Path(source.file).name == path.name]
    guess: Split = "train" if "train" in path.name else "test"
    if "dev" in design.sources and re.search("dev|valid", path.name, re.IGNORECASE):
        guess = "dev"
    split: Split = named[0] if named else guess
    if split not in design.sources:
        raise DataError(f"{path}: looks like a {split} split; this benchmark has only {', '.join(design.sources)}")
    return split


def _inside(path: Path, source: Source) -> Path:
    """The file of a source in a folder, by its whole usual path or its last name; a path that is a file is itself."""
    if not path.is_dir():
        return path
    if _many(source):
        whole = path / source.file
        return whole if whole.parent.is_dir() else path / whole.name
    names = [name for file in (source.file, *source.also) for name in (file, Path(file).name)]
    return next((path / name for name in names if (path / name).exists()), path / source.file)


def _public_rows(source: Source, subsets: Sequence[str], path: str | Path) -> Iterator[Row | DataError]:
    """Rows of a public data set: its parquet files, fetched once into the usual cache."""
    for subset in subsets or ("",):
        for row in _fetched(source, subset):
            yield row if isinstance(row, DataError) or not subset else Row(row.where, {**row.data, "subset": subset})


def _fetched(source: Source, subset: str) -> Iterator[Row | DataError]:
    hub: Any = importlib.import_module("huggingface_hub")
    download = hub.hf_hub_download  # found late: what it loads sets the level of its own log
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its retries are ours to report
    for name in source.parts:
        part = name.replace("{subset}", subset)
        Progress().note(f"looking up {part} of the public data set {source.public}")
        try:
            file = download(source.public, part, repo_type="dataset", revision=PUBLIC_REVISION)
        except Exception as error:  # noqa: BLE001 - the library raises its own, requests' and OSError alike
            first = (str(error).strip().splitlines() or [type(error).__name__])[0].removesuffix(".")
            raise DataError(
                f"{source.public}: {part} can not be fetched ({first}); give its file with path=…, or set PONDER_DATA"
            ) from None
        yield from read_rows(file)


NAMED: Mapping[str, Callable[..., Benchmark]] = {
    name: partial(Benchmark, name, design) for name, design in {**DESIGNS, **QUIZZES, **PROGRAMS}.items()
}
