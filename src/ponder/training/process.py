"""Process models: a probability for every step, by binary cross-entropy at each step's last token (Lightman et al., arXiv
2305.20050; Wang et al., arXiv 2312.08935, equation 3).

`labels` says what the steps' labels mean, which the folder remembers, since it decides how scores along a branch are put
together: "value" (can the answer still be right from here?: the last counts) or "correctness" (is this step right?: the
least or the product). Soft labels are targets as they are. Steps without a label are read and not asked about.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ponder.training.labelled import Ask
from ponder.training.verifier import Plan
from ponder.training.verifier import run as train
from ponder.training.verifier_settings import VerifierTrain


class ProcessConfig(VerifierTrain):
    """`ponder train process`."""

    out: str = "runs/process"
    labels: Literal["value", "correctness"] = "value"
    """What step labels mean; of a file all must be of this kind."""
    lm_coef: Annotated[float, Meta(ge=0, le=100)] = 0.0
    """Weight of language modelling on the solutions that are right, beside the head's loss."""


def run(config: ProcessConfig) -> dict[str, Any]:
    """Train a process model and return the summary."""
    ask = Ask(steps=True, features=config.inputs == "logprobs", language=config.lm_coef > 0)
    return train(config, Plan("process", ask, config.labels, 0.0, config.lm_coef))
