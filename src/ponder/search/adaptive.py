"""Adaptive voting: sample in batches, and stop as soon as the leading answer is safe.

    while samples < n:
        draw a batch and wait for every one of it       # so a short trace counts no sooner than a long one
        a, b = votes of the leading answer and of the next
        stop if a - b > samples still to come            # nothing can change the vote any more
        stop if doubt(a, b) <= level                     # the rule
    return the leading answer

Rule "anytime" (the default). Every look at the votes is one more chance to stop at the wrong answer, so a test made for one
look errs far more often than its level says. For the answer found r-th, with a votes of its own and b for the next,

    doubt = r (r + 1) / M(a - 1, b),       M(a, b) = 2 · 2^(a+b) · integral from 1/2 to 1 of q^a (1-q)^b dq

M is the likelihood ratio of "the leader is drawn more often than its rival", mixed uniformly over how much more often,
against "equally often". Guarantee: whatever the number of answers and however often one looks, the probability of ever
stopping (by `doubt`) at an answer that is not a most probable one of the model's is at most `level`. Proof: let m be a most
probable answer and i the r-th found, less probable than m. From the draw that found i on, M(a_i - 1, b_m) is a non-negative
supermartingale that begins at 1/(b_m + 1) <= 1; by Ville's inequality it reaches r (r + 1) / level with probability at most
level / (r (r + 1)), which sums to `level` over r. Stopping at i implies it, since M falls with b and b >= b_m. The pairwise
martingale is that of Jain et al. 2022 (arXiv 2109.05047), here one-sided; the union over answers in the order of their
discovery, which needs no bound on their number, is ours. At level 0.05 an undisputed first answer is safe after 9 votes.

Rule "beta": Aggarwal et al. 2023 (arXiv 2305.11860), doubt = P(p < 1/2) for p ~ Beta(a + 1, b + 1): stops at 4-0, 6-1, 8-2,
9-3, 11-4, 12-5. Fewer samples, and no guarantee over several looks. Departures from the released code: whole batches are
awaited (it counts first arrivals), answers are compared by equivalence, completions without an answer have no vote.

Both presume that the draws are independent and alike; neither says anything about the answer being right.
Cost: P + s L with s <= n samples drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ponder.errors import ConfigError, unknown
from ponder.search.asks import Expand, Explore, View
from ponder.search.select import change_of_vote
from ponder.search.steps import at_least
from ponder.search.tree import Node

Rule = Literal["anytime", "beta"]


@dataclass(frozen=True, slots=True)
class Adaptive:
    """At most `n` samples in batches of `batch`, until the doubt about the leading answer is at most `level`."""

    n: int = 40
    batch: int = 5
    level: float = 0.05
    rule: Rule = "anytime"
    select: str = "vote"
    needs_verifier: bool = False

    def __post_init__(self) -> None:
        at_least("adaptive", batch=self.batch)
        if not 0.0 < self.level < 1.0:
            raise ConfigError(f"adaptive.level = {self.level}: a probability between 0 and 1")
        if self.rule not in RULES:
            raise unknown("stopping rule", self.rule, RULES)

    def explore(self, root: Node, view: View) -> Explore:
        drawn: list[Node] = []
        notes = _notes(0, 0, 1.0, "budget")
        try:
            for asked in (*range(self.batch, self.n, self.batch), self.n):
                (kids,) = yield Expand((root,), asked - notes["samples"], "end")
                drawn += kids
                answers = view.answers([node for node in drawn if node.done])
                doubt = RULES[self.rule](answers)
                why = "safe" if doubt <= self.level else "decided" if lead(answers) > self.n - asked else "budget"
                notes = _notes(asked, notes["looks"] + 1, doubt, why if asked < self.n or why == "safe" else "limit")
                if why != "budget":
                    break
        except GeneratorExit:  # the budget has ended: what was counted so far stands
            pass
        return notes


def _notes(samples: int, looks: int, doubt: float, why: str) -> dict[str, Any]:
    return {"samples": samples, "looks": looks, "doubt": doubt, "stopped": why}


def lead(answers: Sequence[str | None]) -> int:
    """By how many votes the leading answer leads."""
    most = [count for _, count in Counter(a for a in answers if a is not None).most_common(2)]
    return most[0] - sum(most[1:]) if most else 0


def anytime(answers: Sequence[str | None]) -> float:
    """A bound on the probability of ever being led to stop here at an answer that is not a most probable one; at most 1.

    `answers` in the order of their draws. None has no vote.
    """
    counts = Counter(answer for answer in answers if answer is not None)  # in the order of discovery
    if not counts:
        return 1.0
    leader, votes = counts.most_common(1)[0]
    rank = list(counts).index(leader) + 1
    rival = max((count for answer, count in counts.items() if answer != leader), default=0)
    return min(1.0, rank * (rank + 1) / evidence(votes - 1, rival))


def beta(answers: Sequence[str | None]) -> float:
    """P(p < 1/2) for p ~ Beta(a + 1, b + 1), a and b the votes of the first two answers; right for a single look."""
    most = [count for _, count in Counter(a for a in answers if a is not None).most_common(2)]
    return change_of_vote(*[*most, 0, 0][:2]) if most else 1.0


def evidence(a: int, b: int) -> float:
    """M(a, b) = sum over i <= a of C(a+b+1, i), over (a+b+1) C(a+b, a): the integral above, term by term."""
    n = a + b + 1
    term = total = n / (b + 1)
    for k in range(a):
        term *= (a - k) / (b + 2 + k)
        total += term
    return total / n


RULES: dict[str, Callable[[Sequence[str | None]], float]] = {"anytime": anytime, "beta": beta}
