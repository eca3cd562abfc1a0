"""Settings of GRPO, and which problem is asked how: everything about problem n follows from the seed and n."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from ponder import efforts
from ponder.errors import ConfigError
from ponder.training import rollouts
from ponder.training.objective import PRESETS, Objective
from ponder.training.settings import Count, Data, Optimizer, Positive, Shape, Train
from ponder.training.sources import Problems, place, schedule
from ponder.types import Sampling

EVAL_SEED = 7
Clip = Annotated[float, Meta(ge=0)]


class Level(efforts.Level, kw_only=True):
    """How to sample at one effort, and the `share` of the problems asked at it."""

    max_tokens: Positive = 128
    """Most tokens in all."""
    share: Annotated[float, Meta(ge=0)] = 1.0
    """Weight of this effort among the problems asked."""


class GRPOConfig(Train):
    """`ponder train grpo`. Settings of the loss left empty take the preset's value."""

    out: str = "runs/grpo"
    model: str = "mini"
    """The policy to start from: a shipped name, a run, or a Hugging Face folder; also the reference of the KL term."""
    shape: Shape = Shape()
    data: Data = []
    """Where problems come from: {task, weight, its options} each."""
    levels: dict[Literal["none", "low", "medium", "high"], Level] = field(default_factory=lambda: {"none": Level()})
    """For each effort: its share of the problems and its limits (max_tokens, think_budget, answer_reserve)."""
    rewards: dict[str, Any] = field(default_factory=lambda: {"task": 1.0})
    """Weights of the graders whose scores are summed; task is the problem's own."""
    steps: Positive = 100
    """Batches of fresh completions."""
    problems_per_step: Positive = 16
    """Groups per step: problems that taught something."""
    group_size: Annotated[int, Meta(ge=2)] = 16
    """Completions per problem, whose rewards are compared."""
    temperature: Annotated[float, Meta(gt=0, le=10)] = 1.0
    """Of sampling, and of the log-probabilities that are trained."""
    refill_rounds: Count = 1
    """Times that groups whose rewards are all equal are replaced by new problems."""
    mask_truncated: bool = False
    """Leave completions that ran out of tokens out of the loss."""
    preset: str = "grpo"
    """Values of the loss: grpo, dr_grpo, dapo, gspo, rloo or cispo; the settings below override it."""
    advantage: Literal["group", "mean", "rloo"] | None = None
    """group: (reward - mean) / std of its group; mean: no division; rloo: against the others' mean."""
    ratio: Literal["token", "sequence", "product"] | None = None
    """Of new to old policy: per token, or per sequence (mean or product over its tokens)."""
    surrogate: Literal["clip", "cispo"] | None = None
    """clip: PPO's pessimistic minimum; cispo: clipped weight on the log-probability."""
    aggregation: Literal["token-mean", "sequence-mean", "fixed-length"] | None = None
    """token-mean over the step, mean over sequences of their means, or sums over a fixed length."""
    clip_low: Clip | None = None
    """The ratio is kept above 1 - clip_low."""
    clip_high: Clip | None = None
    """The ratio is kept below 1 + clip_high."""
    kl_coef: Clip | None = None
    """Weight of the KL term to the reference; 0 has no reference."""
    kl_estimator: Literal["k1", "k2", "k3"] | None = None
    """k1 log-ratio, k2 half its square, k3 unbiased and positive (Schulman)."""
    sampler_clip: Clip | None = None
    """Above 0: truncated importance weights between sampler and trainer."""
    reference_every: Count = 0
    """Steps after which the reference becomes the policy; 0 never."""
    minibatches: Positive = 1
    """Updates that one batch of completions is cut into."""
    epochs: Positive = 1
    """Passes over one batch of completions."""
    optimizer: Optimizer = Optimizer(kind="adamw", lr=3e-4, beta2=0.99, warmup=5)
    eval_every: Count = 20
    """Steps between measurements on held-out problems."""
    eval_problems: Positive = 100
    """Held-out (dev) problems to measure on."""
    eval_attempts: Positive = 4
    """Completions per held-out problem."""
    eval_temperature: Annotated[float, Meta(ge=0, le=10)] | None = None
    """Of the measurement; the training temperature unless told."""
    engine_dtype: Literal["auto", "fp32", "bf16"] = "auto"
    """Of the sampler."""
    rows: Positive = 64
    """Completions the sampler works on at once."""
    rollout_rows: Count = 4
    """Completions of each step to write to rollouts.jsonl for reading."""
    save_every: Count = 20
    """Steps between checkpoints."""
    micro_tokens: Positive = 4096
    """Most tokens in one forward pass; memory, not results, depends on it."""

    def objective(self) -> Objective:
        """The preset's values under this configuration's own."""
        if self.preset not in PRESETS:
            raise ConfigError(f"preset = '{self.preset}': known presets are {', '.join(PRESETS)}")
        own = {name: getattr(self, name) for name in Objective.__slots__}
        return Objective(**{**PRESETS[self.preset], **{k: v for k, v in own.items() if v is not None}})  # type: ignore[arg-type]


class Asker:
    """Problem n with its effort and sampling, each decided by the seed and n."""

    def __init__(self, config: GRPOConfig) -> None:
        if not config.data:
            raise ConfigError(
                "data is empty: name at least one task to learn from, for instance data = [{task = 'countdown'}]"
            )
        for entry in config.data:
            if "task" not in entry:
                raise ConfigError(
                    f"data entries name a task here (problems are sampled, not imitated), got {dict(entry)}"
                )
        self.config = config
        self.parts = [Problems(entry, config.seed) for entry in config.data]
        self.order = schedule([float(entry.get("weight", 1.0)) for entry in config.data], config.seed)
        self.levels = [name for name, level in config.levels.items() if level.share > 0]
        if not self.levels:
            raise ConfigError("levels: at least one effort level needs a share above 0")

    def sampling(self, level: str, temperature: float) -> Sampling:
        """How to sample at `level`."""
        return self.config.levels[level].sampling(temperature)  # type: ignore[index]

    def __call__(self, number: int) -> rollouts.Ask:
        part, count = place(self.order, number)
        problem, rng = self.parts[part].draw(count)
        shares = [self.config.levels[name].share for name in self.levels]  # type: ignore[index]
        level = rng.choices(self.levels, shares)[0]
        grader = self.parts[part].task.grader
        return rollouts.Ask(number, problem, level, grader, self.sampling(level, self.config.temperature))

    def held_out(self) -> list[rollouts.Ask]:
        """The dev problems of all tasks, each at every level."""
        config = self.config
        temperature = config.temperature if config.eval_temperature is None else config.eval_temperature
        asks: list[rollouts.Ask] = []
        for part in self.parts:
            limit = max(1, config.eval_problems // len(self.parts))
            for i, problem in enumerate(part.task.problems("dev", limit, EVAL_SEED)):
                for level in self.levels:
                    asks.append(rollouts.Ask(i, problem, level, part.task.grader, self.sampling(level, temperature)))
        return asks
