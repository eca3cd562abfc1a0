"""Where a step ends, on token ids: the one rule that search, labels and verifiers share.

A step ends with the first token whose text holds a step's end (a blank line; a line or `;` for the miniature); the end
belongs to the step before it. Whatever follows the last end, the answer included, is the last step.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

MINI_STEPS = ("\n", ";")
STEPS = ("\n\n",)
LINES = ("\n",)


def step_ids(tokenizer: Any, steps: Sequence[str] | None = None) -> tuple[int, ...]:
    """The tokens that end a step: those whose text holds one of `steps`. Empty without a tokenizer.

    A vocabulary of byte pairs has many tokens that end in a blank line (".\\n\\n", ")\\n\\n"); all of them count. Where none
    holds a blank line, a line ends a step.
    """
    if tokenizer is None or not hasattr(tokenizer, "inner"):
        return ()
    if steps is not None:
        return _step_ids(tokenizer, tuple(steps))
    if tokenizer.is_mini:
        return _step_ids(tokenizer, MINI_STEPS)
    return _step_ids(tokenizer, STEPS) or _step_ids(tokenizer, LINES)


@lru_cache(maxsize=16)
def _step_ids(tokenizer: Any, wanted: tuple[str, ...]) -> tuple[int, ...]:
    stops = set(tokenizer.stop_ids)
    texts = ((i, tokenizer.decode([i])) for i in range(tokenizer.vocab_size) if i not in stops)
    return tuple(i for i, text in texts if any(word in text for word in wanted))


def cut(token_ids: Sequence[int], ends: Sequence[int]) -> tuple[int, ...]:
    """Where the steps of a completion begin: 0, and behind every token of `ends` that is not the last."""
    marks = set(ends)
    return (0, *(i + 1 for i, token in enumerate(token_ids[:-1]) if token in marks))


def last_tokens(starts: Sequence[int], length: int) -> tuple[int, ...]:
    """The position of each step's last token in a completion of `length` tokens."""
    return tuple(end - 1 for end in (*starts[1:], length))
