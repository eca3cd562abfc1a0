"""GRPO and its relatives: sample groups, grade, turn rewards into advantages, follow them; repeat.

One step: `rollouts.collect` samples and grades, `rollouts.to_examples` fills the batch, `objective` is the loss, `loop` moves
the weights, the engine (which shares them) is refreshed. The algorithm is a preset of values (`objective.PRESETS`) that any
setting may override. With one update per rollout the policy has not moved, so its own log-probabilities stand in for the
old ones (the ratio is 1 and nothing is clipped); with several, the old ones are computed once before the first.
Source: DeepSeekMath section 4.1 and DeepSeek-R1, equations 1-3; `docs/grpo.md` says where other libraries differ.
Not covered: asynchronous rollouts, several turns, a value model (PPO).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import torch

from ponder import efforts
from ponder.config import to_dict
from ponder.progress import Progress
from ponder.runs import Run
from ponder.text.tokenizer import Tokenizer
from ponder.training import objective as objectives
from ponder.training import rollouts
from ponder.training.batch import Batch, micro_batches
from ponder.training.examples import Example, weigh
from ponder.training.grpo_settings import Asker, GRPOConfig, Level
from ponder.training.heldout import held_out, shown
from ponder.training.logprobs import learned_logprobs
from ponder.training.loop import Trainer, pick_device
from ponder.training.objective import Objective
from ponder.training.reference import Reference, with_logprobs
from ponder.training.settings import MAY_CHANGE
from ponder.training.shared import cheaper, layouts
from ponder.training.sources import random_for
from ponder.training.supervised import start_model
from ponder.types import EFFORTS, Engine

EngineOf = Callable[[Any, Tokenizer], Any]
__all__ = ["GRPOConfig", "Level", "run"]


def default_engine(config: GRPOConfig, model: Any, tokenizer: Tokenizer) -> Any:
    """The local engine on the training module's own weights."""
    from ponder.engines.local import LocalEngine

    dtype = {"auto": None, "fp32": torch.float32, "bf16": torch.bfloat16}[config.engine_dtype]
    return LocalEngine(
        model, tokenizer, device=pick_device(config.device), dtype=dtype, rows=config.rows, cache_completions=False
    )


def run(config: GRPOConfig, engine_of: EngineOf | None = None) -> dict[str, Any]:
    """Train and return the summary. `engine_of(model, tokenizer)` replaces the local engine."""
    objective = config.objective()
    asker = Asker(config)
    torch.manual_seed(config.seed)
    model, tokenizer, _ = start_model(config.model, config.shape, config.seed)
    with Run.open(config.out, "train grpo", to_dict(config), config.resume, MAY_CHANGE) as opened:
        trainer = Trainer(model, config, opened)
        try:
            reference = Reference(trainer, config.reference_every) if objective.kl_coef else None
            if trainer.resume() and reference is not None:
                reference.restore()
            _forget(opened, trainer.step)
            engine = engine_of(model, tokenizer) if engine_of else default_engine(config, model, tokenizer)
            return Learner(config, objective, asker, trainer, engine, tokenizer, reference).run()
        finally:
            trainer.close()


def _forget(run: Run, step: int) -> None:
    """Drop the sampled rows of steps that will be done again."""
    rows = run.rows("rollouts.jsonl")
    if kept := [row for row in rows if row["step"] <= step]:
        run.write_text("rollouts.jsonl", "".join(msgspec.json.encode(row).decode() + "\n" for row in kept))
    elif rows:
        (run.path / "rollouts.jsonl").unlink()


