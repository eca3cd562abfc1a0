"""The engine that runs a `Transformer` in this process, on CPU or CUDA.

Design: all calls, from any thread, share one `Loop`; whichever caller has nothing to do drives the next step for everybody,
so requests of separate calls run in one batch without a thread of the engine's own. Sampling reads a copy of the weights in
the sampling precision (`models.cast`); `refresh` renews it after training. In fp32, and in bf16 with the native kernel
(`engines.native`), tokens do not depend on the batch a request runs in. In bf16 without it the arithmetic of a row can
depend on the number of rows (the matrix library picks its kernels by shape), so a draw may differ where two tokens' shares
meet within that rounding; seeds and log-probabilities stay exact.
Not covered: several devices, quantised weights, LoRA.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from ponder.engines.check import check_ids, check_request
from ponder.engines.loop import Loop
from ponder.engines.native import Choice, make_stepper
from ponder.engines.scoring import score
from ponder.engines.ticket import Call, Ticket
from ponder.engines.write import opens
from ponder.errors import ConfigError, WorkError
from ponder.models import KV, Transformer
from ponder.models.cast import for_sampling, update
from ponder.text import Tokenizer
from ponder.types import Completion, DoneEvent, Effort, Event, Ledger, Message, Request

CACHE_BYTES = 256 << 20  # default size of the prefix tree


class LocalEngine:
    """An `Engine` on `model`; `tokenizer` None runs on ids alone.

    `rows` sequences run at once; `cache_tokens` is the prefix tree's capacity (default: 256 MiB worth; 0: prompts are
    shared only within one admission); `cache_completions` keeps finished completions in it too, so that what continues
    them is not computed again. `dtype` None means bf16 where the device is fast at it, else fp32. `stepper` "auto" decodes
    with the native kernel where there is one, "torch" without it.
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer | None = None,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        rows: int = 64,
        path: str | Path | None = None,
        name: str = "local",
        cache_tokens: int | None = None,
        cache_completions: bool = True,
        stepper: Choice = "auto",
    ) -> None:
        if rows < 1:
            raise ConfigError(f"engine.rows is {rows}; it must be at least 1")
        self.name, self.path = name, None if path is None else str(path)
        self.config, self.tokenizer = model.config, tokenizer
        if tokenizer is not None and tokenizer.vocab_size > model.config.vocab_size:
            raise ConfigError(f"tokenizer has {tokenizer.vocab_size} tokens, the model only {model.config.vocab_size}")
        self.context = model.config.context
        self.device = torch.device(device)
        if self.device.type == "cuda" and self.device.index is None:
            self.device = torch.device("cuda", torch.cuda.current_device())
        self.dtype = dtype or fast_dtype(self.device)
        self._source = model
        self._model = for_sampling(model, self.device, self.dtype)
        kv = KV(model.config, rows=1, dtype=self.dtype, device=self.device)
        if cache_tokens is None:
            cache_tokens = CACHE_BYTES // kv.bytes_per_token
        steps = make_stepper(stepper, self._model, kv)
        self._loop = Loop(steps, model.config, tokenizer, rows, cache_tokens, cache_completions)
        self._turn = threading.Condition()
        self._driving = False
        self._live: dict[str, list[Ticket]] = {}
        self._scored = Ledger()

    def encode(self, messages: Sequence[Message], effort: Effort | None = None) -> tuple[int, ...]:
        """Token ids of the rendered conversation, ready for the assistant's first token."""
        if self.tokenizer is None:
            raise ConfigError(f"engine '{self.name}' was made without a tokenizer and can only be given token ids")
        return self.tokenizer.render(messages, effort)

    def generate(
        self, requests: Sequence[Request], on_done: Callable[[DoneEvent], None] | None = None
    ) -> list[Completion]:
        """Run the requests together and return completions in their order; `on_done` is told of each as it ends."""
        completions: list[Completion | None] = [None] * len(requests)
        for event in self._run(requests, tokens=False):
            assert isinstance(event, DoneEvent)
            completions[event.index] = event.completion
            if on_done is not None:
                on_done(event)
        return [c for c in completions if c is not None]

    def stream(self, requests: Sequence[Request]) -> Iterator[Event]:
        """Events of the requests as they happen. Leaving the iteration early cancels what still runs."""
        return self._run(requests, tokens=True)

    def cancel(self, request_id: str) -> None:
        """End the requests with this id at the next step, from any thread; unknown ids are ignored."""
        with self._turn:
            for ticket in self._live.get(request_id, ()):
                ticket.cancelled = True

    def logprobs(self, token_ids: Sequence[Sequence[int]]) -> list[list[float]]:
        """Log-probability of each token given those before it (temperature 1); the first of each row is 0.0."""
        for ids in token_ids:
            check_ids(ids, self.config.vocab_size)
            if len(ids) > self.context:
                raise ConfigError(f"a sequence of {len(ids)} tokens does not fit the model's context of {self.context}")
        began = time.perf_counter()
        scores = score(self._model, token_ids, self.device)
        count, attended = sum(map(len, token_ids)), sum(len(ids) * (len(ids) + 1) // 2 for ids in token_ids)
        spent = Ledger(prefilled=count, flops=self.config.flops(count, attended), seconds=time.perf_counter() - began)
        with self._turn:
            self._scored += spent
        return scores

    @property
    def ledger(self) -> Ledger:
        """Everything spent since the engine was made."""
        return self._loop.meter.ledger() + self._scored

    def forget(self) -> None:
        """Empty the prefix tree; what runs goes on."""
        with self._turn:
            while self._driving:
                self._turn.wait()
            self._loop.tree.clear()

    def refresh(self) -> None:
        """Take over weights that changed in the model this engine was made from, and forget what is cached."""
        with self._turn:
            if self._driving or self._loop.busy:
                raise WorkError("the engine is still generating; its weights can only be refreshed between calls")
            update(self._model, self._source)
            self._loop.reset()
            self._loop.stepper.refresh()

    def _run(self, requests: Sequence[Request], tokens: bool) -> Iterator[Event]:
        call = Call(tokens=tokens, left=len(requests))
        tickets = [self._ticket(request, index, call) for index, request in enumerate(requests)]
        return self._drive(call, tickets)

    def _drive(self, call: Call, tickets: list[Ticket]) -> Iterator[Event]:
        with self._turn:
            for ticket in tickets:
                self._live.setdefault(ticket.request.id, []).append(ticket)
            self._loop.inbox.extend(tickets)
        try:
            while call.left or call.events:
                while call.events:
                    yield call.events.popleft()
                if call.left:
                    self._pump(call)
        finally:
            self._leave(call, tickets)

    def _pump(self, call: Call) -> None:
        """Wait until the call has events, driving the loop when nobody else does."""
        with self._turn:
            while self._driving and not call.events and call.error is None:
                self._turn.wait()
            if call.error is not None:
                raise WorkError(call.error)
            if call.events:
                return
            self._driving = True
        try:
            self._loop.step()
        except BaseException as error:
            self._loop.stepper.kv.release()  # it may hold NaN, and 0 · NaN would reach whoever comes next
            for ticket in self._loop.reset():
                ticket.call.error = (
                    f"generation was broken off by another call's failure ({type(error).__name__}: {error})"
                )
            raise
        finally:
            with self._turn:
                self._driving = False
                self._turn.notify_all()

    def _leave(self, call: Call, tickets: list[Ticket]) -> None:
        with self._turn:
            for ticket in tickets:
                ticket.cancelled = True
                same = self._live.get(ticket.request.id, [])
                if ticket in same:
                    same.remove(ticket)
                if not same:
                    self._live.pop(ticket.request.id, None)
            call.tokens = False
            if call.left and not self._driving:
                self._loop.sweep()

    def _ticket(self, request: Request, index: int, call: Call) -> Ticket:
        tokenizer, sampling = self.tokenizer, request.sampling
        has_think = tokenizer is not None and tokenizer.think_close is not None
        check_request(request, self.context, self.config.vocab_size, has_think)
        stops = {*sampling.stop_ids, *(tokenizer.stop_ids if tokenizer else ())}
        limit = min(sampling.max_tokens, self.context - len(request.prompt_ids))
        return Ticket(request, index, call, tuple(sorted(stops)), limit, opens(tokenizer, request.prompt_ids))


def fast_dtype(device: torch.device) -> torch.dtype:
    """bf16 on CUDA and on CPUs with bf16 instructions, else fp32."""
    if device.type == "cpu":
        return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
    return torch.bfloat16
