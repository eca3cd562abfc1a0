"""Generation speed, paired with `transformers.generate` in one process, on the same bf16 weights.

    python benchmarks/generation.py [--models S M] [--rounds 3] [--threads 1] [--write]

Three settings: equal lengths (64 prompts of 32 tokens, 128 new), variable lengths (geometric-like, mean 40, cap 128, the
same planned lengths for both; `generate` runs each batch until its longest is done, as it does), and prefill (16 samples of
one 256-token prompt, one new token). Variants alternate within each round; the table gives medians and the median of the
rounds' ratios. Time is CPU time of all threads with `--clock cpu`, the default, which neighbours on a shared machine
disturb least, or wall-clock time. It also prints the largest gap between the sampler's log-probabilities and the trainer's
forward pass (bf16 autocast over fp32 weights, and fp32). `--write` puts the numbers into
benchmarks/results/generation.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch

from ponder import models
from ponder.engines import LocalEngine
from ponder.models import ModelConfig, Transformer
from ponder.types import Request, Sampling

CLOCK = time.process_time
PROMPT, NEW, BATCH = 32, 128, 64
CONFIGS = {
    "S": ModelConfig(vocab_size=512, width=192, layers=4, heads=6, kv_heads=6, hidden=512, context=512),
    "M": ModelConfig(vocab_size=1024, width=384, layers=6, heads=12, kv_heads=12, hidden=1024, context=512),
    "S-gqa": ModelConfig(vocab_size=512, width=192, layers=4, heads=6, kv_heads=2, hidden=576, context=512),
}


def planned_lengths(count: int, seed: int = 0) -> list[int]:
    """Geometric-like lengths of mean about 40, cap 128."""
    rng = np.random.default_rng(seed)
    return [int(min(128, max(1, n))) for n in rng.geometric(1 / 41.5, size=count)]


def prompts(config: ModelConfig, count: int, length: int, seed: int = 0) -> list[tuple[int, ...]]:
    """Random token ids."""
    rng = np.random.default_rng(seed)
    return [tuple(int(t) for t in rng.integers(3, config.vocab_size, size=length)) for _ in range(count)]


class Ours:
    """ponder's engine; a fresh cache for every measurement."""

    def __init__(self, model: Transformer, rows: int, **options: Any) -> None:
        self.engine = LocalEngine(model, None, rows=rows, dtype=torch.bfloat16, **options)

    def run(self, ids: list[tuple[int, ...]], lengths: list[int]) -> None:
        self.engine.forget()
        requests = [
            Request(p, Sampling(seed=i, max_tokens=n)) for i, (p, n) in enumerate(zip(ids, lengths, strict=True))
        ]
        done = self.engine.generate(requests)
        assert [len(c.token_ids) for c in done] == lengths


class Theirs:
    """`transformers.generate`, batch by batch."""

    def __init__(self, folder: str) -> None:
        import transformers

        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
        self.model.generation_config.eos_token_id = None

    @torch.inference_mode()
    def run(self, ids: list[tuple[int, ...]], lengths: list[int]) -> None:
        for at in range(0, len(ids), BATCH):
            batch = torch.tensor(ids[at : at + BATCH])
            new = max(lengths[at : at + BATCH])
            out = self.model.generate(
                batch,
                attention_mask=torch.ones_like(batch),
                do_sample=True,
                top_k=0,
                max_new_tokens=new,
                min_new_tokens=new,
                pad_token_id=0,
            )
            assert out.shape[1] == batch.shape[1] + new


def clock(work: Callable[[], None]) -> float:
    """Seconds of `CLOCK`."""
    began = CLOCK()
    work()
    return CLOCK() - began


def paired(name: str, ours: Callable[[], None], theirs: Callable[[], None], tokens: int, rounds: int) -> dict[str, Any]:
    """Alternate the two; medians, tokens per second and the ratio."""
    ours()
    theirs()
    mine, other = [], []
    for _ in range(rounds):
        mine.append(clock(ours))
        other.append(clock(theirs))
    a, b = statistics.median(mine), statistics.median(other)
    ratios = [round(y / x, 2) for x, y in zip(mine, other, strict=True)]
    ratio = statistics.median(ratios)
    print(f"  {name:<28}{tokens / a:>12,.0f}{tokens / b:>14,.0f}{ratio:>9.2f}   rounds {ratios}", flush=True)
    speeds = {"ponder_tok_s": round(tokens / a), "transformers_tok_s": round(tokens / b)}
    return {"setting": name, **speeds, "ratio": ratio, "ratios": ratios}


def gaps(model: Transformer, config: ModelConfig) -> dict[str, float]:
    """Largest |sampler's − trainer's| log-probability over 64 completions, per precision."""
    found = {}
    for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        engine = LocalEngine(model, None, rows=32, dtype=dtype)
        ids = prompts(config, 64, PROMPT, seed=5)
        done = engine.generate([Request(p, Sampling(seed=i, max_tokens=64)) for i, p in enumerate(ids)])
        tokens = torch.tensor([c.prompt_ids + c.token_ids for c in done])
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            logprobs = torch.log_softmax(model(tokens)[:, PROMPT - 1 : -1], dim=-1)
        trainer = logprobs.gather(2, tokens[:, PROMPT:, None])[..., 0]
        sampler = torch.tensor([c.logprobs for c in done])
        found[name] = (trainer - sampler).abs().max().item()
        found[f"{name}_mean"] = (trainer - sampler).abs().mean().item()
    return found


def measure(name: str, rounds: int) -> dict[str, Any]:
    """All settings for one model."""
    config = CONFIGS[name]
    model = Transformer(config, seed=0)
    count = sum(p.numel() for p in model.parameters())
    with tempfile.TemporaryDirectory() as folder:
        models.save(model, folder, dtype=torch.bfloat16)
        model = models.load(folder)  # the same rounded weights for both
        theirs = Theirs(folder)
    print(f"{name}: {count / 1e6:.2f} M parameters\n  {'setting':<28}{'ponder':>12}{'transformers':>14}{'ratio':>9}")
    ours, wide = Ours(model, BATCH), Ours(model, BATCH)
    equal, lengths = prompts(config, BATCH, PROMPT), planned_lengths(4 * BATCH)
    many, one = prompts(config, 4 * BATCH, PROMPT, seed=1), prompts(config, 1, 256, seed=2) * 16
    rows = [
        paired(
            f"equal, batch {BATCH}",
            lambda: ours.run(equal, [NEW] * BATCH),
            lambda: theirs.run(equal, [NEW] * BATCH),
            BATCH * NEW,
            rounds,
        ),
        paired(
            f"variable, mean {np.mean(lengths):.0f}",
            lambda: wide.run(many, lengths),
            lambda: theirs.run(many, lengths),
            sum(lengths),
            rounds,
        ),
        paired(
            "prefill, 16 x 256", lambda: ours.run(one, [1] * 16), lambda: theirs.run(one, [1] * 16), 4096, 3 * rounds
        ),
    ]
    gap = gaps(model, config)
    print("  log-probability gap: " + ", ".join(f"{k} {v:.1e}" for k, v in gap.items()), flush=True)
    return {"parameters": count, "settings": rows, "logprob_gap": gap}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["S", "M"], choices=sorted(CONFIGS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", default="cpu", choices=["cpu", "wall"])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    global CLOCK
    CLOCK = time.process_time if options.clock == "cpu" else time.perf_counter
    result = {
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "threads": options.threads,
        "clock": options.clock,
        "models": {name: measure(name, options.rounds) for name in options.models},
    }
    if options.write:
        target = Path(__file__).parent / "results" / "generation.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
