"""A copy of a model for sampling: matrices in the sampling precision, what the trainer keeps in fp32 kept in fp32.

Under autocast the trainer multiplies matrices in bf16 but reads embeddings and norm weights from the fp32 master. The copy
does the same, so both round the same numbers. Vocabularies above `FP32_HEAD_VOCAB` have embeddings and output matrix in
the sampling precision too: there memory counts for more.
"""

from __future__ import annotations

import torch

from ponder.models.transformer import FP32_HEAD_VOCAB, Transformer


def for_sampling(model: Transformer, device: torch.device, dtype: torch.dtype) -> Transformer:
    """`model` itself when it already is as wanted, else a converted copy without gradients; see `update`."""
    if all(p.device == device and p.dtype == _kind(model, n, dtype) for n, p in model.named_parameters()):
        return model
    copy = Transformer(model.config, seed=None)
    for name, parameter in copy.named_parameters():
        parameter.requires_grad_(False)
        parameter.data = torch.empty(parameter.shape, dtype=_kind(model, name, dtype), device=device)
    update(copy, model)
    return copy


@torch.no_grad()
def update(copy: Transformer, model: Transformer) -> None:
    """Bring the weights of `copy` up to those of `model`."""
    if copy is model:
        return
    for mine, theirs in zip(copy.parameters(), model.parameters(), strict=True):
        mine.copy_(theirs)


def _kind(model: Transformer, name: str, dtype: torch.dtype) -> torch.dtype:
    shared = "norm" in name or (name.startswith(("embed", "unembed")) and model.config.vocab_size <= FP32_HEAD_VOCAB)
    return torch.float32 if shared else dtype
