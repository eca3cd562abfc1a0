"""Small models and traces that the tests of learned verifiers share."""

from __future__ import annotations

from typing import Any

import torch

from ponder.models.config import ModelConfig
from ponder.models.heads import HeadedModel
from ponder.models.transformer import Transformer
from ponder.text.tokenizer import Tokenizer
from ponder.types import Message, Trace

TOKENIZER = Tokenizer.mini()


def trunk(seed: int = 0, **changes: Any) -> Transformer:
    sizes: dict[str, Any] = {"width": 16, "layers": 2, "heads": 4, "kv_heads": 2, "hidden": 24, "context": 96}
    family = changes.get("family", "llama")
    sizes |= {"qkv_bias": family == "qwen2", "qk_norm": family == "qwen3"}
    model = Transformer(ModelConfig(vocab_size=TOKENIZER.vocab_size, **{**sizes, **changes}), seed)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(4 if p.ndim == 2 else 1)  # so that scores differ from sequence to sequence
    return model


def headed(seed: int = 0, labels: int = 1, features: bool = False, **changes: Any) -> HeadedModel:
    model = HeadedModel(trunk(seed, **changes), labels, features, seed=seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.startswith("score_"):
                p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(seed + 1)))
    return model


def trace(
    written: tuple[int, ...], starts: tuple[int, ...] = (0,), prompt: tuple[int, ...] = (5, 9, 7), **more: Any
) -> Trace:
    return Trace((Message("user", "?"),), prompt, written, starts=starts, problem_id="p", **more)
