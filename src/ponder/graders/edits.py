"""Edits of a program, as a model writes them in an answer: read, checked against the files there are, applied in memory.

    calc.py                              a part of a file: its lines as they stand, and what is to stand there instead
    <<<<<<< SEARCH
        return a - b
    =======
        return a + b
    >>>>>>> REPLACE

    calc.py                              or a whole file, in a fenced block
    ```python
    …
    ```

The name stands on the line before the block and may be left out where there is one file. An answer with a SEARCH mark holds
only such parts; fences around them mean nothing. The searched lines must stand in the file exactly once, blanks at the ends
of lines apart, and are matched by whole lines. Edits are made in order, and either all of them or none: a refusal says which
one and why, in words for the model. A name is looked up among the files, never a path; nothing here touches a disk, nothing
is parsed or run. Sizes are bounded and every scan is linear. Not covered: new files, renaming, deleting, unified diffs.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SEARCH, MIDDLE, REPLACE, FENCE = "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE", "```"
LONGEST = 200_000
LARGEST = 100_000
MOST = 50
FORMAT = f"""\
Answer with edits. An edit of a part gives the lines as they stand in the file, each of them whole, and what is to stand there:

NAME
{SEARCH}
lines as they are
{MIDDLE}
lines as they should be
{REPLACE}

Or give a whole file: its name on a line, then all of it in one ```python block. Say DONE, on a line of its own, instead of \
editing when there is nothing left to repair."""


class EditError(ValueError):
    """Edits that can not be made; the text says why, in words for whoever wrote them."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Put `new` in the place of the lines `old` of the file called `name`; `old` None stands for the whole file."""

    name: str
    old: str | None
    new: str


def read(answer: str, names: Sequence[str]) -> list[Edit]:
    """The edits in an answer, empty where it holds none. `EditError`: broken blocks, unknown names, too much of anything."""
    if len(answer) > LONGEST:
        raise EditError(f"the answer has {len(answer)} characters; edits are read in at most {LONGEST}")
    lines = answer.replace("\r\n", "\n").split("\n")
    found = _parts(lines, names) if any(line.strip() == SEARCH for line in lines) else _wholes(lines, names)
    if len(found) > MOST:
        raise EditError(f"{len(found)} edits; at most {MOST} in an answer")
    return found


def apply(files: Mapping[str, str], edits: Sequence[Edit]) -> dict[str, str]:
    """The files with all edits made, in their order; `EditError`, and nothing is made, when one of them can not be."""
    made = dict(files)
    for number, edit in enumerate(edits, 1):
        text = edit.new if edit.old is None else _replaced(made[edit.name], edit, f"edit {number}, {edit.name}")
        text = text.strip("\n") + "\n"
        if len(text) > LARGEST:
            raise EditError(f"edit {number} makes {edit.name} {len(text)} characters long; at most {LARGEST}")
        made[edit.name] = text
    return made


def says_done(answer: str) -> bool:
    """Does a line of the answer say DONE and nothing else?"""
    return any(line.strip(" .!*`") == "DONE" for line in answer.split("\n"))


