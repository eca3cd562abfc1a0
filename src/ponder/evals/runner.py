"""Drawing the attempts a measurement needs: one engine call for all problems, efforts and attempts that are missing.

The seed of an attempt is decided by (seed of the sampling, problem, effort, attempt number), so more attempts, other
problems or another order never repeat or change a draw. Completions are graded and stored as they finish; whatever
ends the call early, what has finished is stored.
Not covered: strategies that search (`searching`); graders slower than the engine, which hold it up.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ponder.errors import ConfigError, DataError
from ponder.evals.attempts import Attempt, AttemptStore, Key, key, make_attempt, sampling_key
from ponder.graders.memory import Memory
from ponder.intervals import Interval, cluster_mean
from ponder.progress import Bar
from ponder.types import Completion, DoneEvent, Effort, Engine, Ledger, Problem, Request, Sampling, Task

FLUSH_SECONDS = 1.0
FLUSH_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Draw:
    """One attempt of a plan: the `number`-th at a problem and effort."""

    problem: Problem
    effort: Effort | None
    number: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure: every problem at every effort, `attempts` times.

    `levels` replaces `sampling` at the efforts it names; they share its seed.
    """

    problems: tuple[Problem, ...]
    attempts: int = 16
    efforts: tuple[Effort | None, ...] = (None,)
    sampling: Sampling = Sampling()
    levels: Mapping[Effort | None, Sampling] = field(default_factory=dict[Effort | None, Sampling])

    def __post_init__(self) -> None:
        if self.attempts < 1 or not self.problems or not self.efforts:
            raise ConfigError(
                f"nothing to measure: {len(self.problems)} problems, {self.attempts} attempts, "
                f"{len(self.efforts)} efforts"
            )
        if len({p.id for p in self.problems}) < len(self.problems):
            raise ConfigError("a problem occurs twice; attempts are stored by problem, so give each once")

    @property
    def total(self) -> int:
        return len(self.problems) * self.attempts * len(self.efforts)

    def sampling_at(self, effort: Effort | None) -> Sampling:
        """How to sample at an effort."""
        return replace(self.levels.get(effort, self.sampling), seed=self.sampling.seed)

    def draws(self) -> list[Draw]:
        """Every attempt, those of one prompt side by side, so that an engine can share the prompt."""
        return [Draw(p, e, n) for e in self.efforts for p in self.problems for n in range(self.attempts)]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All rows of a plan, stored earlier or drawn now, and what drawing cost now."""

    rows: list[Attempt]
    drawn: int
    ledger: Ledger


def attempt_seed(base: int, problem: str, effort: Effort | None, number: int) -> int:
    """The seed of one attempt: 63 bits of SHA-256 over what names it."""
    digest = hashlib.sha256(f"{base}/{problem}/{effort or ''}/{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def evaluate(
    engine: Engine, task: Task, plan: Plan, store: AttemptStore, *, model: str, bar: Bar | None = None
) -> Evaluation:
    """Complete `plan` in `store` with new attempts of `engine` under the name `model`; the rows come in plan order.

    `bar` (of plan.total) shows running accuracy with its interval over problems, tokens per second and time left.
    """
    wanted, settings = plan.draws(), settings_of(plan)
    keys = keys_of(task, plan, model)
    found = [row for k in keys if (row := store.get(k)) is not None]
    missing = [d for d, k in zip(wanted, keys, strict=True) if store.get(k) is None]
    recorder = Recorder(task, store, missing, model, settings, bar)
    recorder.start(found)
    before = engine.ledger
    if missing:
        try:
            engine.generate(_requests(engine, plan, missing), recorder.done)
        finally:
            recorder.flush()
    return Evaluation([_found(store, k) for k in keys], len(missing), engine.ledger - before)


def stored(task: Task, plan: Plan, store: AttemptStore, model: str) -> list[Attempt] | None:
    """The rows of a plan in plan order, None when any is missing: no engine needed."""
    rows = [store.get(k) for k in keys_of(task, plan, model)]
    kept = [row for row in rows if row is not None]
    return kept if len(kept) == len(rows) else None


def keys_of(task: Task, plan: Plan, model: str) -> list[Key]:
    """The keys of a plan's attempts, in plan order."""
    settings = settings_of(plan)
    return [key(task.name, d.problem.id, d.number, model, d.effort, settings[d.effort]) for d in plan.draws()]


def grade_again(task: Task, plan: Plan, store: AttemptStore, model: str) -> int:
    """Grade the stored attempts of a plan that could not be graded once more, without a new token; how many changed."""
    rows = [store.get(k) for k in keys_of(task, plan, model)]
    return store.regrade(plan.problems, task.grader, [row for row in rows if row is not None and not row.graded])


def _found(store: AttemptStore, wanted: Key) -> Attempt:
    row = store.get(wanted)
    assert row is not None, f"the engine returned no completion for {wanted}"
    return row


