"""What outcome and process models share: settings, the trunk with its head, the loop, measuring on held-out samples.

The trunk starts from a generator's weights or from the pretrained base; a scalar head is put on it and everything is trained.
Beside the loss stands the loss of a constant (`base_loss`: for bce the entropy of the base rate). A head that has learned
nothing but the base rate sits there, often for long: checking appears suddenly, and until the loss is far below that bound no
curve of accuracy against samples is worth drawing.
Not covered: training the head alone, dropout, several devices.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ponder.config import to_dict
from ponder.errors import ConfigError
from ponder.models import heads
from ponder.models.heads import HeadedModel
from ponder.progress import Progress
from ponder.runs import Run
from ponder.text.tokenizer import Tokenizer
from ponder.training import scores
from ponder.training.batch import micro_batches
from ponder.training.examples import Example, weigh, weigh_targets
from ponder.training.feed import Feed
from ponder.training.labelled import Ask, DrawnPart, FilePart, LabelledSource, Part
from ponder.training.loop import Trainer
from ponder.training.measured import measure, shown
from ponder.training.settings import MAY_CHANGE, Shape
from ponder.training.supervised import find_model, start_model
from ponder.training.verifier_settings import VerifierTrain
from ponder.types import Engine
from ponder.verifiers.samples import LabelKind, LabelledSample


@dataclass(frozen=True, slots=True)
class Plan:
    """What tells an outcome model from a process model while training: what is asked of a sample, and how it is weighed."""

    kind: Literal["outcome", "process"]
    ask: Ask
    labels: LabelKind | None
    last_share: float
    lm_coef: float

    @property
    def about(self) -> dict[str, Any]:
        """What the folder says of itself."""
        return {"verifier": {"kind": self.kind, "semantics": self.labels or "outcome"}}

    def weigh(self, examples: Sequence[Example]) -> list[Example]:
        """Weights of one step's examples."""
        return weigh_targets(weigh(examples, coefficients=(self.lm_coef, 0.0)), self.last_share)


def run(config: VerifierTrain, plan: Plan) -> dict[str, Any]:
    """Train to the end and return the summary."""
    if config.compile:
        raise ConfigError("compile = true: verifiers train without it; leave it out")
    torch.manual_seed(config.seed)
    model, tokenizer = start(config, plan)
    parts = open_parts(config, plan)
    with Run.open(config.out, f"train {plan.kind}", to_dict(config), config.resume, MAY_CHANGE) as opened:
        trainer = Trainer(model, config, opened)
        try:
            trainer.resume()
            return Learner(config, plan, trainer, tokenizer, parts).run()
        finally:
            trainer.close()


def start(config: VerifierTrain, plan: Plan) -> tuple[HeadedModel, Tokenizer]:
    """The trunk with its head, new or as it was saved, and the tokenizer."""
    folder = find_model(config.model)
    features = config.inputs == "logprobs"
    if heads.is_headed(folder):
        model = heads.load(folder)[0]
        if (model.score_features is not None) != features:
            raise ConfigError(f"inputs = '{config.inputs}': {config.model} was trained with the other setting")
        if plan.lm_coef:
            raise ConfigError(f"lm_coef = {plan.lm_coef}: {config.model} has no output matrix of its own; set it to 0")
        return model, Tokenizer.load(folder)
    trunk, tokenizer, _ = start_model(config.model, Shape(), config.seed)
    return HeadedModel(trunk, features=features, seed=config.seed), tokenizer


def open_parts(config: VerifierTrain, plan: Plan) -> list[Part]:
    """The entries of `data`; the generator is loaded when one of them needs it."""
    if not config.data:
        raise ConfigError(
            "data is empty: name a task to draw from, for instance data = [{task = 'countdown'}], or a file"
        )
    engine: Engine | None = None
    parts: list[Part] = []
    for entry in config.data:
        if ("task" in entry) == ("file" in entry):
            raise ConfigError(f"a data entry names either task or file, got {dict(entry)}")
        if "file" in entry:
            parts.append(FilePart(entry, config.seed, plan.labels))
            continue
        engine = engine or open_generator(config)
        drawing = config.samples, config.temperature, config.max_tokens
        parts.append(DrawnPart(entry, config.seed, engine, plan.labels, *drawing))
    return parts


