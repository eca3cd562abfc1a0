"""Supervised fine-tuning: imitate completions, prompts masked, documents packed.

Loss: minus the mean over all learned tokens of a step of log p(token | what precedes it), exactly
`transformers`' cross-entropy with prompt labels at -100; "per step" and not "per micro-batch", so accumulation changes nothing.
Not covered: assistant turns before the last one (they are read, not learned), loss on prompts.
"""

from __future__ import annotations

from typing import Any

from ponder.training.settings import Data, Optimizer
from ponder.training.supervised import Evaluate, Supervised, train


class SFTConfig(Supervised):
    """`ponder train sft`. Each entry of `data` is a task ({task, weight, efforts, limit, …its options}) or a file
    ({file, weight, prompt, completion}: JSONL or parquet with those columns, or with `messages`)."""

    out: str = "runs/sft"
    model: str = "mini-base"
    data: Data = []
    optimizer: Optimizer = Optimizer(kind="adamw", lr=1e-3, warmup=20, schedule="cosine", final=0.1)
    worker: bool = False


def run(config: SFTConfig, evaluate: Evaluate | None = None) -> dict[str, Any]:
    """Fine-tune and return the summary; `evaluate(model, tokenizer, step)` adds numbers every `eval_every` steps."""
    return train(config, "train sft", {"kind": "mixture", "data": config.data}, evaluate, "SFT")
