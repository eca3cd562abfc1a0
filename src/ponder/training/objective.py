"""One loss for every algorithm that follows tokens: ratio, surrogate, KL and imitation, each a pure function.

Shapes: N learned tokens of a batch. Everything that differs between GRPO, Dr.GRPO, DAPO, GSPO, RLOO and CISPO is a value of
`Objective`; `PRESETS` lists them. Normalisation is not here: `examples.weigh` puts it into the weights, so the loss of a
step is the plain sum over its micro-batches.

Source: Group relative policy optimisation, DeepSeekMath (arXiv 2402.03300) and DeepSeek-R1 (Nature 645, 2025), equations 1-3:
J = mean_i min(rho_i A_i, clip(rho_i, 1 - eps, 1 + eps) A_i) - beta KL, the loss being -J. R1 prints rho_i for the whole
answer (`ratio="product"`), DeepSeekMath per token (`ratio="token"`, the default here, in TRL and in verl). The KL term is per
token in all of them here, averaged like the surrogate; R1 prints it for the whole answer. With a ratio of whole sequences
"sequence-mean" is the aggregation that makes each sequence count once. TRL's RLOO puts the KL into the reward; here
`kl_coef` puts it into the loss.
Not covered: dual clipping (on by default in verl), top-k or top-p corrected importance weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ponder.training import advantages, kl
from ponder.training.batch import Batch
from ponder.training.examples import POLICY, Aggregation

Ratio = Literal["token", "sequence", "product"]
Surrogate = Literal["clip", "cispo"]


@dataclass(frozen=True, slots=True)
class Objective:
    """The values that make an algorithm. Clips are offsets: the ratio is kept in [1 - clip_low, 1 + clip_high].

    `ratio`: token; sequence = exp(mean log-ratio of the sequence) (GSPO, arXiv 2507.18071, eq. 7); product = exp(sum).
    `surrogate`: clip = PPO's pessimistic minimum; cispo = -stopgrad(min(ratio, 1 + clip_high)) A log-prob (MiniMax-M1, arXiv
    2506.13585, eq. 4-5; note that TRL reads `epsilon_high` as the ceiling itself, 1 + clip_high here).
    `sampler_clip` > 0 multiplies each token's loss by min(old / sampler, sampler_clip) (truncated importance sampling).
    """

    advantage: advantages.Estimator = "group"
    ratio: Ratio = "token"
    surrogate: Surrogate = "clip"
    aggregation: Aggregation = "token-mean"
    clip_low: float = 0.2
    clip_high: float = 0.2
    kl_coef: float = 0.0
    kl_estimator: kl.Estimator = "k3"
    sampler_clip: float = 0.0


PRESETS: dict[str, dict[str, float | str]] = {
    "grpo": {"advantage": "group", "ratio": "token", "aggregation": "sequence-mean", "clip_low": 0.2, "clip_high": 0.2},
    "dr_grpo": {"advantage": "mean", "ratio": "token", "aggregation": "fixed-length", "clip_low": 0.2, "clip_high": 0.2},
    "dapo": {"advantage": "group", "ratio": "token", "aggregation": "token-mean", "clip_low": 0.2, "clip_high": 0.28},
    "gspo": {
        "advantage": "group", "ratio": "sequence", "aggregation": "sequence-mean", "clip_low": 3e-4, "clip_high": 4e-4,
    },
    "rloo": {"advantage": "rloo", "ratio": "product", "aggregation": "sequence-mean", "clip_low": 0.2, "clip_high": 0.2},
    "cispo": {
        "advantage": "group", "ratio": "token", "surrogate": "cispo", "aggregation": "token-mean", "clip_high": 0.28,
    },
    "r1": {
        "advantage": "group", "ratio": "product", "aggregation": "sequence-mean", "clip_low": 10.0, "clip_high": 10.0,
        "kl_coef": 0.001, "kl_estimator": "k3",
    },
}  # fmt: skip


def log_ratio(logprobs_N: Tensor, old_logprobs_N: Tensor, sequence_N: Tensor, kind: Ratio) -> Tensor:
    """log(policy / old) that each token is weighed by: its own, or one number for its whole sequence."""
    own_N = logprobs_N - old_logprobs_N
    if kind == "token":
        return own_N
    sequences = int(sequence_N.max()) + 1 if len(sequence_N) else 0
    total_S = own_N.new_zeros(sequences).index_add(0, sequence_N, own_N)
    if kind == "sequence":
        total_S = total_S / own_N.new_zeros(sequences).index_add(0, sequence_N, torch.ones_like(own_N))
    return total_S[sequence_N]


def clipped(ratio_N: Tensor, advantage_N: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """-min(ratio A, clip(ratio) A) per token (PPO, arXiv 1707.06347, eq. 7)."""
    return -torch.minimum(ratio_N * advantage_N, ratio_N.clamp(1 - clip_low, 1 + clip_high) * advantage_N)


def truncated(ratio_N: Tensor, advantage_N: Tensor, logprobs_N: Tensor, clip_high: float) -> Tensor:
    """-stopgrad(min(ratio, 1 + clip_high)) A log-prob per token: a clipped token is damped, never silenced (CISPO)."""
    return -ratio_N.detach().clamp(max=1 + clip_high) * advantage_N * logprobs_N


def clip_share(ratio_N: Tensor, advantage_N: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """True where the clip takes the gradient away: the ratio is beyond the side that its advantage pushes to."""
    return ((advantage_N > 0) & (ratio_N > 1 + clip_high)) | ((advantage_N < 0) & (ratio_N < 1 - clip_low))


def imitation(logprobs_N: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of the learned tokens, already normalised by the weights: a scalar."""
    return -(logprobs_N * batch.learned(batch.weight_BT)).sum()


