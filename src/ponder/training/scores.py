"""Losses of a scalar head, and how good its scores are: pure functions.

Shapes: N tokens that are asked for a score, K scores of finished samples. `z` are log-odds, `y` targets in [0, 1], `w` weights
that sum to 1 over an optimiser step (`examples.weigh_targets`), so a step's loss is the plain sum over its batches.

    bce   -[y log s(z) + (1 - y) log(1 - s(z))]      s the logistic function; soft targets are allowed
    mse   (s(z) - y)^2                               Cobbe et al. (arXiv 2110.14168) without the sigmoid: their scalar is a
                                                     gain and a bias on one logit of the vocabulary, unbounded
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ponder.training.batch import Batch
from ponder.training.logprobs import from_states, states

Loss = Literal["bce", "mse"]


def token_losses(logits_N: Tensor, targets_N: Tensor, kind: Loss) -> Tensor:
    """Loss of each score."""
    if kind == "mse":
        return (torch.sigmoid(logits_N) - targets_N) ** 2
    return F.binary_cross_entropy_with_logits(logits_N, targets_N, reduction="none")


def constant_loss(rate: float, kind: Loss) -> float:
    """The least loss of a score that never changes: what a head reaches that has learned nothing but the base rate.

    For bce the entropy of the base rate in nats (a bound for soft targets), for mse its variance.
    """
    rate = min(1.0, max(0.0, rate))
    if kind == "mse":
        return rate * (1 - rate)
    return -sum(p * math.log(p) for p in (rate, 1 - rate) if p > 0)


def scored(model: Any, batch: Batch, hidden_MD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(log-odds, targets, weights) of the tokens whose target counts, in row-major order."""
    assert batch.target_BT is not None and batch.target_weight_BT is not None
    where_N = (batch.target_weight_BT > 0).flatten().nonzero()[:, 0]
    features_NE = None if batch.features_BTE is None else batch.features_BTE.flatten(0, 1)[where_N]
    logits_N = model.logits(hidden_MD[where_N], features_NE)
    return logits_N, batch.target_BT.flatten()[where_N], batch.target_weight_BT.flatten()[where_N]


def loss(model: Any, batch: Batch, kind: Loss) -> tuple[Tensor, dict[str, Tensor]]:
    """The batch's share of the step's loss (head plus language modelling), and sums for the metrics.

    Sums: `head` and `language` (the two terms), `weight` and `positive` (weights, and weights times targets), `scored` and
    `agreed` (targets, and those on whose side the score is).
    """
    hidden_MD = states(model.trunk, batch)
    total = hidden_MD.new_zeros(())
    sums: dict[str, Tensor] = {}
    if batch.target_BT is not None:
        logits_N, targets_N, weights_N = scored(model, batch, hidden_MD)
        head = (token_losses(logits_N, targets_N, kind) * weights_N).sum()
        agreed = ((logits_N > 0) == (targets_N >= 0.5)).sum()
        sums = {"head": head, "weight": weights_N.sum(), "positive": (weights_N * targets_N).sum(), "agreed": agreed}
        sums["scored"] = torch.tensor(len(logits_N), device=head.device)
        total = total + head
    if bool(batch.trainable_BT.any()):
        logprobs_N, _ = from_states(model.trunk, batch, hidden_MD)
        language = -(logprobs_N * batch.learned(batch.weight_BT)).sum()
        total, sums["language"] = total + language, language
    return total, {name: value.detach() for name, value in sums.items()}


def auc(scores: Sequence[float], right: Sequence[bool]) -> float | None:
    """Probability that a right one outscores a wrong one, ties counted half; None when there is only one kind."""
    values, labels = np.asarray(scores, dtype=np.float64), np.asarray(right, dtype=bool)
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if not positives or not negatives:
        return None
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # 1-based, ties share their mean
    return float((ranks[labels].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def best_of(groups: Sequence[Sequence[tuple[float, bool]]]) -> float:
    """Share of problems whose best-scored sample is right; ties are broken at random, in expectation."""
    total = 0.0
    for group in groups:
        most = max(score for score, _ in group)
        tied = [right for score, right in group if score == most]
        total += sum(tied) / len(tied)
    return total / max(1, len(groups))


def quality(logits_K: Sequence[float], right_K: Sequence[float], kind: Loss = "bce") -> Mapping[str, float]:
    """loss, base_loss (`constant_loss` at their own rate), accuracy at one half, and AUC (where both kinds occur)."""
    logits, targets = torch.tensor(logits_K, dtype=torch.float64), torch.tensor(right_K, dtype=torch.float64)
    rate = float(targets.mean())
    found = auc(logits_K, [y >= 0.5 for y in right_K])
    return {
        "loss": float(token_losses(logits, targets, kind).mean()),
        "base_loss": constant_loss(rate, kind),
        "base_rate": rate,
        "accuracy": float(((logits > 0) == (targets >= 0.5)).double().mean()),
        **({} if found is None else {"auc": found}),
    }
