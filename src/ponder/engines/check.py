"""Requests are checked where they enter an engine: one clear line instead of a failure inside the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ponder.errors import ConfigError
from ponder.types import Request


def check_request(request: Request, context: int, vocab_size: int, has_think: bool) -> None:
    """ConfigError when `request` can not be run by a model of `context` positions and `vocab_size` tokens."""
    sampling, prompt = request.sampling, request.prompt_ids
    if not prompt:
        raise ConfigError("the prompt is empty: a request needs at least one token to continue from")
    if len(prompt) >= context:
        raise ConfigError(
            f"the prompt has {len(prompt)} tokens; the model's context of {context} leaves no room to answer"
        )
    check_ids(prompt, vocab_size)
    allowed = (
        ("temperature", sampling.temperature, 0 <= sampling.temperature < math.inf, "at least 0"),
        ("top_k", sampling.top_k, sampling.top_k >= 0, "at least 0 (0: no cut)"),
        ("top_p", sampling.top_p, 0 < sampling.top_p <= 1, "above 0 and at most 1"),
        ("min_p", sampling.min_p, 0 <= sampling.min_p <= 1, "between 0 and 1"),
        ("max_tokens", sampling.max_tokens, sampling.max_tokens >= 1, "at least 1"),
        ("think_budget", sampling.think_budget, (sampling.think_budget or 0) >= 0, "at least 0"),
        ("answer_reserve", sampling.answer_reserve, sampling.answer_reserve >= 0, "at least 0"),
    )
    for name, value, good, rule in allowed:
        if not good:
            raise ConfigError(f"sampling.{name} is {value}; it must be {rule}")
    if sampling.answer_reserve >= sampling.max_tokens:
        raise ConfigError(
            f"sampling.answer_reserve {sampling.answer_reserve} must be less than max_tokens {sampling.max_tokens}"
        )
    if (sampling.think_budget is not None or sampling.answer_reserve) and not has_think:
        raise ConfigError("sampling.think_budget or answer_reserve is set, but the tokenizer has no think tokens")


def check_ids(ids: Sequence[int], vocab_size: int) -> None:
    """ConfigError when a token id is outside the vocabulary."""
    if ids and not 0 <= min(ids) <= max(ids) < vocab_size:
        bad = next(i for i in ids if not 0 <= i < vocab_size)
        raise ConfigError(f"token id {bad} is outside the model's vocabulary of {vocab_size}")
