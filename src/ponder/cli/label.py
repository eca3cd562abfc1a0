"""`ponder label TASK` and `ponder label --convert FILE`: labels for the steps of solutions, in the rows that training reads.

A batch of problems is drawn, cut into steps, labelled and written together; the same line again does only the problems that
are missing, also after kill -9, and more `--problems` extend the file. Docs: docs/labels.md.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from msgspec import Meta

from ponder.config import Config, to_dict
from ponder.errors import ConfigError
from ponder.progress import Bar, Progress
from ponder.types import Problem, Sampling

if TYPE_CHECKING:
    from ponder.types import Engine
    from ponder.verifiers.judge import Judge
    from ponder.verifiers.labels.book import Book
    from ponder.verifiers.labels.mutation_work import MutationWork
    from ponder.verifiers.labels.work import How, Work

Count = Annotated[int, Meta(ge=1)]
MUTATION = ("references", "same", "survived", "unknown", "failing", "unread")
GROWS = ("problems", "tokens", "batch", "out", "fresh", "device", "rows")


class LabelConfig(Config):
    """`ponder label TASK`: draw `samples` solutions of `problems` problems with `model` and label their steps.

    With `convert` no model is asked: the rows of a public file are written as labelled samples of text.
    """

    task: str = ""
    """Name of a task, benchmark or file reader."""
    model: Annotated[str, Meta(min_length=1)] = "mini"
    """Who writes the solutions: mini, a model folder, scripted:FILE."""
    how: Literal["exact", "rollout", "bisect", "judge", "consensus", "mutation"] = "exact"
    """exact (the task knows), rollout (Math-Shepherd), bisect (OmegaPRM), judge (reflective rules), consensus (the two);
    mutation: faults put into the reference programs of a task of code, judged by its tests; asks no model."""
    problems: Count = 100
    """Problems to label, the first of the seed's order."""
    samples: Annotated[int, Meta(ge=1, le=4096)] = 8
    """Solutions drawn per problem; for bisect, the rollouts of its root."""
    rollouts: Annotated[int, Meta(ge=1, le=4096)] = 8
    """Completions of every prefix that is estimated."""
    searches: Count = 8
    """Most bisections per problem."""
    mutants: Annotated[int, Meta(ge=1, le=1000)] = 8
    """Of mutation: different mutants tried per reference program."""
    faults: Annotated[int, Meta(ge=1, le=100)] = 2
    """Of mutation: most faults in one mutant."""
    seconds: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    """Of mutation: processor time after which a mutant's test counts as failed, unless the reference itself is slow."""
    reader: str = ""
    """Of mutation: a model that reads the rows once, so that verifiers with inputs = "logprobs" can learn from them."""
    soft: bool = False
    """Label by the share of right rollouts instead of by whether any was right."""
    kind: Literal["correctness", "value"] | None = None
    """Of exact labels: is the step right, or can the answer still be right after it; correctness unless told."""
    judge: str = ""
    """Engine that judges; the model itself unless told."""
    votes: Annotated[int, Meta(ge=1, le=256)] = 1
    """Replies of the judge per step."""
    steps: Literal["meaning", "search"] = "meaning"
    """Where steps end: by meaning, or at blank lines as in a search; the miniature's are the same in both."""
    split: Literal["train", "dev", "test"] = "train"
    """Which problems; labels to train on come from train."""
    effort: Literal["low", "medium", "high"] | None = None
    """How long to think; medium where the model knows efforts."""
    temperature: Annotated[float, Meta(gt=0, le=10)] = 1.0
    """Of solutions and rollouts."""
    max_tokens: Count | None = None
    """Most tokens per solution; the model's own limits unless told."""
    judge_tokens: Count = 1024
    """Most tokens per reply of the judge."""
    tokens: Count | None = None
    """Stop after the batch in which so many tokens were forwarded; what is labelled is kept."""
    batch: Count = 16
    """Problems labelled and written together."""
    convert: str = ""
    """A public file of step labels to convert instead."""
    format: Literal["prm800k", "math-shepherd", "processbench"] = "prm800k"
    """What the file to convert is."""
    neutral: Literal["right", "wrong", "none"] = "right"
    """What PRM800K's rating 0 counts as."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Decides problems, solutions and rollouts, or mutants."""
    out: str = "labels.jsonl"
    """The file of labelled samples."""
    fresh: bool = False
    """Begin the file anew instead of going on with it."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes CUDA where there is one."""
    rows: Count | None = None
    """Completions in flight; as many as memory allows unless told."""


