"""Rows of searches made by hand, verifiers that are easy to predict, and a scripted engine that writes steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ponder.engines.scripted import ScriptedEngine
from ponder.evals.trees import End, TreeRow
from ponder.types import Ledger, Semantics, Trace


def flat_row(
    names: Sequence[str | None],
    right: Sequence[str] = ("a",),
    scores: Sequence[float | None] | None = None,
    logprobs: Sequence[float] | None = None,
    problem: str = "p",
    attempt: int = 0,
    select: str = "vote",
    **changes: Any,
) -> TreeRow:
    """n whole answers of 5 tokens after a prompt of 10; those called `right` are right."""
    nodes: list[dict[str, Any]] = [{"parent": None, "tokens": [], "logprobs": [], "finish": None}]
    for i in range(len(names)):
        own = -1.0 if logprobs is None else logprobs[i]
        node = {"parent": 0, "tokens": [1, 2, 3, 4, 5], "logprobs": [own, 0, 0, 0, 0], "finish": "stop"}
        nodes.append(node | ({"score": scores[i]} if scores is not None else {}))
    ends = tuple(
        End(node=i + 1, outcome="correct" if n in right else "wrong", score=1.0 * (n in right), name=n, answer=n)
        for i, n in enumerate(names)
    )
    fields: dict[str, Any] = {
        "task": "t", "problem": problem, "attempt": attempt, "model": "m", "strategy": f"vote(n={len(names)})",
        "seed": 0, "name": "vote", "options": {"n": len(names)}, "select": select, "prompt": tuple(range(10)),
        "nodes": nodes, "ends": ends, "chosen": 0 if ends else None, "semantics": "outcome" if scores else None,
        "ledger": Ledger(prefilled=10, decoded=5 * len(names), verified=6 * len(names) if scores else 0, seconds=3.0),
        "wall": 1.0,
    }  # fmt: skip
    return TreeRow(**fields | changes)


@dataclass
class Likes:
    """Scores a trace by whether its text holds `word`; reads each token once."""

    word: str = "1"
    semantics: Semantics = "outcome"
    name: str = "likes"
    path: str | None = None
    die_after: int | None = None
    bad: Any = 0
    seen: list[Trace] = field(default_factory=list)
    spent: Ledger = Ledger()

    def score(self, traces: Sequence[Trace]) -> list[float | None]:
        self.seen += traces
        if self.die_after is not None and len(self.seen) > self.die_after:
            raise RuntimeError("the verifier is gone")
        self.spent = self.spent + Ledger(verified=sum(len(t.token_ids) - t.starts[-1] for t in traces), flops=7.0)
        if self.bad:
            return self.bad
        return [0.9 if self.word in t.text else 0.2 for t in traces]

    @property
    def ledger(self) -> Ledger:
        return self.spent


LINES = [
    "<think>1+1=2;2+2=4\n</think>4",
    "<think>1+1=2;2+3=6\n</think>6",
    "<think>1+2=4;4+2=6\n</think>6",
    "<think>1+2=4;4+1=5\n</think>5",
]


def step_engine(lines: Sequence[str] = LINES) -> ScriptedEngine:
    """Writes one of four attempts at anything, step by step."""
    return ScriptedEngine({"*": list(lines)})
