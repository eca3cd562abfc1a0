"""What tree search costs: tokens forwarded, time, and the share of time spent outside the engine.

    python benchmarks/search.py [--strategies beam dvts mcts] [--rounds 5] [--dtypes fp32 bf16] [--write]

One problem: a prompt of 256 random tokens, 10 steps of 32 tokens, a random model of size S (4 layers, width 192), so nothing
ever stops early; `until=32` makes steps of exactly 32 tokens. The verifier draws its scores from a hash of the tokens and
costs nothing. Three ways to run the same search, alternating within each round:

- tree: ponder's engine, which keeps every prefix it has seen;
- reprompt: no cache, and every branch of every step sends its whole text by itself, as to an endpoint without prefix cache;
- rounds: no cache between steps, but branches of one step that continue the same text share it.

Tokens are prefilled + decoded by the engine's own ledger. `over_tree` compares them with the tree's own size (the prompt once,
every step once). Gains are medians of the rounds' ratios, by the clock and by processor time. `overhead` is the share of the
run's time that neither the engine nor the verifier took. The log-probabilities in the tree are compared with those of whole
sequences computed afresh (fp32). `--write` puts the numbers into benchmarks/results/search.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch

from ponder.engines import LocalEngine
from ponder.models import ModelConfig, Transformer
from ponder.search import Driver, Solution
from ponder.search.job import Job
from ponder.search.strategies import make
from ponder.types import Completion, Ledger, Problem, Request, Sampling, Trace

PROMPT, STEPS, SPAN = 256, 10, 32
CONFIG = ModelConfig(vocab_size=512, width=192, layers=4, heads=6, kv_heads=6, hidden=512, context=1024)
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
STRATEGIES: dict[str, dict[str, Any]] = {
    "beam": {"n": 16, "until": SPAN},
    "dvts": {"n": 16, "until": SPAN},
    "mcts": {"n": 40, "until": SPAN},
    "mcts-4": {"n": 160, "leaves": 4, "until": SPAN},
    "step_search": {"n": 16, "until": SPAN},
    "particle": {"n": 16, "until": SPAN},
}
WAYS = ("tree", "reprompt", "rounds")


class Alone(tuple[int, ...]):
    """A prompt that equals no other, so that nothing recognises it; its draws are those of its tokens."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


class Forgetful:
    """An engine that keeps nothing between calls; `alone`: nor shares anything within one."""

    def __init__(self, model: Transformer, alone: bool, **options: Any) -> None:
        self.inner, self.alone = LocalEngine(model, None, cache_tokens=0, **options), alone
        self.name, self.context = self.inner.name, self.inner.context

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        self.inner.forget()
        if self.alone:
            requests = [replace(request, prompt_ids=Alone(request.prompt_ids)) for request in requests]
        return self.inner.generate(requests)

    def forget(self) -> None:
        self.inner.forget()

    @property
    def ledger(self) -> Ledger:
        return self.inner.ledger


class Hash:
    """Scores decided by the tokens alone, at no cost."""

    name, semantics, reads, ledger = "hash", "value", "tokens", Ledger()

    def score(self, traces: Sequence[Trace]) -> list[float | None]:
        return [hashlib.sha256(repr(trace.token_ids[-SPAN:]).encode()).digest()[0] / 255 for trace in traces]


def job(strategy: str) -> Job:
    rng = np.random.default_rng(0)
    prompt = tuple(int(t) for t in rng.integers(3, CONFIG.vocab_size, size=PROMPT))
    made = make(strategy.partition("-")[0], **STRATEGIES[strategy])[1]
    sampling = Sampling(max_tokens=STEPS * SPAN)
    return Job(Problem.from_text("random"), made, strategy, prompt, sampling, semantics="value")


def search(engine: Any, strategy: str) -> tuple[Solution, dict[str, float]]:
    """One search on an empty cache, and what it took."""
    engine.forget()
    driver, before = Driver(engine, Hash()), engine.ledger
    clock, processor = time.perf_counter(), time.process_time()
    solution = driver.run([job(strategy)])[0]
    took = {"seconds": time.perf_counter() - clock, "processor": time.process_time() - processor}
    spent = engine.ledger - before
    tokens = spent.prefilled + spent.decoded
    return solution, {**took, "tokens": tokens, "overhead": driver.overhead / driver.seconds}


