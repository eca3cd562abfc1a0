"""Rerank: very many samples, each scored once by a learned scorer; the best one's answer.

    draw n completions; score each
    value(a) = (1 - blend) · highest score among the samples that say a + blend · share of the samples that say a
    return argmax value

After o1's AIME row: 1000 samples and a learned scoring function (OpenAI 2024, "Learning to reason with LLMs"; how the
scorer was trained is not told). `blend` 0 is best-of-N at that size and 1 is voting; in between, votes guard against the
scorer's outliers, whose number grows with n (Cobbe et al. 2021, arXiv 2110.14168, found accuracy to fall again beyond some
hundreds of samples, and a vote among the best ones to help). Our own choice: score and share are added, not nested.

Cost: P + n L drawn and P + n L read; with P = 50, L = 60, n = 1000 that is 120,100 tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ponder.errors import ConfigError
from ponder.search.asks import End, Explore, View
from ponder.search.flat import scored_samples
from ponder.search.tree import Node


@dataclass(frozen=True, slots=True)
class Rerank:
    """`n` samples by learned score; `blend` is the part that the share of votes has in an answer's value, 0 to 1."""

    n: int = 1000
    blend: float = 0.0
    select: str = "ranked"
    needs_verifier: bool = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.blend <= 1.0:
            raise ConfigError(f"rerank.blend = {self.blend}: a part from 0 (score alone) to 1 (votes alone)")

    def explore(self, root: Node, view: View) -> Explore:
        yield from scored_samples(root, view, self.n)
        return None

    def weigh(self, ends: Sequence[End]) -> list[float | None]:
        """The value of each sample's answer with the sample's own score; None where it has neither answer nor score."""
        votes = Counter(end.answer for end in ends if end.answer is not None)
        total = sum(votes.values())
        return [
            None
            if end.answer is None or end.score is None
            else (1 - self.blend) * end.score + self.blend * votes[end.answer] / total
            for end in ends
        ]