def open_generator(config: VerifierTrain) -> Engine:
    """The local engine that draws samples."""
    from ponder import engines

    dtype = None if config.engine_dtype == "auto" else config.engine_dtype
    device = "cuda" if config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available()) else "cpu"
    return engines.load(_plain(config.generator), device=device, dtype=dtype, rows=config.rows)


def _plain(name: str) -> str:
    folder = find_model(name)
    return name if folder.name == name else str(folder)


class Learner:
    """The state of one run."""

    def __init__(
        self, config: VerifierTrain, plan: Plan, trainer: Trainer, tokenizer: Tokenizer, parts: Sequence[Part]
    ) -> None:
        self.config, self.plan, self.trainer, self.tokenizer = config, plan, trainer, tokenizer
        weights = [float(entry.get("weight", 1.0)) for entry in config.data]
        context = trainer.model.config.context
        self.source = LabelledSource(parts, weights, config.seed, plan.ask, tokenizer, context)
        self.held_out: list[LabelledSample] = []
        if config.eval_every:
            limit = max(1, config.eval_problems // len(parts))
            self.held_out = [s for part in parts for s in part.held_out(limit, config.eval_samples)]
            if not self.held_out:
                raise ConfigError(
                    "eval_every: the data has no held-out rows (split 'dev'); add some or set eval_every = 0"
                )

    def run(self) -> dict[str, Any]:
        """All steps, then the final model."""
        config, trainer = self.config, self.trainer
        row: dict[str, Any] = {}
        last: dict[str, Any] = {}
        with (
            trainer.interruptible(),
            Progress() as progress,
            Feed(self.source, int(trainer.values.get("cursor", 0))) as feed,
        ):
            bar = progress.bar(self.plan.kind, total=None if config.max_minutes else config.steps)
            bar.advance(trainer.step)
            while not trainer.finished:
                row = self.step(feed)
                if config.eval_every and (trainer.step % config.eval_every == 0 or trainer.finished):
                    last = self.evaluate()
                    row |= last
                    progress.note(f"step {trainer.step}: " + shown(last))
                trainer.log(row)
                trainer.maybe_save()
                bar.advance(1, loss=f"{row['loss']:.4f}", base=f"{row['base_loss']:.4f}", acc=f"{row['accuracy']:.3f}")
        return self.finish({**row, **last})

    def step(self, feed: Feed) -> dict[str, Any]:
        """One update."""
        started = time.monotonic()
        examples = self.plan.weigh(feed.take(self.config.tokens_per_step))
        middle = time.monotonic()
        batches = micro_batches(examples, self.config.micro_tokens, None, self.tokenizer.pad_id)
        kind = self.config.loss
        moved = self.trainer.update(batches, lambda batch: scores.loss(self.trainer.model, batch, kind))
        self.trainer.values["cursor"] = feed.cursor
        tokens, ended = sum(len(e) for e in examples), time.monotonic()
        base_rate = moved.get("positive", 0.0) / (moved.get("weight", 0.0) or 1.0)
        return {
            "loss": moved.get("head", 0.0),
            "base_loss": scores.constant_loss(base_rate, kind),
            "base_rate": base_rate,
            "accuracy": moved.get("agreed", 0.0) / max(1.0, moved.get("scored", 0.0)),
            **({"language_loss": moved["language"]} if "language" in moved else {}),
            "grad_norm": moved["grad_norm"],
            "rate": moved["rate"],
            "tokens": tokens,
            "scored": int(moved.get("scored", 0.0)),
            "examples": feed.cursor,
            "tokens_per_second": tokens / (ended - started),
            "seconds_drawing": middle - started,
        }

    def evaluate(self) -> dict[str, float]:
        """What `measured.measure` says of the held-out samples."""
        return measure(self.trainer, self.held_out, self.plan.ask, self.tokenizer, self.config)

    def finish(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Save the model and the summary."""
        trainer = self.trainer
        folder = trainer.run.path / "model"
        heads.save(trainer.model, folder, self.tokenizer, self.plan.about)
        summary = {"steps": trainer.step, "seconds": trainer.seconds, "model": str(folder), **row}
        trainer.run.write_json("summary.json", summary)
        return summary
