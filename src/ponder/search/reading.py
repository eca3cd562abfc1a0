"""The verifier's side of the driver: which branches it reads, what it said, and who pays for it.

All scores that all searches ask for are one call. A verifier that may forward more tokens than a branch has new ones (a judge
that writes) says so beforehand in a method `cost(trace) -> int`; without it the new tokens are what a score is expected to
cost. A method `flops(tokens, attended)` prices them; without it the engine's price is assumed. What it all did cost is charged
afterwards, to each search in proportion to what was expected of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ponder.errors import ConfigError, PonderError, WorkError
from ponder.search.asks import Feedback, Score
from ponder.search.job import Job
from ponder.search.tree import Node
from ponder.types import Ledger, Trace, Verifier


@dataclass(frozen=True, slots=True)
class Reading:
    """One branch for the verifier, and the most tokens that reading it may take."""

    job: Job
    node: Node
    trace: Trace
    most: int


class Reader:
    """What the driver asks of a verifier, and the seconds that took."""

    def __init__(self, verifier: Verifier | None) -> None:
        self.verifier = verifier
        self.seconds = 0.0

    def score(self, asks: Sequence[tuple[Job, Score, list[float | None]]]) -> None:
        fresh = [(job, node) for job, ask, _ in asks for node in job.unscored(ask.nodes)]
        if fresh and self.verifier is None:
            raise ConfigError(f"strategy '{fresh[0][0].name}' scores its steps: give it a verifier")
        for readings in self._waves(fresh):
            self._judge(readings)
        for job, ask, reply in asks:
            if any(node.index not in job.tree.scores for node in ask.nodes):
                job.exhaust()
                continue
            reply += [job.tree.scores[node.index] for node in ask.nodes]

    def _waves(self, fresh: Sequence[tuple[Job, Node]]) -> Iterator[list[Reading]]:
        """What can be paid for, again and again: a wave may take less than was to be feared, and leave more for the next."""
        while fresh and (readings := self._payable(fresh)):
            yield readings
            done = {id(reading.node) for reading in readings}
            fresh = [(job, node) for job, node in fresh if id(node) not in done]

    def _payable(self, fresh: Sequence[tuple[Job, Node]]) -> list[Reading]:
        """What each budget can pay the verifier for, in the order asked."""
        found: list[Reading] = []
        planned: dict[int, Ledger] = {}
        texts = getattr(self.verifier, "reads", "text") == "text"
        cost = getattr(self.verifier, "cost", None)
        for job, node in fresh:
            trace, most = job.trace(node, texts), job.unread(node)
            most = most if cost is None else int(cost(trace))
            if job.budget is not None:
                before, price = planned.get(id(job), Ledger()), self._price(job, trace, most)
                if not job.purse.pays(price, before):
                    continue
                planned[id(job)] = before + price
            job.read(node)
            found.append(Reading(job, node, trace, most))
        return found

    def _price(self, job: Job, trace: Trace, most: int) -> Ledger:
        stem = max(0, len(trace.prompt_ids) + len(trace.token_ids) - most)
        price = getattr(self.verifier, "flops", None)
        if price is None:
            return job.purse.priced(Ledger(verified=most), most, stem)
        return Ledger(verified=most, flops=price(most, most * stem + most * (most + 1) // 2))

    def _judge(self, readings: Sequence[Reading]) -> None:
        verifier, head = self.verifier, readings[0]
        assert verifier is not None
        began, before = time.perf_counter(), verifier.ledger
        try:
            scores = verifier.score([reading.trace for reading in readings])
        except PonderError as error:
            raise type(error)(f"{head.job.where(head.node)}: {error}") from error
        except Exception as error:
            raise WorkError(
                f"{head.job.where(head.node)}: verifier '{verifier.name}' failed ({type(error).__name__}: {error})"
            ) from error
        seconds = time.perf_counter() - began
        self.seconds += seconds
        if len(scores) != len(readings):
            raise WorkError(
                f"{head.job.where(head.node)}: verifier '{verifier.name}' returned {len(scores)} scores "
                f"for {len(readings)} nodes"
            )
        for reading, score in zip(readings, scores, strict=True):
            if score is not None and not 0.0 <= score <= 1.0:  # NaN too: it compares false
                raise WorkError(
                    f"{reading.job.where(reading.node)}: verifier '{verifier.name}' returned {score}; "
                    "a score lies in 0 to 1, or is None"
                )
            reading.job.tree.scores[reading.node.index] = score
        _share(readings, verifier.ledger - before, seconds)

    def feedback(self, job: Job, ask: Feedback) -> list[str]:
        tell = getattr(self.verifier, "feedback", None)
        if tell is None:
            name = "no verifier" if self.verifier is None else f"verifier '{self.verifier.name}'"
            raise ConfigError(f"strategy '{job.name}' asks for feedback in words, and {name} gives none")
        assert self.verifier is not None
        said: dict[int, str] = {}
        for readings in self._waves([(job, node) for node in ask.nodes]):
            began, before = time.perf_counter(), self.verifier.ledger
            words: list[str] = tell([reading.trace for reading in readings])
            seconds = time.perf_counter() - began
            self.seconds += seconds
            _share(readings, self.verifier.ledger - before, seconds)
            said |= zip((reading.node.index for reading in readings), words, strict=True)
        if len(said) < len(set(ask.nodes)):
            job.exhaust()
        return [said[node.index] for node in ask.nodes if node.index in said]


def _share(readings: Sequence[Reading], spent: Ledger, seconds: float) -> None:
    """Charge each job with its part of what a verifier spent; no part exceeds what was planned unless the whole does."""
    parts = [reading.most for reading in readings] if any(reading.most for reading in readings) else [1] * len(readings)
    total, reached, charged = sum(parts), 0, 0
    for reading, part in zip(readings, parts, strict=True):
        reached += part
        own = spent.forwarded * reached // total - charged
        charged += own
        share = part / total
        reading.job.purse.spend(Ledger(verified=own, flops=spent.flops * share, seconds=seconds * share))