def loss(
    objective: Objective, batch: Batch, logprobs_N: Tensor, on_policy: bool = False
) -> tuple[Tensor, dict[str, Tensor]]:
    """The batch's share of the step's loss, and sums over its policy tokens for the metrics.

    `on_policy` says that the policy has not moved since the rollout: the present log-probabilities, detached, stand in
    for `old_logprobs_BT`. Sums: tokens, surrogate, kl, clipped, ratio; all but the first are per-token totals.
    """
    weight_N = batch.learned(batch.weight_BT)
    policy_N = batch.learned(batch.component_BT) == POLICY
    advantage_N = batch.learned(batch.advantage_BT)
    old_N = logprobs_N.detach() if on_policy else batch.learned(batch.old_logprobs_BT)
    old_N = torch.where(policy_N, old_N, logprobs_N.detach())
    ratio_N = log_ratio(
        logprobs_N, old_N, batch.sequence_N if objective.ratio != "token" else weight_N, objective.ratio
    ).exp()
    if objective.surrogate == "cispo":
        token_N = truncated(ratio_N, advantage_N, logprobs_N, objective.clip_high)
    else:
        token_N = clipped(ratio_N, advantage_N, objective.clip_low, objective.clip_high)
    if objective.sampler_clip:
        token_N = (
            token_N
            * (old_N - batch.learned(batch.sampler_logprobs_BT)).exp().clamp(max=objective.sampler_clip).detach()
        )
    sums = {
        "tokens": policy_N.sum(),
        "surrogate": (token_N * policy_N).sum(),
        "clipped": (clip_share(ratio_N, advantage_N, objective.clip_low, objective.clip_high) & policy_N).sum(),
        "ratio": (ratio_N * policy_N).sum(),
    }
    if objective.kl_coef:
        kl_N = kl.estimate(logprobs_N, batch.learned(batch.ref_logprobs_BT), objective.kl_estimator)
        sums["kl"] = (kl_N * policy_N).sum()
        token_N = token_N + objective.kl_coef * kl_N
    token_N = torch.where(policy_N, token_N, -logprobs_N)
    return (token_N * weight_N).sum(), {k: v.detach() for k, v in sums.items()}
