"""Beam search over steps, guided by a verifier.

    alive = draw n steps behind the root; k = n / width
    repeat while anything is alive:
        score the new steps; drop copies (the same tokens)
        best = the k best of them; k = k - number of ended ones among best
        alive = best without the ended ones
        draw `width` steps behind each of alive
    weigh the answers of all ended branches by their scores

Snell et al. 2024 (arXiv 2408.03314, section 5.1): N beams, width M, N / M survivors. A beam that ends leaves with its place:
the rest does not grow to fill it. Every ended branch stays a candidate, once; one that is the copy of another is withdrawn,
so copies can not win a vote (elsewhere short beams are padded with copies of each other). After `max_steps` rounds, or when a
budget runs low, the survivors are drawn to their end, the best first. No look-ahead: text that is drawn is scored and kept.

Cost of T steps of s tokens after a prompt of P: at most P + n T s drawn, and as much read by the verifier. Re-reading the
prefix at every step, as a search without a shared tree does, costs about 1 + T P / L + (T - 1) / 2 times as much (L = T s).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from ponder.search.asks import Explore, Until, View, Withdraw
from ponder.search.steps import Rounds, at_least, best_first, distinct, finish, grow
from ponder.search.tree import Node


@dataclass(frozen=True, slots=True)
class Beam:
    """`n` beams, n // `width` of them kept (at least one). `until` is where a step ends: a step boundary, or so many
    tokens."""

    n: int = 16
    width: int = 4
    max_steps: int = 64
    until: Until = "step"
    select: str = "weighted"
    needs_verifier: bool = True

    def __post_init__(self) -> None:
        at_least("beam", n=self.n, width=self.width, max_steps=self.max_steps)

    def explore(self, root: Node, view: View) -> Explore:
        width = min(self.width, self.n)
        keep, rounds, copies = self.n // width, Rounds(view, self.max_steps), 0
        alive, ended, draws = [root], list[Node](), self.n
        with suppress(GeneratorExit):  # the budget ended; what was counted so far still counts
            while alive and rounds.another():
                kids = yield from grow(alive, draws, self.until)
                fresh = distinct([*ended, *kids])[len(ended) :]
                yield Withdraw(tuple(kid for kid in kids if kid.done and kid not in fresh))
                copies += len(kids) - len(fresh)
                ended += [kid for kid in fresh if kid.done]
                best = best_first(view, fresh)[:keep]
                alive, draws = [kid for kid in best if not kid.done], width
                keep -= len(best) - len(alive)
            yield from finish(alive)
        return {"steps": rounds.taken, "copies": copies}