def run(config: LabelConfig) -> dict[str, Any]:
    """Label or convert; returns the summary of everything the file holds."""
    if bool(config.task) == bool(config.convert):
        raise ConfigError("ponder label needs a task, or --convert FILE with --format, and not both")
    if config.convert:
        from ponder.cli.label_convert import convert_file

        return convert_file(config)
    return _label(config)


def settings(config: LabelConfig, **more: Any) -> dict[str, Any]:
    """What decides the rows."""
    return {key: value for key, value in to_dict(config).items() if key not in GROWS} | more


# ---- labelling


def _label(config: LabelConfig) -> dict[str, Any]:
    from ponder import tasks
    from ponder.verifiers.labels.book import Book

    if config.reader and config.how != "mutation":
        raise ConfigError(f"--reader is for --how mutation; rows by {config.how} have the log-probabilities of --model")
    task: Any = tasks.get(config.task)
    work, identity = _mutation(config, task) if config.how == "mutation" else _drawn(config, task)
    problems: list[Problem] = task.problems(config.split, config.problems, config.seed)
    began = time.monotonic()
    with Book(config.out, settings(config, weights=identity), config.fresh) as book:
        missing = [problem for problem in problems if problem.id not in book.done]
        done_before = len(problems) - len(missing)
        with Progress(
            f"labelling {len(missing)} of {len(problems)} {config.task} problems, {work.source()}"
        ) as progress:
            ended = _batches(config, work, missing, book, progress.bar("problems", len(missing)))
        return {
            **summary(config, book),
            "how": work.source(),
            "task": config.task,
            "kind": work.own_kind(),
            "asked": len(problems),
            "resumed": done_before,
            "ended": ended,
            "seconds": time.monotonic() - began,
        }


def _mutation(config: LabelConfig, task: Any) -> tuple[MutationWork, str]:
    from ponder.verifiers.labels.mutation import Recipe
    from ponder.verifiers.labels.mutation_work import MutationWork

    if config.kind == "value":
        raise ConfigError("labels by mutation are of kind 'correctness'; only exact labels can be of either kind")
    recipe = Recipe(config.mutants, config.faults, seed=config.seed, seconds=config.seconds)
    work, identity = MutationWork(task, recipe, config.split, config.effort), "reference"
    if config.reader:
        from ponder.evals import measure

        work.reader = engine = measure.open_engine(config.reader, config.device, config.rows)
        identity = measure.weights_identity(engine.name, engine.path)
    return work, identity


def _drawn(config: LabelConfig, task: Any) -> tuple[Work, str]:
    """Labels of solutions that a model draws, and which weights those are."""
    from ponder.evals import measure
    from ponder.search.solve import default_effort, sampling_for
    from ponder.verifiers.labels.work import Work

    engine = measure.open_engine(config.model, config.device, config.rows)
    effort = config.effort or default_effort(engine)

    @lru_cache(maxsize=4096)
    def sampling(used: int) -> Sampling:
        return sampling_for(engine, used, effort, config.temperature, config.max_tokens)

    work = Work(
        engine=engine,
        task=task,
        how=cast("How", config.how),
        sampling=sampling,
        samples=config.samples,
        rollouts=config.rollouts,
        searches=config.searches,
        soft=config.soft,
        kind=config.kind,
        judge=_judge(config, engine),
        effort=effort,
        seed=config.seed,
        meaning=config.steps == "meaning",
        split=config.split,
    )
    return work, measure.weights_identity(engine.name, engine.path)


