"""The final answer of a completion: exactly one region after the closing think tag.

Design: first the region (what stands after the thinking, never the thinking itself), then one answer inside it, looked
for in this order: `\\boxed{...}`, a declared form ("#### X", "answer is X"), the whole region when it is short. Several
boxes or marks must agree, else there is no answer. Every scan is one pass without recursion, so 100,000 braces or a
megabyte of text cost milliseconds.
Not covered: answers spread over several sentences, tables, several parts of one question.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ponder.types import Completion

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\(?:boxed|fbox)(?![a-zA-Z])|\\.|[{}]", re.DOTALL)
_BARE = re.compile(r"\s*([0-9]+|[A-Za-z])")
_ANSWER_IS = re.compile(r"\banswer\s*(?:is|:|=)[ \t:*]*([^\n]*)", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\.(?:\s|$)")
_PHANTOM = re.compile(r"\\[hv]?phantom\s*\{[^{}]*\}|\\[hv]space\s*\{[^{}]*\}|\\q?quad|\\[ ,;:!]|~")
_END = re.compile(r"<\|(?:end|im_end|im_start|eot_id|endoftext|eos|user|assistant|system)\|>|</?s>|<eos>|<end_of_turn>")
_MAX_CANDIDATES = 64


@dataclass(frozen=True, slots=True)
class Rule:
    """Where an answer may stand. `marks` are strings that open a line, the answer being the rest of it."""

    boxed: bool = True
    marks: tuple[str, ...] = ("####",)
    phrases: bool = True
    whole: int = 200
    """Longest region, in characters, that may itself be the answer; 0 forbids it."""


@dataclass(frozen=True, slots=True)
class Found:
    """An answer and how it was found ("boxed", "mark", "phrase", "whole"), or no answer and the reason."""

    text: str | None
    how: str = ""
    reason: str = ""


DEFAULT = Rule()


def split(text: str) -> tuple[str | None, str | None]:
    """(thinking, region) of plain text, cut at the first closing tag; region None when the thinking never closes."""
    close = text.find(THINK_CLOSE)
    if close < 0:
        start = text.find(THINK_OPEN)
        return (None, text) if start < 0 else (text[start + len(THINK_OPEN) :], None)
    start = text.find(THINK_OPEN, 0, close)
    return text[start + len(THINK_OPEN) if start >= 0 else 0 : close], text[close + len(THINK_CLOSE) :]


def parts(completion: str | Completion) -> tuple[str | None, str | None]:
    """(thinking, region) of a completion: what the engine split on token ids, or the split of the text."""
    if isinstance(completion, str):
        return split(completion)
    if completion.answer is None and completion.thinking is None:
        return split(completion.text)
    return completion.thinking, completion.answer


def find(completion: str | Completion, rule: Rule = DEFAULT, same: Callable[[str, str], bool] | None = None) -> Found:
    """The final answer of `completion`; `same` says whether two boxed or marked answers agree (default: equal text)."""
    region = parts(completion)[1]
    if region is None:
        return Found(None, reason="thinking was not closed")
    if THINK_OPEN in region or THINK_CLOSE in region:
        return Found(None, reason="think tags inside the answer")
    region, *after = _END.split(region)
    if any(part.strip() for part in after):
        return Found(None, reason="text after the end of the answer's turn")
    cut = not isinstance(completion, str) and completion.finish == "length"
    return find_in(region, rule, same, cut)


def find_in(
    region: str, rule: Rule = DEFAULT, same: Callable[[str, str], bool] | None = None, cut: bool = False
) -> Found:
    """The answer inside a region; with `cut` (the text ended at the length limit) only a closed box counts."""
    if rule.boxed and "box" in region:
        boxes, unclosed = _boxes(region)
        if unclosed:
            return Found(None, reason="a box was not closed")
        full = [b for b in boxes if _PHANTOM.sub("", b).strip()]
        boxes = full or boxes  # an empty box among others is a blank to fill, not an answer
        if boxes:
            return _agreed(boxes, "boxed", same)
    if rule.marks:
        marked = _marked(region, rule.marks)
        if marked:
            return _cut() if cut else _agreed(marked, "mark", same)
    if rule.phrases:
        phrases = [_first_sentence(m.group(1)) for m in _ANSWER_IS.finditer(region)]
        if phrases:
            return _cut() if cut else _agreed(phrases[-1:], "phrase", same)
    text = region.strip()
    if not text:
        return Found(None, reason="no answer after the thinking")
    if len(text) > rule.whole:
        return Found(None, reason="no box, mark or phrase, and the text is too long to be an answer")
    return _cut() if cut else Found(clean(text), "whole")


def clean(text: str) -> str:
    """Without surrounding space, Markdown emphasis and a final full stop."""
    text = text.strip()
    while len(text) > 2 and text[0] == text[-1] and text[0] in "*`":
        text = text[1:-1].strip()
    if text.endswith(".") and not text.endswith(".."):
        text = text[:-1].rstrip()
    return text.strip("*").strip() if text.startswith("**") or text.endswith("**") else text


def _cut() -> Found:
    return Found(None, reason="cut off at the length limit before the answer was complete")


def _agreed(candidates: list[str], how: str, same: Callable[[str, str], bool] | None) -> Found:
    texts = list(dict.fromkeys(clean(c) for c in candidates))
    if len(texts) > _MAX_CANDIDATES:
        return Found(None, how, "several answers")
    if not texts[0]:
        return Found(None, how, "the answer is empty")
    for other in texts[1:]:
        if same is None or not same(texts[0], other):
            return Found(None, how, "several answers")
    return Found(texts[0], how)


def _boxes(text: str) -> tuple[list[str], bool]:
    """The contents of the outermost closed boxes, and whether some box never closes. One pass, explicit stack."""
    stack: list[int] = []  # where each open brace's content starts; boxes are marked by a negative number
    boxes: list[str] = []
    open_boxes = start = 0
    for match in _BRACES.finditer(text):
        token = match.group()
        if token == "{":
            stack.append(match.end())
        elif token == "}":
            if stack and stack.pop() < 0:
                open_boxes -= 1
                if open_boxes == 0:
                    boxes.append(text[start : match.start()])
        elif token[-1] == "{" and len(token) > 2:
            if open_boxes == 0:
                start = match.end()
            open_boxes += 1
            stack.append(-1)
        elif len(token) > 2 and open_boxes == 0:
            bare = _BARE.match(text, match.end())
            if bare:
                boxes.append(bare.group(1))
    return boxes, open_boxes > 0


def _marked(text: str, marks: tuple[str, ...]) -> list[str]:
    if not any(mark in text for mark in marks):
        return []
    found: list[str] = []
    for line in text.splitlines():
        line = line.strip()
        for mark in marks:
            if line.startswith(mark):
                found.append(line[len(mark) :])
                break
    return found


def _first_sentence(text: str) -> str:
    end = _SENTENCE_END.search(text)
    return text[: end.start()] if end else text
