"""Stored samples for `submit`: a JSONL row per program, its hidden verdict beside it but never in it.

    {"id": "p1", "subtask": "a", "code": "…", "public": [true], "outputs": {"i1": {"status": "ok", "text": "4"}},
     "learned": 0.7, "earned": {"a": 1.0}}

`earned`, where it is known, goes to the truth that only the judge and the report read. A partial last line is passed over.
Not covered: files larger than memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from ponder.errors import DataError
from ponder.files import append_line
from ponder.search.submit import Output, Program


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    id: str
    subtask: str
    code: str
    public: tuple[bool | None, ...] = ()
    outputs: dict[str, Output] = {}
    learned: float | None = None
    earned: dict[str, float] | None = None


def write(path: str | Path, programs: Sequence[Program], truth: Mapping[str, Mapping[str, float]] | None = None) -> int:
    """Append the programs, with what `truth` knows of them, to a JSONL file and return how many."""
    for p in programs:
        earned = None if truth is None or p.id not in truth else dict(truth[p.id])
        row = _Row(
            id=p.id,
            subtask=p.subtask,
            code=p.code,
            public=p.public,
            outputs=dict(p.outputs),
            learned=p.learned,
            earned=earned,
        )
        append_line(Path(path), msgspec.json.encode(row))
    return len(programs)


def read(path: str | Path) -> tuple[list[Program], dict[str, dict[str, float]]]:
    """The programs of a file and what is known of their hidden tests; DataError names path and line."""
    decode = msgspec.json.Decoder(_Row).decode
    programs: list[Program] = []
    truth: dict[str, dict[str, float]] = {}
    try:
        with Path(path).open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    row = decode(line)
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    if not line.endswith(b"\n"):
                        break
                    raise DataError(f"{path}:{number}: not a stored program ({error})") from None
                programs.append(Program(row.id, row.subtask, row.code, row.public, row.outputs, row.learned))
                if row.earned is not None:
                    truth[row.id] = row.earned
    except OSError as error:
        raise DataError(f"{path}: can not be read ({error.strerror or error}); give a JSONL file of programs") from None
    return programs, truth