def _judge(config: LabelConfig, engine: Engine) -> Judge | None:
    if config.how not in ("judge", "consensus"):
        return None
    from ponder import engines
    from ponder.verifiers.judge import Judge

    model = engines.load(config.judge) if config.judge else engine
    return Judge(model, "step", config.votes, max_tokens=config.judge_tokens, seed=config.seed)


def _batches(config: LabelConfig, work: Work | MutationWork, missing: Sequence[Problem], book: Book, bar: Bar) -> str:
    """Label what is missing, batch by batch; "tokens" when the limit ended it, else "done"."""
    spent, began = 0, time.monotonic()
    for start in range(0, len(missing), config.batch):
        part = missing[start : start + config.batch]
        before = work.ledger
        work.counts.clear()
        rows = work.label(part)
        cost = work.ledger - before
        spent += cost.forwarded
        fields = ("cached", "prefilled", "decoded", "verified", "flops")
        book.add([p.id for p in part], rows, work.counts | {name: getattr(cost, name) for name in fields})
        finished, seconds = start + len(part), time.monotonic() - began
        left = seconds / finished * (len(missing) - finished)
        shown = (
            {"survived": f"{int(book.counts['survived']):,}"} if "survived" in book.counts else {"tokens": f"{spent:,}"}
        )
        bar.advance(len(part), positive=f"{_share(book, 'positive', 'labelled'):.1%}", **shown, left=f"{left:.0f}s")
        if config.tokens is not None and spent >= config.tokens and finished < len(missing):
            return "tokens"
    return "done"


def _share(book: Book, part: str, whole: str) -> float:
    return book.counts.get(part, 0) / max(1, book.counts.get(whole, 0))


# ---- what it came to


def summary(config: LabelConfig, book: Book) -> dict[str, Any]:
    """Counts of everything the file holds."""
    names = ("problems", "rows", "samples", "correct", "steps", "labelled", "repeats", "empty", "searches", *MUTATION)
    spent = ("cached", "prefilled", "decoded", "verified")
    found: dict[str, Any] = {name: int(book.counts[name]) for name in names if name in book.counts}
    if "compared" in book.counts:
        found["agreement"] = _share(book, "agreed", "compared")
    return {
        "ok": bool(book.counts.get("samples")),
        "out": config.out,
        **found,
        "positive_share": _share(book, "positive", "labelled") if book.counts.get("labelled") else None,
        "tokens": {name: int(book.counts.get(name, 0)) for name in spent},
        "flops": book.counts.get("flops", 0.0),
    }


PASSED = {
    "repeats": "repeats",
    "empty": "empty",
    "same": "the same program as another",
    "survived": "survived the tests",
    "unknown": "could not be checked",
    "failing": "references that fail their own tests",
    "unread": "references that are no program",
}


def show(result: dict[str, Any]) -> str:
    """The summary for people."""
    share = result["positive_share"]
    lines = [
        f"{result.get('samples', 0):,} samples, {result.get('correct', 0):,} of them right; "
        f"{result.get('labelled', 0):,} of {result.get('steps', 0):,} steps labelled"
        + ("" if share is None else f", {share:.1%} positive")
    ]
    if "agreement" in result:
        lines.append(f"rollouts and judge agree on {result['agreement']:.1%} of the steps both labelled")
    passed = [f"{result[name]:,} {text}" for name, text in PASSED.items() if result.get(name)]
    if passed:
        lines.append("passed over: " + ", ".join(passed))
    if any(result["tokens"].values()):
        lines.append("spent " + ", ".join(f"{value:,} {name}" for name, value in result["tokens"].items()))
    if result.get("ended") == "tokens":
        lines.append("stopped at --tokens; the same line with more of them goes on")
    return "\n".join([*lines, f"written to {result['out']}"])
