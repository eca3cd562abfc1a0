"""Repeat: another strategy several times side by side, and one choice over all their answers ("vote over beams").

    do `times` times, together: explore with the inner strategy
    select over the ended branches of all of them

A composition of ours. Every run draws for itself, so their mistakes differ more than those within one beam, whose branches
descend from few ancestors. `inner` is a strategy, its name, or its name with options:

    ponder solve "…" --strategy repeat --options "inner=beam(width=2)" times=4 --n 8

The rule is the inner strategy's, or a vote where that one gives its only answer or its last. An inner strategy that weighs
its branches weighs those of all runs.

Cost: `times` that of the inner strategy, but for the prompt, which is computed once.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ponder.errors import ConfigError
from ponder.search.asks import End, Explore, Strategy, View, Weighs, together
from ponder.search.options import read_options
from ponder.search.steps import at_least
from ponder.search.strategies import make
from ponder.search.tree import Node

ALONE = ("first", "last")
"""Selections that look at one answer only."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """`inner`, `times` times. `n` is the inner strategy's (0: its own), `select` "" follows from it too."""

    inner: Strategy | str = "beam"
    times: int = 4
    n: int = 0
    select: str = ""

    def __post_init__(self) -> None:
        at_least("repeat", times=self.times)
        inner = read_strategy(self.inner) if isinstance(self.inner, str) else self.inner
        if self.n and dataclasses.is_dataclass(inner) and hasattr(inner, "n"):
            inner = dataclasses.replace(inner, n=self.n)
        elif self.n > 1:
            raise ConfigError(f"strategy 'repeat': n = {self.n} is for the inner strategy, which draws exactly 1")
        object.__setattr__(self, "inner", inner)
        object.__setattr__(self, "n", getattr(inner, "n", 1))
        object.__setattr__(self, "select", self.select or ("vote" if inner.select in ALONE else inner.select))

    @property
    def strategy(self) -> Strategy:
        """The inner strategy."""
        assert not isinstance(self.inner, str)
        return self.inner

    @property
    def needs_verifier(self) -> bool:
        return self.strategy.needs_verifier

    def explore(self, root: Node, view: View) -> Explore:
        return together(self.strategy.explore(root, view) for _ in range(self.times))

    def weigh(self, ends: Sequence[End]) -> list[float | None]:
        """What the inner strategy makes of the branches of all runs; nothing when it does not weigh."""
        return self.strategy.weigh(ends) if isinstance(self.strategy, Weighs) else [None] * len(ends)


def read_strategy(text: str) -> Strategy:
    """A strategy from its name, with options in brackets if any: `beam`, `beam(n=8,width=2)`."""
    found = re.fullmatch(r"\s*([^()\s]+)\s*(?:\((.*)\))?\s*", text)
    if found is None:
        raise ConfigError(f"strategy '{text}': write a name, or a name with options such as beam(n=8,width=2)")
    words = [word for word in (found[2] or "").split(",") if word.strip()]
    return make(found[1], **read_options(words))[1]
