"""Log-probabilities of whole examples under a fixed set of weights: the policy before its updates, and the reference.

The reference is a copy of the policy at the start of the run, renewed every so many steps when asked (R1-Zero: every 400);
it is kept in checkpoints, so a resumed run measures its KL against the same weights.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ponder.training.batch import build
from ponder.training.examples import Example
from ponder.training.logprobs import learned_logprobs
from ponder.training.loop import Trainer

NAME = "reference"


@torch.no_grad()
def with_logprobs(
    trainer: Trainer, model: Any, examples: Sequence[Example], micro_tokens: int, temperature: float, field: str
) -> list[Example]:
    """The examples with their log-probabilities under `model` in the stream called `field` (0 where not learned)."""
    order = sorted(range(len(examples)), key=lambda i: -len(examples[i]))
    scored: list[Example] = list(examples)
    while order:
        rows = max(1, micro_tokens // len(examples[order[0]]))
        chunk, order = order[:rows], order[rows:]
        batch = build([[examples[i]] for i in chunk]).to(trainer.device)
        with trainer.precision():
            found = learned_logprobs(model, batch, temperature)[0].float().cpu().numpy()
        for i, values in zip(chunk, np.split(found, np.cumsum([examples[i].learned for i in chunk])[:-1]), strict=True):
            stream = np.zeros(len(examples[i]), dtype=np.float32)
            stream[examples[i].trainable] = values
            scored[i] = replace(examples[i], **{field: stream})
    return scored


class Reference:
    """Frozen weights beside the trained ones; `every` > 0 renews them after that many steps."""

    def __init__(self, trainer: Trainer, every: int) -> None:
        self.trainer, self.every = trainer, every
        self.model = copy.deepcopy(trainer.model).requires_grad_(False)
        self._keep()

    def _keep(self) -> None:
        self.trainer.extra[NAME] = dict(self.model.named_parameters())

    @torch.no_grad()
    def _copy(self, weights: dict[str, torch.Tensor]) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.copy_(weights[name])
        self._keep()

    def restore(self) -> None:
        """After resuming: take the checkpoint's reference."""
        self._copy({name: tensor.clone() for name, tensor in self.trainer.extra[NAME].items()})

    def maybe_refresh(self) -> None:
        """Renew the reference when its turn has come."""
        if self.every and self.trainer.step % self.every == 0:
            self._copy({name: p.detach() for name, p in self.trainer.model.named_parameters()})

    def score(self, examples: Sequence[Example], micro_tokens: int, temperature: float) -> list[Example]:
        """The examples with the reference's log-probabilities."""
        return with_logprobs(self.trainer, self.model, examples, micro_tokens, temperature, "ref_logprobs")
