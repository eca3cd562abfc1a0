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
    layers: Positive = 4
    heads: Positive = 4
    kv_heads: Positive = 2
    hidden: Positive = 352
    head_width: Positive | None = None
    context: Positive = 512
    rope_theta: Annotated[float, Meta(gt=0)] = 10_000.0
    tied: bool = True
    family: Literal["llama", "qwen2", "qwen3"] = "llama"


class Optimizer(Config):
    """How weights move.

    `kind` muon orthogonalises the updates of the hidden matrices (`muon_lr`) and moves embeddings, norms and the output matrix
    by Adam (`lr`); adamw moves everything by `lr`. After `warmup` steps the rate holds for `hold` of the run, then decays
    along `schedule` to `final` times its peak.
    """

    kind: Literal["muon", "adamw"] = "adamw"
    lr: Rate = 1e-3
    muon_lr: Rate = 0.02
    weight_decay: Rate = 0.0
    beta1: Annotated[float, Meta(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Meta(ge=0, lt=1)] = 0.95
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.95
    clip_norm: Annotated[float, Meta(gt=0)] | None = 1.0
    warmup: Count = 0
    hold: Share = 0.0
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    final: Share = 0.1
    split_fused: bool = True


class Train(Config):
    """What every training command takes. A run ends after `steps` or `max_minutes`, whichever comes first.

    With `max_minutes` the learning rate follows the clock as well, so such a run is not repeatable to the bit.
    """

    out: str = "runs/train"
    seed: int = 0
    steps: Positive = 1000
    max_minutes: Annotated[float, Meta(gt=0)] | None = None
    optimizer: Optimizer = Optimizer()
    micro_tokens: Positive = 2048
    device: Device = "auto"
    dtype: Literal["auto", "fp32", "bf16"] = "auto"
    threads: Positive | None = None
    compile: bool = False
    log: Literal["none", "tensorboard", "trackio"] = "none"
    save_every: Count = 100
    keep: Positive = 2
    eval_every: Count = 0
    resume: bool | None = None


MAY_CHANGE = ("steps", "max_minutes", "threads", "log", "save_every", "keep", "resume", "out", "micro_tokens")
Data = list[dict[str, Any]]
