"""Settings that `ponder train outcome` and `ponder train process` share. No torch here."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from ponder.training.settings import Count, Data, Optimizer, Positive, Train


class VerifierTrain(Train):
    """Settings that `ponder train outcome` and `ponder train process` share."""

    model: str = "mini-base"
    """The trunk to start from: a shipped name, a run, a Hugging Face folder, or an outcome or process model to go on with."""
    data: Data = []
    """Labelled samples: {file, held_out, weight, limit} of `ponder label` (`held_out` names a file to measure on), or
    {task, weight, limit, efforts, its options} to draw them."""
    generator: str = "mini"
    """The model whose samples are drawn for entries that name a task."""
    samples: Positive = 4
    """Completions drawn per problem."""
    temperature: Annotated[float, Meta(gt=0, le=10)] = 1.0
    """Of drawing them."""
    max_tokens: Positive | None = None
    """Longest completion drawn; what the generator's effort table says unless told."""
    tokens_per_step: Positive = 8192
    """Tokens, prompts included, per update."""
    loss: Literal["bce", "mse"] = "bce"
    """bce: binary cross-entropy; mse: squared error of the probability."""
    inputs: Literal["none", "logprobs"] = "none"
    """logprobs: the head also reads what the generator thought of its own tokens (own, mean, sum, least so far)."""
    optimizer: Optimizer = Optimizer(
        kind="muon", lr=1e-3, muon_lr=0.01, warmup=50, schedule="linear", hold=0.5, final=0.05
    )
    eval_every: Count = 50
    """Steps between measurements on held-out samples."""
    eval_problems: Positive = 64
    """Held-out (dev) problems to measure on."""
    eval_samples: Positive = 16
    """Completions per held-out problem; the N of `eval_best_of_N`."""
    engine_dtype: Literal["auto", "fp32", "bf16"] = "auto"
    """Of the generator."""
    rows: Positive = 128
    """Completions the generator works on at once."""
    save_every: Count = 100
    """Steps between checkpoints."""
    micro_tokens: Positive = 4096
    """Most tokens in one forward pass; memory, not results, depends on it."""
