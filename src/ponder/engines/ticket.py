"""A request on its way through an engine, and the call it came with."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from ponder.types import Event, Request


@dataclass(slots=True, eq=False)
class Call:
    """One call of `generate` or `stream`: where its events go and how many of its requests still run."""

    tokens: bool  # whether it wants an event per token
    left: int
    events: deque[Event] = field(default_factory=deque)
    error: str | None = None  # set when the loop failed under another call


@dataclass(slots=True, eq=False)
class Ticket:
    """One request with what was worked out when it arrived."""

    request: Request
    index: int
    call: Call
    stop_ids: tuple[int, ...]
    limit: int
    opened: bool  # the prompt ends inside the thinking
    cancelled: bool = False
    pinned: Any = None  # node of the prefix tree that holds its prompt
    unspoken: list[int] = field(default_factory=list)  # streamed ids that do not make a whole character yet