def settings_of(plan: Plan) -> dict[Effort | None, str]:
    """The sampling of each effort as it stands in an attempt's key."""
    return {effort: sampling_key(plan.sampling_at(effort)) for effort in plan.efforts}


def fitted(engine: Engine, sampling: Sampling, problem: Problem, used: int) -> Sampling:
    """`sampling` within what a prompt of `used` tokens leaves of the context; DataError when that is nothing."""
    room = engine.context - used
    if room < 1:
        raise DataError(f"problem {problem.id}: its {used} tokens fill the context of {engine.context}")
    return replace(sampling, max_tokens=min(sampling.max_tokens, room))


def _requests(engine: Engine, plan: Plan, draws: Sequence[Draw]) -> list[Request]:
    prompts: dict[tuple[str, Effort | None], tuple[int, ...]] = {}
    requests: list[Request] = []
    for d in draws:
        name = (d.problem.id, d.effort)
        if name not in prompts:
            prompts[name] = engine.encode(d.problem.messages, d.effort)
        sampling = fitted(engine, plan.sampling_at(d.effort), d.problem, len(prompts[name]))
        drawn = replace(sampling, seed=attempt_seed(sampling.seed, d.problem.id, d.effort, d.number))
        requests.append(Request(prompts[name], drawn, f"{d.problem.id}/{d.effort or ''}/{d.number}", d.problem.id))
    return requests


@dataclass(slots=True)
class Recorder:
    """Grades and stores completions as they finish; `done` is the engine's callback."""

    task: Task
    store: AttemptStore
    draws: Sequence[Draw]
    model: str
    settings: Mapping[Effort | None, str]
    bar: Bar | None
    clock: Callable[[], float] = time.monotonic
    waiting: list[tuple[Draw, Completion]] = field(default_factory=list[tuple[Draw, Completion]])
    memory: Memory = field(default_factory=Memory)
    verdicts: dict[tuple[str, str], list[float]] = field(default_factory=dict[tuple[str, str], list[float]])
    tokens: int = 0
    finished: int = 0
    shown: int = 0
    started: float = 0.0
    flushed: float = 0.0

    def start(self, stored: Sequence[Attempt]) -> None:
        """Begin with the rows that need no drawing."""
        self.started = self.flushed = self.clock()
        for row in stored:
            self._count(row)
        if self.bar is not None and stored:
            self.bar.advance(len(stored), accuracy=shown_interval(self.accuracy()))

    def done(self, event: DoneEvent) -> None:
        if event.completion.finish == "cancelled":
            return
        self.waiting.append((self.draws[event.index], event.completion))
        self.tokens += len(event.completion.token_ids)
        self.finished += 1
        if len(self.waiting) >= FLUSH_ROWS or self.clock() - self.flushed >= FLUSH_SECONDS:
            self.flush()

    def _graded(self) -> list[Attempt]:
        """The rows of what waits."""
        grades = self.memory.grade(self.task.grader, [(draw.problem, completion) for draw, completion in self.waiting])
        return [
            make_attempt(
                self.task.name, d.problem, d.number, self.model, d.effort, self.settings[d.effort], completion, grade
            )
            for (d, completion), grade in zip(self.waiting, grades, strict=True)
        ]  # fmt: skip

    def _count(self, row: Attempt) -> None:
        if row.graded:
            self.verdicts.setdefault((row.problem, row.effort or ""), []).append(float(row.correct))

    def flush(self) -> None:
        """Grade and store what waits, and move the bar."""
        rows = self._graded()
        self.store.add(rows)
        self.waiting = []
        for row in rows:
            self._count(row)
        self.flushed = self.clock()
        if self.bar is not None and self.finished > self.shown:
            amount, self.shown = self.finished - self.shown, self.finished
            seconds = max(self.flushed - self.started, 1e-9)
            left = seconds / self.finished * (len(self.draws) - self.finished)
            self.bar.advance(
                amount,
                accuracy=shown_interval(self.accuracy()),
                tokens_per_s=f"{self.tokens / seconds:,.0f}",
                left=f"{left:.0f}s",
            )

    def accuracy(self) -> Interval | None:
        """Accuracy so far over (problem, effort) pairs; early on, short completions are over-represented.

        None while nothing was graded.
        """
        return accuracy_of(self.verdicts)


def accuracy_of(verdicts: Mapping[tuple[str, str], Sequence[float]]) -> Interval | None:
    """The mean over (problem, effort) pairs of their mean verdicts; None without any."""
    rates = [sum(v) / len(v) for v in verdicts.values()]
    return cluster_mean(rates) if rates else None


def shown_interval(value: Interval | None) -> str:
    """`61.2% (57.0–65.3)`."""
    if value is None:
        return "nothing graded"
    return f"{value.mean:.1%} ({100 * value.low:.1f}–{100 * value.high:.1f})"
