"""The nouns. Every other module speaks in these types and adds none of its own for the same things.

Made by us, so frozen slotted dataclasses; what comes from outside (TOML, JSONL) is checked where it is read.
No torch here: tokens are tuples of int, log-probabilities tuples of float.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, runtime_checkable

Split = Literal["train", "dev", "test"]
Outcome = Literal["correct", "wrong", "unparsed", "timeout", "error"]
Finish = Literal["stop", "length", "cancelled", "error"]
Effort = Literal["low", "medium", "high"]
EFFORTS: tuple[Effort, ...] = ("low", "medium", "high")


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


def content_hash(value: Any) -> str:
    """Hash of a JSON value that does not depend on key order: 16 hexadecimal digits of SHA-256."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Problem:
    """Messages to answer and what is needed to check the answer.

    `canonical` names the problem up to irrelevant changes (order of the numbers, say); `id` is its hash, or the hash of
    messages and reference when a task gives none. Splits are decided by `id`, so no seed can leak a problem across them.
    """

    messages: tuple[Message, ...]
    reference: Any = None
    task: str = ""
    tags: Mapping[str, Any] = field(default_factory=dict[str, Any])
    canonical: str = ""
    id: str = field(init=False)

    def __post_init__(self) -> None:
        key = self.canonical or [[(m.role, m.content) for m in self.messages], self.reference]
        object.__setattr__(self, "id", content_hash([self.task, key]))

    @classmethod
    def from_text(cls, text: str, reference: Any = None) -> Problem:
        """A problem of one user message."""
        return cls(messages=(Message("user", text),), reference=reference)

    @property
    def text(self) -> str:
        """The last user message."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    @property
    def split(self) -> Split:
        """Where this problem belongs: 80 % train, 10 % dev, 10 % test, by its hash alone."""
        bucket = int(self.id[:8], 16) % 10
        return "test" if bucket == 9 else "dev" if bucket == 8 else "train"


@dataclass(frozen=True, slots=True)
class Completion:
    """What an engine wrote. `token_ids` and `logprobs` are the truth; the texts are decoded from them, never re-encoded.

    `logprobs[i]` is log p(token_ids[i] | everything before) under softmax(logits / T), T the sampling temperature
    (T = 1 for greedy), before any top-k, top-p or min-p cut. `forced` marks tokens the engine inserted (the forced end
    of thinking): they were not sampled, so training masks them.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: Finish
    text: str = ""
    thinking: str | None = None
    answer: str | None = None
    prompt_ids: tuple[int, ...] = ()
    forced: tuple[bool, ...] = ()
    problem_id: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Grade:
    """What a completion earned. `score` is None when it could not be graded: never 0, never NaN."""

    score: float | None
    outcome: Outcome
    parts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    reason: str = ""

    @property
    def correct(self) -> bool:
        return self.outcome == "correct"


@dataclass(frozen=True, slots=True)
class Ledger:
    """What was spent. Tokens served from the prefix cache, prefilled, decoded, read by verifiers; FLOPs; seconds."""

    cached: int = 0
    prefilled: int = 0
    decoded: int = 0
    verified: int = 0
    flops: float = 0.0
    seconds: float = 0.0

    @property
    def forwarded(self) -> int:
        """Tokens that went through a model: prefilled, decoded and verified, not those served from a cache."""
        return self.prefilled + self.decoded + self.verified

    def __add__(self, other: Ledger) -> Ledger:
        return Ledger(
            self.cached + other.cached,
            self.prefilled + other.prefilled,
            self.decoded + other.decoded,
            self.verified + other.verified,
            self.flops + other.flops,
            self.seconds + other.seconds,
        )

    def __sub__(self, other: Ledger) -> Ledger:
        return Ledger(*(getattr(self, n) - getattr(other, n) for n in self.__slots__))


@dataclass(frozen=True, slots=True)
class Budget:
    """A ledger that must not be exceeded: forwarded tokens (prefilled, decoded and verified), FLOPs, wall-clock seconds.

    None is no limit. `child` gives a part of it to a part of the work.
    """

    tokens: int | None = None
    flops: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"budget.{name} = {value}: a budget is above 0, or None for no limit")

    def left(self, spent: Ledger) -> Budget | None:
        """What remains after `spent`; None when any limit is reached."""
        tokens = None if self.tokens is None else self.tokens - spent.forwarded
        flops = None if self.flops is None else self.flops - spent.flops
        seconds = None if self.seconds is None else self.seconds - spent.seconds
        if any(value is not None and value <= 0 for value in (tokens, flops, seconds)):
            return None
        return Budget(tokens, flops, seconds)

    def child(self, share: float) -> Budget:
        """The part `share` (0 to 1) of every limit; at least one token."""
        tokens = None if self.tokens is None else max(1, int(self.tokens * share))
        return Budget(tokens, *(None if v is None else v * share for v in (self.flops, self.seconds)))


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw one completion.

    `temperature` 0 is greedy. `seed` alone decides the draw: the same request gives the same tokens in any batch.
    `think_budget` is the most thinking tokens before the engine closes the thinking itself, with at least
    `answer_reserve` of `max_tokens` kept for the answer.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    max_tokens: int = 256
    stop_ids: tuple[int, ...] = ()
    seed: int = 0
    think_budget: int | None = None
    answer_reserve: int = 0

    def with_seed(self, seed: int) -> Sampling:
        return replace(self, seed=seed)


