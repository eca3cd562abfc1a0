"""Engines and verifiers for the contract of all strategies: random but decided by the request, and broken in known ways."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from step_world import readable

from ponder.engines import LocalEngine, ScriptedEngine
from ponder.engines.scripted import MARK
from ponder.models import ModelConfig, Transformer
from ponder.search import STRATEGIES, Driver, Solution, make_job
from ponder.search.job import Job
from ponder.search.tree import plain
from ponder.text import Tokenizer
from ponder.types import Completion, DoneEvent, Engine, Event, Ledger, Problem, Request, Semantics, TokenEvent, Trace

TOKENIZER = Tokenizer.mini()
PROBLEMS = tuple(readable(text) for text in ("(3+4)*5-6", "(2+9)*3-8", "7*8-11", "(6+5)*4-9"))


def babble(text: str, seed: int) -> str:
    """Steps of one letter until chance closes the thinking; answers 1 to 3. The rest of a begun text is decided by the seed."""
    begun = text.rpartition(MARK)[2]
    lot = random.Random(f"{seed}/{len(begun)}")
    said = "" if begun else "<think>"
    if "</think>" not in begun:
        while lot.random() < 0.7:
            said += lot.choice("abcdef") + ";"
        said += "</think>"
    return said + str(lot.randrange(1, 4))


def scripted() -> ScriptedEngine:
    return ScriptedEngine(babble, context=400)


def endless() -> ScriptedEngine:
    """The thinking never closes."""
    return ScriptedEngine(lambda text, seed: babble(text, seed).partition("</think>")[0] + "a;" * 40, context=400)


def local(**options: Any) -> LocalEngine:
    """A tiny random model that likes to end steps, thinking and answers now and then."""
    config = ModelConfig(
        TOKENIZER.vocab_size, width=32, layers=2, heads=4, kv_heads=2, hidden=48, context=200, tied=False
    )
    model = Transformer(config, seed=0)
    liked = [TOKENIZER.encode(text)[0] for text in (";", "\n", "</think>", "<|end|>")]
    with torch.no_grad():
        assert model.unembed is not None
        model.unembed.weight.mul_(4)
        mean = model.unembed.weight.mean(0)
        model.unembed.weight[liked] = (
            mean + torch.randn(len(liked), 32, generator=torch.Generator().manual_seed(1)) * 0.35
        )
    return LocalEngine(model, TOKENIZER, dtype=torch.float32, rows=8, **options)


ENGINES: dict[str, Callable[[], Engine]] = {"scripted": scripted, "local": local}


@dataclass
class Reader:
    """A verifier whose scores are decided by the tokens alone, about every tenth an abstention, and which charges what is new
    to it. `spoil` changes what it returns."""

    semantics: Semantics = "value"
    spoil: Callable[[list[float | None]], list[Any]] = list
    name: str = "reader"
    spent: Ledger = Ledger()
    seen: set[tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=set[Any])

    def score(self, traces: Sequence[Trace]) -> list[float | None]:
        for trace in traces:
            self.charge(trace.prompt_ids, trace.token_ids)
        return self.spoil([self.judge(trace) for trace in traces])

    def judge(self, trace: Trace) -> float | None:
        digest = hashlib.sha256(repr(trace.token_ids).encode()).digest()
        return None if digest[1] < 26 else digest[0] / 255

    def charge(self, prompt: tuple[int, ...], ids: tuple[int, ...]) -> None:
        known = next((k for k in range(len(ids), -1, -1) if (prompt, ids[:k]) in self.seen), -1)
        self.seen.update((prompt, ids[:k]) for k in range(known + 1, len(ids) + 1))
        self.spent += Ledger(verified=len(ids) - known if known >= 0 else len(prompt) + len(ids))

    def feedback(self, traces: Sequence[Trace]) -> list[str]:
        for trace in traces:
            self.charge(trace.prompt_ids, trace.token_ids)
        return [f"look again at {trace.text[-6:]}" for trace in traces]

    @property
    def ledger(self) -> Ledger:
        return self.spent


@dataclass
class Wrapped:
    """An engine around another one."""

    inner: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def stream(self, requests: Sequence[Request]) -> Iterable[Event]:
        return self.inner.stream(requests)

    def generate(self, requests: Sequence[Request], on_done: Any = None) -> list[Completion]:
        return self.inner.generate(requests, on_done)


class Shuffled(Wrapped):
    """Runs the requests of a call in another order and in other batches."""

    def generate(self, requests: Sequence[Request], on_done: Any = None) -> list[Completion]:
        order = list(range(len(requests)))
        random.Random(len(requests)).shuffle(order)
        done: dict[int, Completion] = {}
        for at in range(0, len(order), 3):
            some = order[at : at + 3]
            done |= dict(zip(some, self.inner.generate([requests[i] for i in some]), strict=True))
        return [done[i] for i in range(len(requests))]


class Empty(Wrapped):
    """Returns completions without a token."""

    def generate(self, requests: Sequence[Request], on_done: Any = None) -> list[Completion]:
        return [replace(c, token_ids=(), logprobs=(), text="") for c in self.inner.generate(requests)]


@dataclass
class Dying(Wrapped):
    """Fails at its call number `calls`."""

    calls: int = 1

    def generate(self, requests: Sequence[Request], on_done: Any = None) -> list[Completion]:
        self.calls -= 1
        if self.calls < 0:
            raise RuntimeError("out of memory")
        return self.inner.generate(requests)


@dataclass
class Slow(Wrapped):
    """Takes `seconds` for every token it streams; what is cancelled ends there."""

    seconds: float = 0.01
    cancelled: set[str] = field(default_factory=set[str])

    def cancel(self, request_id: str) -> None:
        self.cancelled.add(request_id)
        self.inner.cancel(request_id)

    def stream(self, requests: Sequence[Request]) -> Iterable[Event]:
        for event in self.inner.stream(requests):
            if isinstance(event, TokenEvent):
                time.sleep(self.seconds)
            yield event

    def generate(self, requests: Sequence[Request], on_done: Any = None) -> list[Completion]:
        done = {event.index: event.completion for event in self.stream(requests) if isinstance(event, DoneEvent)}
        return [done[i] for i in range(len(requests))]


SMALL = {"n": 4, "width": 2, "max_steps": 6, "max_depth": 6, "times": 2, "warmup": 2}


def job(strategy: str, engine: Engine, verifier: Any, problem: Problem = PROBLEMS[0], **more: Any) -> Job:
    """A small search by a strategy of the registry."""
    import dataclasses

    fields = {f.name for f in dataclasses.fields(STRATEGIES.get(strategy))}
    options = {name: value for name, value in SMALL.items() if name in fields}
    return make_job(problem, engine, strategy, verifier=verifier, **{"max_tokens": 40, "options": options, **more})


def run(strategy: str, engine: Engine, verifier: Any = None, problem: Problem = PROBLEMS[0], **more: Any) -> Solution:
    verifier = verifier or Reader()
    return Driver(engine, verifier).run([job(strategy, engine, verifier, problem, **more)])[0]


def facts(solution: Solution) -> Any:
    """All of a solution but the clock, log-probabilities to four places: a batch of another size adds up in another order."""
    tree = plain(solution.tree)
    for row in tree["nodes"]:
        row["logprobs"] = [round(x, 3) for x in row["logprobs"]]
    ledger = replace(solution.ledger, seconds=0.0)
    return tree, solution.answer, solution.chosen, dict(solution.votes), ledger, dict(solution.notes), solution.ended
