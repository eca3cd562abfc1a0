"""Cutting a text into steps by meaning; the pieces joined are the text, character for character.

In this order, each only where the ones before it find nothing to cut:

1. paragraphs: blank lines, headings, numbered lines ("Step 2:", "3."), the end of the thinking. A heading goes with what it
   heads, a displayed formula with the sentence that leads to it, a paragraph that goes on ("where …") with the one before;
2. lines;
3. sentences, gathered until they have `LEAST` characters.

A paragraph longer than `MOST` is cut into sentences too. Displayed mathematics, environments and code fences are never cut,
sentences end outside `$…$` alone. The miniature's steps are cut on token ids instead (`ponder.text.steps`), where its search
cuts them. Every scan is one pass. Not covered: tables, nested lists (an item is a step only if it is numbered).
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from ponder.text.steps import cut, step_ids

LEAST, MOST = 60, 800
LONGEST_HEADING = 200
_BLANK = re.compile(r"\n[ \t]*\n\s*")
_OPENER = re.compile(
    r"^(?=[ \t]*(?:#{1,6}[ \t]|(?:\*\*)?step[ \t]*\d|(?:\*\*)?\(?\d{1,3}[.)](?:\*\*)?[ \t]))",
    re.IGNORECASE | re.MULTILINE,
)
_HEADING = re.compile(
    r"\s*(?:#{1,6}[^\n]*|\*\*[^\n*]*\*\*:?|(?:\*\*)?step[ \t]*\d+[.:)]?(?:\*\*)?:?)\s*", re.IGNORECASE
)
_GOES_ON = re.compile(r"</think>|(?:where|which|so that|and|or|with|for (?:all|some|every))\b")
_SPACE = re.compile(r"\s*")
_CLOSE = re.compile(r"</think>\s*")
_LINE = re.compile(r"\n\s*")
_SENTENCE = re.compile(r"[.!?][\"')\]]*\s+(?=[\"'(\[]*[A-Z0-9$\\])")
_SHORT = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|vs|eq|fig|no|dr|mr|mrs|approx|resp|etc|thm|lem|sec)|\b[A-Z]|(?:^|\n)\s*\d{1,3})\.$", re.I
)
_GUARD = re.compile(r"^```[^\n]*$|\$\$|\\\[|\\begin\{([a-zA-Z]+\*?)\}", re.MULTILINE)
_CLOSING = re.compile(r"^```[ \t]*$|\$\$|\\\]|\\end\{[a-zA-Z]+\*?\}", re.MULTILINE)
_INLINE = re.compile(r"\\\(.{0,2000}?\\\)|(?<![\\$])\$[^$\n]{1,400}\$", re.DOTALL)

Span = tuple[int, int]


def split(text: str) -> list[str]:
    """The steps of `text`, none of them blank unless all of it is; empty for an empty text."""
    cuts = boundaries(text)
    return [text[a:b] for a, b in zip((0, *cuts), (*cuts, len(text)), strict=True) if a < b]


def boundaries(text: str) -> list[int]:
    """The characters at which a step other than the first begins, rising."""
    shut = guarded(text)
    found = _joined(text, _ends(_BLANK, text, shut) | _ends(_CLOSE, text, shut) | _openers(text, shut), shut)
    if not found:
        found = _joined(text, _ends(_LINE, text, shut), shut)
    edges = [0, *found, len(text)]
    whole = not found
    for a, b in pairwise(edges):
        if whole or b - a > MOST:
            found += _sentences(text, a, b, shut)
    return sorted(set(found))


def segment(tokenizer: Any, token_ids: Sequence[int]) -> tuple[int, ...]:
    """Where the steps of a completion begin, in tokens: by ids for the miniature, else by meaning.

    A token that reaches over a step's end belongs to the step in which it begins.
    """
    if tokenizer.is_mini:
        return cut(token_ids, step_ids(tokenizer))
    text: str = tokenizer.decode(token_ids)
    return align(boundaries(text), len(token_ids), lambda count: len(tokenizer.decode(token_ids[:count])))


def align(cuts: Sequence[int], count: int, length: Callable[[int], int]) -> tuple[int, ...]:
    """Character positions as token positions; `length(n)` is how many characters the first n of `count` tokens spell."""
    starts = [0]
    for place in cuts:
        low = bisect_left(range(count + 1), place, key=length)
        if starts[-1] < low < count:
            starts.append(low)
    return tuple(starts)


def guarded(text: str) -> list[Span]:
    """The spans that are never cut, rising and apart: code fences, displayed mathematics, environments.

    A fence that never closes holds the rest; other marks that never close hold nothing.
    """
    closing = _closings(text)
    spans: list[Span] = []
    place = 0
    while (found := _GUARD.search(text, place)) is not None:
        mark = found[0]
        name = "```" if mark.startswith("```") else {"$$": "$$", "\\[": "\\]"}.get(mark) or f"\\end{{{found[1]}}}"
        ends = closing.get(name, [])
        at = bisect_left(ends, (found.end(), 0))
        if at == len(ends) and name != "```":
            place = found.end()
            continue
        place = ends[at][1] if at < len(ends) else len(text)
        spans.append((found.start(), place))
    return spans


def _closings(text: str) -> dict[str, list[Span]]:
    """Where each kind of guarded span may end."""
    found: dict[str, list[Span]] = {}
    for m in _CLOSING.finditer(text):
        found.setdefault(m[0].rstrip() if m[0].startswith("```") else m[0], []).append((m.start(), m.end()))
    return found


def _inside(place: int, shut: Sequence[Span]) -> bool:
    """Would a cut at `place` divide a guarded span?"""
    k = bisect_right(shut, place, key=lambda span: span[0]) - 1
    return k >= 0 and shut[k][0] < place < shut[k][1]


def _ends(mark: re.Pattern[str], text: str, shut: Sequence[Span]) -> set[int]:
    """The ends of what `mark` finds, where a cut may be."""
    return {m.end() for m in mark.finditer(text) if not _inside(m.start(), shut) and not _inside(m.end(), shut)}


def _openers(text: str, shut: Sequence[Span]) -> set[int]:
    return {m.start() for m in _OPENER.finditer(text) if not _inside(m.start(), shut)}


def _joined(text: str, places: set[int], shut: Sequence[Span]) -> list[int]:
    """The places that stay when what belongs together is joined."""
    formulas = {a for a, _ in shut if text[a] in "$\\"}
    kept: list[int] = []
    last = 0
    for place in sorted(places):
        first, end = _SPACE.match(text, place), place
        assert first is not None
        while end > last and text[end - 1].isspace():
            end -= 1
        if end == last or first.end() == len(text) or text[end - 1] in ":,":
            continue
        if first.end() in formulas or _GOES_ON.match(text, first.end()):
            continue
        if place - last <= LONGEST_HEADING and _HEADING.fullmatch(text, last, place):
            continue
        kept.append(place)
        last = place
    return kept


def _sentences(text: str, start: int, end: int, shut: Sequence[Span]) -> list[int]:
    """Where sentences of `text[start:end]` begin, gathered until a step has `LEAST` characters."""
    inline = [(m.start(), m.end()) for m in _INLINE.finditer(text, start, end)]
    kept: list[int] = []
    last = start
    for found in _SENTENCE.finditer(text, start, end):
        place = found.end()
        stop = found.start() + 1
        if _SHORT.search(text, max(start, stop - 12), stop) or _inside(place, shut) or _inside(found.start(), inline):
            continue
        if place - last >= LEAST and text[place:end].strip() and not _inside(place, inline):
            kept.append(place)
            last = place
    if kept and end - kept[-1] < LEAST:
        kept.pop()
    return kept
