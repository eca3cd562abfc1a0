"""Training speed, paired with TRL in one process: a GRPO step and packed SFT, same model, prompts, lengths and reward.

    python benchmarks/training.py [--models S M] [--what grpo sft] [--rounds 5] [--threads 1] [--dtype bf16] [--write]

GRPO: 8 prompts of 32 tokens, 16 samples each of exactly 64 tokens (both sides are kept from stopping early), a reward that
is arithmetic on the ids, AdamW, no KL, one update per rollout. SFT: 64 documents a step with lengths 8 to 256 (exponential,
mean about 76), half of each learned, TRL with `packing=True` into rows of 256. TRL gets bf16 by `bf16=True`, which is what
its users would set. The two sides alternate step by step; times are medians after warm-up, ratios medians of the rounds'
ratios. `--clock cpu` (default) counts CPU time of all threads, which neighbours on a shared machine disturb least.
`--compile` compiles ponder's SFT model (TRL has no such switch that works on the CPU with packing).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
import torch

from ponder import config as configs
from ponder import models, progress
from ponder.engines import LocalEngine
from ponder.models import ModelConfig, Transformer
from ponder.runs import Run
from ponder.text.tokenizer import Tokenizer
from ponder.training import rollouts
from ponder.training.batch import micro_batches
from ponder.training.examples import Example, weigh
from ponder.training.grpo import GRPOConfig, Learner
from ponder.training.logprobs import learned_logprobs
from ponder.training.loop import Trainer
from ponder.training.objective import imitation
from ponder.training.sft import SFTConfig as Settings
from ponder.training.supervised import compiled
from ponder.types import Completion, Grade, Problem, Sampling

CLOCK = time.process_time
PROMPTS, SAMPLES, PROMPT, NEW = 8, 16, 32, 64
DOCUMENTS, ROW = 64, 256
WARM = 2
CONFIGS = {
    "S": ModelConfig(vocab_size=200, width=192, layers=4, heads=6, kv_heads=6, hidden=512, context=512),
    "M": ModelConfig(vocab_size=200, width=384, layers=6, heads=12, kv_heads=12, hidden=1024, context=512),
}


def prompt_text(rng: np.random.Generator) -> str:
    """A text of exactly `PROMPT` tokens in the miniature's vocabulary."""
    return "".join(chr(int(c)) for c in rng.integers(97, 123, PROMPT))


def reward_of(ids: Any) -> float:
    return sum(int(i) % 7 for i in ids) / 64


class Parity:
    """The reward as a grader."""

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        return Grade(reward_of(completion.token_ids), "correct")


def ours_grpo(model: Transformer, tokenizer: Tokenizer, folder: str, args: argparse.Namespace) -> Callable[[], None]:
    """One GRPO step of ponder."""
    settings = {
        "out": folder + "/ponder", "threads": args.threads, "dtype": args.dtype, "engine_dtype": args.dtype, "preset": "dapo",
        "group_size": SAMPLES, "problems_per_step": PROMPTS, "eval_every": 0, "rollout_rows": 0, "refill_rounds": 0,
        "optimizer.lr": 1e-6, "optimizer.warmup": 0, "micro_tokens": args.micro_tokens, "resume": False,
    }  # fmt: skip
    config = configs.load(GRPOConfig, None, settings)
    trainer = Trainer(model, config, Run.open(config.out, "benchmark", {}, resume=False))
    dtype = torch.bfloat16 if args.dtype == "bf16" else torch.float32
    engine = LocalEngine(model, tokenizer, dtype=dtype, rows=PROMPTS * SAMPLES, cache_completions=False)
    engine.encode = lambda messages, effort=None: tuple(tokenizer.encode(messages[-1].content))  # type: ignore[method-assign]
    rng = np.random.default_rng(0)

    class Prompts:
        levels = ("none",)

        def __call__(self, number: int) -> rollouts.Ask:
            problem = Problem.from_text(prompt_text(rng))
            return rollouts.Ask(number, problem, "none", Parity(), Sampling(max_tokens=NEW))

    learner = Learner(config, config.objective(), Prompts(), trainer, engine, tokenizer, None)  # type: ignore[arg-type]

    def step() -> None:
        row = learner.step()
        assert row["completion_tokens"] == PROMPTS * SAMPLES * NEW, row
        PARTS.append((row["seconds_sampling"], row["seconds_training"]))

    return step


