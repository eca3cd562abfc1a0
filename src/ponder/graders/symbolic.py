"""Symbolic equality in killable worker processes: our side of it. sympy is never imported here.

What workers decided is remembered in a bounded table; what ran out of time is not, since a verdict must not depend on
what else the machine was doing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

from ponder.graders.primary import Node
from ponder.sandbox.pool import WorkerPool

MEMORY = 1 << 30
REMEMBERED = 2048
_pool = WorkerPool("ponder.graders.symbolic_worker:decide", size=2, memory=MEMORY)
_answers: OrderedDict[tuple[Node, Node], Answer] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Answer:
    """`truth` None when undecided, with the reason; `seconds` of a worker's time it took."""

    truth: bool | None
    reason: str = ""
    seconds: float = 0.0


def decide(a: Node, b: Node, deadline: float) -> Answer:
    """Whether two expression trees are equal, in either order, within `deadline` seconds of execution."""
    key = (a, b) if repr(a) <= repr(b) else (b, a)
    with _lock:
        if key in _answers:
            _answers.move_to_end(key)
            return _answers[key]
    return _ask(key, deadline)


def _ask(key: tuple[Node, Node], deadline: float) -> Answer:
    outcome = _pool.call(*key, deadline=deadline)
    if outcome.status == "timeout":
        return Answer(None, outcome.reason, max(outcome.seconds, deadline))
    if outcome.status != "done":
        return Answer(None, outcome.reason or outcome.status, outcome.seconds)
    answer = Answer(outcome.value[0], outcome.value[1])  # without its seconds: told again, it costs none
    with _lock:
        _answers[key] = answer
        while len(_answers) > REMEMBERED:
            _answers.popitem(last=False)
    return replace(answer, seconds=outcome.seconds)
