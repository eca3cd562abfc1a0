"""An engine that reads its lines from a script: deterministic, weightless, for tests and for replaying recorded outputs.

A script maps prompts to the completions to give. A prompt is found by the longest key that occurs in the conversation
before the last assistant mark ("*" fits any). What stands behind that mark is a completion already begun: only completions
that continue it are eligible, so branching searches work too. The seed picks among the eligible (seed modulo their number;
temperature 0 takes the first). A script may also be a function (prompt text, seed) → continuation.
Its tokenizer is the miniature's with bytes for every other character, so any text is spoken as it is written.
Log-probabilities are all `LOGPROB`. Stop tokens, limits and thinking budgets hold as in every engine.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ponder.engines.check import check_ids, check_request
from ponder.engines.ticket import Call, Ticket
from ponder.engines.write import completion, opens, speak
from ponder.errors import ConfigError, DataError
from ponder.text import Tokenizer
from ponder.types import Completion, DoneEvent, Effort, Event, Finish, Ledger, Message, Request, TokenEvent

LOGPROB = -1.0
MARK = "<|assistant|>"
Script = Mapping[str, str | Sequence[str]] | Callable[[str, int], str]


class ScriptedEngine:
    """An `Engine` whose completions are written down."""

    def __init__(
        self,
        script: Script,
        tokenizer: Tokenizer | None = None,
        *,
        context: int = 65_536,
        name: str = "scripted",
        path: str | None = None,
    ) -> None:
        self.name, self.path, self.context = name, path, context
        self.tokenizer = tokenizer or Tokenizer.mini(lossless=True)
        self._script = script if callable(script) else {k: _list(k, v) for k, v in script.items()}
        self._spent = Ledger()
        self._lock = threading.Lock()
        self._live: dict[str, list[Ticket]] = {}

    @classmethod
    def load(cls, path: str | Path, **options: Any) -> ScriptedEngine:
        """From a JSONL file of {"prompt": text, "completions": [text, …]}; DataError names the line at fault."""
        script: dict[str, list[str]] = {}
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: the script can not be read ({error})") from None
        for number, line in enumerate(lines, 1):
            if line.strip():
                prompt, completions = _row(line, f"{path}:{number}")
                script.setdefault(prompt, []).extend(completions)
        if not script:
            raise DataError(f"{path}: the script is empty; it needs lines of {{'prompt': …, 'completions': […]}}")
        return cls(script, path=None, **{"name": f"scripted:{path}", **options})

    def encode(self, messages: Sequence[Message], effort: Effort | None = None) -> tuple[int, ...]:
        """Token ids of the rendered conversation."""
        return self.tokenizer.render(messages, effort)

    def generate(
        self, requests: Sequence[Request], on_done: Callable[[DoneEvent], None] | None = None
    ) -> list[Completion]:
        """Completions in the order of the requests."""
        done: dict[int, Completion] = {}
        for event in self._run(requests, tokens=False):
            if isinstance(event, DoneEvent):
                done[event.index] = event.completion
                if on_done is not None:
                    on_done(event)
        return [done[i] for i in range(len(requests))]

    def stream(self, requests: Sequence[Request]) -> Iterator[Event]:
        """One token of every running request in turn."""
        return self._run(requests, tokens=True)

    def cancel(self, request_id: str) -> None:
        """End the requests with this id, from any thread; unknown ids are ignored."""
        with self._lock:
            for ticket in self._live.get(request_id, ()):
                ticket.cancelled = True

    def logprobs(self, token_ids: Sequence[Sequence[int]]) -> list[list[float]]:
        """`LOGPROB` for every token but the first of each row."""
        for ids in token_ids:
            check_ids(ids, self.tokenizer.vocab_size)
        with self._lock:
            self._spent += Ledger(prefilled=sum(map(len, token_ids)))
        return [[0.0 if i == 0 else LOGPROB for i in range(len(ids))] for ids in token_ids]

    @property
    def ledger(self) -> Ledger:
        """Everything spent since the engine was made."""
        return self._spent

    def _run(self, requests: Sequence[Request], tokens: bool) -> Iterator[Event]:
        call = Call(tokens=tokens, left=len(requests))
        tickets = [self._ticket(request, index, call) for index, request in enumerate(requests)]
        return self._play([(ticket, *self._line(ticket)) for ticket in tickets], tokens)

    def _play(self, lines: list[tuple[Ticket, list[int], list[bool], Finish]], tokens: bool) -> Iterator[Event]:
        began = time.perf_counter()
        with self._lock:
            for ticket, *_ in lines:
                self._live.setdefault(ticket.request.id, []).append(ticket)
        try:
            at, running = 0, lines
            while running:
                still = []
                for ticket, ids, forced, finish in running:
                    if ticket.cancelled:
                        yield self._end(ticket, ids[:at], forced[:at], "cancelled")
                        continue
                    if tokens:
                        text = speak(self.tokenizer, ticket, ids[at])
                        yield TokenEvent(ticket.index, ids[at], LOGPROB, text)
                    if at + 1 == len(ids):
                        yield self._end(ticket, ids, forced, finish)
                    else:
                        still.append((ticket, ids, forced, finish))
                at, running = at + 1, still
        finally:
            with self._lock:
                self._spent += Ledger(seconds=time.perf_counter() - began)
                for ticket, *_ in lines:
                    same = self._live.get(ticket.request.id, [])
                    if ticket in same:
                        same.remove(ticket)
                    if not same:
                        self._live.pop(ticket.request.id, None)

    def _end(self, ticket: Ticket, ids: list[int], forced: list[bool], finish: Finish) -> DoneEvent:
        with self._lock:
            self._spent += Ledger(prefilled=len(ticket.request.prompt_ids), decoded=len(ids))
        return completion(self.tokenizer, ticket, ids, [LOGPROB] * len(ids), forced, finish)

    def _ticket(self, request: Request, index: int, call: Call) -> Ticket:
        tokenizer, sampling = self.tokenizer, request.sampling
        check_request(request, self.context, tokenizer.vocab_size, tokenizer.think_close is not None)
        stops = tuple(sorted({*sampling.stop_ids, *tokenizer.stop_ids}))
        limit = min(sampling.max_tokens, self.context - len(request.prompt_ids))
        return Ticket(request, index, call, stops, limit, opens(tokenizer, request.prompt_ids))

    def _line(self, ticket: Ticket) -> tuple[list[int], list[bool], Finish]:
        """What to say: ids, which of them are forced, and how it ends."""
        request = ticket.request
        ids = self.tokenizer.encode(self._find(self.tokenizer.decode(request.prompt_ids), request))
        if not ids or ids[-1] not in ticket.stop_ids:
            ids.append(self.tokenizer.stop_ids[0])
        ids, forced = self._close(ids, ticket)
        stop = next((i for i, token in enumerate(ids) if token in ticket.stop_ids and not forced[i]), None)
        if stop is not None and stop < ticket.limit:
            return ids[: stop + 1], forced[: stop + 1], "stop"
        return ids[: ticket.limit], forced[: ticket.limit], "length"

    def _close(self, ids: list[int], ticket: Ticket) -> tuple[list[int], list[bool]]:
        """Cut the thinking where its budget ends, and force the closing tag there."""
        sampling, close = ticket.request.sampling, self.tokenizer.think_close
        free = [False] * len(ids)
        starts = bool(ids) and ids[0] == self.tokenizer.think_open
        if (sampling.think_budget is None and not sampling.answer_reserve) or not (starts or ticket.opened):
            return ids, free
        lead = 1 if starts else 0
        allowed = max(0, ticket.limit - sampling.answer_reserve - 1 - lead)
        if sampling.think_budget is not None:
            allowed = min(allowed, sampling.think_budget)
        end = ids.index(close) if close in ids else len(ids)
        if end - lead <= allowed:
            return ids, free
        cut = [*ids[: lead + allowed], close, *(ids[end + 1 :] or ids[-1:])]
        return cut, [i == lead + allowed for i in range(len(cut))]

    def _find(self, text: str, request: Request) -> str:
        seed = 0 if request.sampling.temperature == 0 else request.sampling.seed
        if callable(self._script):
            return self._script(text, seed)
        head, mark, begun = text.rpartition(MARK)
        keys = [k for k in self._script if k != "*" and k in (head if mark else text)]
        key = max(keys, key=len) if keys else "*"
        if key not in self._script:
            known = ", ".join(repr(k[:40]) for k in list(self._script)[:5])
            raise ConfigError(f"engine '{self.name}' has no line for the prompt {text[-80:]!r}; it knows {known}")
        if not mark:
            begun = text.partition(key)[2]
        eligible = [c[len(begun) :] for c in self._script[key] if c.startswith(begun)]
        if not eligible:
            raise ConfigError(f"engine '{self.name}': no completion of {key[:40]!r} continues {begun[-40:]!r}")
        return eligible[seed % len(eligible)]


def _list(prompt: str, value: str | Sequence[str]) -> list[str]:
    lines = [value] if isinstance(value, str) else list(value)
    if not lines:
        raise ConfigError(f"the script has no completion for {prompt[:40]!r}")
    return lines


def _row(line: str, where: str) -> tuple[str, list[str]]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: not JSON ({error})") from None
    prompt = row.get("prompt") if isinstance(row, dict) else None
    completions = row.get("completions") if isinstance(row, dict) else None
    if isinstance(completions, str):
        completions = [completions]
    if isinstance(prompt, str) and isinstance(completions, list) and completions:
        texts = [c for c in completions if isinstance(c, str)]
        if len(texts) == len(completions):
            return prompt, texts
    raise DataError(f"{where}: expected {{'prompt': text, 'completions': [text, …]}}")