class Learner:
    """The state of one GRPO run and its step."""

    def __init__(
        self,
        config: GRPOConfig,
        objective: Objective,
        asker: Asker,
        trainer: Trainer,
        engine: Any,
        tokenizer: Tokenizer,
        reference: Reference | None,
    ) -> None:
        self.config, self.objective, self.asker, self.trainer = config, objective, asker, trainer
        self.engine: Engine = engine
        self.tokenizer, self.reference = tokenizer, reference
        self.rewards = rollouts.Rewards(config.rewards)
        self.asks = asker.held_out() if config.eval_every else []

    def run(self) -> dict[str, Any]:
        """All steps, then the final model."""
        config, trainer = self.config, self.trainer
        row: dict[str, Any] = {}
        last: dict[str, Any] = {}
        with self.trainer.interruptible(), Progress() as progress:
            bar = progress.bar("GRPO", total=None if config.max_minutes else config.steps)
            bar.advance(trainer.step)
            if config.eval_every and not trainer.step and not trainer.run.rows():
                last = self.evaluate()
                trainer.log(last)
                progress.note(f"before: {shown(last)}")
            while not trainer.finished:
                row = self.step()
                if config.eval_every and (trainer.step % config.eval_every == 0 or trainer.finished):
                    last = self.evaluate()
                    row |= last
                    progress.note(f"step {trainer.step}: {shown(last)}")
                trainer.log(row)
                trainer.maybe_save()
                bar.advance(
                    1, reward=f"{row['reward']:.3f}", length=f"{row['length']:.0f}", entropy=f"{row['entropy']:.3f}",
                    zero_var=f"{row['zero_variance_share']:.2f}", s=f"{row['seconds_step']:.2f}",
                )  # fmt: skip
        return self.finish({**row, **last})

    def step(self) -> dict[str, Any]:
        """One rollout and the updates on it."""
        config, trainer = self.config, self.trainer
        started = time.monotonic()
        rollout = rollouts.collect(
            self.engine, self.asker, self.rewards,
            problems=config.problems_per_step, group_size=config.group_size, refill_rounds=config.refill_rounds,
            cursor=int(trainer.values.get("cursor", 0)), seed_of=self.seed,
        )  # fmt: skip
        trainer.values["cursor"] = rollout.cursor
        for sample in rollouts.rows(rollout, trainer.step + 1, config.rollout_rows):
            trainer.run.append("rollouts.jsonl", sample)
        middle = time.monotonic()
        examples = rollouts.to_examples(rollout.kept, self.objective.advantage, config.mask_truncated)
        moved = self.learn(examples)
        self.engine.refresh()  # type: ignore[attr-defined]
        ended = time.monotonic()
        found = rollouts.statistics(rollout, config.group_size)
        return {
            **found,
            **moved,
            "problems": rollout.cursor,
            "tokens_per_second": found["completion_tokens"] / (ended - started),
            "seconds_training": ended - middle,
            "seconds_step": ended - started,
            **({"ungraded_reasons": rollouts.reasons(rollout)} if found["ungraded"] else {}),
        }

    def seed(self, number: int, sample: int) -> int:
        """The sampling seed of sample `sample` of problem `number`."""
        return random_for("sample", self.config.seed, number, sample).getrandbits(62)

    def learn(self, examples: list[Example]) -> dict[str, float]:
        """All updates on one rollout; returns the mean metrics over them, clip share that of all updates."""
        config, trainer = self.config, self.trainer
        updates = config.minibatches * config.epochs
        if updates > 1 and examples:
            examples = with_logprobs(
                trainer, trainer.model, examples, config.micro_tokens, config.temperature, "old_logprobs"
            )
        if self.reference is not None:
            examples = self.reference.score(examples, config.micro_tokens, config.temperature)
        totals: dict[str, float] = {}
        for epoch in range(config.epochs):
            for part in self.parts(examples, epoch):
                for name, value in self.update(part, on_policy=updates == 1).items():
                    totals[name] = totals.get(name, 0.0) + value
        trainer.step += 1
        if self.reference is not None:
            self.reference.maybe_refresh()
        tokens = max(1.0, totals["tokens"])
        means = {k: totals[k] / updates for k in ("loss", "grad_norm", "rate")}
        names = {"clipped": "clip_share", "entropy": "entropy", "kl": "kl", "ratio": "ratio", "gap": "sampler_gap"}
        return {**means, **{new: totals[old] / tokens for old, new in names.items() if old in totals}}

    def parts(self, examples: Sequence[Example], epoch: int) -> list[list[Example]]:
        """The minibatches of one pass over a rollout."""
        if self.config.minibatches == 1:
            return [list(examples)]
        order = list(range(len(examples)))
        random_for("minibatch", self.config.seed, self.trainer.values["cursor"], epoch).shuffle(order)
        n = self.config.minibatches
        return [[examples[i] for i in order[k::n]] for k in range(n)]

    def update(self, examples: Sequence[Example], on_policy: bool) -> dict[str, float]:
        """One optimiser step on `examples`."""
        longest = max(level.max_tokens for level in self.config.levels.values())
        weighed = weigh(examples, self.objective.aggregation, longest)

        def loss_of(batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            model = self.trainer.model
            logprobs_N, entropy_N = learned_logprobs(model, batch, self.config.temperature, entropy=True)
            value, sums = objectives.loss(self.objective, batch, logprobs_N, on_policy)
            before_N = logprobs_N.detach() if on_policy else batch.learned(batch.old_logprobs_BT)
            gap = (before_N - batch.learned(batch.sampler_logprobs_BT)).abs().sum()
            return value, {**sums, "entropy": entropy_N.sum(), "gap": gap}

        micro, pad = self.config.micro_tokens, self.tokenizer.pad_id
        batches = layouts(weighed, micro, pad) if cheaper(weighed, micro) else micro_batches(weighed, micro, None, pad)
        moved = self.trainer.update(batches, loss_of, advance=False)
        return {"tokens": 0.0, "entropy": 0.0, **moved}

    def evaluate(self) -> dict[str, Any]:
        """pass@1 on held-out problems with its interval over problems, over all levels and for each."""
        config = self.config
        return held_out(self.engine, self.asks, config.eval_attempts, config.seed)

    def finish(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Save the model and the summary."""
        from ponder import models

        trainer = self.trainer
        folder = trainer.run.path / "model"
        models.save(trainer.model, folder, self.tokenizer)
        if levels := {name: level for name, level in self.config.levels.items() if name in EFFORTS}:
            efforts.write(folder, levels)
        summary = {"steps": trainer.step, "seconds": trainer.seconds, "model": str(folder), **row}
        trainer.run.write_json("summary.json", summary)
        return summary
