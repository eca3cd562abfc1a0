"""The one transformer: Llama, Qwen2 and Qwen3 (dense) in a single module, for training and sampling alike.

Design: queries, keys and values are one matrix (`qkv`, in that order), gate and up another (`gate_up`); the edges
(`models.io`) translate to and from Hugging Face names. The residual stream, norms and rotation stay in fp32; matrix
products, attention scores included, are rounded to the precision of the weights or of the surrounding autocast. The
sampler rounds at the same points, which is why its log-probabilities equal the trainer's. Not covered: dropout, mixture
of experts, sliding windows.

Shapes: B rows, T tokens, V vocabulary, D width, N heads, K key-value heads, H head width, F feed-forward width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ponder.models import fused, rope
from ponder.models.attention import Mask, attend, make_mask
from ponder.models.config import ModelConfig
from ponder.models.extend import extend
from ponder.models.kv import KV

FP32_HEAD_VOCAB = 8192  # up to this vocabulary the output matrix is multiplied in fp32 even under autocast


class RMSNorm(nn.Module):
    """x / rms(x) · weight in fp32 (Zhang and Sennrich 2019, arXiv 1910.07467, eq. 4)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        return fused.rms_norm(x, self.weight, self.eps, dtype)


class _Linear(nn.Linear):
    """A linear layer that draws nothing. (Making it on the meta device does the same, but imports sympy: a second.)"""

    def reset_parameters(self) -> None:
        """Leave the weights as they are; `Transformer.initialise` or `models.load` fills them."""


def _linear(inputs: int, outputs: int, bias: bool = False) -> nn.Linear:
    return _Linear(inputs, outputs, bias=bias)


def compute_dtype(layer: nn.Linear) -> torch.dtype:
    """Precision in which `layer` multiplies: that of autocast where it is on, else that of its weights."""
    device = layer.weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else layer.weight.dtype


def project(layer: nn.Linear, x: Tensor) -> Tensor:
    """`layer` applied in its own precision (or that of the surrounding autocast)."""
    return layer(x.to(compute_dtype(layer)))


class Block(nn.Module):
    """Pre-norm attention and SwiGLU (Shazeer 2020, arXiv 2002.05202, eq. 6) around an fp32 residual stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        D, N, K, H = config.width, config.heads, config.kv_heads, config.head
        self.attention_norm = RMSNorm(D, config.norm_eps)
        self.qkv = _linear(D, (N + 2 * K) * H, bias=config.qkv_bias)
        self.q_norm = RMSNorm(H, config.norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(H, config.norm_eps) if config.qk_norm else None
        self.out = _linear(N * H, D)
        self.mlp_norm = RMSNorm(D, config.norm_eps)
        self.gate_up = _linear(D, 2 * config.hidden)
        self.down = _linear(config.hidden, D)

    def heads(self, x_BTD: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, N, T, H) rotated and divided by sqrt(H), rotated keys (B, K, T, H) and values."""
        N, K, H = self.config.heads, self.config.kv_heads, self.config.head
        qkv = project(self.qkv, self.attention_norm(x_BTD, compute_dtype(self.qkv)))
        if self.q_norm is None or self.k_norm is None:
            return fused.split_heads(qkv, cos, sin, N, K)
        qkv = qkv.view(*qkv.shape[:2], N + 2 * K, H)
        q, k, v = qkv.split((N, K, K), dim=2)
        normed = torch.cat((self.q_norm(q), self.k_norm(k), v.float()), dim=2)
        q, k, v = fused.split_heads(normed.flatten(2), cos, sin, N, K)
        return q.to(qkv.dtype), k.to(qkv.dtype), v.to(qkv.dtype)

    def write(self, attended_BTX: Tensor) -> Tensor:
        """What attention outputs (B, T, N·H) add to the residual stream."""
        return project(self.out, attended_BTX)

    def mlp(self, x_BTD: Tensor) -> Tensor:
        gate_up = project(self.gate_up, self.mlp_norm(x_BTD, compute_dtype(self.gate_up)))
        return project(self.down, fused.swiglu(gate_up))

    def forward(self, x_BTD: Tensor, cos: Tensor, sin: Tensor, mask: Mask) -> Tensor:
        q, k, v = self.heads(x_BTD, cos, sin)
        x_BTD = x_BTD + self.write(attend(q, k, v, mask))
        return x_BTD + self.mlp(x_BTD)


