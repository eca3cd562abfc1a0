"""Drawing tokens so that a request's draw depends on the request alone.

Every token needs one uniform number. It is a hash of (seed, prompt, step): SplitMix64's finaliser (Steele, Lea and Flood
2014), applied to a per-request key and the step number, for all rows at once. The token is found by inverting the cumulative
distribution in token order. So neither the batch, nor the row, nor the order of arrival can change a draw. The prompt is part
of the key because many problems share seed 0, and common random numbers would correlate their errors.

Cuts are applied in the usual order: temperature, top-k, top-p over what top-k left, min-p relative to the likeliest token.
Log-probabilities are of softmax(logits / temperature) before any cut (temperature 1 where it is 0).

Shapes: B rows, V vocabulary.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def request_key(seed: int, prompt_ids: tuple[int, ...]) -> int:
    """The 64-bit key of a request's draws."""
    text = np.asarray(prompt_ids, dtype=np.int64).tobytes()
    salt = (seed % 2**64).to_bytes(8, "little")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8, salt=salt).digest(), "little")


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniforms(keys_B: NDArray[np.uint64], steps_B: NDArray[np.int64]) -> NDArray[np.float64]:
    """One number in [0, 1) per row, a pure function of its key and step."""
    mixed = _mix(keys_B + (steps_B.astype(np.uint64) + np.uint64(1)) * _GOLDEN)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True, slots=True)
class Knobs:
    """Per-row sampling settings, on the device of the logits. `cut` lists the rows that have any cut at all."""

    temperature_B: Tensor  # fp32; 0 is greedy
    top_k_B: Tensor  # int64; 0 is none
    top_p_B: Tensor  # fp32
    min_p_B: Tensor  # fp32
    greedy_B: Tensor | None  # None when no row is greedy
    cut: Tensor | None  # None when no row is cut
    plain: bool  # all temperatures are 1

    @classmethod
    def of(
        cls,
        temperature_B: NDArray[np.float32],
        top_k_B: NDArray[np.int64],
        top_p_B: NDArray[np.float32],
        min_p_B: NDArray[np.float32],
        device: torch.device,
    ) -> Knobs:
        """Knobs of numpy rows."""
        greedy = temperature_B == 0
        cut = np.flatnonzero(((top_k_B > 0) | (top_p_B < 1) | (min_p_B > 0)) & ~greedy)
        safe = np.where(greedy, np.float32(1), temperature_B)
        return cls(
            torch.from_numpy(safe).to(device),
            torch.from_numpy(top_k_B).to(device),
            torch.from_numpy(top_p_B).to(device),
            torch.from_numpy(min_p_B).to(device),
            torch.from_numpy(greedy).to(device) if greedy.any() else None,
            torch.from_numpy(cut).to(device) if cut.size else None,
            bool((safe == 1).all()),
        )


def draw(logits_BV: Tensor, knobs: Knobs, uniform_B: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (B,) int64 and their log-probabilities (B,) fp32 for fp32 logits and one uniform (float64) per row."""
    if not knobs.plain:
        logits_BV = logits_BV / knobs.temperature_B[:, None]
    logprobs_BV = torch.log_softmax(logits_BV, dim=-1)
    if knobs.greedy_B is not None and bool(knobs.greedy_B.all()):
        tokens_B = logits_BV.argmax(dim=-1)
    else:
        probs_BV = logprobs_BV.exp()
        if knobs.cut is not None:
            rows = knobs.cut
            probs_BV[rows] = cut(probs_BV[rows], knobs.top_k_B[rows], knobs.top_p_B[rows], knobs.min_p_B[rows])
        tokens_B = invert(probs_BV, uniform_B)
        if knobs.greedy_B is not None:
            tokens_B = torch.where(knobs.greedy_B, logits_BV.argmax(dim=-1), tokens_B)
    return tokens_B, logprobs_BV.gather(1, tokens_B[:, None])[:, 0]


def invert(probs_BV: Tensor, uniform_B: Tensor) -> Tensor:
    """The token in whose share of the cumulative distribution `uniform_B` falls; never one of probability zero."""
    cumulative_BV = probs_BV.cumsum(dim=-1, dtype=torch.float64)
    total_B1 = cumulative_BV[:, -1:].clone()
    tokens_B1 = torch.searchsorted(cumulative_BV, uniform_B[:, None] * total_B1, right=True)
    # u · total can round up to the total itself: then the last token that has any share
    last_B1 = torch.searchsorted(cumulative_BV, total_B1, right=False)
    return torch.minimum(tokens_B1, last_B1)[:, 0].clamp_(max=probs_BV.shape[1] - 1)  # the clamp is for NaN


def cut(probs_BV: Tensor, top_k_B: Tensor, top_p_B: Tensor, min_p_B: Tensor) -> Tensor:
    """Probabilities with what top-k, top-p and min-p exclude set to zero (not renormalised); ties keep the lower id."""
    V = probs_BV.shape[1]
    sorted_BV, order_BV = probs_BV.sort(dim=-1, descending=True, stable=True)
    rank_V = torch.arange(V, device=probs_BV.device)
    k_B1 = torch.where(top_k_B > 0, top_k_B.clamp(max=V), V)[:, None]
    kept_BV = torch.where(rank_V < k_B1, sorted_BV, 0.0)
    before_BV = kept_BV.cumsum(dim=-1, dtype=torch.float64) - kept_BV
    mass_B1 = kept_BV.sum(dim=-1, keepdim=True, dtype=torch.float64)
    inside_BV = (before_BV < top_p_B.double()[:, None] * mass_B1) & (kept_BV >= min_p_B[:, None] * sorted_BV[:, :1])
    inside_BV[:, 0] = True
    return torch.zeros_like(probs_BV).scatter_(1, order_BV, torch.where(inside_BV, kept_BV, 0.0))
