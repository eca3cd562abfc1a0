"""Settings that every training command shares, with their bounds. No torch here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from ponder.config import Config

Positive = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Rate = Annotated[float, Meta(ge=0, le=10)]
Share = Annotated[float, Meta(ge=0, le=1)]
Device = Literal["auto", "cpu", "cuda"]


class Shape(Config):
    """Sizes of a new model (`models.ModelConfig`, whose vocabulary is the tokenizer's)."""

    width: Positive = 128
    """Width of the residual stream."""
    layers: Positive = 4
    """Transformer blocks."""
    heads: Positive = 4
    """Query heads."""
    kv_heads: Positive = 2
    """Key-value heads; a divisor of heads."""
    hidden: Positive = 352
    """Width inside the SwiGLU feed-forward."""
    head_width: Positive | None = None
    """Width of one head; width / heads unless told."""
    context: Positive = 512
    """Longest sequence in tokens."""
    rope_theta: Annotated[float, Meta(gt=0)] = 10_000.0
    """Base of the rotary frequencies."""
    tied: bool = True
    """Whether the output matrix is the embedding."""
    family: Literal["llama", "qwen2", "qwen3"] = "llama"
    """Hugging Face architecture: qwen2 has q/k/v biases, qwen3 has q/k norms."""


class Optimizer(Config):
    """How weights move.

    `kind` muon orthogonalises the updates of the hidden matrices (`muon_lr`) and moves embeddings, norms and the output matrix
    by Adam (`lr`); adamw moves everything by `lr`. After `warmup` steps the rate holds for `hold` of the run, then decays
    along `schedule` to `final` times its peak.
    """

    kind: Literal["muon", "adamw"] = "adamw"
    """muon orthogonalises the updates of hidden matrices and leaves the rest to Adam; adamw moves everything."""
    lr: Rate = 1e-3
    """Adam's peak learning rate."""
    muon_lr: Rate = 0.02
    """Muon's peak learning rate."""
    weight_decay: Rate = 0.0
    """Decoupled decay of matrices; norms and biases have none."""
    beta1: Annotated[float, Meta(ge=0, lt=1)] = 0.9
    """Adam's decay of the first moment."""
    beta2: Annotated[float, Meta(ge=0, lt=1)] = 0.95
    """Adam's decay of the second moment."""
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.95
    """Muon's momentum."""
    clip_norm: Annotated[float, Meta(gt=0)] | None = 1.0
    """Largest norm of the gradient; none clips nothing."""
    warmup: Count = 0
    """Steps from 0 to the peak rate."""
    hold: Share = 0.0
    """Share of the run at the peak rate."""
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    """Decay after that."""
    final: Share = 0.1
    """Share of the peak rate the decay ends at."""
    split_fused: bool = True
    """Let Muon treat the matrices inside a fused projection one by one."""


class Train(Config):
    """What every training command takes. A run ends after `steps` or `max_minutes`, whichever comes first.

    With `max_minutes` the learning rate follows the clock as well, so such a run is not repeatable to the bit.
    """

    out: str = "runs/train"
    """The run's directory; the same command goes on where it stopped."""
    seed: int = 0
    """Decides every draw."""
    steps: Positive = 1000
    """Updates of the weights."""
    max_minutes: Annotated[float, Meta(gt=0)] | None = None
    """End by the clock instead; such a run is not repeatable to the bit."""
    optimizer: Optimizer = Optimizer()
    micro_tokens: Positive = 2048
    """Most tokens in one forward pass; memory, not results, depends on it."""
    device: Device = "auto"
    """auto takes CUDA where there is one."""
    dtype: Literal["auto", "fp32", "bf16"] = "auto"
    """Of the matrix products; weights stay fp32. auto is bf16 where it is fast."""
    threads: Positive | None = None
    """CPU threads; all cores unless told."""
    compile: bool = False
    """torch.compile the model: slow to start, faster after."""
    log: Literal["none", "tensorboard", "trackio"] = "none"
    """Also log to TensorBoard or trackio; metrics.jsonl is always written."""
    save_every: Count = 100
    """Steps between checkpoints; 0 saves at the end alone."""
    keep: Positive = 2
    """Checkpoints to keep."""
    eval_every: Count = 0
    """Steps between evaluations on held-out data; 0 for none."""
    resume: bool | None = None
    """true: go on with a run that must be there; false: start anew, the earlier run moves aside; unset: go on if there is one."""


MAY_CHANGE = ("steps", "max_minutes", "threads", "log", "save_every", "keep", "resume", "out", "micro_tokens")
Data = list[dict[str, Any]]
