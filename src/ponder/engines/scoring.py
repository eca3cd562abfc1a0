"""Log-probabilities of given sequences, in batches of similar length.

Shapes: B rows, T tokens, V vocabulary, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ponder.models import Transformer

BATCH_TOKENS = 8192  # tokens run at once, padding included
LOGIT_ELEMENTS = 1 << 25  # logits held at once


@torch.inference_mode()
def score(model: Transformer, sequences: Sequence[Sequence[int]], device: torch.device) -> list[list[float]]:
    """log p(token | those before it) at temperature 1 for every token of every sequence; 0.0 for the first of each."""
    scores: list[list[float]] = [[0.0] * min(len(s), 1) for s in sequences]
    for batch in _batches([len(s) for s in sequences]):
        width = len(sequences[batch[-1]])
        tokens_BT = torch.zeros(len(batch), width, dtype=torch.int64)
        for line, index in zip(tokens_BT, batch, strict=True):
            line[: len(sequences[index])] = torch.tensor(sequences[index])
        rows = token_logprobs(model, tokens_BT.to(device)).tolist()
        for line, index in zip(rows, batch, strict=True):
            scores[index] += line[: len(sequences[index]) - 1]
    return scores


def token_logprobs(model: Transformer, tokens_BT: Tensor) -> Tensor:
    """Log-probabilities (B, T - 1) of tokens 1 …, the logits never held all at once."""
    hidden_BTD = model.hidden(tokens_BT)[:, :-1]
    targets_BT = tokens_BT[:, 1:]
    piece = max(1, LOGIT_ELEMENTS // (tokens_BT.shape[0] * model.config.vocab_size))
    pieces: list[Tensor] = []
    for at in range(0, targets_BT.shape[1], piece):
        logits = model.head(hidden_BTD[:, at : at + piece])
        chosen = logits.gather(2, targets_BT[:, at : at + piece, None])[..., 0]
        pieces.append(chosen - logits.logsumexp(dim=-1))
    return torch.cat(pieces, dim=1)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of sequences with something to score, sorted by length, at most BATCH_TOKENS together."""
    batch: list[int] = []
    for index in sorted((i for i, n in enumerate(lengths) if n > 1), key=lambda i: lengths[i]):
        if batch and lengths[index] * (len(batch) + 1) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
