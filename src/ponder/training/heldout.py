"""Held-out accuracy while training: pass@1 with its interval over problems, at every effort level. Problems of the dev split."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ponder.intervals import cluster_mean
from ponder.training import rollouts
from ponder.training.sources import random_for
from ponder.types import Engine


def held_out(engine: Engine, asks: Sequence[rollouts.Ask], attempts: int, seed: int) -> dict[str, Any]:
    """`attempts` samples for each of `asks`; the same seeds every time, so that curves move by the model alone.

    eval_pass1 (over all levels, a problem's levels averaged first), eval_pass1_LEVEL, each with `_interval`, and
    eval_tokens_LEVEL (mean completion length).
    """
    started = time.monotonic()
    groups = rollouts.sample(
        engine,
        asks,
        rollouts.Rewards({"task": 1.0}),
        attempts,
        lambda n, g: random_for("eval", seed, n, g).getrandbits(62),
        rollouts.Rollout(),
    )
    row: dict[str, Any] = {}
    by_problem: dict[str, list[float]] = {}
    levels = list(dict.fromkeys(a.effort for a in asks))
    for level in levels:
        mine = [g for g in groups if g.effort == level]
        rates = {g.problem.id: sum(s.grades["task"].correct for s in g.samples) / len(g.samples) for g in mine}
        for problem, rate in rates.items():
            by_problem.setdefault(problem, []).append(rate)
        tokens = [len(s.completion.token_ids) for g in mine for s in g.samples]
        if len(levels) > 1:
            row |= interval(f"pass1_{level}", list(rates.values()))
        row[f"eval_tokens_{level}"] = sum(tokens) / len(tokens)
    whole = interval("pass1", [sum(rates) / len(rates) for rates in by_problem.values()])
    return {**whole, **row, "seconds_eval": time.monotonic() - started}


def interval(name: str, rates: list[float]) -> dict[str, Any]:
    """eval_NAME and eval_NAME_interval of per-problem rates."""
    found = cluster_mean(rates)
    return {f"eval_{name}": found.mean, f"eval_{name}_interval": found.pair}


def shown(row: Mapping[str, Any]) -> str:
    """One line of an evaluation for people."""
    low, high = row["eval_pass1_interval"]
    prefix = "eval_pass1_"
    levels = [
        f"{k.removeprefix(prefix)} {v:.3f}" for k, v in row.items() if k.startswith(prefix) and isinstance(v, float)
    ]
    detail = f" ({', '.join(levels)})" if levels else ""
    return f"held-out pass@1 {row['eval_pass1']:.3f} [{low:.3f}, {high:.3f}]{detail}"
