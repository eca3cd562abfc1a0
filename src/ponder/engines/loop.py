"""Continuous batching: one step admits what fits, decodes one token for every running sequence, and ends those done.

Finished rows leave at once. Free slots are refilled when an eighth of them is free (or everything waiting fits), since
admitting one sequence at a time costs more than it gains; where the stepper wants rows dense, the same threshold moves the
highest rows into the holes. Nothing here depends on who calls: `local` feeds tickets in and takes events out.

Shapes: B rows in use, V vocabulary, A steps ahead.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ponder.engines.admission import Admission
from ponder.engines.prefix import PrefixTree
from ponder.engines.rows import Ints, Rows
from ponder.engines.sampling import Knobs, draw, uniforms
from ponder.engines.stepper import Stepper
from ponder.engines.ticket import Ticket
from ponder.engines.write import completion, speak
from ponder.errors import WorkError
from ponder.models import ModelConfig
from ponder.text import Tokenizer
from ponder.types import DoneEvent, Finish, Ledger, TokenEvent

AHEAD = 16  # steps for which uniform numbers are computed at once


@dataclass(slots=True)
class Meter:
    """A ledger in the making."""

    cached: int = 0
    prefilled: int = 0
    decoded: int = 0
    flops: float = 0.0
    seconds: float = 0.0

    def ledger(self) -> Ledger:
        return Ledger(self.cached, self.prefilled, self.decoded, flops=self.flops, seconds=self.seconds)


class Loop:
    """The state of all running sequences of one engine. Not thread-safe; `step` is called by one thread at a time."""

    def __init__(
        self,
        stepper: Stepper,
        config: ModelConfig,
        tokenizer: Tokenizer | None,
        rows: int,
        cache_tokens: int,
        cache_completions: bool,
    ) -> None:
        self.stepper, self.config, self.tokenizer = stepper, config, tokenizer
        self.tree = PrefixTree(cache_tokens)
        self.cache_completions = cache_completions and cache_tokens > 0
        self.admission = Admission(stepper, self.tree)
        self.inbox: deque[Ticket] = deque()  # filled by other threads
        self.queue: deque[Ticket] = deque()
        think = (tokenizer.think_open, tokenizer.think_close) if tokenizer else (None, None)
        self.rows = Rows(rows, config.vocab_size, think)
        self.meter = Meter()
        self._knobs: Knobs | None = None
        self._ahead_AB: Tensor | None = None  # uniform numbers of the next steps, see `_uniforms`
        self._used = 0
        self._draw = getattr(stepper, "draw", draw)  # a stepper may have a faster way to the same draws

    @property
    def busy(self) -> bool:
        return bool(self.inbox or self.queue or len(self.rows))

    def step(self) -> None:
        """One round: cancel, admit, decode, finish."""
        began = time.perf_counter()
        self.sweep()
        self._admit()
        if len(self.rows):
            self._decode()
        self.meter.seconds += time.perf_counter() - began

    def reset(self) -> list[Ticket]:
        """Drop everything that runs or waits, and the cache; the tickets dropped."""
        dropped = [t for t in self.rows.tickets if t is not None] + list(self.queue) + list(self.inbox)
        self.queue.clear()
        self.inbox.clear()
        self.rows.tickets = [None] * self.rows.rows
        self.rows.sync()
        self.tree.clear()
        return dropped

    def sweep(self) -> None:
        """Take in what arrived and end what was cancelled."""
        while self.inbox:
            self.queue.append(self.inbox.popleft())
        for ticket in [t for t in self.queue if t.cancelled]:
            self.queue.remove(ticket)
            self._send(ticket, completion(self.tokenizer, ticket, [], [], [], "cancelled"))
        gone = [r for r in self.rows.active.tolist() if (t := self.rows.tickets[r]) is not None and t.cancelled]
        for slot in gone:
            self._finish(slot, "cancelled")
        if gone:
            self._changed()

    def _admit(self) -> None:
        rows, kv = self.rows, self.stepper.kv
        free = rows.rows - len(rows)
        worth = free >= rows.rows // 8 or len(self.queue) <= free or not len(rows)
        if not self.queue or not free or not worth:
            return
        tickets = [self.queue.popleft() for _ in range(min(free, len(self.queue)))]
        slots = rows.free(len(tickets))
        longest = max(len(ticket.request.prompt_ids) for ticket in tickets)
        if not len(rows) and kv.capacity > 4 * longest + 1024:
            kv.release()
        kv.reserve(longest, rows=_power(max(slots) + 1, rows.rows))
        groups: dict[tuple[int, ...], list[int]] = {}
        for ticket, slot in zip(tickets, slots, strict=True):
            groups.setdefault(ticket.request.prompt_ids, []).append(slot)
        nodes, bill = self.admission.admit(groups)
        for ticket, slot in zip(tickets, slots, strict=True):
            ticket.pinned = nodes.get(ticket.request.prompt_ids)
            rows.start(slot, ticket)
        flops = self.config.flops(bill.prefilled, bill.attended, sampled=0)
        self.meter.flops += flops
        self.meter.cached += bill.cached
        self.meter.prefilled += bill.prefilled + len(tickets)
        self._changed()

    def _changed(self) -> None:
        """Rows came or went."""
        self._ahead_AB = None
        rows = self.rows
        rows.sync()
        if self.stepper.dense and len(rows) and not self.queue:
            self._close_ranks()
        active, state = rows.active, rows.state
        knobs = [state[name][active] for name in ("temperature", "top_k", "top_p", "min_p")]
        self._knobs = Knobs.of(knobs[0], knobs[1], knobs[2], knobs[3], self.stepper.kv.k.device)

    def _close_ranks(self) -> None:
        """Move the highest rows into the holes below, once there are enough holes to be worth it."""
        rows = self.rows
        count = len(rows)
        if int(rows.active[-1]) + 1 - count < max(1, count // 8):
            return
        sources = [r for r in rows.active.tolist() if r >= count]
        targets = rows.free(len(sources))
        self.stepper.kv.move(sources, targets, int(rows.state["position"][sources].max()))
        rows.move(sources, targets)
        rows.sync()

    def _decode(self) -> None:
        rows, state = self.rows, self.rows.state
        active = rows.active
        positions_B = state["position"][active]
        self.stepper.kv.reserve(int(positions_B.max()) + 1)
        indices = (torch.from_numpy(x) for x in (state["token"][active], active, positions_B))
        logits_BV = self.stepper.decode_step(*indices)
        assert self._knobs is not None
        uniform_B = self._uniforms().to(logits_BV.device)
        tokens, logprobs = (x.cpu().numpy() for x in self._draw(logits_BV, self._knobs, uniform_B))
        forced_B = self._force(tokens, logprobs, logits_BV) if rows.any_budget else None
        if not np.isfinite(logprobs).all():
            raise WorkError(
                "the model's logits are not finite numbers: its weights are damaged or training has diverged"
            )
        ended = rows.append(tokens, logprobs, forced_B)
        self._charge(positions_B)
        self._stream(active, tokens, logprobs)
        for slot in ended.tolist():
            self._finish(slot, "stop" if rows.stopped(slot) else "length")
        if len(ended):
            self._changed()

    def _uniforms(self) -> Tensor:
        """One number per active row for this step; computed for AHEAD steps at once, since they hang on nothing drawn."""
        if self._ahead_AB is None or self._used == AHEAD:
            active, state = self.rows.active, self.rows.state
            steps_AB = state["length"][active] + np.arange(AHEAD)[:, None]
            self._ahead_AB = torch.from_numpy(uniforms(state["key"][active], steps_AB))
            self._used = 0
        self._used += 1
        return self._ahead_AB[self._used - 1]

    def _charge(self, positions_B: Ints) -> None:
        """Decoded tokens; the step that fed a prompt's last token was already counted as prefilled, its FLOPs here."""
        count = len(positions_B)
        self.meter.decoded += count
        self.meter.flops += self.config.flops(count, int(positions_B.sum()) + count)

    def _force(self, tokens: Ints, logprobs: NDArray[np.float32], logits_BV: Tensor) -> NDArray[np.bool_]:
        """Put the closing think tag where the thinking budget is spent; which rows it was put in."""
        rows = self.rows
        forced = rows.must_close() & (tokens != rows.close)
        which = np.flatnonzero(forced)
        if which.size:
            temperature = rows.state["temperature"][rows.active[which]]
            scale = torch.from_numpy(np.where(temperature == 0, np.float32(1), temperature)).to(logits_BV.device)
            logprobs_FV = torch.log_softmax(
                logits_BV[torch.from_numpy(which).to(logits_BV.device)] / scale[:, None], dim=-1
            )
            tokens[which] = rows.close
            logprobs[which] = logprobs_FV[:, rows.close].cpu().numpy()
        return forced

    def _stream(self, active: Ints, tokens: Ints, logprobs: NDArray[np.float32]) -> None:
        for row, slot in enumerate(active.tolist()):
            ticket = self.rows.tickets[slot]
            assert ticket is not None
            if ticket.call.tokens:
                text = speak(self.tokenizer, ticket, int(tokens[row]))
                ticket.call.events.append(TokenEvent(ticket.index, int(tokens[row]), float(logprobs[row]), text))

    def _finish(self, slot: int, finish: Finish) -> None:
        rows = self.rows
        ticket, length = rows.tickets[slot], int(rows.state["length"][slot])
        assert ticket is not None
        ids = rows.tokens[slot, :length].tolist()
        if self.cache_completions and length:
            kv = self.stepper.kv
            self.tree.insert((*ticket.request.prompt_ids, *ids[:-1]), kv.k[:, slot], kv.v[:, slot])
            self.tree.trim()
        if ticket.pinned is not None:
            self.tree.unpin(ticket.pinned)
        rows.tickets[slot] = None
        logprobs, forced = rows.logprobs[slot, :length].tolist(), rows.forced[slot, :length].tolist()
        self._send(ticket, completion(self.tokenizer, ticket, ids, logprobs, forced, finish))

    def _send(self, ticket: Ticket, done: DoneEvent) -> None:
        ticket.call.events.append(done)
        ticket.call.left -= 1


def _power(count: int, most: int) -> int:
    """The next power of two, at most `most`."""
    return min(1 << (count - 1).bit_length(), most)