def diff(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """The difference as a unified diff; empty when there is none."""
    return "".join(
        line if line.endswith("\n") else line + "\n"
        for name in before
        for line in difflib.unified_diff(
            before[name].splitlines(keepends=True), after[name].splitlines(keepends=True), f"a/{name}", f"b/{name}"
        )
    )


def _parts(lines: Sequence[str], names: Sequence[str]) -> list[Edit]:
    """The SEARCH/REPLACE blocks; a block that gives no name is about the file of the block before it."""
    found: list[Edit] = []
    place = 0
    before: list[str] = []
    while place < len(lines):
        if lines[place].strip() != SEARCH:
            before.append(lines[place])
            place += 1
            continue
        where = f"the block at line {place + 1}"
        middle = _mark(lines, place + 1, MIDDLE, where)
        end = _mark(lines, middle + 1, REPLACE, where)
        name = _named(before, names, found[-1].name if found else None, where)
        old = "\n".join(lines[place + 1 : middle])
        if not old.strip():
            raise EditError(f"{where} searches for nothing; give the lines to replace, or the whole file")
        found.append(Edit(name, old, "\n".join(lines[middle + 1 : end])))
        place, before = end + 1, []
    return found


def _mark(lines: Sequence[str], start: int, mark: str, where: str) -> int:
    for place in range(start, len(lines)):
        line = lines[place].strip()
        if line == mark:
            return place
        if line in (SEARCH, REPLACE):
            raise EditError(f"{where}: found '{line}' before '{mark}'")
    raise EditError(f"{where} has no line '{mark}'; was the answer cut off?")


def _wholes(lines: Sequence[str], names: Sequence[str]) -> list[Edit]:
    """Whole files in fenced blocks. Where there is one file, the last block is it; else a block needs its name."""
    blocks: list[tuple[list[str], str]] = []
    before, inside, opened = list[str](), list[str](), False
    for line in lines:
        bare = line.strip()
        if opened and bare == FENCE:
            blocks.append((before, "\n".join(inside)))
            before, inside, opened = [], [], False
        elif opened:
            inside.append(line)
        elif bare.startswith(FENCE):
            opened = True
        else:
            before.append(line)
    if opened:
        raise EditError("a fenced block is not closed; was the answer cut off?")
    if len(names) == 1:
        blocks = blocks[-1:]
    found = [Edit(_named(head, names, None, "a fenced block"), None, text) for head, text in blocks]
    if any(not edit.new.strip() for edit in found):
        raise EditError("a fenced block is empty; a file is not emptied")
    return found


def _named(before: Sequence[str], names: Sequence[str], usual: str | None, where: str) -> str:
    """The file a block is about: the name on the last line before it, the only file there is, or the usual one.

    What looks like the name of a file and is none of ours is refused, so that an edit never lands in another file than said.
    """
    said = next(
        (line.strip() for line in reversed(before) if line.strip(" `") and not line.strip().startswith(FENCE)), ""
    )
    word = said.strip("`*#: ").removeprefix("./")
    if word in names:
        return word
    if word and " " not in word and ("/" in word or "\\" in word or word.endswith(".py")):
        raise EditError(f"{where}: no file {word[:60]!r} can be edited; these can: {', '.join(names)}")
    if len(names) == 1 or usual is not None:
        return usual or names[0]
    raise EditError(
        f"{where} does not say which file it is about; put one of these on the line before it: {', '.join(names)}"
    )


def _replaced(text: str, edit: Edit, where: str) -> str:
    assert edit.old is not None
    lines = text.strip("\n").split("\n")
    old = edit.old.strip("\n").split("\n")
    hay, needle = _flat(lines), _flat(old)
    at = hay.find(needle)
    if at < 0:
        raise EditError(f"{where}: the searched lines do not stand in the file{_nearest(old, lines)}")
    if hay.find(needle, at + 1) >= 0:
        raise EditError(
            f"{where}: the searched lines stand in the file more than once; search for more lines around them"
        )
    first = hay.count("\n", 0, at + 1) - 1
    new = edit.new.split("\n") if edit.new else []
    return "\n".join([*lines[:first], *new, *lines[first + len(old) :]])


def _flat(lines: Sequence[str]) -> str:
    return "\n" + "\n".join(line.rstrip() for line in lines) + "\n"


def _nearest(old: Sequence[str], lines: Sequence[str]) -> str:
    """The line of the file most like the first searched line that it lacks."""
    have = {line.rstrip() for line in lines}
    lost = next((line.rstrip() for line in old if line.rstrip() not in have), None)
    if lost is None:
        return " in this order"
    near = difflib.get_close_matches(lost[:200], [line[:200] for line in lines[:2000]], n=1, cutoff=0.6)
    return f": {lost[:100]!r}" + (f"; the nearest line is {near[0].rstrip()!r}" if near else "")
