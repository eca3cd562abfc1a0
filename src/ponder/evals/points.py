"""Operating points to try: which strategy, with what, at which of the model's own effort levels.

A sweep is a few lines that each stand for many points; without a recipe `default_sweep` names the usual ones. Points that
draw whole completions from the prompt and differ only in how many and in how they choose share one pool of samples: the
pool is drawn once, and every smaller n is computed from it exactly (`pools`), so a sweep over n costs its largest n.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from msgspec import Meta

from ponder.config import Config
from ponder.efforts import OperatingPoint
from ponder.errors import ConfigError
from ponder.search.select import SCORED, selector
from ponder.search.strategies import make, wants_verifier
from ponder.types import EFFORTS, Effort, Engine, content_hash

FLAT = {"sample": "first", "vote": "vote", "best_of_n": "best", "weighted_vote": "weighted"}
"""Strategies that draw whole completions from the prompt, and how each chooses."""


class Sweep(Config):
    """A line of a sweep: every combination of its lists is a point; an empty list is the strategy's or model's own."""

    strategy: str
    """Name of a search strategy."""
    n: tuple[Annotated[int, Meta(ge=1)], ...] = ()
    """Numbers of samples or branches."""
    efforts: tuple[Effort, ...] = ()
    """Effort levels of the model; all it knows unless told."""
    select: tuple[str, ...] = ()
    """Ways to choose the answer."""
    budget: tuple[Annotated[int, Meta(ge=1)], ...] = ()
    """Most forwarded tokens per problem."""
    options: dict[str, Any] = {}
    """Other settings of the strategy."""
    temperature: Annotated[float, Meta(ge=0, le=10)] = 1.0
    """Of the samples."""


class SweepFile(Config):
    """A recipe of `ponder calibrate`: `[[sweep]]` tables."""

    sweep: tuple[Sweep, ...] = ()
    """The lines of the sweep."""


@dataclass(frozen=True, slots=True)
class Point:
    """One way to spend compute on a problem."""

    strategy: str
    n: int | None = None
    effort: Effort | None = None
    select: str = ""
    budget: int | None = None
    options: tuple[tuple[str, Any], ...] = ()
    temperature: float = 1.0

    @property
    def label(self) -> str:
        """The point in words."""
        parts = [self.strategy] + ([f"n={self.n}"] if self.n is not None else [])
        parts += [f"{name}={value}" for name, value in self.options]
        parts += [f"by {self.select}"] if self.select else []
        parts += [f"within {self.budget} tokens"] if self.budget is not None else []
        parts += [f"temperature {self.temperature:g}"] if self.temperature != 1.0 else []
        return " ".join(parts) + (f", effort {self.effort}" if self.effort is not None else "")

    @property
    def rule(self) -> str:
        """How a pooled point chooses from its samples."""
        return self.select or FLAT[self.strategy]

    @property
    def count(self) -> int:
        """Samples a pooled point takes."""
        return self.n or 1

    @property
    def pooled(self) -> bool:
        """Can this point be computed from a pool of whole completions?"""
        own = self.n is not None or self.strategy == "sample"
        return self.strategy in FLAT and own and not self.options and self.budget is None

    @property
    def scored(self) -> bool:
        """Does it need a verifier?"""
        _, made = make(self.strategy, self.n, **dict(self.options))
        return wants_verifier(made, self.select)

    def operating(self, verifier: str = "") -> OperatingPoint:
        """As it is written into a model's table."""
        return OperatingPoint(
            strategy=self.strategy,
            n=self.n,
            options=dict(self.options),
            effort=self.effort,
            select=self.select,
            verifier=verifier if self.scored else "",
            temperature=self.temperature,
            budget=self.budget,
        )


@dataclass(frozen=True, slots=True)
class Pool:
    """What is drawn for some points: `size` samples each, or one search of the only point."""

    points: tuple[Point, ...]
    size: int = 1
    scored: bool = False
    search: Point = field(default_factory=lambda: Point("sample"))

    @property
    def key(self) -> str:
        """What decides the draws."""
        p = self.search
        return content_hash([p.strategy, p.n, p.effort, p.select, p.budget, p.options, p.temperature, self.scored])


def known_efforts(engine: Engine) -> tuple[Effort | None, ...]:
    """The effort levels the model knows, None alone where it knows none."""
    effort_id: Any = getattr(getattr(engine, "tokenizer", None), "effort_id", None)
    known: tuple[Effort | None, ...] = tuple(e for e in EFFORTS if effort_id is not None and effort_id(e) is not None)
    return known or (None,)


def default_sweep(most: int, verifier: bool) -> tuple[Sweep, ...]:
    """Greedy; voting over 1, 2, 4, … up to `most` samples; with a verifier its best and its weighted vote too."""
    doubling = tuple(1 << i for i in range(most.bit_length()) if 1 << i <= most)
    lines = [Sweep(strategy="greedy"), Sweep(strategy="sample"), Sweep(strategy="vote", n=doubling[1:])]
    if verifier:
        lines += [Sweep(strategy=name, n=doubling[1:]) for name in ("best_of_n", "weighted_vote")]
    return tuple(line for line in lines if line.n or line.strategy in ("greedy", "sample"))


def expand(sweep: Sequence[Sweep], efforts: Sequence[Effort | None], verifier: bool) -> list[Point]:
    """Every point of a sweep once; ConfigError for what a strategy does not know, and for a missing verifier."""
    points: dict[Point, None] = {}
    for line in sweep:
        for effort in line.efforts or efforts:
            if effort not in efforts:
                raise ConfigError(f"sweep over '{line.strategy}': this model does not know effort '{effort}'")
            for n in line.n or (None,):
                for select in line.select or ("",):
                    for budget in line.budget or (None,):
                        options = tuple(sorted(line.options.items()))
                        points[_checked(Point(line.strategy, n, effort, select, budget, options, line.temperature))] = (
                            None
                        )
    if not points:
        raise ConfigError("the sweep names no operating point; write [[sweep]] tables with a strategy each")
    without = next((p for p in points if p.scored and not verifier), None)
    if without is not None:
        raise ConfigError(f"the sweep's '{without.label}' needs a verifier: give one (--verifier), or leave it out")
    return list(points)


def _checked(point: Point) -> Point:
    make(point.strategy, point.n, **dict(point.options))
    if point.select:
        selector(point.select)
    return point


def pools(points: Sequence[Point], least: int = 1) -> list[Pool]:
    """The draws that serve all points, flat ones of the same effort and temperature together, `least` samples at least."""
    flat: dict[tuple[Effort | None, float], list[Point]] = {}
    found: list[Pool] = []
    for point in points:
        if point.pooled:
            flat.setdefault((point.effort, point.temperature), []).append(point)
        else:
            found.append(Pool((point,), point.n or 1, point.scored, point))
    for (effort, temperature), members in flat.items():
        size = max(least, *(p.count for p in members), 1)
        scored = any(p.rule in SCORED for p in members)
        search = Point("best_of_n" if scored else "vote", size, effort, temperature=temperature)
        found.append(Pool(tuple(members), size, scored, search))
    return found
