"""Rotary position embedding, half-split layout as in Hugging Face checkpoints.

Source: Su et al. 2021 (arXiv 2104.09864), eq. 34; the scaling is Llama 3.1's. Angles and rotation (`fused.split_heads`)
are in fp32 whatever the model's precision, and the result is rounded once: every path of this package rounds alike.

Shapes: B rows, T tokens, H head width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ponder.models.config import ModelConfig


def frequencies(config: ModelConfig) -> Tensor:
    """Radians per position of each of the H/2 planes, fp32."""
    exponents = torch.arange(0, config.head, 2, dtype=torch.float32) / config.head
    plain = 1.0 / (config.rope_theta**exponents)
    scaling = config.rope_scaling
    if scaling is None:
        return plain
    wavelength = 2 * math.pi / plain
    turns = scaling.original_context / wavelength  # full turns within the original context
    smooth = (turns - scaling.low_frequency) / (scaling.high_frequency - scaling.low_frequency)
    blended = (1 - smooth) * plain / scaling.factor + smooth * plain
    slow, fast = turns < scaling.low_frequency, turns > scaling.high_frequency
    return torch.where(slow, plain / scaling.factor, torch.where(fast, plain, blended))


def angles(positions_BT: Tensor, frequencies_h: Tensor) -> tuple[Tensor, Tensor]:
    """(cos, sin) of shape (B, T, 1, H/2), fp32."""
    angles_BTh = positions_BT[..., None].float() * frequencies_h
    return angles_BTh.cos().unsqueeze(2), angles_BTh.sin().unsqueeze(2)
