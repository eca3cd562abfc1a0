"""Two verifiers as one: a process model inside the tree, an outcome model at the finished leaves.

Whether a state can still be won asks for planning, whether a finished answer is right only for checking; each is asked what it
can know. The last score of a branch counts (semantics "value"), so search follows the process model and the choice among
finished answers the outcome model, whatever the process model's scores mean by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ponder.types import Ledger, Semantics, Trace, Verifier


class PairVerifier:
    """`inner` scores traces that go on, `leaf` finished ones."""

    semantics: Semantics = "value"

    def __init__(self, inner: Verifier, leaf: Verifier) -> None:
        self.inner, self.leaf = inner, leaf
        self.name = f"{inner.name}+{leaf.name}"
        same = {getattr(part, "reads", "text") for part in (inner, leaf)}
        self.reads = "tokens" if same == {"tokens"} else "text"

    def score(self, traces: Sequence[Trace]) -> list[float | None]:
        """Each trace's score by whom it belongs to."""
        found: dict[int, float | None] = {}
        for verifier, finished in ((self.inner, False), (self.leaf, True)):
            mine = [i for i, trace in enumerate(traces) if trace.finished == finished]
            if mine:
                found |= zip(mine, verifier.score([traces[i] for i in mine]), strict=True)
        return [found[i] for i in range(len(traces))]

    @property
    def ledger(self) -> Ledger:
        """Both together."""
        return self.inner.ledger + self.leaf.ledger

    def cost(self, trace: Trace) -> int:
        """The most tokens scoring this trace can take: the leaf's model meets a branch only at its end, and reads all of it."""
        part = self.leaf if trace.finished else self.inner
        for name in ("cost", "unread"):
            if hasattr(part, name):
                return int(getattr(part, name)(trace))
        return 0

    def flops(self, tokens: int, attended: int) -> float:
        """The dearer of the two."""
        parts: list[Any] = [part for part in (self.inner, self.leaf) if hasattr(part, "flops")]
        return max((float(part.flops(tokens, attended)) for part in parts), default=0.0)

    def fits(self, engine: Any) -> None:
        """ConfigError when either can not read what the engine writes."""
        for part in (self.inner, self.leaf):
            check = getattr(part, "fits", None)
            if check is not None:
                check(engine)
