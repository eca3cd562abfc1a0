"""Confidence: leave out the traces in which the model was unsure, and stop them while they are still being written.

    g(trace) = exp(lowest mean log p of any `window` neighbouring tokens)      # of all tokens when there are fewer
    draw `warmup` traces to their end; bar = the (1 - keep) quantile of their g
    online:  draw the others `chunk` tokens at a time; drop a trace once a full window of it falls below the bar
    offline: draw the others whole; bar = the (1 - keep) quantile of all g
    return the answer whose traces with g >= bar have the highest sum of g

DeepConf (Fu et al. 2025, arXiv 2508.15260), "lowest group confidence". Departures: its confidence of a token is the mean of
-log p over the 20 likeliest candidates, which rises as the model is surer; we keep the log-probability of the token that was
drawn alone, whose -log p falls as the model is surer, so g is the geometric mean of the drawn tokens' probabilities. It is
noisier: a likely token can be missed by chance. There is no stop by consensus (`adaptive` has one with a guarantee). Warm-up
traces below the bar lose their vote like any others. The paper's window is 2048 tokens, of traces of tens of thousands; its
`keep` is 0.9 (the default, as released) or 0.1. A trace stops at the end of the chunk in which it fell below the bar, so up
to chunk - 1 tokens are wasted.

Cost: P + w L + sum of what the others wrote before they ended or were dropped, w the warm-up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ponder.errors import ConfigError
from ponder.search.asks import End, Expand, Explore, View
from ponder.search.steps import at_least, flat
from ponder.search.tree import Node
from ponder.verifiers.confidence import window_means


@dataclass(frozen=True, slots=True)
class Confidence:
    """`n` traces, the first `warmup` of which set the bar; `keep` is the share of traces the bar lets pass. `window` and
    `chunk` count tokens."""

    n: int = 40
    warmup: int = 16
    keep: float = 0.9
    window: int = 64
    chunk: int = 32
    online: bool = True
    select: str = "weighed"
    needs_verifier: bool = False

    def __post_init__(self) -> None:
        at_least("confidence", warmup=self.warmup, window=self.window, chunk=self.chunk)
        if not 0.0 < self.keep <= 1.0:
            raise ConfigError(f"confidence.keep = {self.keep}: a share above 0 and up to 1")

    def explore(self, root: Node, view: View) -> Explore:
        (warm,) = yield Expand((root,), min(self.warmup, self.n), "end")
        others = self.n - len(warm)
        if others < 1 or not self.online:
            if others > 0:
                yield Expand((root,), others, "end")
            return None
        bar, dropped = float(np.quantile([lowest(node.drawn, self.window) for node in warm], 1 - self.keep)), 0
        traces = flat((yield Expand((root,), others, self.chunk)))
        while traces:
            unsure = [node for node in traces if not node.done and self._falls(node, bar)]
            dropped += len(unsure)
            going = tuple(node for node in traces if not node.done and node not in unsure)
            traces = flat((yield Expand(going, 1, self.chunk))) if going else []
        return {"bar": bar, "dropped": dropped}

    def weigh(self, ends: Sequence[End]) -> list[float | None]:
        """g of each trace at or above the bar; None below it."""
        values = [lowest(end.node.drawn, self.window) for end in ends]
        first = [end.node.branch[0].number < self.warmup for end in ends]
        setters = [g for g, early in zip(values, first, strict=True) if early or not self.online] or values
        bar = float(np.quantile(setters, 1 - self.keep)) if setters else 0.0
        return [g if g >= bar else None for g in values]

    def _falls(self, node: Node, bar: float) -> bool:
        """Is a full window that ends in the node's own tokens below the bar?"""
        if len(node.drawn) < self.window:
            return False
        return lowest(node.drawn[-(node.span + self.window - 1) :], self.window) < bar


def lowest(logprobs: Sequence[float], window: int) -> float:
    """The lowest geometric mean of the probabilities of `window` neighbouring tokens; of all of them when there are fewer."""
    return math.exp(min(0.0, *window_means(logprobs, window)))
