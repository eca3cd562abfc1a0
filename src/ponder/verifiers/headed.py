"""Verifiers that ponder trained: a scalar head on a trunk, read incrementally on the generator's own token ids.

The folder says what the scores mean (`config.json`, "ponder": {"verifier": {"kind", "semantics"}}):

    outcome   P(the finished answer is right); on an unfinished trace the running value at its last token
    process   P(the last step is right) or P(the answer can still be right), by the labels it learned from

Ids are used as they are, so generator and verifier must have one vocabulary: `fits` compares them. For other vocabularies
see `public`, which reads text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch

from ponder.errors import CheckpointError, ConfigError, DataError
from ponder.models import heads
from ponder.models.heads import HeadedModel
from ponder.text.tokenizer import Tokenizer
from ponder.types import Ledger, Semantics, Trace
from ponder.verifiers.trunk import Reading, Trunk, probabilities


class HeadedVerifier:
    """A `Verifier` on a `HeadedModel`; `dtype` bf16 halves memory and rounds scores to about a hundredth."""

    reads = "tokens"

    def __init__(
        self,
        model: HeadedModel,
        tokenizer: Tokenizer,
        semantics: Semantics,
        *,
        name: str = "headed",
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        cache_tokens: int | None = None,
    ) -> None:
        self.name, self.tokenizer = name, tokenizer
        self.semantics: Semantics = semantics
        self.model = model.to(device)
        self.trunk = Trunk(model.trunk, device=device, dtype=dtype, cache_tokens=cache_tokens)
        self._fitting: Any = None  # the tokenizer that was compared last

    @torch.no_grad()
    def score(self, traces: Sequence[Trace]) -> list[float | None]:
        """The probability at the last token of each trace."""
        hidden_ND = self.trunk.read([reading(trace) for trace in traces]).to(self.trunk.device)
        if not len(traces):
            return []
        return [*probabilities(self.model.logits(hidden_ND, self._features(traces)), self.name)]

    def steps(self, traces: Sequence[Trace]) -> list[list[float]]:
        """The score of every step of each trace, the last included: what `score` gives for the trace cut there."""
        parts = [[upto(trace, end) for end in (*trace.starts[1:], len(trace.token_ids))] for trace in traces]
        flat = iter(cast(list[float], self.score([part for line in parts for part in line])))
        return [[next(flat) for _ in line] for line in parts]

    @property
    def ledger(self) -> Ledger:
        """Tokens run stand under `verified`, tokens found in the tree under `cached`."""
        return self.trunk.ledger

    def unread(self, trace: Trace) -> int:
        """Tokens that scoring this trace would run now."""
        return self.trunk.unread(trace.prompt_ids + trace.token_ids)

    def flops(self, tokens: int, attended: int) -> float:
        """What running `tokens` that attend to `attended` positions takes."""
        return self.trunk.config.flops(tokens, attended, sampled=0)

    def fits(self, engine: Any) -> None:
        """ConfigError when the engine's token ids mean something else to this verifier."""
        theirs: Any = getattr(engine, "tokenizer", None)
        if theirs is None or theirs is self._fitting or not hasattr(theirs, "inner"):
            return
        if not same_vocabulary(theirs, self.tokenizer):
            raise ConfigError(
                f"verifier '{self.name}' was trained on another vocabulary than {engine.name} writes in; "
                "train one on this model's samples, or use a verifier that reads text"
            )
        self._fitting = theirs

    def _features(self, traces: Sequence[Trace]) -> torch.Tensor | None:
        if self.model.score_features is None:
            return None
        rows: list[Any] = []
        for trace in traces:
            if len(trace.logprobs) != len(trace.token_ids):
                raise DataError(
                    f"problem {trace.problem_id}: verifier '{self.name}' reads log-probabilities; none are given"
                )
            rows.append(heads.features_of(np.array(trace.logprobs, dtype=np.float32))[-1:])
        return torch.as_tensor(np.concatenate(rows)).to(self.trunk.device)


def reading(trace: Trace) -> Reading:
    """The trace's ids, with the prompt's end and the steps' ends as cuts."""
    offset = len(trace.prompt_ids)
    inner = {offset, *(offset + start for start in trace.starts)} - {0}
    ids = trace.prompt_ids + trace.token_ids
    return Reading(ids, tuple(sorted({*inner, len(ids)})))


def upto(trace: Trace, end: int) -> Trace:
    """The trace cut before its token `end`."""
    if end == len(trace.token_ids):
        return trace
    starts = tuple(start for start in trace.starts if start < end)
    return replace(
        trace, token_ids=trace.token_ids[:end], logprobs=trace.logprobs[:end], starts=starts, finished=False, text=""
    )


def same_vocabulary(a: Tokenizer, b: Tokenizer) -> bool:
    """Do the same ids spell the same tokens?"""
    return a is b or a.inner.get_vocab() == b.inner.get_vocab()


def load(folder: Path, *, device: str = "cpu", dtype: str = "fp32", name: str = "", **options: Any) -> HeadedVerifier:
    """The verifier in a folder that `ponder train outcome | process` wrote; CheckpointError when it is none."""
    model, raw = heads.load(folder)
    semantics = semantics_of(raw, folder)
    precision = {"fp32": torch.float32, "bf16": torch.bfloat16}.get(dtype)
    if precision is None:
        raise ConfigError(f"verifier precision '{dtype}': fp32 or bf16")
    tokenizer = Tokenizer.load(folder)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise CheckpointError(
            f"{folder}: its tokenizer has {tokenizer.vocab_size} tokens, its trunk {model.config.vocab_size}"
        )
    return HeadedVerifier(
        model, tokenizer, semantics, name=name or folder.name, device=device, dtype=precision, **options
    )


def semantics_of(raw: Any, folder: Path) -> Semantics:
    """What the folder says its scores mean."""
    found = cast(dict[str, dict[str, Any]], raw.get("ponder") or {}).get("verifier", {}).get("semantics")
    if found not in get_args(Semantics):
        raise CheckpointError(
            f"{folder}: config.json does not say what its scores mean; known: {', '.join(get_args(Semantics))}"
            " (for a public model give convention=…)"
        )
    return cast(Semantics, found)
