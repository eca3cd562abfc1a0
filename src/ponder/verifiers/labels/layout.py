"""Compact layout of a program: one blank of indentation, no blank that Python does not need, the lines as they are.

Rows of labels show a reference and its mutants in one layout, so that nothing but the fault tells them apart: as `ast.unparse`
writes them, or compact where the reference itself is written so, as small models' programs are.
"""

from __future__ import annotations

import io
import tokenize

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