def gap(engine: LocalEngine, solution: Solution) -> float:
    """Largest |log-probability in the tree − of the whole sequence computed afresh|, over every finished branch."""
    rows = engine.logprobs([node.prompt_ids + node.written for node in solution.ends])
    pairs = zip(rows, solution.ends, strict=True)
    return max(abs(x - y) for row, node in pairs for x, y in zip(row[PROMPT:], node.drawn, strict=True))


def measure(strategy: str, engines: dict[str, Any], rounds: int) -> dict[str, Any]:
    """All ways of one strategy."""
    solutions = {way: search(engines[way], strategy)[0] for way in WAYS}  # warm
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            runs[way].append(search(engines[way], strategy)[1])
    tree = solutions["tree"].tree
    tokens = {way: int(runs[way][0]["tokens"]) for way in WAYS}
    row: dict[str, Any] = {
        "tree_tokens": tree.tokens,
        "tokens": tokens,
        "over_tree": round(tokens["tree"] / tree.tokens, 4),
        "tokens_gain": {way: round(tokens[way] / tokens["tree"], 2) for way in WAYS[1:]},
        "seconds": {way: round(statistics.median(r["seconds"] for r in runs[way]), 3) for way in WAYS},
        "same_size": all(solution.tree.tokens == tree.tokens for solution in solutions.values()),
        "overhead": round(statistics.median(r["overhead"] for r in runs["tree"]), 4),
        "overheads": [round(r["overhead"], 4) for r in runs["tree"]],
    }
    for name in ("seconds", "processor"):
        ratios = {way: [b[name] / a[name] for a, b in zip(runs["tree"], runs[way], strict=True)] for way in WAYS[1:]}
        row[f"{name}_gain"] = {way: round(statistics.median(found), 2) for way, found in ratios.items()}
        row[f"{name}_gains"] = {way: [round(x, 2) for x in found] for way, found in ratios.items()}
    print(
        f"{strategy:<12}{tree.tokens:>7}{tokens['tree']:>9}{row['over_tree']:>8.3f}"
        f"{tokens['reprompt']:>9}{row['tokens_gain']['reprompt']:>7.1f}{row['tokens_gain']['rounds']:>7.1f}"
        f"{row['seconds_gain']['reprompt']:>8.2f}{row['seconds_gain']['rounds']:>7.2f}"
        f"{row['processor_gain']['reprompt']:>8.2f}{100 * row['overhead']:>9.2f} %",
        flush=True,
    )
    return row


def run(dtype: str, strategies: Sequence[str], rounds: int) -> dict[str, Any]:
    """All strategies in one precision."""
    model = Transformer(CONFIG, seed=0)
    settings: dict[str, Any] = {"rows": 16, "dtype": DTYPES[dtype]}
    engines = {
        "tree": LocalEngine(model, None, **settings),
        "reprompt": Forgetful(model, alone=True, **settings),
        "rounds": Forgetful(model, alone=False, **settings),
    }
    print(
        f"{dtype:<12}{'tree':>7}{'forward':>9}{'ratio':>8}{'reprompt':>9}{'fewer':>7}{'rounds':>7}"
        f"{'clock':>8}{'rounds':>7}{'cpu':>8}{'overhead':>11}"
    )
    return {name: measure(name, engines, rounds) for name in strategies}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--strategies", nargs="+", default=["beam", "dvts", "mcts", "mcts-4"], choices=sorted(STRATEGIES)
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtypes", nargs="+", default=["fp32", "bf16"], choices=sorted(DTYPES))
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    exact = LocalEngine(Transformer(CONFIG, seed=0), None, rows=16, dtype=torch.float32)
    gaps = {name: gap(exact, search(exact, name)[0]) for name in options.strategies}
    print("log-probability gap (fp32): " + ", ".join(f"{name} {value:.1e}" for name, value in gaps.items()), flush=True)
    result: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "threads": options.threads,
        "load": [],
        "setting": {"prompt": PROMPT, "steps": STEPS, "span": SPAN, "rounds": options.rounds, **STRATEGIES},
        "logprob_gap": gaps,
        "dtypes": {},
    }
    for dtype in options.dtypes:
        result["dtypes"][dtype] = run(dtype, options.strategies, options.rounds)
        result["load"].append(round(os.getloadavg()[0], 1))
    print(f"load of the machine after each precision: {result['load']} on {os.cpu_count()} processors")
    if options.write:
        target = Path(__file__).parent / "results" / "search.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
