"""`ponder solve "TEXT"`: thinking streams to standard error, dimmed; the answer goes to standard output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from ponder import progress
from ponder.cli.terminal import printable
from ponder.config import Config
from ponder.types import EFFORTS, Budget, Effort

if TYPE_CHECKING:
    from ponder.search import Solution

Count = Annotated[int, Meta(ge=1)]
DEFAULT = "vote"


class SolveConfig(Config):
    """Settings of `ponder solve`."""

    text: str = ""
    """The problem."""
    model: Annotated[str, Meta(min_length=1)] = "mini"
    """mini, a model folder, a run's model, or scripted:FILE."""
    strategy: str = ""
    """What the effort stands for, else vote, unless told.
    Flat: greedy, sample, vote, best_of_n, weighted_vote, rerank, adaptive, confidence.
    Sequential: forcing, revise. Trees: step_search, beam, dvts, hgs, mcts, particle. Several of them: repeat. Or module:attr."""
    n: Annotated[int, Meta(ge=1, le=65_536)] | None = None
    """Samples or branches; the strategy's own number unless told (vote draws 40)."""
    options: tuple[str, ...] = ()
    """The strategy's other options as NAME=VALUE, such as width=4 max_steps=20."""
    select: str = ""
    """vote, weighted, best, likelihood, likelihood_mean, first, last, ranked or weighed; the strategy's own rule unless told."""
    verifier: str = ""
    """What scores the branches: a folder, a built-in name, or module:attr."""
    budget: Count | None = None
    """Most tokens to forward, prompt, samples and verifier together; no limit unless told."""
    budget_seconds: Annotated[float, Meta(gt=0)] | None = None
    """Most seconds of wall clock; no limit unless told."""
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    """How hard to try: what `ponder calibrate` measured for the model, unless a strategy is named; else how long to think."""
    temperature: Annotated[float, Meta(ge=0, le=10)] = 1.0
    """Of the samples; greedy has none."""
    max_tokens: Count | None = None
    """Most tokens per completion; what the context leaves unless told."""
    show_tree: bool = False
    """Also print the search tree: a line per step with its score."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Decides every draw and every tie."""
    out: str | None = None
    """Also write the JSON result to this file."""


def run(config: SolveConfig) -> dict[str, Any]:
    """Solve, stream, grade when the problem can be checked."""
    from ponder import engines, search, verifiers
    from ponder.cli.levels import at_effort
    from ponder.cli.watch import WHOLE, Watcher
    from ponder.search.options import read_options
    from ponder.search.select import selector
    from ponder.search.strategies import make

    make(config.strategy or DEFAULT, config.n, **read_options(config.options))  # said before a model is loaded
    selector(config.select or "vote")
    verifier = verifiers.load(config.verifier) if config.verifier else None
    engine = engines.load(config.model)
    config, known = at_effort(config, engine)
    options = read_options(config.options)
    name, _ = make(config.strategy or DEFAULT, config.n, **options)
    if config.verifier and verifier is None:
        verifier = verifiers.load(config.verifier)
    with Watcher(config.text, name in WHOLE, progress.is_quiet()) as watcher:
        solution = search.solve(
            config.text,
            engine,
            config.strategy or DEFAULT,
            config.n,
            config.seed,
            verifier=verifier,
            budget=_budget(config),
            select=config.select,
            effort=_own_effort(config.effort, engine),
            temperature=config.temperature,
            max_tokens=config.max_tokens,
            on_event=None if watcher.quiet else watcher,
            **options,
        )
    result = _result(solution, engine, config) | {"effort": config.effort, "operating": known}
    if config.out is not None:
        from ponder.files import encode, write_atomic

        write_atomic(config.out, encode(result) + b"\n")
    return result


def _budget(config: SolveConfig) -> Budget | None:
    if config.budget is None and config.budget_seconds is None:
        return None
    return Budget(tokens=config.budget, seconds=config.budget_seconds)