PARTS: list[tuple[float, float]] = []


def documents(count: int, seed: int) -> list[Example]:
    """Random documents of exponential lengths, the second half of each learned."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.exponential(72, count), 8, ROW).astype(int)
    made = []
    for n in lengths:
        trainable = np.arange(n) >= n // 2
        made.append(Example(rng.integers(12, 200, n).astype(np.int32), trainable))
    return made


def ours_sft(model: Transformer, folder: str, args: argparse.Namespace) -> Callable[[], int]:
    """One SFT step of ponder; returns its tokens."""
    settings = {"out": folder + "/ponder-sft", "threads": args.threads, "dtype": args.dtype, "optimizer.lr": 1e-6}
    config = configs.load(Settings, None, settings)
    trainer = Trainer(model, config, Run.open(config.out, "benchmark", {}, resume=False))
    compute = compiled(model, args.compile)
    number = 0

    def step() -> int:
        nonlocal number
        number += 1
        examples = weigh(documents(DOCUMENTS, number))
        batches = micro_batches(examples, args.micro_tokens, args.row_tokens, 0, fixed=args.compile)
        trainer.update(batches, lambda batch: (imitation(learned_logprobs(compute, batch)[0], batch), {}))
        return sum(len(e) for e in examples)

    return step


def trl_trainer(
    kind: str, model: Transformer, tokenizer: Tokenizer, folder: str, steps: int, args: argparse.Namespace
) -> Any:
    """TRL's trainer on the same weights in transformers' own module."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
    from trl import GRPOConfig as TRLConfig
    from trl import GRPOTrainer, SFTConfig, SFTTrainer

    models.save(model, folder + "/hf", tokenizer, dtype=torch.float32)
    theirs = AutoModelForCausalLM.from_pretrained(folder + "/hf", dtype=torch.float32)
    words = PreTrainedTokenizerFast.from_pretrained(folder + "/hf")
    words.eos_token, words.pad_token = "<|end|>", "<|pad|>"
    shared: dict[str, Any] = {
        "output_dir": folder + "/trl", "max_steps": steps, "learning_rate": 1e-6, "bf16": args.dtype == "bf16", "use_cpu": True,
        "report_to": [], "logging_steps": 10_000, "save_strategy": "no", "disable_tqdm": True, "dataloader_num_workers": 0,
        "gradient_checkpointing": False, "lr_scheduler_type": "constant",
    }  # fmt: skip
    rng = np.random.default_rng(0)
    if kind == "grpo":
        data = Dataset.from_dict({"prompt": [prompt_text(rng) for _ in range(PROMPTS * (steps + 1))]})
        config = TRLConfig(
            **shared, per_device_train_batch_size=PROMPTS * SAMPLES, num_generations=SAMPLES, max_completion_length=NEW,
            beta=0.0, temperature=1.0, generation_kwargs={"min_new_tokens": NEW},
        )  # fmt: skip

        def score(completion_ids: list[list[int]], **_: Any) -> list[float]:
            assert all(len(ids) == NEW for ids in completion_ids)
            return [reward_of(ids) for ids in completion_ids]

        return GRPOTrainer(theirs, reward_funcs=score, args=config, train_dataset=data, processing_class=words)
    rows = [e for s in range(steps + 4) for e in documents(DOCUMENTS, s)]
    columns = {
        "input_ids": [e.token_ids.tolist() for e in rows],
        "completion_mask": [e.trainable.astype(int).tolist() for e in rows],
    }
    size = sum(len(e) for e in documents(DOCUMENTS, 0)) // ROW + 1
    config = SFTConfig(
        **shared, per_device_train_batch_size=size, packing=True, max_length=ROW, completion_only_loss=True
    )
    return SFTTrainer(theirs, args=config, train_dataset=Dataset.from_dict(columns), processing_class=words)


