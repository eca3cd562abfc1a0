"""The strategies by name, and how a name with options becomes one."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from ponder.config import allowed
from ponder.errors import ConfigError, unknown
from ponder.registry import Registry
from ponder.search.asks import Strategy
from ponder.search.options import plain_name
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


def make(strategy: str | Strategy, n: int | None = None, /, **options: Any) -> tuple[str, Strategy]:
    """The strategy and its name. `n` is its number of samples or branches, `options` its other fields.

    ConfigError: an unknown strategy or option (nearest name first), an impossible value, a strategy without `n`.
    """
    if not isinstance(strategy, str):
        return plain_name(strategy), strategy
    kind = STRATEGIES.get(strategy)
    fields = {f.name: f.default for f in dataclasses.fields(kind) if f.name != "needs_verifier"}
    if n is not None and options.setdefault("n", n) != n:
        raise ConfigError(f"n = {n} and n = {options['n']}: strategy '{strategy}' is given two numbers")
    if "n" not in fields and options.get("n") == 1:
        del options["n"]  # what it draws anyway
    if "n" in options and "n" not in fields:
        raise ConfigError(f"n = {options['n']}: strategy '{strategy}' draws exactly 1")
    for name in options:
        if name not in fields:
            raise unknown(f"option of strategy '{strategy}'", name, fields)
    typed = _typed(strategy, kind, options)
    if typed.get("n", 1) < 1 and typed["n"] != fields["n"]:
        raise ConfigError(f"n = {typed['n']}: strategy '{strategy}' draws 1 or more")
    made: Strategy = kind(**typed)
    selector(made.select)
    return strategy, made


def _typed(strategy: str, kind: type, options: dict[str, Any]) -> dict[str, Any]:
    """The options as the types of the strategy's fields; ConfigError for one that can not be read so."""
    types = get_type_hints(kind)
    typed: dict[str, Any] = {}
    for name, value in options.items():
        worded = types[name] is str and isinstance(value, int | float)  # a command line can not tell the text 5 from 5
        try:
            typed[name] = msgspec.convert(msgspec.json.encode(value).decode() if worded else value, types[name])
        except msgspec.ValidationError:
            if get_origin(types[name]) is Literal:
                raise unknown(f"{name} of strategy '{strategy}'", str(value), get_args(types[name])) from None
            expected = allowed(msgspec.inspect.type_info(types[name]))
            raise ConfigError(f"{name} = {value!r}: strategy '{strategy}' expects {expected}") from None
        except TypeError:  # a type of the strategy's own
            typed[name] = value
    return typed


def wants_verifier(strategy: Strategy, select: str = "") -> bool:
    """Does the strategy, or the selection, need scores?"""
    return strategy.needs_verifier or (select or strategy.select) in SCORED
