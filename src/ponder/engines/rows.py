"""What the scheduler knows of every running sequence, as arrays over slots, so that a step costs no Python per row.

Shapes: R slots, B rows in use, C buffered tokens per slot.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ponder.engines.sampling import request_key
from ponder.engines.ticket import Ticket

Ints = NDArray[np.int64]
NEVER = np.iinfo(np.int64).max
FIELDS: dict[str, type] = {
    "token": np.int64,  # the token to feed next
    "position": np.int64,  # its position
    "length": np.int64,  # tokens written so far
    "limit": np.int64,  # tokens to write at most
    "key": np.uint64,
    "temperature": np.float32,
    "top_k": np.int64,
    "top_p": np.float32,
    "min_p": np.float32,
    "stops": np.int64,  # row of the stop table
    "thinking": np.bool_,
    "thought": np.int64,  # thinking tokens so far
    "budget": np.int64,  # thinking tokens at most
    "close_by": np.int64,  # length at which thinking must be closed
}


class Rows:
    """State of R slots; slot r holds `tickets[r]` or nothing."""

    def __init__(self, rows: int, vocab_size: int, think: tuple[int | None, int | None]) -> None:
        self.rows = rows
        self.tickets: list[Ticket | None] = [None] * rows
        self.state = {name: np.zeros(rows, dtype=kind) for name, kind in FIELDS.items()}
        self.tokens = np.zeros((rows, 64), dtype=np.int64)
        self.logprobs = np.zeros((rows, 64), dtype=np.float32)
        self.forced = np.zeros((rows, 64), dtype=np.bool_)
        self.active: Ints = np.zeros(0, dtype=np.int64)
        self.open, self.close = (-1 if i is None else i for i in think)  # -1 equals no token
        self._vocab_size = vocab_size
        self._stop_sets: dict[tuple[int, ...], int] = {}
        self._stop_table = np.zeros((0, vocab_size), dtype=np.bool_)
        self.any_budget = False

    def __len__(self) -> int:
        return len(self.active)

    def free(self, count: int) -> list[int]:
        """The lowest `count` free slots."""
        return [r for r, ticket in enumerate(self.tickets) if ticket is None][:count]

    def start(self, slot: int, ticket: Ticket) -> None:
        """Put `ticket` into `slot`: its last prompt token is the next to be fed."""
        sampling, prompt, state = ticket.request.sampling, ticket.request.prompt_ids, self.state
        self.tickets[slot] = ticket
        limited = sampling.think_budget is not None or sampling.answer_reserve > 0
        values = {
            "token": prompt[-1],
            "position": len(prompt) - 1,
            "length": 0,
            "limit": ticket.limit,
            "key": request_key(sampling.seed, prompt),
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "stops": self._stop_set(ticket.stop_ids),
            "thinking": ticket.opened,
            "thought": 0,
            "budget": NEVER if sampling.think_budget is None else sampling.think_budget,
            "close_by": ticket.limit - sampling.answer_reserve - 1 if limited else NEVER,
        }
        for name, value in values.items():
            state[name][slot] = value
        self.forced[slot] = False

    def sync(self) -> None:
        """Recompute which slots are in use; to be called after starting or ending rows."""
        self.active = np.array([r for r, ticket in enumerate(self.tickets) if ticket is not None], dtype=np.int64)
        self.any_budget = bool((self.state["close_by"][self.active] != NEVER).any())

    def _stop_set(self, stop_ids: tuple[int, ...]) -> int:
        if stop_ids not in self._stop_sets:
            if len(self._stop_sets) >= 256:  # only as many as rows can be in use; start over once they pile up
                self._forget_stop_sets()
            line = np.zeros((1, self._vocab_size), dtype=np.bool_)
            line[0, [i for i in stop_ids if i < self._vocab_size]] = True
            self._stop_sets[stop_ids] = len(self._stop_sets)
            self._stop_table = np.concatenate((self._stop_table, line))
        return self._stop_sets[stop_ids]

    def _forget_stop_sets(self) -> None:
        used = sorted({int(self.state["stops"][r]) for r, t in enumerate(self.tickets) if t is not None})
        renamed = {old: new for new, old in enumerate(used)}
        self._stop_sets = {ids: renamed[n] for ids, n in self._stop_sets.items() if n in renamed}
        self._stop_table = self._stop_table[used]
        stops = self.state["stops"]
        stops[:] = [renamed.get(int(n), 0) for n in stops]

    def append(self, tokens_B: Ints, logprobs_B: NDArray[np.float32], forced_B: NDArray[np.bool_] | None) -> Ints:
        """Record one token per active row; the slots that have ended thereby."""
        rows, state = self.active, self.state
        at = state["length"][rows]
        self._buffer(int(at.max()) + 1)
        self.tokens[rows, at] = tokens_B
        self.logprobs[rows, at] = logprobs_B
        if forced_B is not None:
            self.forced[rows, at] = forced_B
        state["token"][rows] = tokens_B
        state["position"][rows] += 1
        state["length"][rows] = at + 1
        if self.any_budget:
            inside = state["thinking"][rows] & (tokens_B != self.close)
            state["thought"][rows] += inside
            state["thinking"][rows] = inside | ((at == 0) & (tokens_B == self.open))
        ended = self._stop_table[state["stops"][rows], tokens_B] | (at + 1 >= state["limit"][rows])
        return rows[ended]

    def must_close(self) -> NDArray[np.bool_]:
        """Which active rows have to close their thinking with the token to come."""
        rows, state = self.active, self.state
        spent = (state["thought"][rows] >= state["budget"][rows]) | (state["length"][rows] >= state["close_by"][rows])
        return state["thinking"][rows] & spent

    def _buffer(self, needed: int) -> None:
        if needed <= self.tokens.shape[1]:
            return
        extra = max(needed, 2 * self.tokens.shape[1]) - self.tokens.shape[1]
        widen = ((0, 0), (0, extra))
        self.tokens, self.logprobs, self.forced = (np.pad(x, widen) for x in (self.tokens, self.logprobs, self.forced))

    def stopped(self, slot: int) -> bool:
        """Whether the last token of `slot` is one it stops at."""
        last = self.tokens[slot, self.state["length"][slot] - 1]
        return bool(self._stop_table[self.state["stops"][slot], last])

    def move(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Move rows to free slots."""
        for array in (*self.state.values(), self.tokens, self.logprobs, self.forced):
            array[targets] = array[sources]
        for source, target in zip(sources, targets, strict=True):
            self.tickets[target], self.tickets[source] = self.tickets[source], None