def _result(solution: Solution, engine: Any, config: SolveConfig) -> dict[str, Any]:
    from ponder import search
    from ponder.cli.outline import rows

    chosen = solution.completion if solution.completions else None
    grader = search.grader_of(solution.problem)
    grade = grader.grade(solution.problem, chosen) if grader is not None and chosen is not None else None
    return {
        "problem": solution.problem.text,
        "answer": solution.answer,
        "thinking": None if chosen is None else chosen.thinking,
        "grade": None if grade is None else {"outcome": grade.outcome, "score": grade.score, "reason": grade.reason},
        "strategy": solution.strategy,
        "votes": dict(solution.votes),
        "change": solution.change,
        "ended": solution.ended,
        "notes": dict(solution.notes),
        "completions": len(solution.completions),
        "chosen": solution.chosen,
        "candidates": _candidates(solution),
        "finish": None if chosen is None else chosen.finish,
        "ledger": solution.ledger,
        "model": engine.path or engine.name,
        "seed": config.seed,
        "tree": rows(solution, getattr(engine, "tokenizer", None)) if config.show_tree else None,
    }


def _candidates(solution: Solution) -> list[dict[str, Any]]:
    """Every finished branch as the selection saw it: `answer` is the class of its answer, `said` the answer itself."""
    return [
        {
            "answer": candidate.answer,
            "said": completion.answer,
            "score": candidate.score,
            "weight": candidate.weight,
            "logprob": candidate.logprob,
            "tokens": candidate.tokens,
            "finish": completion.finish,
        }
        for candidate, completion in zip(solution.candidates, solution.completions, strict=True)
    ]


def show(result: Mapping[str, Any]) -> str:
    """The answer with its support and grade, what could change it, what it cost, and the tree where it was asked for."""
    lines = [_headline(result)]
    if result["change"] is not None and result["completions"] > 1:
        lines.append(f"more samples would change it with probability {_percent(result['change'])}")
    ledger = result["ledger"]
    read = f", {ledger.verified:,} read by the verifier" if ledger.verified else ""
    lines.append(f"{ledger.forwarded:,} tokens: {ledger.prefilled:,} of prompts, {ledger.decoded:,} drawn{read}")
    if result["notes"]:
        lines.append("  ".join(f"{name.replace('_', ' ')} {_word(value)}" for name, value in result["notes"].items()))
    if result["operating"] is not None:
        lines.append(_level(result["operating"]))
    if result["ended"] == "budget":
        lines.append("the budget ended the search")
    if result["tree"] is not None:
        from ponder.cli.outline import outline

        lines += ["", outline(result["tree"])]
    return "\n".join(lines)


def _level(known: Mapping[str, Any]) -> str:
    share = known["accuracy"]
    measured = (
        "" if share is None else f": {100 * share:.1f} % right on the {known['task']} problems it was measured on"
    )
    return f"effort {known['level']}{measured}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 else "below 0.1 %"


def _word(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else printable(str(value))


def _headline(result: Mapping[str, Any]) -> str:
    """The answer and what speaks for it; an answer of several lines, such as a program, stands by itself, moved in so that no
    line of it passes for one of ours."""
    if result["finish"] is None:
        return "no answer (no branch came to its end)"
    if result["answer"] is None:
        why = "nothing readable" if result["finish"] == "stop" else f"the thinking ended with '{result['finish']}'"
        return f"no answer ({why})"
    answer = str(result["answer"])
    parts = list[str]()
    candidates, chosen = result["candidates"], result["candidates"][result["chosen"]]
    if len(candidates) > 1:
        same = sum(candidate["answer"] == chosen["answer"] for candidate in candidates)
        parts.append(f"{same} of {len(candidates)} agree")
    if chosen["score"] is not None:
        parts.append(f"score {chosen['score']:.2f}")
    if result["grade"] is not None:
        reason = f" ({printable(result['grade']['reason'])})" if result["grade"]["reason"] else ""
        parts.append(result["grade"]["outcome"] + reason)
    if "\n" not in answer:
        return "   ".join([printable(answer), *parts])
    block = ["    " + printable(line) for line in answer.rstrip("\n").split("\n")]
    return "\n".join([*block, *(["   ".join(parts)] if parts else [])])


def _own_effort(effort: str | None, engine: Any) -> Effort | None:
    """The level of thinking to ask of the model: None where it knows no such levels."""
    effort_id = getattr(getattr(engine, "tokenizer", None), "effort_id", None)
    return next((e for e in EFFORTS if e == effort and effort_id is not None and effort_id(e) is not None), None)
