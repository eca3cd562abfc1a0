"""The money of one search: what it has spent, what its budget can still pay for. Nothing is begun that it can not pay."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ponder.types import Budget, Ledger

NOTHING = Ledger()


@dataclass(slots=True)
class Purse:
    """A ledger under a budget (None: no limit). `flops` prices (tokens, positions attended to) of the engine's model, linear
    in both; None when that is not known."""

    budget: Budget | None = None
    flops: Callable[[int, int], float] | None = None
    deadline: float | None = None
    _spent: Ledger = NOTHING
    _draws: list[int] = field(default_factory=lambda: [0, 0, 0])  # tokens cached and drawn, positions attended to

    @property
    def ledger(self) -> Ledger:
        """What has been spent."""
        cached, drawn, attended = self._draws
        if drawn:
            flops = 0.0 if self.flops is None else self.flops(drawn, attended)
            self._spent += Ledger(cached=cached, decoded=drawn, flops=flops)
            self._draws = [0, 0, 0]
        return self._spent

    def start(self) -> None:
        """The clock of a budget in seconds begins to run."""
        if self.budget is not None and self.budget.seconds is not None:
            self.deadline = time.perf_counter() + self.budget.seconds

    def spend(self, spent: Ledger) -> None:
        self._spent = self._spent + spent

    def draw(self, count: int, before: int) -> None:
        """Charge `count` tokens drawn behind `before` others, which were computed already."""
        draws = self._draws
        draws[0] += before
        draws[1] += count
        draws[2] += count * before + count * (count + 1) // 2

    def priced(self, spent: Ledger, count: int, before: int) -> Ledger:
        """`spent` with the FLOPs of `count` tokens in a row behind `before` others."""
        if self.flops is None:
            return spent
        return replace(spent, flops=self.flops(count, count * before + count * (count + 1) // 2))

    def rest(self, planned: Ledger = NOTHING) -> Budget | None:
        """What is left once `planned` is paid too; None when a limit is reached. Of no use without a budget."""
        assert self.budget is not None
        spent = self.ledger + planned if planned is not NOTHING else self.ledger
        if self.deadline is not None and self.budget.seconds is not None:
            spent = replace(spent, seconds=time.perf_counter() - (self.deadline - self.budget.seconds))
        return self.budget.left(spent)

    @property
    def empty(self) -> bool:
        """Has a limit been reached?"""
        return self.budget is not None and self.rest() is None

    def pays(self, cost: Ledger, planned: Ledger = NOTHING) -> bool:
        """Does the budget still hold after `planned` and `cost`?"""
        if self.budget is None:
            return True
        rest = self.rest(planned)
        return (
            rest is not None
            and (rest.tokens is None or cost.forwarded <= rest.tokens)
            and (rest.flops is None or cost.flops <= rest.flops)
        )

    def most(self, reach: int, planned: Ledger = NOTHING) -> float:
        """How many tokens, none attending to more than `reach` positions, the budget can pay for after `planned`."""
        if self.budget is None:
            return float("inf")
        rest = self.rest(planned)
        if rest is None:
            return 0
        tokens = float("inf") if rest.tokens is None else float(rest.tokens)
        if rest.flops is not None and self.flops is not None:
            tokens = min(tokens, rest.flops // self.flops(1, reach))
        return tokens

    def left(self) -> float:
        """The smallest share of any limit that is left; 1.0 without a budget."""
        if self.budget is None:
            return 1.0
        rest = self.rest()
        if rest is None:
            return 0.0
        pairs = ((getattr(rest, name), getattr(self.budget, name)) for name in ("tokens", "flops", "seconds"))
        return min((now / whole for now, whole in pairs if whole is not None), default=1.0)
