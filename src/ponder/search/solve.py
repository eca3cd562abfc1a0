"""Spend test-time compute on one problem. Strategies so far draw flat: greedy, one sample, or a vote among n samples.

A strategy never sees the reference: it knows the problem's messages and, through the grader's `key`, which answers are
the same answer. The grade is given afterwards, by whoever asks. Not covered yet: verifiers, budgets, branching trees.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ponder import efforts
from ponder.errors import ConfigError, unknown
from ponder.search.vote import answers_of, classes, elect
from ponder.types import (
    Completion,
    DoneEvent,
    Effort,
    Engine,
    Event,
    Grader,
    Ledger,
    Message,
    Problem,
    Request,
    Sampling,
)

MOST_TOKENS = 2048


@dataclass(frozen=True, slots=True)
class Flat:
    """A strategy that draws `n` completions independently: at temperature 0 when `greedy`, with a vote when `votes`."""

    n: int
    greedy: bool = False
    votes: bool = False


STRATEGIES: dict[str, Flat] = {"greedy": Flat(1, greedy=True), "sample": Flat(1), "vote": Flat(16, votes=True)}


@dataclass(frozen=True, slots=True)
class Solution:
    """The chosen answer, everything drawn on the way to it, and what that cost.

    `answer` is None when no completion has one. `votes` counts the answers' equivalence classes, abstentions left out.
    """

    problem: Problem
    strategy: str
    answer: str | None
    chosen: int | None
    completions: tuple[Completion, ...]
    votes: Mapping[str, int] = field(default_factory=dict[str, int])
    ledger: Ledger = Ledger()

    @property
    def tree(self) -> tuple[Completion, ...]:
        """The children of the problem; a flat strategy's tree has no deeper level."""
        return self.completions

    @property
    def completion(self) -> Completion:
        """The completion chosen, or the first when none has an answer."""
        return self.completions[self.chosen or 0]


def solve(
    problem: Problem | str,
    engine: Engine | str,
    strategy: str = "vote",
    n: int | None = None,
    seed: int = 0,
    *,
    effort: Effort | None = None,
    temperature: float = 1.0,
    max_tokens: int | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Solution:
    """Answer `problem` (a text is read as one user message; the miniature's own language where the engine is one).

    `n` None is the strategy's own number (vote: 16). `max_tokens` None is what the model's table says of the effort, or
    else what the context leaves, at most 2048.
    `on_event` sees every token as it is decoded. Raises ConfigError: unknown strategy, impossible values, a prompt
    that leaves no room.
    """
    if strategy not in STRATEGIES:
        raise unknown("strategy", strategy, STRATEGIES)
    flat = STRATEGIES[strategy]
    count = flat.n if n is None else n
    if count < 1 or (count > 1 and not flat.votes):
        raise ConfigError(f"n = {count}: strategy '{strategy}' draws {'1 or more' if flat.votes else 'exactly 1'}")
    engine = _loaded(engine) if isinstance(engine, str) else engine
    asked = as_problem(problem, engine)
    effort = effort or default_effort(engine)
    sampling = _sampling(engine, asked, effort, 0.0 if flat.greedy else temperature, max_tokens)
    before = engine.ledger
    completions = _draw(engine, asked, effort, sampling, count, seed, on_event)
    grader = grader_of(asked)
    answers = answers_of(completions, grader)
    names = classes(answers, grader)
    chosen = elect(names, seed)
    return Solution(
        problem=asked,
        strategy=strategy,
        answer=None if chosen is None else answers[chosen],
        chosen=chosen,
        completions=tuple(completions),
        votes=dict(Counter(name for name in names if name is not None).most_common()),
        ledger=engine.ledger - before,
    )


def default_effort(engine: Engine) -> Effort | None:
    """Medium where the vocabulary has effort tokens (such a model has never been asked without one), else None."""
    effort_id = getattr(getattr(engine, "tokenizer", None), "effort_id", None)
    return "medium" if effort_id is not None and effort_id("medium") is not None else None


def as_problem(problem: Problem | str, engine: Engine) -> Problem:
    """`problem` as the engine reads it: a miniature gets plain text in its own language, or ConfigError when it has no words
    for it; a problem of a task stays as it is."""
    if isinstance(problem, Problem) and problem.task:
        return problem
    text = problem if isinstance(problem, str) else problem.text
    if not getattr(getattr(engine, "tokenizer", None), "is_mini", False):
        return Problem(messages=(Message("user", text),)) if isinstance(problem, str) else problem
    from ponder.tasks import translate

    found = translate(text)
    if found is None:
        raise ConfigError(
            f"the miniature can not read '{text[:60]}': it knows whole-number expressions like (3+4)*5-6, "
            "long sums like 4711+389, and numbers to combine like 3,7,12 -> 33"
        )
    return found


def grader_of(problem: Problem) -> Grader | None:
    """The grader of the problem's task, None for a problem that names none."""
    if not problem.task:
        return None
    from ponder import tasks

    return tasks.get(problem.task).grader


def draw_seed(seed: int, problem_id: str, number: int) -> int:
    """The seed of draw `number`: the first draws of a larger n are those of a smaller one."""
    digest = hashlib.sha256(f"{seed}/{problem_id}/{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _loaded(spec: str) -> Engine:
    from ponder import engines

    return engines.load(spec)


def _sampling(
    engine: Engine, problem: Problem, effort: Effort | None, temperature: float, wanted: int | None
) -> Sampling:
    used = len(engine.encode(problem.messages, effort))
    room = engine.context - used
    if room < 1:
        raise ConfigError(f"the prompt has {used} tokens and {engine.name} reads {engine.context}: nothing is left")
    if wanted is not None and wanted < 1:
        raise ConfigError(f"max_tokens = {wanted}: at least 1")
    level = efforts.read(engine.path).get(effort) if engine.path is not None and effort is not None else None
    if wanted is not None or level is None:
        return Sampling(temperature=temperature, max_tokens=min(room, wanted or MOST_TOKENS))
    return replace(level.sampling(temperature), max_tokens=min(room, level.max_tokens))


def _draw(
    engine: Engine,
    problem: Problem,
    effort: Effort | None,
    sampling: Sampling,
    n: int,
    seed: int,
    on_event: Callable[[Event], None] | None,
) -> list[Completion]:
    prompt = engine.encode(problem.messages, effort)
    requests = [
        Request(prompt, sampling.with_seed(draw_seed(seed, problem.id, k)), f"{problem.id}/{k}", problem.id)
        for k in range(n)
    ]
    done: dict[int, Completion] = {}
    for event in engine.stream(requests):
        if on_event is not None:
            on_event(event)
        if isinstance(event, DoneEvent):
            done[event.index] = event.completion
    return [done[k] for k in range(n)]
