"""Log-probabilities and entropies of the learned tokens, without logits of the whole batch.

Shapes: B rows, T tokens, M all tokens of a forward pass, N learned tokens, C tokens of a chunk, D width, V vocabulary.
Only hidden states that predict a learned token pass through the head. Above `CHUNK_VALUES` logits the head runs in chunks
whose logits are recomputed in the backward pass, so memory is that of one chunk, not of N x V. Logits are divided by the
sampling temperature before the softmax, as the sampler did. Not covered: fused kernels, vocabulary sharding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ponder.training import shared
from ponder.training.batch import Batch

CHUNK_VALUES = 1 << 24


def from_logits(logits_CV: Tensor, targets_C: Tensor, temperature: float, entropy: bool) -> tuple[Tensor, Tensor]:
    """Log-probability of each target and entropy of each distribution (nats; zeros when not asked for)."""
    logits_CV = logits_CV.float()
    if temperature != 1.0:
        logits_CV = logits_CV / temperature
    if not entropy:
        logprobs_C = -torch.nn.functional.cross_entropy(logits_CV, targets_C, reduction="none")
        return logprobs_C, torch.zeros_like(logprobs_C)
    all_CV = torch.log_softmax(logits_CV, dim=-1)
    logprobs_C = all_CV.gather(1, targets_C[:, None])[:, 0]
    with torch.no_grad():
        entropy_C = -(all_CV.exp() * all_CV).sum(-1)
    return logprobs_C, entropy_C


def learned_logprobs(
    model: Any, batch: Batch, temperature: float = 1.0, entropy: bool = False, chunk_values: int = CHUNK_VALUES
) -> tuple[Tensor, Tensor]:
    """(logprobs_N, entropy_N) of the learned tokens in row-major order; entropy carries no gradient."""
    return from_states(model, batch, states(model, batch), temperature, entropy, chunk_values)


def states(model: Any, batch: Batch) -> Tensor:
    """Hidden states (M, D) of all tokens of the forward pass; without shared prompts M = B T in row-major order."""
    if batch.shared is not None:
        return shared.hidden(model, batch.shared)
    positions_BT = batch.positions_BT if batch.packed else None
    return model.hidden(batch.tokens_BT, positions_BT, batch.segments_BT if batch.packed else None).flatten(0, 1)


def from_states(
    model: Any,
    batch: Batch,
    hidden_MD: Tensor,
    temperature: float = 1.0,
    entropy: bool = False,
    chunk_values: int = CHUNK_VALUES,
) -> tuple[Tensor, Tensor]:
    """`learned_logprobs` of hidden states that are there already."""
    where_N = batch.trainable_BT.flatten().nonzero()[:, 0]
    before_N = where_N - 1 if batch.shared is None else batch.shared.source_BT.flatten()[where_N - 1]
    targets_N = batch.tokens_BT.flatten()[where_N]
    return head_logprobs(model, hidden_MD[before_N], targets_N, temperature, entropy, chunk_values)


def head_logprobs(
    model: Any,
    hidden_ND: Tensor,
    targets_N: Tensor,
    temperature: float,
    entropy: bool,
    chunk_values: int = CHUNK_VALUES,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of `targets_N` from the hidden states that predict them, in chunks when the logits are many."""

    def piece(hidden_CD: Tensor, targets_C: Tensor) -> tuple[Tensor, Tensor]:
        return from_logits(model.head(hidden_CD), targets_C, temperature, entropy)

    rows = max(1, chunk_values // int(model.config.vocab_size))
    if len(targets_N) <= rows:
        return piece(hidden_ND, targets_N)
    logprobs, entropies = [], []
    for hidden_CD, targets_C in zip(hidden_ND.split(rows), targets_N.split(rows), strict=True):
        if torch.is_grad_enabled():
            out = checkpoint(piece, hidden_CD, targets_C, use_reentrant=False, preserve_rng_state=False)
        else:
            out = piece(hidden_CD, targets_C)
        logprobs.append(out[0])  # type: ignore[index]
        entropies.append(out[1])  # type: ignore[index]
    return torch.cat(logprobs), torch.cat(entropies)
