"""Causal attention for training and scoring: explicit matrices for short sequences, fused SDPA for long ones.

Shapes: B rows, T tokens, S keys, N heads, K key-value heads, G = N / K, H head width. Queries are grouped by key-value head, so
keys and values are never repeated.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

EXPLICIT_TOKENS = 512
"""Longest sequence for explicit matrices, in bf16 on a CPU. Measured on a Zen 5 core, forward and backward, 6 heads of
width 32: 31 against 152 ms at 128 x 96 tokens, 118 against 196 at 64 x 256, 145 against 149 at 16 x 512. In fp32 SDPA
wins throughout."""

LANES = 16
"""Keys are padded to a multiple of this for explicit matrices: torch then sums a row of probabilities in the same order
whatever its length, which is the order of the native kernel, and sampler and trainer agree to the last bit."""


@dataclass(frozen=True, slots=True)
class Mask:
    """Who may look at whom: causal, and within equal `segments_BT` when there are any. Made once per forward pass."""

    bias: Tensor | None  # explicit: (T, S) or (B, 1, 1, T, S), 0 where allowed and -inf elsewhere; S is T padded
    allowed: Tensor | None  # SDPA with segments: (B, 1, T, T), True where allowed


def use_explicit(tokens: int, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether explicit matrices are the faster way for sequences of this length."""
    return device.type == "cpu" and dtype == torch.bfloat16 and tokens <= EXPLICIT_TOKENS


def make_mask(tokens_BT: Tensor, segments_BT: Tensor | None, dtype: torch.dtype) -> Mask:
    """The mask for a batch whose attention runs in `dtype`."""
    T, device = tokens_BT.shape[1], tokens_BT.device
    explicit = use_explicit(T, dtype, device)
    if not explicit and segments_BT is None:
        return Mask(None, None)
    allowed = torch.ones(T, T, dtype=torch.bool, device=device).tril()
    if segments_BT is not None:
        allowed = allowed & (segments_BT[:, :, None] == segments_BT[:, None, :])  # (B, T, T)
    if not explicit:
        return Mask(None, allowed[:, None])
    bias = torch.zeros(allowed.shape, dtype=dtype, device=device).masked_fill_(~allowed, float("-inf"))
    bias = F.pad(bias, (0, -T % LANES), value=float("-inf"))
    return Mask(bias if segments_BT is None else bias[:, None, None], None)


def attend(q_BNTH: Tensor, k_BKTH: Tensor, v_BKTH: Tensor, mask: Mask) -> Tensor:
    """Attention outputs (B, T, N·H) of queries that are already divided by sqrt(H)."""
    B, N, T, H = q_BNTH.shape
    if mask.bias is not None:
        return _explicit(q_BNTH, k_BKTH, v_BKTH, mask.bias)
    causal, gqa = mask.allowed is None, k_BKTH.shape[1] != N
    out = F.scaled_dot_product_attention(
        q_BNTH, k_BKTH, v_BKTH, attn_mask=mask.allowed, is_causal=causal, scale=1.0, enable_gqa=gqa
    )
    return out.transpose(1, 2).reshape(B, T, N * H)


def _explicit(q_BNTH: Tensor, k_BKTH: Tensor, v_BKTH: Tensor, bias: Tensor) -> Tensor:
    B, N, T, H = q_BNTH.shape
    K = k_BKTH.shape[1]
    G = N // K
    q = q_BNTH.view(B * K, G * T, H)
    S = bias.shape[-1]
    k, v = (F.pad(x.view(B * K, T, H), (0, 0, 0, S - T)) if S > T else x.view(B * K, T, H) for x in (k_BKTH, v_BKTH))
    k = k.transpose(1, 2)
    if bias.dim() == 2:
        scores = torch.baddbmm(bias.repeat(G, 1) if G > 1 else bias, q, k)
    else:
        scores = torch.bmm(q, k).view(B, K, G, T, S).add(bias).view(B * K, G * T, S)
    out = torch.bmm(scores.softmax(dim=-1), v)
    return out.view(B, K, G, T, H).permute(0, 3, 1, 2, 4).reshape(B, T, N * H)