@dataclass(frozen=True, slots=True)
class Request:
    """One completion to draw from a token prefix."""

    prompt_ids: tuple[int, ...]
    sampling: Sampling = Sampling()
    id: str = ""
    problem_id: str = ""


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """A token was decoded for the request at `index` of the call."""

    index: int
    token_id: int
    logprob: float
    text: str = ""


@dataclass(frozen=True, slots=True)
class DoneEvent:
    """The request at `index` of the call has ended."""

    index: int
    completion: Completion


Event = TokenEvent | DoneEvent


@runtime_checkable
class Engine(Protocol):
    """Whatever turns token prefixes into completions and scores log-probabilities."""

    name: str
    path: str | None
    context: int

    def encode(self, messages: Sequence[Message], effort: Effort | None = None) -> tuple[int, ...]:
        """Token ids of the rendered conversation, ready for the assistant's first token."""
        ...

    def stream(self, requests: Sequence[Request]) -> Iterable[Event]:
        """Run the requests together; a `TokenEvent` per token, then a `DoneEvent` per request, interleaved."""
        ...

    def generate(
        self, requests: Sequence[Request], on_done: Callable[[DoneEvent], None] | None = None
    ) -> list[Completion]:
        """Run the requests together and return completions in their order."""
        ...

    def cancel(self, request_id: str) -> None:
        """End a running request; its completion so far is returned with finish 'cancelled'."""
        ...

    def logprobs(self, token_ids: Sequence[Sequence[int]]) -> list[list[float]]:
        """Log-probability of each token given those before it (temperature 1); the first of each row is 0.0."""
        ...

    @property
    def ledger(self) -> Ledger:
        """Everything spent since the engine was made."""
        ...


class Grader(Protocol):
    """Says what a completion of a problem earned; knows the reference. Never raises, never hangs on model text."""

    def grade(self, problem: Problem, completion: Completion) -> Grade: ...


Semantics = Literal["correctness", "value", "outcome"]
"""What a verifier's scores mean: correctness = P(this step is right); value = P(the answer will be right from here);
outcome = P(this finished answer is right)."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What a verifier may see of an attempt: the question and everything written so far, never the reference.

    `token_ids` follow `prompt_ids`; `starts[i]` is where step i begins in `token_ids` (the first is 0; steps cover all of
    it). A score of a trace is that of its last step given what stands before it; `last` is that step's text, the end of
    `text`, where texts are read. `shown` are the tests that the question itself shows (`graders.spec.shown_tests`), if any.
    """

    messages: tuple[Message, ...]
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...] = ()
    starts: tuple[int, ...] = (0,)
    text: str = ""
    thinking: str | None = None
    answer: str | None = None
    finished: bool = False
    problem_id: str = ""
    last: str = ""
    shown: Mapping[str, Any] | None = None


@runtime_checkable
class Verifier(Protocol):
    """Says how good a trace looks without knowing the reference."""

    name: str
    semantics: Semantics

    def score(self, traces: Sequence[Trace]) -> list[float | None]:
        """One number in [0, 1] per trace, None where it abstains. A trace costs only what it adds to those scored before."""
        ...

    @property
    def ledger(self) -> Ledger:
        """Everything spent since the verifier was made; its tokens stand under `verified`."""
        ...


class Task(Protocol):
    """A named, deterministic source of problems with its grader."""

    name: str

    @property
    def grader(self) -> Grader: ...

    def problems(self, split: Split, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """The first `limit` problems of `split` in the order of `seed`; a prefix of every longer list."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One line of thinking with its exact label: `sound` (the line itself is right given what stands before it) and
    `alive` (the problem can still be solved from here; None where the task can not tell)."""

    text: str
    sound: bool
    alive: bool | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A problem with a completion to imitate: `text` is what the assistant writes, think tags included, end token not."""

    problem: Problem
    text: str
    effort: Effort | None = None
