"""Particle filter: branches multiply and die by lot, in proportion to what the verifier gives them.

    particles = n times the root
    repeat until all have ended:
        draw one step behind every particle that has not ended; score the new ones
        weight = logit(value); share = softmax(weights / temperature)
        particles = n drawn from the shares, systematically
    return the answer of the ended branch with the highest score

Puri et al. 2025 (arXiv 2502.01618). A particle that is drawn twice is one node with two children to come, each with draws of
its own. The value is that of the branch so far, so weights are not multiplied along it; it is cut to [1e-6, 1 - 1e-6], and an
abstention counts as 1e-6. Ended particles keep their place and may be multiplied or lost; every ended branch stays a
candidate, once. Systematic resampling (Carpenter, Clifford and Fearnhead 1999): one uniform number u, positions (i + u) / n;
a share of p gives ⌊np⌋ or ⌈np⌉ copies. Temperature is 1, or, with `tempering`, that of the entropic variant (released with the
its_hub package): max(1, (1 - t / T) / (ESS / n)) while t / T < 1/2 and ESS / n < 1/2, t of at most T = `max_steps` steps, ESS =
1 / Σ share²; it keeps early overconfidence of the verifier from killing all particles but one. After `max_steps`, or when a
budget runs low, what is alive is drawn to its end, the best first.

Cost of T steps of s tokens after a prompt of P: P + n T s drawn, and as much read by the verifier.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from ponder.search.asks import Expand, Explore, Score, Until, View
from ponder.search.steps import Rounds, at_least, best_first, finish, worth
from ponder.search.tree import Node

LOWEST = 1e-6


@dataclass(frozen=True, slots=True)
class Particle:
    """`n` particles. `until` is where a step ends: a step boundary, or so many tokens."""

    n: int = 16
    max_steps: int = 64
    tempering: bool = False
    until: Until = "step"
    select: str = "best"
    needs_verifier: bool = True

    def __post_init__(self) -> None:
        at_least("particle", n=self.n, max_steps=self.max_steps)

    def explore(self, root: Node, view: View) -> Explore:
        rounds, particles = Rounds(view, self.max_steps), [root] * self.n
        smallest = float(self.n)
        with suppress(GeneratorExit):  # the budget ended; what was counted so far still counts
            while any(not node.done for node in particles) and rounds.another():
                copies = Counter(node for node in particles if not node.done)
                lists = yield tuple(Expand((node,), count, self.until) for node, count in copies.items())
                kids = [kid for (some,) in lists for kid in some]
                yield Score(tuple(kids))
                cloud = [node for node in particles if node.done] + kids
                shares = self.shares([logit(worth(view, node)) for node in cloud], rounds.taken)
                smallest = min(smallest, effective(shares))
                particles = [cloud[i] for i in resample(shares, self.n, view.random.random())]
            yield from finish(best_first(view, dict.fromkeys(particles)))
        return {"steps": rounds.taken, "smallest_ess": round(smallest, 3)}

    def shares(self, weights: Sequence[float], step: int) -> list[float]:
        """Resampling probabilities after step number `step`."""
        plain = softmax(weights)
        if not self.tempering:
            return plain
        time, variety = step / self.max_steps, effective(plain) / len(plain)
        if time >= 0.5 or variety >= 0.5:
            return plain
        return softmax(weights, max(1.0, (1 - time) / variety))


def logit(value: float) -> float:
    """log(v / (1 - v)), v cut to [1e-6, 1 - 1e-6]."""
    value = min(max(value, LOWEST), 1 - LOWEST)
    return math.log(value / (1 - value))


def softmax(weights: Sequence[float], temperature: float = 1.0) -> list[float]:
    """Shares that sum to 1."""
    top = max(weights)
    shares = [math.exp((weight - top) / temperature) for weight in weights]
    total = sum(shares)
    return [share / total for share in shares]


def effective(shares: Sequence[float]) -> float:
    """The effective sample size, 1 / Σ share²: between 1 and their number."""
    return 1 / sum(share * share for share in shares)


def resample(shares: Sequence[float], n: int, u: float) -> list[int]:
    """Which index stands at each of the positions (i + u) / n of the cumulated shares, u in [0, 1)."""
    chosen: list[int] = []
    index, reached = 0, shares[0]
    for i in range(n):
        while (i + u) / n >= reached and index < len(shares) - 1:
            index += 1
            reached += shares[index]
        chosen.append(index)
    return chosen
