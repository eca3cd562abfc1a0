"""What pretraining and SFT share: examples from a feed, imitation loss, evaluation by loss, checkpoints, the final model."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from msgspec import Meta

from ponder import models
from ponder.config import to_dict
from ponder.errors import CheckpointError, ConfigError
from ponder.progress import Progress
from ponder.runs import Run
from ponder.text.tokenizer import Tokenizer
from ponder.training.batch import Batch, micro_batches
from ponder.training.examples import Example, weigh
from ponder.training.feed import Feed
from ponder.training.logprobs import learned_logprobs
from ponder.training.loop import Trainer
from ponder.training.objective import imitation
from ponder.training.settings import MAY_CHANGE, Positive, Shape, Train
from ponder.training.sources import open_source

Evaluate = Callable[[Any, Tokenizer, int], Mapping[str, float]]
HELD_OUT = 10**9  # block numbers from here on are never trained on: examples for the evaluation loss


class Supervised(Train):
    """Settings of imitation. `row_tokens` 0 pads instead of packing."""

    model: str = ""
    """Where to start: a shipped name, a run, or a Hugging Face folder; empty makes a new model of the sizes in shape."""
    shape: Shape = Shape()
    tokens_per_step: Positive = 8192
    """Tokens, prompts included, per update."""
    row_tokens: Annotated[int, Meta(ge=0)] = 192
    """Documents are packed into rows of this many tokens; 0 pads rows of like length instead."""
    worker: bool = True
    """Prepare examples in a process of its own."""


def start_model(name: str, shape: Shape, seed: int) -> tuple[Any, Tokenizer, str]:
    """(model, tokenizer, tokenizer's name): loaded from a folder or shipped name, or new with the miniature's vocabulary."""
    from ponder.models.config import ModelConfig
    from ponder.models.transformer import Transformer

    if not name:
        tokenizer = Tokenizer.mini()
        sizes: dict[str, Any] = {k: v for k, v in to_dict(shape).items() if v is not None}
        sizes |= {"qkv_bias": shape.family == "qwen2", "qk_norm": shape.family == "qwen3"}
        return Transformer(ModelConfig(vocab_size=tokenizer.vocab_size, **sizes), seed), tokenizer, "mini"
    folder = find_model(name)
    return models.load(folder, device="cpu", dtype=torch.float32), Tokenizer.load(folder), str(folder)


def find_model(name: str) -> Path:
    """The folder of a model named by path, or by the name of one that ships with the package."""
    from importlib.resources import files

    folder = models.model_in(name)
    if not (folder / "config.json").exists():
        shipped = Path(str(files("ponder"))) / "weights" / name
        if "/" not in name and (shipped / "config.json").exists():
            return shipped
        raise CheckpointError(f"{name}: no model here (no config.json); give a Hugging Face folder, a run, or 'mini'")
    return folder


def train(
    config: Supervised, command: str, source: Mapping[str, Any], evaluate: Evaluate | None = None, title: str = ""
) -> dict[str, Any]:
    """Run imitation to the end and return its summary. `source` lacks only tokenizer and context."""
    torch.manual_seed(config.seed)
    model, tokenizer, tokenizer_name = start_model(config.model, config.shape, config.seed)
    if config.row_tokens > model.config.context:
        raise ConfigError(f"row_tokens is {config.row_tokens}; the model's context is {model.config.context}")
    if config.compile and not config.row_tokens:
        raise ConfigError("compile = true needs packed rows of a fixed length: set row_tokens")
    spec = {**source, "tokenizer": tokenizer_name, "context": model.config.context, "seed": config.seed}
    with Run.open(config.out, command, to_dict(config), config.resume, MAY_CHANGE) as run:
        trainer = Trainer(model, config, run)
        try:
            trainer.resume()
            return _loop(config, trainer, tokenizer, spec, evaluate, title or command)
        finally:
            trainer.close()


def _loop(
    config: Supervised,
    trainer: Trainer,
    tokenizer: Tokenizer,
    spec: Mapping[str, Any],
    evaluate: Evaluate | None,
    title: str,
) -> dict[str, Any]:
    held_out = _held_out(spec, config.tokens_per_step) if config.eval_every else []
    row: dict[str, Any] = {}
    last: dict[str, Any] = {}
    compute = compiled(trainer.model, config.compile)
    with (
        trainer.interruptible(),
        Progress() as progress,
        Feed(spec, int(trainer.values.get("cursor", 0)), worker=config.worker) as feed,
    ):
        bar = progress.bar(title, total=None if config.max_minutes else config.steps)
        bar.advance(trainer.step)
        while not trainer.finished:
            started = time.monotonic()
            examples = weigh(feed.take(config.tokens_per_step))
            rows, pad = config.row_tokens or None, tokenizer.pad_id
            batches = micro_batches(examples, config.micro_tokens, rows, pad, fixed=config.compile)
            moved = trainer.update(batches, lambda batch: _loss(compute, batch))
            trainer.values["cursor"] = feed.cursor
            tokens = sum(len(e) for e in examples)
            row = {
                "loss": moved["loss"],
                "accuracy": moved["right"] / max(1.0, moved["learned"]),
                "grad_norm": moved["grad_norm"],
                "rate": moved["rate"],
                "tokens": tokens,
                "learned": int(moved["learned"]),
                "examples": feed.cursor,
                "tokens_per_second": tokens / (time.monotonic() - started),
            }
            if config.eval_every and (trainer.step % config.eval_every == 0 or trainer.finished):
                last = _evaluate(trainer, held_out, config, tokenizer)
                last |= evaluate(trainer.model, tokenizer, trainer.step) if evaluate else {}
                row |= last
                progress.note(f"step {trainer.step}: " + ", ".join(f"{k} {v:.4g}" for k, v in last.items()))
            trainer.log(row)
            trainer.maybe_save()
            bar.advance(
                1, loss=f"{row['loss']:.4f}", accuracy=f"{row['accuracy']:.4f}", tok_s=f"{row['tokens_per_second']:.0f}"
            )
    return _finish(trainer, tokenizer, {**row, **last})


def compiled(model: Any, wanted: bool) -> Any:
    """The model, or a stand-in whose `hidden` is compiled (a minute at first, 1.4 times the speed after)."""
    if not wanted:
        return model

    class Compiled:
        config = model.config
        hidden = staticmethod(torch.compile(model.hidden, dynamic=False))
        head = staticmethod(model.head)

    return Compiled


def _loss(model: Any, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    logprobs_N, _ = learned_logprobs(model, batch)
    with torch.no_grad():
        right = (logprobs_N > -math.log(2)).sum()  # more likely than everything else together
    return imitation(logprobs_N, batch), {"right": right, "learned": batch.trainable_BT.sum()}


def _held_out(spec: Mapping[str, Any], tokens: int) -> list[Example]:
    found: list[Example] = []
    total = 0
    for e in open_source(spec).block(HELD_OUT):
        total += len(e)
        if total > max(tokens, 4096) and found:
            break
        found.append(e)
    return found


@torch.no_grad()
def _evaluate(trainer: Trainer, held_out: list[Example], config: Supervised, tokenizer: Tokenizer) -> dict[str, Any]:
    total, right, learned = 0.0, 0.0, 0.0
    for batch in micro_batches(weigh(held_out), config.micro_tokens, config.row_tokens or None, tokenizer.pad_id):
        with trainer.precision():
            loss, parts = _loss(trainer.model, batch.to(trainer.device))
        total, right, learned = total + float(loss), right + float(parts["right"]), learned + float(parts["learned"])
    return {"eval_loss": total, "eval_accuracy": right / max(1.0, learned)}


def _finish(trainer: Trainer, tokenizer: Tokenizer, row: Mapping[str, Any]) -> dict[str, Any]:

    folder = trainer.run.path / "model"
    models.save(trainer.model, folder, tokenizer)
    summary = {"steps": trainer.step, "seconds": trainer.seconds, "model": str(folder), **row}
    trainer.run.write_json("summary.json", summary)
    return summary
