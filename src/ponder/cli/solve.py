"""`ponder solve "TEXT"`: thinking streams to standard error, dimmed; the answer goes to standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any, Literal

from msgspec import Meta

from ponder import progress
from ponder.config import Config
from ponder.types import DoneEvent, Effort, Event, TokenEvent

DIM, PLAIN = "\x1b[2m", "\x1b[0m"
THINK_OPEN, THINK_CLOSE = "<think>", "</think>"


class SolveConfig(Config):
    """Settings of `ponder solve`."""

    text: str = ""
    """The problem."""
    model: Annotated[str, Meta(min_length=1)] = "mini"
    """mini, a model folder, a run's model, or scripted:FILE."""
    strategy: str = "vote"
    """greedy, sample, or vote (the answer most samples agree on)."""
    n: Annotated[int, Meta(ge=1, le=4096)] | None = None
    """Samples to draw; vote draws 40 unless told."""
    effort: Literal["low", "medium", "high"] = "medium"
    """How long to think."""
    temperature: Annotated[float, Meta(ge=0, le=10)] = 1.0
    """Of the samples; greedy has none."""
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    """Most tokens per completion; what the context leaves unless told."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Decides every draw and every tie."""
    out: str | None = None
    """Also write the JSON result to this file."""


def run(config: SolveConfig) -> dict[str, Any]:
    """Solve, stream, grade when the problem can be checked."""
    from ponder import engines, search

    engine = engines.load(config.model)
    solution = search.solve(
        config.text,
        engine,
        config.strategy,
        config.n,
        config.seed,
        effort=config.effort if _knows_effort(engine, config.effort) else None,
        temperature=config.temperature,
        max_tokens=config.max_tokens,
        on_event=None if progress.is_quiet() else _streamer(config.text),
    )
    chosen = solution.completion
    grader = search.grader_of(solution.problem)
    grade = grader.grade(solution.problem, chosen) if grader is not None else None
    result = {
        "problem": solution.problem.text,
        "answer": solution.answer,
        "thinking": chosen.thinking,
        "grade": None if grade is None else {"outcome": grade.outcome, "score": grade.score, "reason": grade.reason},
        "strategy": solution.strategy,
        "votes": dict(solution.votes),
        "completions": len(solution.completions),
        "finish": chosen.finish,
        "ledger": solution.ledger,
        "model": engine.path or engine.name,
        "seed": config.seed,
    }
    if config.out is not None:
        from ponder.files import encode, write_atomic

        write_atomic(config.out, encode(result) + b"\n")
    return result


def show(result: dict[str, Any]) -> str:
    """The answer, how the votes fell, and the grade where there is one."""
    if result["answer"] is None:
        return f"no answer (the thinking ended with '{result['finish']}')"
    parts = [str(result["answer"])]
    total = result["completions"]
    if total > 1:
        parts.append(f"{max(result['votes'].values())} of {total} agree")
    if result["grade"] is not None:
        reason = f" ({result['grade']['reason']})" if result["grade"]["reason"] else ""
        parts.append(result["grade"]["outcome"] + reason)
    return "   ".join(parts)


def _knows_effort(engine: Any, effort: Effort) -> bool:
    tokenizer = getattr(engine, "tokenizer", None)
    return tokenizer is not None and tokenizer.effort_id(effort) is not None


def _streamer(text: str) -> Callable[[Event], None]:
    """Writes the first sample's thinking to standard error as it comes; the other samples think in silence."""
    dim, plain = (DIM, PLAIN) if sys.stderr.isatty() else ("", "")
    sys.stderr.write(f"{text}\n{dim}")
    open_ = True

    def write(event: Event) -> None:
        nonlocal open_
        if event.index != 0 or not open_:
            return
        open_ = not isinstance(event, DoneEvent) and event.text != THINK_CLOSE
        if not open_:
            sys.stderr.write(f"{plain}\n")
        elif isinstance(event, TokenEvent) and event.text != THINK_OPEN:
            sys.stderr.write(event.text)
        sys.stderr.flush()

    return write
