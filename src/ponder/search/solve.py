"""Spend test-time compute on one problem, or on many together.

A strategy never sees the reference: it knows the problem's messages and, through the grader's `key`, which answers are
the same answer. The grade is given afterwards, by whoever asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ponder import efforts
from ponder.errors import ConfigError
from ponder.search.asks import Strategy
from ponder.search.drive import Driver
from ponder.search.job import Job
from ponder.search.select import selector
from ponder.search.solution import Solution
from ponder.search.strategies import make, wants_verifier
from ponder.text.steps import step_ids
from ponder.types import Budget, Effort, Engine, Event, Grader, Message, Problem, Sampling, Verifier

MOST_TOKENS = 2048


def solve(
    problem: Problem | str,
    engine: Engine | str,
    strategy: str | Strategy = "vote",
    n: int | None = None,
    seed: int = 0,
    *,
    verifier: Verifier | str | None = None,
    budget: Budget | int | None = None,
    select: str = "",
    effort: Effort | None = None,
    temperature: float = 1.0,
    max_tokens: int | None = None,
    steps: Sequence[str] | None = None,
    on_event: Callable[[Event], None] | None = None,
    **options: Any,
) -> Solution:
    """Answer `problem` (a text is read as one user message; the miniature's own language where the engine is one).

    `n` None is the strategy's own number, `options` are its other fields. `budget` is a `Budget` or a number of forwarded
    tokens; `select` "" is the strategy's own rule. `max_tokens` None is what the model's table says of the effort, or
    else what the context leaves, at most 2048. `steps` are the texts that end a step (default: a blank line; a line or `;`
    for the miniature). `on_event` sees every token as it is decoded.
    Raises ConfigError: unknown strategy, impossible values, a missing verifier, a prompt that leaves no room.
    """
    engine = _loaded(engine) if isinstance(engine, str) else engine
    verifier = _verifier(verifier) if isinstance(verifier, str) else verifier
    job = make_job(
        as_problem(problem, engine),
        engine,
        strategy,
        n,
        seed,
        verifier=verifier,
        budget=Budget(tokens=budget) if isinstance(budget, int) else budget,
        select=select,
        effort=effort,
        temperature=temperature,
        max_tokens=max_tokens,
        steps=steps,
        options=options,
    )
    return Driver(engine, verifier, on_event).run([job])[0]


def make_job(
    problem: Problem,
    engine: Engine,
    strategy: str | Strategy = "vote",
    n: int | None = None,
    seed: int = 0,
    *,
    verifier: Verifier | None = None,
    budget: Budget | None = None,
    select: str = "",
    effort: Effort | None = None,
    temperature: float = 1.0,
    max_tokens: int | None = None,
    sampling: Sampling | None = None,
    steps: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    grader: Grader | None = None,
) -> Job:
    """One search, ready for a `Driver`; `sampling` replaces what effort, temperature and max_tokens would give.

    `grader` None is that of the problem's task; it only tells which answers are the same answer.
    """
    name, made = make(strategy, n, **dict(options or {}))
    if select:
        selector(select)
    if verifier is None and wants_verifier(made, select):
        raise ConfigError(
            f"strategy '{name}' needs a verifier: give one (--verifier), or choose by 'vote' or 'likelihood'"
        )
    if (fits := getattr(verifier, "fits", None)) is not None:
        fits(engine)  # a verifier that reads token ids must have learned the engine's
    effort = effort or default_effort(engine)
    prompt = engine.encode(problem.messages, effort)
    tokenizer: Any = getattr(engine, "tokenizer", None)
    flops = _flops(engine)
    if budget is not None and budget.flops is not None and flops is None:
        raise ConfigError(f"budget.flops: what a token of {engine.name} costs is not known; give tokens or seconds")
    return Job(
        problem=problem,
        strategy=made,
        name=name,
        prompt_ids=prompt,
        sampling=sampling or sampling_for(engine, len(prompt), effort, temperature, max_tokens),
        tokenizer=tokenizer,
        effort=effort,
        grader=grader or grader_of(problem),
        step_ids=step_ids(tokenizer, steps),
        semantics=None if verifier is None else verifier.semantics,
        speaks=hasattr(verifier, "feedback"),
        select=select,
        seed=seed,
        budget=budget,
        flops=flops,
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


def sampling_for(
    engine: Engine, used: int, effort: Effort | None, temperature: float = 1.0, wanted: int | None = None
) -> Sampling:
    """The sampling of one whole branch after a prompt of `used` tokens; ConfigError when nothing is left."""
    room = engine.context - used
    if room < 1:
        raise ConfigError(f"the prompt has {used} tokens and {engine.name} reads {engine.context}: nothing is left")
    if wanted is not None and wanted < 1:
        raise ConfigError(f"max_tokens = {wanted}: at least 1")
    level = efforts.read(engine.path).get(effort) if engine.path is not None and effort is not None else None
    if wanted is not None or level is None:
        return Sampling(temperature=temperature, max_tokens=min(room, wanted or MOST_TOKENS))
    return replace(level.sampling(temperature), max_tokens=min(room, level.max_tokens))


def _flops(engine: Engine) -> Callable[[int, int], float] | None:
    config: Any = getattr(engine, "config", None)
    return getattr(config, "flops", None)


def _loaded(spec: str) -> Engine:
    from ponder import engines

    return engines.load(spec)


def _verifier(spec: str) -> Verifier:
    from ponder import verifiers

    return verifiers.load(spec)
