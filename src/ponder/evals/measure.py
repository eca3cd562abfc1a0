"""One model measured on one task, sampled at every effort and greedily: shared by `ponder eval` and the quickstart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from ponder.config import Config
from ponder.efforts import Level
from ponder.errors import ConfigError
from ponder.evals.attempts import AttemptStore
from ponder.evals.report_data import ModelRows
from ponder.evals.runner import Plan, evaluate, grade_again, stored
from ponder.progress import Progress
from ponder.types import EFFORTS, Effort, Engine, Ledger, Problem, Sampling, Task

Count = Annotated[int, Meta(ge=1)]
KV_BYTES = 1 << 30
DEFAULT_ROWS = 64


class Measure(Config):
    """What is measured: `problems` held-out problems of `task`, `attempts` times at each of `efforts`.

    `options` go to the task. `headline` is the effort whose numbers stand in the table. `greedy` adds one attempt per
    problem and effort at temperature 0. `levels` replaces `max_tokens` at the efforts it names.
    """

    task: str = "chain"
    options: dict[str, Any] = {}
    split: Literal["dev", "test"] = "test"
    problems: Count = 300
    problem_seed: int = 0
    attempts: Count = 16
    efforts: tuple[Effort, ...] = EFFORTS
    headline: Effort = "medium"
    greedy: bool = True
    temperature: Annotated[float, Meta(gt=0, le=10)] = 1.0
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    max_tokens: Count = 256
    levels: dict[Effort, Level] = {}


def check(settings: Measure) -> None:
    """ConfigError when the settings contradict each other."""
    named = ", ".join(settings.efforts)
    if not settings.efforts or len(set(settings.efforts)) < len(settings.efforts):
        raise ConfigError(f"efforts '{named}': name at least one of low, medium, high, and none twice")
    if settings.headline not in settings.efforts:
        raise ConfigError(f"headline effort '{settings.headline}' is not measured; efforts are {named}")


@dataclass(frozen=True, slots=True)
class Part:
    """A measurement ready to be made: the task, its problems, the sampled plan and the greedy one."""

    settings: Measure
    task: Task
    problems: tuple[Problem, ...]
    sampled: Plan
    greedy: Plan | None

    @property
    def plans(self) -> tuple[Plan, ...]:
        return (self.sampled,) if self.greedy is None else (self.sampled, self.greedy)


def prepare(settings: Measure, seed: int) -> Part:
    """The task, problems and plans of `settings`; ConfigError when there is nothing to measure."""
    from ponder import tasks

    check(settings)
    task: Task = tasks.get(settings.task, **settings.options)
    problems = tuple(task.problems(settings.split, settings.problems, settings.problem_seed))
    if not problems:
        raise ConfigError(f"task '{settings.task}' has no problems in split '{settings.split}'")
    return Part(settings, task, problems, *plans(settings, problems, seed))


def plans(settings: Measure, problems: tuple[Problem, ...], seed: int) -> tuple[Plan, Plan | None]:
    """The sampled plan and the greedy one."""
    sampling = Sampling(
        temperature=settings.temperature, top_p=settings.top_p, max_tokens=settings.max_tokens, seed=seed
    )
    levels: dict[Effort | None, Sampling] = {
        effort: level.sampling(settings.temperature, settings.top_p, seed) for effort, level in settings.levels.items()
    }
    cold: dict[Effort | None, Sampling] = {e: replace(s, temperature=0.0, top_p=1.0) for e, s in levels.items()}
    greedy = Plan(problems, 1, settings.efforts, replace(sampling, temperature=0.0, top_p=1.0, seed=0), cold)
    sampled = Plan(problems, settings.attempts, settings.efforts, sampling, levels)
    return sampled, greedy if settings.greedy else None


def measure(
    name: str, label: str, load: Callable[[], Engine], parts: Sequence[Part], store: AttemptStore, identity: str
) -> Ledger:
    """Complete all parts for the model called `name`; the engine is loaded only when attempts are missing.

    `identity` names the weights in the store, so that other weights never inherit attempts. Stored attempts that could not be
    graded are graded once more. Returns what was spent.
    """
    for part in parts:
        for plan in part.plans:
            grade_again(part.task, plan, store, identity)
    if all(recall(name, label, part, store, identity) is not None for part in parts):
        return Ledger()
    engine = load()
    before = engine.ledger
    with Progress() as progress:
        for part in parts:
            title = f"measure {label}, {part.task.name}"
            bar = progress.bar(title, sum(plan.total for plan in part.plans))
            for plan in part.plans:
                evaluate(engine, part.task, plan, store, model=identity, bar=bar)
    return engine.ledger - before


def recall(name: str, label: str, part: Part, store: AttemptStore, identity: str) -> ModelRows | None:
    """The rows of a part when all of them are stored, else None."""
    rows = [stored(part.task, plan, store, identity) for plan in part.plans]
    sampled, greedy = rows[0], rows[1] if len(rows) > 1 else []
    return None if sampled is None or greedy is None else ModelRows(name, label, sampled, greedy)


def open_engine(spec: str, device: str = "auto", rows: int | None = None) -> Engine:
    """The engine for a measurement. `rows` None takes as many at once as fit `KV_BYTES`: small models gain most.

    Finished completions are not kept for later prefixes, since nothing continues them.
    """
    from ponder import engines
    from ponder.training.loop import pick_device

    place = str(pick_device(device))
    engine = engines.load(spec, device=place, rows=rows or DEFAULT_ROWS)
    shape: Any = getattr(engine, "config", None)
    if rows is not None or shape is None:
        return engine
    per_row = 4 * shape.layers * shape.kv_heads * shape.head_width * min(shape.context, 1024)
    fitting = max(16, min(256, KV_BYTES // per_row))
    return (
        engine if fitting == DEFAULT_ROWS else engines.load(spec, device=place, rows=fitting, cache_completions=False)
    )


def weights_identity(name: str, folder: str | Path | None) -> str:
    """`name` with eight hexadecimal digits of the weights' SHA-256; the bare name where there are no weight files."""
    files = sorted(Path(folder).glob("*.safetensors")) if folder is not None else []
    if not files:
        return name
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return f"{name}@{digest.hexdigest()[:8]}"
