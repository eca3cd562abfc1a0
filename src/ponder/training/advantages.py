"""Advantages: how good each sample is compared with its siblings. Pure functions of rewards, no torch.

Shapes: G samples of one problem. A reward of None (could not be graded) takes no part: it counts neither in the mean nor
in the deviation, and its sample carries no loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

Estimator = Literal["group", "mean", "rloo"]
EPS = 1e-4


def usable(rewards_G: Sequence[float | None]) -> list[float]:
    """The rewards that were given."""
    return [r for r in rewards_G if r is not None]


def uniform(rewards_G: Sequence[float | None], tolerance: float = 1e-8) -> bool:
    """True when the group can teach nothing: fewer than two graded samples, or all rewards alike."""
    rewards = usable(rewards_G)
    return len(rewards) < 2 or max(rewards) - min(rewards) <= tolerance


def advantages(
    rewards_G: Sequence[float | None], estimator: Estimator = "group", eps: float = EPS
) -> list[float | None]:
    """Advantage of each sample of one group; None where the reward is.

    group: (r - mean) / (std + eps), the standard deviation with Bessel's correction (R1, equation 3; DeepSeekMath leaves
    both the correction and eps unsaid; TRL and verl also use the unbiased one, with eps 1e-4 and 1e-6).
    mean: r - mean (Dr.GRPO). rloo: r - mean of the others = (r - mean) G / (G - 1) (RLOO).
    A group of one has no siblings: its advantage is 0 (verl returns the raw reward instead).
    """
    rewards = usable(rewards_G)
    n = len(rewards)
    if n < 2:
        return [None if r is None else 0.0 for r in rewards_G]
    mean = math.fsum(rewards) / n
    if estimator == "group":
        scale = 1.0 / (math.sqrt(math.fsum((r - mean) ** 2 for r in rewards) / (n - 1)) + eps)
    else:
        scale = n / (n - 1) if estimator == "rloo" else 1.0
    return [None if r is None else (r - mean) * scale for r in rewards_G]
