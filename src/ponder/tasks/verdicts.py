"""Whether programs pass their tests, asked of the sandbox once: what it said is kept in the user's cache folder.

Finding bugs runs many programs, and those that never end cost the most. A verdict depends on the program, its tests and what
judges them, so it is kept by a hash of the first two in a file named by a hash of the third: the sources of the graders and of
the sandbox, and Python's version. Another release begins another file. Where the folder can not be written nothing is kept.
What could not be judged is not kept. The file is only ever read as JSON, and a damaged line is passed over.
Not covered: forgetting (a thousand verdicts are about 50 kB).
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from ponder import graders, sandbox
from ponder.errors import WorkError
from ponder.files import append_line, cache_folder, ours
from ponder.graders.code import CodeGrader
from ponder.graders.repair import completion_of
from ponder.types import content_hash

Audience = Literal["all", "hidden", "visible"]
Tested = tuple[str, Mapping[str, Any], Mapping[str, str]]
"""A program: its name, the reference of the `code` grader, its files."""


class _Line(msgspec.Struct, frozen=True):
    key: str
    passes: bool


@dataclass(slots=True)
class Verdicts:
    """Tells whether programs pass. `require` is the least isolation to run them at; `asked` counts those that were run."""

    require: str | None = None
    asked: int = 0
    _path: Path | None = None
    _known: dict[str, bool] | None = field(default=None, repr=False)

    def passes(self, audience: Audience, programs: Sequence[Tested]) -> list[bool]:
        """Does each program pass the tests of `audience`? WorkError where the sandbox could not tell."""
        known = self._read()
        keys = [content_hash([audience, dict(reference), dict(files)]) for _, reference, files in programs]
        new = {key: program for key, program in zip(keys, programs, strict=True) if key not in known}
        grader = CodeGrader(tests=audience, stop=True, require=self.require)
        pairs = [
            (reference, completion_of(files, str(reference.get("entry", "")))) for _, reference, files in new.values()
        ]
        fresh = dict[str, bool]()
        unknown = ""
        for (key, (name, _, _)), grade in zip(new.items(), grader.check_many(pairs), strict=True):
            if grade.score is None:
                unknown = unknown or f"the tests of '{name}' could not be run: {grade.reason}"
            else:
                fresh[key] = grade.correct
        self.asked += len(new)
        self._keep(fresh)
        if unknown:
            raise WorkError(unknown)
        return [known[key] for key in keys]

    def _read(self) -> dict[str, bool]:
        if self._known is None:
            self._known = {}
            folder = cache_folder()
            self._path = None if folder is None else folder / f"verdicts-{_judges()}.jsonl"
            if self._path is not None and self._path.exists():
                if not ours(self._path):
                    self._path = None
                    return self._known
                for line in self._path.read_bytes().split(b"\n"):
                    try:
                        found = msgspec.json.decode(line, type=_Line)
                    except (msgspec.DecodeError, msgspec.ValidationError):
                        continue
                    self._known[found.key] = found.passes
        return self._known

    def _keep(self, fresh: Mapping[str, bool]) -> None:
        self._read().update(fresh)
        if self._path is None or not fresh:
            return
        try:
            append_line(self._path, b"\n".join(msgspec.json.encode(_Line(*pair)) for pair in fresh.items()))
        except WorkError:
            self._path = None  # a full disk: it is only a cache


def _judges() -> str:
    """A hash of what a verdict depends on beside the program and its tests."""
    told = hashlib.blake2b(repr(sys.version_info[:3]).encode(), digest_size=8)
    for package in (graders, sandbox):
        for path in sorted(Path(str(package.__file__)).parent.glob("*.py")):
            told.update(path.name.encode() + b"\0" + path.read_bytes())
    return told.hexdigest()
