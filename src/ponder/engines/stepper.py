"""The seam between scheduling and arithmetic: what an implementation of prefill and decoding must do, and the torch one.

A stepper owns the slots (`KV`) and never decides who runs. All index tensors it gets are int64 on the CPU.

Shapes: B rows, T tokens, S cached positions, V vocabulary, D width, N heads, K key-value heads, G = N / K, H head width.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ponder.models import KV, Transformer
from ponder.models.extend import prefill
from ponder.models.transformer import Block, project


class Stepper(Protocol):
    """Runs tokens through a model against slots of keys and values."""

    kv: KV
    dense: bool  # True: decoding is fastest when the rows in use are the first ones, so the scheduler moves them there

    def prefill(self, tokens_BT: Tensor, rows_B: Tensor, starts_B: Tensor, lengths_B: Tensor) -> None:
        """Write keys and values of `tokens_BT[b, :lengths_B[b]]` to slot `rows_B[b]` from position `starts_B[b]` on."""
        ...

    def decode_step(self, tokens_B: Tensor, rows_B: Tensor, positions_B: Tensor) -> Tensor:
        """Append token b at `positions_B[b]` of slot `rows_B[b]`; fp32 logits (B, V) of what follows it.

        Slots are distinct, and room for the positions has been reserved.
        """
        ...

    def refresh(self) -> None:
        """Take over the model's weights after they changed."""
        ...


class TorchStepper:
    """Plain torch, any device. Rounds where `Block.forward` rounds."""

    dense = True

    def __init__(self, model: Transformer, kv: KV) -> None:
        self.model, self.kv = model, kv
        self.device = kv.k.device
        N, K, H = model.config.heads, model.config.kv_heads, model.config.head
        scale = torch.ones(N + K, 1, 1)
        scale[:N] = H**-0.5
        self._scale = scale.to(self.device)

    def refresh(self) -> None:
        """Nothing to do: the weights are read where they are."""

    @torch.inference_mode()
    def prefill(self, tokens_BT: Tensor, rows_B: Tensor, starts_B: Tensor, lengths_B: Tensor) -> None:
        """See `Stepper.prefill`."""
        rows_B, starts_B, lengths_B = (x.to(self.device) for x in (rows_B, starts_B, lengths_B))
        prefill(self.model, tokens_BT.to(self.device), self.kv, rows_B, starts_B, lengths_B)

    @torch.inference_mode()
    def decode_step(self, tokens_B: Tensor, rows_B: Tensor, positions_B: Tensor) -> Tensor:
        """See `Stepper.decode_step`. Slots below the highest in use are all computed, free ones on nothing."""
        span, reach = int(rows_B.max()) + 1, int(positions_B.max()) + 1
        B = rows_B.shape[0]
        packed = span == B and bool((rows_B[1:] > rows_B[:-1]).all())
        if not packed:
            tokens_B, positions_B = _spread(tokens_B, rows_B, span), _spread(positions_B, rows_B, span)
        tokens_B, positions_B = tokens_B.to(self.device), positions_B.to(self.device)
        hidden_BD = self._hidden(tokens_B, positions_B, self._window(reach))
        return self.model.head(hidden_BD if packed else hidden_BD[rows_B.to(self.device)])

    def _window(self, reach: int) -> int:
        """Cached positions to attend over: all of the slot when nearly full, since a contiguous block needs no copy."""
        most = self.kv.capacity
        return most if reach > most // 2 else reach

    def _hidden(self, tokens_B: Tensor, positions_B: Tensor, S: int) -> Tensor:
        kv, B = self.kv, tokens_B.shape[0]
        future_BS = torch.arange(S, device=self.device) > positions_B[:, None]
        bias_BS = torch.zeros(B, S, dtype=kv.k.dtype, device=self.device).masked_fill_(future_BS, float("-inf"))
        turn = self._turn(positions_B)
        place = (torch.arange(B, device=self.device), positions_B)
        x_BD = self.model.embed(tokens_B).float()
        for layer, block in enumerate(self.model.blocks):
            k_BKTH, v_BKTH = kv.k[layer, :B], kv.v[layer, :B]
            q, k, v = self._heads(block, x_BD, turn)
            k_BKTH.transpose(1, 2).index_put_(place, k)
            v_BKTH.transpose(1, 2).index_put_(place, v)
            x_BD = x_BD + block.write(_look_up(q, k_BKTH[:, :, :S], v_BKTH[:, :, :S], bias_BS))
            x_BD = x_BD + block.mlp(x_BD)
        return self.model.norm(x_BD)

    def _turn(self, positions_B: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and signed sines (B, N + K, 2, H/2), the queries' share already divided by sqrt(H)."""
        cos, sin = (x[0] for x in self.model.angles(positions_B[None]))  # (B, 1, H/2)
        cos = torch.stack((cos, cos), dim=2) * self._scale
        sin = torch.stack((-sin, sin), dim=2) * self._scale
        return cos, sin

    def _heads(self, block: Block, x_BD: Tensor, turn: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        config = self.model.config
        B, N, K, H = x_BD.shape[0], config.heads, config.kv_heads, config.head
        qkv = project(block.qkv, block.attention_norm(x_BD)).view(B, N + 2 * K, H)
        qk, v = qkv[:, : N + K], qkv[:, N + K :]
        if block.q_norm is not None and block.k_norm is not None:
            qk = torch.cat((block.q_norm(qk[:, :N]), block.k_norm(qk[:, N:])), dim=1)
        planes = qk.float().view(B, N + K, 2, H // 2)
        turned = torch.addcmul(planes * turn[0], planes.flip(2), turn[1]).view(B, N + K, H).to(v.dtype)
        return turned[:, :N], turned[:, N:], v


def _spread(values_B: Tensor, rows_B: Tensor, span: int) -> Tensor:
    return torch.zeros(span, dtype=values_B.dtype).index_put_((rows_B,), values_B)


def _look_up(q_BNH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, bias_BS: Tensor) -> Tensor:
    """Attention outputs (B, N·H) of one scaled query per row."""
    B, N, H = q_BNH.shape
    K = k_BKSH.shape[1]
    q_BKGH = q_BNH.reshape(B, K, N // K, H)
    if q_BNH.device.type != "cpu":
        mask = bias_BS[:, None, None]
        return F.scaled_dot_product_attention(
            q_BKGH, k_BKSH, v_BKSH, attn_mask=mask.expand(B, 1, N // K, -1), scale=1.0
        ).reshape(B, N * H)
    scores = torch.matmul(q_BKGH, k_BKSH.transpose(-1, -2)).add_(bias_BS[:, None, None])
    return torch.matmul(scores.softmax(dim=-1), v_BKSH).view(B, N * H)
