"""Compact layout of a program: one blank of indentation, no blank that Python does not need, the lines as they are.

Rows of labels show a reference and its mutants in one layout, so that nothing but the fault tells them apart: as `ast.unparse`
writes them, or compact where the reference itself is written so, as small models' programs are.
"""

from __future__ import annotations

import io
import tokenize
from collections.abc import Sequence

_WORDS = (tokenize.NAME, tokenize.NUMBER, tokenize.STRING)
_SILENT = (tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER, tokenize.COMMENT)


def compact(text: str) -> str | None:
    """The program of `text`, compact, with as many lines; None where a token spans several lines or the text is no program."""
    lines = [""] * text.count("\n")
    depth, before = 0, -1
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            depth += (token.type == tokenize.INDENT) - (token.type == tokenize.DEDENT)
            if token.type in _SILENT:
                continue
            if token.start[0] != token.end[0]:
                return None
            row, kind = token.start[0] - 1, token.type
            if not lines[row]:
                lines[row] = " " * depth
            elif kind in _WORDS and before in _WORDS:
                lines[row] += " "
            lines[row] += token.string
            before = kind
    except (tokenize.TokenError, SyntaxError, IndexError):
        return None
    return "".join(line + "\n" for line in lines)


def laid_out(steps: tuple[str, ...]) -> tuple[str, ...]:
    """The steps of a program in compact layout; as they are where there is none."""
    written = compact("".join(steps))
    if written is None:
        return steps
    lines = iter(written.splitlines(keepends=True))
    return tuple("".join(next(lines) for _ in range(step.count("\n"))) for step in steps)


def by_line(steps: Sequence[str], labels: Sequence[float | None]) -> tuple[tuple[str, ...], tuple[float | None, ...]]:
    """The steps cut at every line's end, where a search with a small model cuts them too (`text.steps`), and their labels.

    A line in front of a step's last one, such as `else:`, is right where its step is and wrong where the step before is;
    between a right step and one that is wrong or unknown, nobody has checked the program up to it.
    """
    lines: list[str] = []
    found: list[float | None] = []
    before: float | None = 1.0
    for step, label in zip(steps, labels, strict=True):
        mine = step.splitlines(keepends=True)
        lines += mine
        found += [1.0 if label == 1.0 else 0.0 if before == 0.0 else None] * (len(mine) - 1) + [label]
        before = label
    return tuple(lines), tuple(found)