def paired(kind: str, name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Alternate TRL's and our steps; times per step (GRPO) or per 1,000 tokens (SFT)."""
    from transformers import TrainerCallback

    torch.manual_seed(0)
    tokenizer = Tokenizer.mini()
    vocabulary = tokenizer.vocab_size
    ours, theirs = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder:
        config = dataclasses.replace(CONFIGS[name], vocab_size=vocabulary)
        model = Transformer(config, seed=0)
        trainer = trl_trainer(kind, model, tokenizer, folder, args.rounds + WARM, args)
        tokenizer.stop_ids = ()  # so that every sample has its full length
        step: Any = ours_grpo(model, tokenizer, folder, args) if kind == "grpo" else ours_sft(model, folder, args)

        class Alternate(TrainerCallback):
            began = 0.0

            def on_step_begin(self, *_: Any, **__: Any) -> None:
                self.began = CLOCK()

            def on_step_end(self, *_: Any, **__: Any) -> None:
                theirs.append((CLOCK() - self.began) / SEEN.get(kind, 1.0))
                began = CLOCK()
                tokens = step()
                ours.append((CLOCK() - began) / (tokens / 1000 if tokens else 1.0))

        if kind == "sft":
            count_tokens(trainer)
        trainer.add_callback(Alternate())
        trainer.train()
    ours, theirs = ours[WARM:], theirs[WARM:]
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    row = {"ponder": statistics.median(ours), "trl": statistics.median(theirs), "ratio": statistics.median(ratios)}
    row |= {"lowest": min(ratios), "highest": max(ratios), "rounds": len(ratios)}
    row["parameters"] = sum(p.numel() for p in model.parameters())
    if kind == "grpo":
        parts = PARTS[-len(ours) :]
        row["sampling_wall"], row["training_wall"] = (statistics.median(p[i] for p in parts) for i in (0, 1))
    return row


SEEN: dict[str, float] = {}


def count_tokens(trainer: Any) -> None:
    """Remember how many thousand real tokens TRL's last step saw."""
    inner = trainer.training_step

    def training_step(model: Any, inputs: Any, *rest: Any) -> Any:
        SEEN["sft"] = int((inputs["input_ids"] != trainer.processing_class.pad_token_id).sum()) / 1000
        return inner(model, inputs, *rest)

    trainer.training_step = training_step


def main() -> None:
    global CLOCK
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(CONFIGS), choices=CONFIGS)
    parser.add_argument("--what", nargs="+", default=["grpo", "sft"], choices=["grpo", "sft"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="bf16", choices=["bf16", "fp32"])
    parser.add_argument("--micro-tokens", type=int, default=2048)
    parser.add_argument("--row-tokens", type=int, default=0)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument(
        "--trl-padding", action="store_true", help="SFT: TRL pads 64 documents a step instead of packing"
    )
    parser.add_argument("--clock", default="cpu", choices=["cpu", "wall"])
    parser.add_argument("--write", action="store_true", help="add the rows to benchmarks/results/training.json")
    args = parser.parse_args()
    args.row_tokens = args.row_tokens or None
    CLOCK = time.process_time if args.clock == "cpu" else time.monotonic
    progress.set_quiet(True)
    warnings.simplefilter("ignore")
    torch.set_num_threads(args.threads)
    rows: dict[str, dict[str, Any]] = {}
    for kind in args.what:
        for name in args.models:
            label = f"{kind} {name}" + (" against padding" if kind == "sft" and args.trl_padding else "")
            row = rows[label] = paired(kind, name, args)
            unit = "s a step" if kind == "grpo" else "s per 1,000 tokens"
            print(
                f"{label} ({row['parameters'] / 1e6:.1f} M): ponder {row['ponder']:.3f}, TRL {row['trl']:.3f} {unit};"
                f" ratio {row['ratio']:.2f} ({row['lowest']:.2f} to {row['highest']:.2f})",
                {k: round(v, 3) for k, v in row.items() if k.endswith("_wall")},
                flush=True,
            )
    if args.write:
        place = Path(__file__).parent / "results" / "training.json"
        place.parent.mkdir(exist_ok=True)
        known = json.loads(place.read_text())["rows"] if place.exists() else {}
        settings = {k: v for k, v in vars(args).items() if k not in ("models", "what", "write")}
        known |= {name: {**row, "settings": settings} for name, row in rows.items()}
        machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
        place.write_text(json.dumps({"machine": machine, "rows": known}, indent=2) + "\n")


if __name__ == "__main__":
    main()
