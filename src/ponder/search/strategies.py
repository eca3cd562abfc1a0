"""The strategies by name, and how a name with options becomes one."""

from __future__ import annotations

import dataclasses
from typing import Any

from ponder.errors import ConfigError, unknown
from ponder.registry import Registry
from ponder.search.asks import Strategy
from ponder.search.select import SCORED, selector

STRATEGIES = Registry(
    "strategy",
    {
        "greedy": "ponder.search.flat:Greedy",
        "sample": "ponder.search.flat:Sample",
        "vote": "ponder.search.flat:Vote",
        "best_of_n": "ponder.search.flat:BestOfN",
        "weighted_vote": "ponder.search.flat:WeightedVote",
        "rerank": "ponder.search.rerank:Rerank",
        "adaptive": "ponder.search.adaptive:Adaptive",
        "confidence": "ponder.search.confidence:Confidence",
        "forcing": "ponder.search.forcing:Forcing",
        "revise": "ponder.search.revise:Revise",
        "step_search": "ponder.search.step_search:StepSearch",
        "beam": "ponder.search.beam:Beam",
        "dvts": "ponder.search.dvts:DVTS",
        "hgs": "ponder.search.hgs:HGS",
        "mcts": "ponder.search.mcts:MCTS",
        "particle": "ponder.search.particle:Particle",
        "repeat": "ponder.search.repeat:Repeat",
    },
    "ponder.strategies",
)


def make(strategy: str | Strategy, n: int | None = None, **options: Any) -> tuple[str, Strategy]:
    """The strategy and its name. `n` is its number of samples or branches, `options` its other fields.

    ConfigError: an unknown strategy or option (nearest name first), an impossible value, a strategy without `n`.
    """
    if not isinstance(strategy, str):
        return type(strategy).__name__.lower(), strategy
    kind = STRATEGIES.get(strategy)
    fields = {f.name for f in dataclasses.fields(kind)} - {"needs_verifier"}
    if n is not None:
        options["n"] = n
        if "n" not in fields and n != 1:
            raise ConfigError(f"n = {n}: strategy '{strategy}' draws exactly 1")
        if n < 1:
            raise ConfigError(f"n = {n}: strategy '{strategy}' draws {'1 or more' if 'n' in fields else 'exactly 1'}")
        if "n" not in fields:
            del options["n"]
    for name in options:
        if name not in fields:
            raise unknown(f"option of strategy '{strategy}'", name, fields)
    made: Strategy = kind(**options)
    selector(made.select)
    return strategy, made


def wants_verifier(strategy: Strategy, select: str = "") -> bool:
    """Does the strategy, or the selection, need scores?"""
    return strategy.needs_verifier or (select or strategy.select) in SCORED