class Transformer(nn.Module):
    """Causal language model. `seed` None leaves the weights uninitialised, for loading."""

    def __init__(self, config: ModelConfig, seed: int | None = 0) -> None:
        super().__init__()
        self.config = config
        table_VD = torch.empty(config.vocab_size, config.width)  # given, because nn.Embedding's own draw costs a second
        self.embed = nn.Embedding(config.vocab_size, config.width, _weight=table_VD)
        self.blocks: list[Block] = nn.ModuleList(Block(config) for _ in range(config.layers))  # type: ignore[assignment]
        self.norm = RMSNorm(config.width, config.norm_eps)
        self.unembed = None if config.tied else _linear(config.width, config.vocab_size)
        self._frequencies = rope.frequencies(config)
        if seed is not None:
            self.initialise(seed)

    @torch.no_grad()
    def initialise(self, seed: int, std: float = 0.02) -> None:
        """Normal weights of deviation `std`, divided by sqrt(2 · layers) where they write to the residual stream."""
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif "norm" in name:
                parameter.fill_(1.0)
            else:
                writes = name.endswith(("out.weight", "down.weight"))
                scale = std / math.sqrt(2 * self.config.layers) if writes else std
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)

    @property
    def output_weight(self) -> Tensor:
        """The (V, D) matrix that turns hidden states into logits."""
        return self.embed.weight if self.unembed is None else self.unembed.weight

    @property
    def matrix_dtype(self) -> torch.dtype:
        """Precision in which matrix products run."""
        return compute_dtype(self.blocks[0].qkv)

    def angles(self, positions_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines for `positions_BT`."""
        if self._frequencies.device != positions_BT.device:
            self._frequencies = self._frequencies.to(positions_BT.device)
        return rope.angles(positions_BT, self._frequencies)

    def hidden(
        self, tokens_BT: Tensor, positions_BT: Tensor | None = None, segments_BT: Tensor | None = None
    ) -> Tensor:
        """Hidden states after the final norm, (B, T, D) fp32.

        `segments_BT` numbers the documents of packed rows: attention stays within a document, and positions restart
        with it unless given.
        """
        if positions_BT is None:
            positions_BT = restart(tokens_BT, segments_BT)
        cos, sin = self.angles(positions_BT)
        mask = make_mask(tokens_BT, segments_BT, self.matrix_dtype)
        x_BTD = self.embed(tokens_BT).float()
        for block in self.blocks:
            x_BTD = block(x_BTD, cos, sin, mask)
        return self.norm(x_BTD)

    def head(self, hidden: Tensor) -> Tensor:
        """Logits (…, V) in fp32 of hidden states (…, D)."""
        weight = self.output_weight
        if self.config.vocab_size > FP32_HEAD_VOCAB:
            return F.linear(hidden.to(weight.dtype), weight).float()
        low = self.matrix_dtype
        with torch.autocast(hidden.device.type, enabled=False):
            return fused.output(hidden.float(), weight.float(), torch.float32 if low == weight.dtype else low)

    def forward(
        self, tokens_BT: Tensor, positions_BT: Tensor | None = None, segments_BT: Tensor | None = None
    ) -> Tensor:
        """Logits (B, T, V), fp32; `logits_BTV[b, t]` predicts token t + 1."""
        return self.head(self.hidden(tokens_BT, positions_BT, segments_BT))

    def extend(self, tokens_BT: Tensor, kv: KV, rows_B: Tensor, starts_B: Tensor, lengths_B: Tensor) -> Tensor:
        """Hidden states (B, T, D) of new tokens for sequences held in `kv`; their keys and values are written there.

        Row b appends `tokens_BT[b, :lengths_B[b]]` to slot `rows_B[b]` at position `starts_B[b]`, with room reserved;
        what stands behind a row's length is padding and its result meaningless.
        """
        return extend(self, tokens_BT, kv, rows_B, starts_B, lengths_B)


def restart(tokens_BT: Tensor, segments_BT: Tensor | None) -> Tensor:
    """Positions (B or 1, T) that count from 0 and restart where the segment number changes."""
    index_1T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)[None]
    if segments_BT is None:
        return index_1T
    begins = torch.zeros_like(segments_BT, dtype=torch.bool)
    begins[:, 1:] = segments_BT[:, 1:] != segments_BT[:, :-1]
    return index_1T - (index_1T * begins).cummax(dim=1).values
