"""Confidence: how sure the model was of what it wrote. No model is asked, so it costs no token.

    mean      exp(1/n Σ log p_i)                       the geometric mean of the tokens' probabilities
    window    exp(min over windows of w tokens of their mean log p)
    tail      exp(mean log p of the last w tokens)

After DeepConf (Fu et al. 2025, arXiv 2508.15260), whose confidence of a token is the mean of −log p over the 20 likeliest
candidates; here it is the log-probability of the token itself, the one thing a completion keeps. A text shorter than w is one
window. Not covered: tokens that a strategy wrote (they carry log-probability 0 and look certain).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from ponder.errors import ConfigError, WorkError, unknown
from ponder.types import Ledger, Semantics, Trace

Kind = Literal["mean", "window", "tail"]
KINDS: tuple[Kind, ...] = ("mean", "window", "tail")


@dataclass(frozen=True, slots=True)
class Confidence:
    """A `Verifier` by log-probabilities; abstains on a trace that carries none. `window` counts tokens.

    DeepConf's window is 2048 tokens of long traces; 16 suits lines of a few dozen.
    """

    kind: Kind = "mean"
    window: int = 16
    name: str = "confidence"
    semantics: Semantics = "outcome"
    reads: str = "tokens"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("kind of confidence", self.kind, KINDS)
        if self.window < 1:
            raise ConfigError(f"confidence.window = {self.window}: at least 1 token")

    def score(self, traces: Sequence[Trace]) -> list[float | None]:
        """The confidence of each trace, 0 to 1."""
        return [self._one(trace) for trace in traces]

    @property
    def ledger(self) -> Ledger:
        """Nothing is ever spent."""
        return Ledger()

    def _one(self, trace: Trace) -> float | None:
        if not trace.logprobs:
            return None
        if any(math.isnan(x) for x in trace.logprobs):
            raise WorkError(f"problem {trace.problem_id}: a log-probability is not a number; the engine is at fault")
        return math.exp(min(0.0, level(trace.logprobs, self.kind, self.window)))


def level(logprobs: Sequence[float], kind: Kind, window: int) -> float:
    """The mean log-probability that `kind` names, over at least one token."""
    if kind == "mean":
        return sum(logprobs) / len(logprobs)
    if kind == "tail":
        last = logprobs[-window:]
        return sum(last) / len(last)
    return min(window_means(logprobs, window))


def window_means(logprobs: Sequence[float], window: int) -> list[float]:
    """Mean of every `window` neighbouring tokens; of all when there are fewer."""
    size = min(window, len(logprobs))
    if any(math.isinf(x) for x in logprobs):  # differences of infinite sums say nothing
        return [sum(logprobs[i : i + size]) / size for i in range(len(logprobs) - size + 1)]
    total = [0.0, *accumulate(logprobs)]
    return [(total[i + size] - total[i]) / size for i in range(len(logprobs) - size + 1)]
