"""Estimators of KL(policy || reference) per sampled token, and what their gradients are.

Shapes: N learned tokens. With d = log ref - log policy at a token drawn from the policy (Schulman, "Approximating KL
divergence"):

    k1 = -d                unbiased, may be negative. Its gradient in a loss is the score, zero in expectation: as a loss
                           term k1 teaches nothing but noise. It belongs in the reward.
    k2 = d^2 / 2           biased upwards, low variance. On-policy its gradient is that of the reverse KL exactly, in expectation.
    k3 = exp(d) - d - 1    unbiased and never negative (GRPO, equation 2 of R1). Its gradient in a loss is (1 - exp(d)) times
                           the score: on-policy that is the gradient of the *forward* KL(ref || policy), not the reverse.

All are for tokens of the present policy; with several updates per rollout they are off-policy, and nothing here corrects
for it (TRL's `use_bias_correction_kl` multiplies k3 by the ratio; verl clamps k3 to ±10).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Estimator = Literal["k1", "k2", "k3"]


def estimate(policy_logprobs_N: Tensor, ref_logprobs_N: Tensor, estimator: Estimator = "k3") -> Tensor:
    """The estimate at each token, in nats."""
    d_N = ref_logprobs_N - policy_logprobs_N
    if estimator == "k1":
        return -d_N
    if estimator == "k2":
        return d_N.square() / 2
    return d_N.exp() - d_N - 1
