"""Running new tokens against cached keys and values: prefill in chunks, and decoding one token per row.

The arithmetic is that of `Block.forward`, rounding points included; only where keys and values live differs.

Shapes: B rows, T new tokens, S cached positions, N heads, K key-value heads, G = N / K, H head width, L layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ponder.models.attention import use_explicit
from ponder.models.kv import KV

if TYPE_CHECKING:
    from ponder.models.transformer import Transformer


@torch.no_grad()
def extend(
    model: Transformer, tokens_BT: Tensor, kv: KV, rows_B: Tensor, starts_B: Tensor, lengths_B: Tensor
) -> Tensor:
    """See `Transformer.extend`."""
    return model.norm(_run(model, tokens_BT, kv, rows_B, starts_B, lengths_B, keys_only=False))


@torch.no_grad()
def prefill(model: Transformer, tokens_BT: Tensor, kv: KV, rows_B: Tensor, starts_B: Tensor, lengths_B: Tensor) -> None:
    """`extend` for its keys and values alone: the last layer's attention and feed-forward are left out."""
    _run(model, tokens_BT, kv, rows_B, starts_B, lengths_B, keys_only=True)


def _run(
    model: Transformer,
    tokens_BT: Tensor,
    kv: KV,
    rows_B: Tensor,
    starts_B: Tensor,
    lengths_B: Tensor,
    keys_only: bool,
) -> Tensor:
    B, T = tokens_BT.shape
    device = tokens_BT.device
    reach = int((starts_B + lengths_B).max())
    assert reach <= kv.capacity, f"{reach} positions do not fit slots of {kv.capacity}"
    offsets_T = torch.arange(T, device=device)
    positions_BT = starts_B[:, None] + offsets_T
    valid_BT = offsets_T < lengths_B[:, None]
    place = (rows_B[:, None].expand(B, T)[valid_BT], positions_BT[valid_BT])
    hidden_from = torch.arange(reach, device=device) > positions_BT[:, :, None]  # (B, T, S): still in the future
    bias = torch.zeros(hidden_from.shape, dtype=kv.k.dtype, device=device).masked_fill_(hidden_from, float("-inf"))
    cos, sin = model.angles(positions_BT)
    x_BTD = model.embed(tokens_BT).float()
    for layer, block in enumerate(model.blocks):
        q, k, v = block.heads(x_BTD, cos, sin)
        kv.k[layer][place[0], :, place[1]] = k.transpose(1, 2)[valid_BT].to(kv.k.dtype)
        kv.v[layer][place[0], :, place[1]] = v.transpose(1, 2)[valid_BT].to(kv.v.dtype)
        if keys_only and layer == model.config.layers - 1:
            break
        keys, values = kv.k[layer, :, :, :reach], kv.v[layer, :, :, :reach]
        x_BTD = x_BTD + block.write(look_up(q, keys[rows_B], values[rows_B], bias))
        x_BTD = x_BTD + block.mlp(x_BTD)
    return x_BTD


def look_up(q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, bias_BTS: Tensor) -> Tensor:
    """Attention outputs (B, T, N·H) of scaled queries over cached keys and values."""
    B, N, T, H = q_BNTH.shape
    K, S = k_BKSH.shape[1:3]
    G = N // K
    if not use_explicit(S, q_BNTH.dtype, q_BNTH.device) and T > 1:
        out = F.scaled_dot_product_attention(
            q_BNTH, k_BKSH, v_BKSH, attn_mask=bias_BTS[:, None], scale=1.0, enable_gqa=G > 1
        )
        return out.transpose(1, 2).reshape(B, T, N * H)
    q = q_BNTH.view(B, K, G * T, H)
    scores = torch.matmul(q, k_BKSH.transpose(-1, -2)).view(B, K, G, T, S) + bias_BTS[:, None, None]
    out = torch.matmul(scores.softmax(dim=-1).view(B, K, G * T, S), v_BKSH)
    return out.view(B, K, G, T, H).permute(0, 3, 1, 2, 4).reshape(B, T, N * H)
