"""Generated bugs: reference programs with a small fault put in, each shown by running it to break a hidden test.

A fault is one of `mutants`, made in a reference program of the shelf (short programs of several functions, some of two files,
in the folder `shelf`) or of a benchmark (`mbpp`, `humaneval`, where their data is there). The mutant is kept when it compiles
to something else than the reference and the sandbox finds that a hidden test fails; whether a visible one fails too is in the
tag `visible`. What the sandbox said is kept (`verdicts`), so the same bugs come at once the next time. References are written
by the same `ast.unparse`, so neither layout nor comments point at the fault.

The order is decided by the seed: programs take turns, so a short list has many programs. The split is that of the program, not
of the fault, so no training problem shows the repair of a test problem: benchmark programs keep their published split, those of
the shelf go by the hash of their name, half to train, two tenths to dev, three tenths to test.
Not covered: bugs that people made (`quixbugs`), faults across files, a model's own bugs.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ponder.errors import ConfigError, DataError, unknown
from ponder.graders.code import CodeGrader
from ponder.graders.programs import program_of
from ponder.graders.repair import RepairGrader
from ponder.progress import Progress
from ponder.tasks.base import SPLITS
from ponder.tasks.files import checked_limit
from ponder.tasks.mutants import Edit, edits, fingerprint, mutated, parse
from ponder.tasks.named import NAMED
from ponder.tasks.repairs import question
from ponder.tasks.verdicts import Tested, Verdicts
from ponder.types import Problem, Split, content_hash

SHELF = Path(__file__).with_name("shelf")
SOURCES = ("shelf", "mbpp", "humaneval")
VISIBLE = ("any", "fail", "pass")
AT_ONCE = 16
CPU_SECONDS, MEMORY_MB = 0.5, 64  # many a fault never ends, or fills the memory


@dataclass(frozen=True, slots=True)
class Program:
    """A reference program: its files (the one that is run first), what it is to do, the reference of the `code` grader."""

    name: str
    source: str
    says: str
    files: Mapping[str, str]
    reference: Mapping[str, Any]
    split: Split


class Bugs:
    """Task `bugs`. `sources` are where the programs come from; `each` is the most bugs of one program; `visible` keeps the bugs
    whose visible tests "fail" or "pass" only; `require` is the least isolation to run them at."""

    name = "bugs"

    def __init__(
        self, sources: Sequence[str] = ("shelf",), each: int = 5, visible: str = "any", require: str | None = None
    ) -> None:
        self.sources = (sources,) if isinstance(sources, str) else tuple(sources)
        for source in self.sources:
            if source not in SOURCES:
                raise unknown("source of bugs", source, SOURCES)
        if visible not in VISIBLE:
            raise unknown("kind of visible tests", visible, VISIBLE)
        if each < 1:
            raise ConfigError(f"each = {each}: at least one bug of a program")
        self.each, self.visible = each, visible
        self._verdicts = Verdicts(require)
        self.grader = RepairGrader(CodeGrader(require=require))

    def programs(self, split: Split) -> list[Program]:
        """The reference programs of a split; `DataError` when a source's data is not there."""
        return [program for source in self.sources for program in _programs(source, split)]

    def problems(self, split: Split, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """The first `limit` bugs of `split` in the order of `seed`, a prefix of every longer list."""
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        wanted, found = checked_limit(limit), list[Problem]()
        waiting = [_Bench(program, seed) for program in self.programs(split)]
        waiting.sort(key=lambda bench: content_hash([seed, bench.program.name]))
        most = len(waiting) * self.each
        with Progress() as progress:
            bar = progress.bar("bugs made and tested", most if wanted is None else min(wanted, most))
            for _ in range(self.each):
                row, waiting = waiting, []
                while row:
                    size = AT_ONCE if wanted is None else min(AT_ONCE, wanted - len(found))
                    chunk, row = row[:size], row[size:]
                    made = self._next(chunk)
                    waiting += [bench for bench in chunk if made[bench.program.name] is not None]
                    found += [problem for bench in chunk if (problem := made[bench.program.name]) is not None]
                    bar.advance(len(found) - bar.done)
                    if wanted is not None and len(found) >= wanted:
                        return found
        return found

    def _next(self, chunk: Sequence[_Bench]) -> dict[str, Problem | None]:
        """The next bug of every program, None for one that has no more."""
        made: dict[str, Problem | None] = {}
        open_ = self._sound(chunk)
        made |= {bench.program.name: None for bench in chunk}
        while open_:
            tried = [(bench, files) for bench in open_ if (files := bench.draw()) is not None]
            hidden = self._verdicts.passes("hidden", [_tested(*pair) for pair in tried])
            kept = [pair for pair, passes in zip(tried, hidden, strict=True) if not passes]
            for (bench, files), shown in zip(kept, self._shown(kept), strict=True):
                if self.visible in ("any", shown):
                    made[bench.program.name] = bench.problem(files, shown)
            open_ = [bench for bench, _ in tried if made[bench.program.name] is None]
        return made

    def _shown(self, kept: Sequence[tuple[_Bench, Mapping[str, str]]]) -> list[str]:
        """What the visible tests say of each: "pass", "fail", or "none" where there are none."""
        able = [pair for pair in kept if pair[0].program.reference.get("visible")]
        verdicts = iter(self._verdicts.passes("visible", [_tested(*pair) for pair in able]))
        return [
            ("pass" if next(verdicts) else "fail") if bench.program.reference.get("visible") else "none"
            for bench, _ in kept
        ]

    def _sound(self, chunk: Sequence[_Bench]) -> list[_Bench]:
        """The programs whose reference, as it is written, passes its own tests; each is looked at once."""
        new = [bench for bench in chunk if bench.sound is None]
        verdicts = self._verdicts.passes("all", [_tested(bench, bench.files) for bench in new])
        for bench, passes in zip(new, verdicts, strict=True):
            bench.sound = passes
        return [bench for bench in chunk if bench.sound]


@dataclass(slots=True)
class _Bench:
    """A program with its faults in the order of the seed; `drawn` are those taken."""

    program: Program
    seed: int
    sound: bool | None = None
    trees: dict[str, ast.Module] = field(default_factory=dict[str, ast.Module])
    files: dict[str, str] = field(default_factory=dict[str, str])
    order: list[tuple[str, Edit]] = field(default_factory=list[tuple[str, Edit]])
    known: set[object] = field(default_factory=set[object])
    fault: str = ""

    def __post_init__(self) -> None:
        self.trees = {name: parse(text) for name, text in self.program.files.items()}
        self.files = {name: mutated(tree, ()).text for name, tree in self.trees.items()}
        self.known = {fingerprint(text) for text in self.files.values()}
        every = [(name, edit) for name, tree in self.trees.items() for edit in edits(tree)]
        self.order = sorted(every, key=lambda e: content_hash([self.seed, self.program.name, e[0], *_plain(e[1])]))

    def draw(self) -> dict[str, str] | None:
        """The files with the next fault that makes another program; None when there is no more."""
        while self.order:
            name, edit = self.order.pop(0)
            text = mutated(self.trees[name], [edit]).text
            key = fingerprint(text)
            if key not in self.known:
                self.known.add(key)
                self.fault = edit.operator
                return self.files | {name: text}
        return None

    def problem(self, files: Mapping[str, str], visible: str) -> Problem:
        program = self.program
        says = f"{program.says.strip()}\n\nOne statement of this program is wrong. Repair it."
        tags = {"program": program.name, "source": program.source, "fault": self.fault, "visible": visible}
        reference = {**program.reference, "files": dict(files)}
        return Problem(question(says, files, program.reference), reference, "bugs", tags)


def _plain(edit: Edit) -> tuple[int, int, str]:
    return edit.statement, edit.number, edit.operator


def _tested(bench: _Bench, files: Mapping[str, str]) -> Tested:
    return bench.program.name, bench.program.reference, files


def _programs(source: str, split: Split) -> Iterator[Program]:
    found = shelf() if source == "shelf" else _benchmark(source, split)
    return (program for program in found if program.split == split)


def shelf() -> Iterator[Program]:
    """The reference programs that ship with the package, by name."""
    for path in sorted(SHELF.glob("*.toml")):
        row = tomllib.loads(path.read_text(encoding="utf-8"))
        visible = {"asserts": [f"assert {test}" for test in row["visible"]]}
        reference = {
            "entry": row["entry"],
            "asserts": [f"assert {test}" for test in row["hidden"]],
            "visible": visible,
            "cpu_seconds": CPU_SECONDS,
            "memory_mb": MEMORY_MB,
        }
        says = " ".join(row["says"].split())
        yield Program(path.stem, "shelf", says, row["files"], reference, split_of(path.stem))


def split_of(name: str) -> Split:
    """The split of a program of the shelf."""
    bucket = int(content_hash(["shelf", name])[:8], 16) % 10
    return "train" if bucket < 5 else "dev" if bucket < 7 else "test"


def _benchmark(name: str, split: Split) -> Iterator[Program]:
    """The reference programs of a benchmark's split that can be mutated; none where the benchmark has no such split."""
    task = NAMED[name]()
    for problem in task.problems(split) if split in task.splits else ():
        text = program_of(task.demonstrate(problem).text)
        try:
            parse(text or "")
        except DataError:
            continue
        assert text is not None
        says = problem.text.partition("\nThis must hold:")[0].partition("\n\n```python")[0]
        if name == "humaneval":
            says = "The function is to do what its docstring says."
        key = f"{name}/{problem.tags['task_id']}"
        yield Program(key, name, says, {"program.py": text}, _whole(problem.reference), split)


def _whole(given: Mapping[str, Any]) -> dict[str, Any]:
    """The reference for whole programs: the text a body completes only serves the tests, and a fault that never ends gets less
    time than the benchmark gives."""
    reference = {**given, "cpu_seconds": 2 * CPU_SECONDS}
    prompt = reference.pop("prompt", "")
    return {"setup": prompt, **reference} if prompt else reference
