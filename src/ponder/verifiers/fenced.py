"""Talking to a judge about text that may lie to it: fenced prompts, and replies of which only one exact form counts.

Everything that is judged stands between markers that carry a code. The code follows from the seed and the question, and is
drawn anew until it occurs nowhere in the judged text, so no text can close its own fence or spell a verdict, whatever codes
it guesses. In the reply, only what follows the last code counts, and only when it is exactly one of the allowed words to the
end; several verdicts that differ are none. What can not be ruled out by parsing is a judge that is talked into a verdict.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from itertools import count
from typing import Any

from ponder.types import Completion, Message

CODE = 12  # hexadecimal digits


def code_for(seed: int, question: str, texts: Sequence[str]) -> str:
    """A code that stands in none of `texts` nor in the question, the same for every beginning of one attempt unless it cheats."""
    held = "\n".join([question, *texts]).lower()
    for number in count():
        code = hashlib.sha256(f"{seed}/{number}/{question}".encode("utf-8", "replace")).hexdigest()[:CODE]
        if code not in held:
            return code
    raise AssertionError("a finite text holds finitely many codes")


def region(code: str, title: str, text: str) -> str:
    """`text` under a marker line."""
    return f"[{code} {title}]\n{text}\n"


def conversation(messages: Sequence[Message]) -> str:
    """The question as the judge reads it: the one user message, or all turns with their roles."""
    if len(messages) == 1:
        return messages[0].content
    return "\n".join(f"{m.role}: {m.content}" for m in messages)


def verdict(reply: str | None, code: str, words: Sequence[str]) -> str | None:
    """The verdict of a reply: `[CODE verdict] WORD` at its end, with at most white space behind. None is no verdict."""
    if reply is None or code not in reply:
        return None
    marker = f"[{code} verdict]"
    at = reply.rindex(code)
    tail = reply[at - 1 :] if at else ""
    found = next((word for word in words if re.fullmatch(re.escape(f"{marker} {word}") + r"\s*", tail)), None)
    said = {part.split()[0] if part.split() else "" for part in reply.split(marker)[1:]}
    return found if len(said) == 1 else None


def after_marker(reply: str | None, code: str, title: str) -> str:
    """What a reply says after its only `[CODE title]`, stripped; empty when it has none, or several."""
    if reply is None or reply.count(code) != 1 or f"[{code} {title}]" not in reply:
        return ""
    return reply.partition(f"[{code} {title}]")[2].strip()


def spoken(completion: Completion) -> str | None:
    """The judge's reply without its thinking; None when the thinking never closed or the reply was cut off."""
    if completion.finish != "stop":
        return None
    return completion.answer if completion.thinking is not None or completion.answer is not None else completion.text


def word_probability(tokenizer: Any, completion: Completion, word: str) -> float | None:
    """The probability with which the last `word` of a completion was drawn: the product over its tokens, None if unknown."""
    ids, logprobs = completion.token_ids, completion.logprobs
    if tokenizer is None or len(logprobs) != len(ids):
        return None
    stops = set(tokenizer.stop_ids)
    length = next((i + 1 for i in range(len(ids) - 1, -1, -1) if ids[i] not in stops), 0)
    place = tokenizer.decode(ids[:length]).rfind(word)
    if place < 0:
        return None
    first = end = length
    while first and len(tokenizer.decode(ids[:first])) > place:
        if len(tokenizer.decode(ids[: first - 1])) >= place + len(word):
            end = first - 1
        first -= 1
    total = sum(logprobs[first:end])
    return math.exp(min(0.0, total)) if not math.isnan(total) else None
