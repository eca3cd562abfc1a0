"""Pretraining: the loop of SFT over generated text that never ends and never repeats (`ponder.tasks.corpus`).

Document i is a pure function of (mixture, seed, i), so a checkpoint needs only a number to go on exactly where it was. The
evaluation loss is over documents with numbers far beyond any training run.
"""

from __future__ import annotations

from typing import Any

from msgspec import field

from ponder.errors import ConfigError
from ponder.tasks import corpus
from ponder.training.settings import Count, Optimizer
from ponder.training.supervised import Evaluate, Supervised, train


class PretrainConfig(Supervised):
    """`ponder train pretrain`: `mixture` weighs the kinds of document."""

    out: str = "runs/pretrain"
    mixture: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("facts", "copy", "compare"), 1.0))
    """Weights of the kinds of document (`ponder.tasks.corpus`)."""
    anneal: dict[str, float] = {}
    """Weights for the last part, while the rate falls; empty: the mixture to the end."""
    anneal_from: Count = 0
    """Number of the first document of that part."""
    optimizer: Optimizer = Optimizer(
        kind="muon", lr=4e-3, muon_lr=0.02, warmup=100, hold=0.5, schedule="linear", final=0.0
    )
    eval_every: int = 250


def run(config: PretrainConfig, evaluate: Evaluate | None = None) -> dict[str, Any]:
    """Pretrain and return the summary; `evaluate(model, tokenizer, step)` adds numbers every `eval_every` steps."""
    for name, weights in (("mixture", config.mixture), ("anneal", config.anneal)):
        corpus.check(weights)
        if (name == "mixture" or weights) and (min(weights.values(), default=0) < 0 or sum(weights.values()) <= 0):
            raise ConfigError(f"{name} must name kinds of document with weights of at least 0, not all 0")
    source = {"kind": "corpus", "mixture": config.mixture, "anneal": config.anneal, "anneal_from": config.anneal_from}
    return train(config, "train pretrain", source, evaluate, "pretrain")
