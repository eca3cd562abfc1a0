"""Outcome models: the probability that a finished answer is right, read off a scalar head (Cobbe et al., arXiv 2110.14168).

Every token of a sampled solution is asked whether the solution will turn out right, so a score exists at every moment of an
unfinished one; the prompt is masked. Joint language modelling (`lm_coef`) keeps the trunk a language model. Departures: the
scalar is a linear head of its own with a logistic link instead of a gain and bias on one vocabulary logit; the loss is
binary cross-entropy unless `loss = "mse"`; language modelling is on the right ones among the samples, not on a separate set.
`last_share` moves weight from the tokens on the way to the last one, which alone can be checked: 0 is Cobbe's, 1 scores
solutions at their end alone.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from ponder.training.labelled import Ask
from ponder.training.settings import Share
from ponder.training.verifier import Plan
from ponder.training.verifier import run as train
from ponder.training.verifier_settings import VerifierTrain


class OutcomeConfig(VerifierTrain):
    """`ponder train outcome`."""

    out: str = "runs/outcome"
    last_share: Share = 0.5
    """Share of the loss at the last token of each solution; the rest is spread over all its tokens."""
    lm_coef: Annotated[float, Meta(ge=0, le=100)] = 0.0
    """Weight of language modelling on the solutions that are right, beside the head's loss."""


def run(config: OutcomeConfig) -> dict[str, Any]:
    """Train an outcome model and return the summary."""
    ask = Ask(steps=False, features=config.inputs == "logprobs", language=config.lm_coef > 0)
    return train(config, Plan("outcome", ask, None, config.last_share, config.lm_coef))
