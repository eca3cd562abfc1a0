"""The shape of a model, as one frozen value. No torch here.

Covers what Llama 2/3, Qwen2 and Qwen3 (dense) share: RMSNorm, rotary positions (plain or Llama 3 scaling),
grouped-query attention, SwiGLU. Not covered: mixture of experts, sliding windows, YaRN or linear rotary scaling, biases
on the output or feed-forward projections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ponder.errors import ConfigError

Family = Literal["llama", "qwen2", "qwen3"]
FAMILIES: tuple[Family, ...] = get_args(Family)


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """Llama 3's stretching of the low rotary frequencies to contexts longer than `original_context`."""

    factor: float = 8.0
    low_frequency: float = 1.0
    high_frequency: float = 4.0
    original_context: int = 8192


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes and switches of a `Transformer`. `head_width` None means width / heads; `hidden` is the feed-forward width.

    Raises ConfigError for sizes that can not be used together.
    """

    vocab_size: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    head_width: int | None = None
    context: int = 1024
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6
    tied: bool = True
    qkv_bias: bool = False
    qk_norm: bool = False
    family: Family = "llama"
    rope_scaling: RopeScaling | None = None

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "width", "layers", "heads", "kv_heads", "hidden", "context")
        for name in sizes:
            if getattr(self, name) < 1:
                raise ConfigError(f"model.{name} is {getattr(self, name)}; it must be at least 1")
        if self.head_width is None:
            if self.width % self.heads:
                raise ConfigError(
                    f"model.width {self.width} is not a multiple of model.heads {self.heads}; set head_width"
                )
            object.__setattr__(self, "head_width", self.width // self.heads)
        if self.head % 2:
            raise ConfigError(f"model.head_width is {self.head}; rotary positions need an even number")
        if self.heads % self.kv_heads:
            raise ConfigError(f"model.heads {self.heads} is not a multiple of model.kv_heads {self.kv_heads}")
        if self.family not in FAMILIES:
            raise ConfigError(f"model.family is '{self.family}'; known: {', '.join(FAMILIES)}")
        if (self.qkv_bias, self.qk_norm) != (self.family == "qwen2", self.family == "qwen3"):
            raise ConfigError(
                f"model.family '{self.family}' does not go with qkv_bias={self.qkv_bias}, qk_norm={self.qk_norm}:"
                " qwen2 has the biases, qwen3 the norms, llama neither"
            )

    @property
    def head(self) -> int:
        """Width of one head, always an int."""
        assert self.head_width is not None
        return self.head_width

    @property
    def groups(self) -> int:
        """Query heads per key-value head."""
        return self.heads // self.kv_heads

    @property
    def matrix_parameters(self) -> int:
        """Weights that multiply every token: all matrices but the embedding look-up, the output matrix included."""
        attention = self.width * (self.heads + 2 * self.kv_heads) * self.head + self.heads * self.head * self.width
        return self.layers * (attention + 3 * self.width * self.hidden) + self.width * self.vocab_size

    def flops(self, tokens: int, attended: int, sampled: int | None = None) -> float:
        """Floating-point operations of a forward pass over `tokens` tokens which attend to `attended` positions in all.

        2 per weight and token, 4 · heads · head width per layer and attended position; the output matrix only for the
        `sampled` tokens (default: all).
        """
        output = self.width * self.vocab_size
        body = 2.0 * (self.matrix_parameters - output) * tokens + 4.0 * self.layers * self.heads * self.head * attended
        return body + 2.0 * output * (tokens if sampled is None else sampled)
