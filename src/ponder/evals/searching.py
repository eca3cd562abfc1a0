"""Measuring a strategy: every problem searched, every solution stored with its whole tree as it ends.

The seed of a search is decided by (seed of the sampling, problem, effort, attempt number) and not by the strategy, so two
strategies that draw from the prompt draw the same first samples, and their difference is paired. The tree is stored before
the attempt: whatever ends the run, an attempt that is there has its tree, and only what is missing is searched again.
Every finished branch is graded, not only the chosen one, so another choice needs no grader later.
Not covered: a branch under way when the run ends; it is searched again from its beginning, to the same end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ponder.errors import ConfigError
from ponder.evals import ungraded
from ponder.evals.attempts import Attempt, AttemptStore, Key, key, make_attempt
from ponder.evals.measure import weights_identity
from ponder.evals.runner import Draw, Plan, accuracy_of, attempt_seed, fitted, settings_of, shown_interval
from ponder.evals.search_rows import tree_row
from ponder.evals.trees import TreeStore
from ponder.graders.memory import Memory
from ponder.progress import Bar
from ponder.search.asks import Strategy
from ponder.search.drive import LIVE, Driver
from ponder.search.job import Job
from ponder.search.options import describe, options_of, read_options
from ponder.search.select import selector
from ponder.search.solution import Solution
from ponder.search.solve import make_job
from ponder.search.strategies import make, wants_verifier
from ponder.types import Budget, Completion, Effort, Engine, Grade, Ledger, Sampling, Task, Verifier

BRANCHES = 2048  # drawn at once over all problems, about
LEAST_LIVE = 4


@dataclass(frozen=True, slots=True)
class Search:
    """A strategy with everything that decides its answers. `verifier` names the scores' origin, weights included."""

    name: str
    strategy: Strategy
    select: str
    verifier: str = ""
    budget: int | None = None

    @property
    def key(self) -> str:
        """What stands in an attempt's key: strategy and options, selection, verifier, budget."""
        parts = [describe(self.name, self.strategy), f"select={self.select}"]
        parts += [f"verifier={self.verifier}"] if self.verifier else []
        parts += [f"budget={self.budget}"] if self.budget is not None else []
        return ";".join(parts)

    @property
    def options(self) -> dict[str, Any]:
        return options_of(self.strategy)

    @property
    def live(self) -> int:
        """How many searches to keep going at once: enough to fill an engine, few enough to store results often."""
        n = self.options.get("n", 1)
        return max(LEAST_LIVE, min(LIVE, BRANCHES // max(1, n))) if isinstance(n, int) else LIVE


def plan_search(
    strategy: str,
    n: int | None = None,
    options: Sequence[str] | Mapping[str, Any] = (),
    select: str = "",
    budget: int | None = None,
    verifier: str = "",
) -> Search:
    """The search that settings describe; ConfigError for what is unknown or impossible, and for a missing verifier."""
    given = dict(options) if isinstance(options, Mapping) else read_options(options)
    name, made = make(strategy, n, **given)
    selector(select or made.select)
    if wants_verifier(made, select) and not verifier:
        raise ConfigError(
            f"strategy '{name}' needs a verifier: give one (--verifier), or choose by 'vote' or 'likelihood'"
        )
    return Search(name, made, select or made.select, verifier, budget)


def verifier_identity(spec: str) -> str:
    """`spec`, each part of it with a digest of its weights where it names a folder: a verifier trained anew is another one."""
    if not Path(spec).is_dir() and "+" in spec:
        return "+".join(verifier_identity(part) for part in spec.split("+"))
    named = (Path(spec), Path(spec.partition(":")[2] or spec))
    folder = next(
        (found for place in named for found in (place, place / "model") if any(found.glob("*.safetensors"))), None
    )
    return weights_identity(spec.rstrip("/"), folder)


@dataclass(frozen=True, slots=True)
class Searched:
    """All rows of a plan in plan order, and how many were searched now."""

    rows: list[Attempt]
    drawn: int


def run_search(
    engine: Engine,
    verifier: Verifier | None,
    task: Task,
    plan: Plan,
    search: Search,
    store: AttemptStore,
    trees: TreeStore,
    *,
    model: str,
    bar: Bar | None = None,
    log: Callable[[dict[str, Any]], None] | None = None,
) -> Searched:
    """Complete `plan` in the stores with searches of `engine`; resumable, and what has ended is kept whatever happens.

    `log` gets one row about the session: wall seconds and where they went. DataError: a prompt that fills the context.
    """
    wanted = plan.draws()
    settings = settings_of(plan)
    keys = [_key(task, d, model, settings, search) for d in wanted]
    missing = [d for d, k in zip(wanted, keys, strict=True) if store.get(k) is None or k not in trees]
    ungraded.grade_again(
        task, plan.problems, store, trees, [k for k in keys if store.get(k) is not None and k in trees]
    )
    samplings = _samplings(engine, plan, missing)
    recorder = Recorder(task, store, trees, search, missing, model, settings, getattr(engine, "tokenizer", None), bar)
    recorder.start([row for k in keys if (row := store.get(k)) is not None and k in trees])
    if missing:
        driver = Driver(engine, verifier)
        before = _spent(engine, verifier)
        try:
            jobs = _jobs(engine, verifier, missing, samplings, search, recorder)
            driver.run(jobs, recorder.done, search.live, keep=False)
        finally:
            spent = [now - then for now, then in zip(_spent(engine, verifier), before, strict=True)]
            if log is not None:
                log(_session(driver, recorder, search, spent))
    return Searched([row for k in keys if (row := store.get(k)) is not None], len(missing))


def _samplings(engine: Engine, plan: Plan, draws: Sequence[Draw]) -> list[Sampling]:
    """Checked before anything is drawn: a prompt that does not fit fails at once."""
    used = {(d.problem.id, d.effort): 0 for d in draws}
    for d in draws:
        name = (d.problem.id, d.effort)
        used[name] = used[name] or len(engine.encode(d.problem.messages, d.effort))
    return [fitted(engine, plan.sampling_at(d.effort), d.problem, used[d.problem.id, d.effort]) for d in draws]


def _key(task: Task, draw: Draw, model: str, settings: Mapping[Effort | None, str], search: Search) -> Key:
    sampling = settings[draw.effort]
    return key(task.name, draw.problem.id, draw.number, model, draw.effort, sampling, strategy=search.key)


def search_keys(task: Task, plan: Plan, model: str, search_key: str) -> list[Key]:
    """The keys of every attempt of a plan under a strategy's key."""
    settings = settings_of(plan)
    return [
        key(task.name, d.problem.id, d.number, model, d.effort, settings[d.effort], strategy=search_key)
        for d in plan.draws()
    ]


def _jobs(
    engine: Engine,
    verifier: Verifier | None,
    draws: Sequence[Draw],
    samplings: Sequence[Sampling],
    search: Search,
    recorder: Recorder,
) -> Iterator[Job]:
    for number, (draw, sampling) in enumerate(zip(draws, samplings, strict=True)):
        job = make_job(
            draw.problem,
            engine,
            search.strategy,
            seed=attempt_seed(sampling.seed, draw.problem.id, draw.effort, draw.number),
            verifier=verifier,
            budget=None if search.budget is None else Budget(tokens=search.budget),
            select=search.select,
            effort=draw.effort,
            sampling=sampling,
            grader=recorder.task.grader,
        )
        job.name = search.name
        recorder.jobs[number] = job
        yield job


def _spent(engine: Engine, verifier: Verifier | None) -> tuple[Ledger, Ledger]:
    return engine.ledger, Ledger() if verifier is None else verifier.ledger


def _session(driver: Driver, recorder: Recorder, search: Search, spent: Sequence[Ledger]) -> dict[str, Any]:
    return {
        "search": search.key,
        "solutions": recorder.finished,
        "seconds": driver.seconds,
        "engine_seconds": driver.engine_seconds,
        "verifier_seconds": driver.verifier_seconds,
        "recording_seconds": recorder.seconds,
        "overhead_seconds": max(0.0, driver.overhead - recorder.seconds),
        "engine": spent[0],
        "verifier": spent[1],
    }


@dataclass(slots=True)
class Recorder:
    """Grades and stores solutions as they end; `done` is the driver's callback. `seconds` is the time that took."""

    task: Task
    store: AttemptStore
    trees: TreeStore
    search: Search
    draws: Sequence[Draw]
    model: str
    settings: Mapping[Effort | None, str]
    tokenizer: Any
    bar: Bar | None
    memory: Memory = field(default_factory=Memory)
    clock: Callable[[], float] = time.perf_counter
    jobs: dict[int, Job] = field(default_factory=dict[int, Job])
    verdicts: dict[tuple[str, str], list[float]] = field(default_factory=dict[tuple[str, str], list[float]])
    tokens: int = 0
    finished: int = 0
    started: float = 0.0
    last: float = 0.0
    seconds: float = 0.0

    def start(self, stored: Sequence[Attempt]) -> None:
        """Begin with the rows that need no search."""
        self.started = self.last = self.clock()
        for row in stored:
            self._count(row)
        if self.bar is not None and stored:
            self.bar.advance(len(stored), accuracy=shown_interval(accuracy_of(self.verdicts)))

    def done(self, number: int, solution: Solution) -> None:
        """Grade every finished branch, store the tree, then the attempt."""
        began = self.clock()
        draw, job = self.draws[number], self.jobs.pop(number)
        wall, self.last = began - self.last, began
        grades = self.memory.grade(
            self.task.grader, [(draw.problem, completion) for completion in solution.completions]
        )
        attempt = self._attempt(draw, solution, grades, wall)
        self.trees.add(tree_row(attempt, solution, grades, job, self.search, self.tokenizer, wall))
        self.store.add([attempt])
        self.tokens += solution.ledger.decoded
        self.finished += 1
        self._count(attempt)
        self._show()
        self.seconds += self.clock() - began

    def _attempt(self, draw: Draw, solution: Solution, grades: Sequence[Grade], wall: float) -> Attempt:
        if solution.completions:
            at = solution.chosen or 0
            completion, grade = solution.completions[at], grades[at]
        else:
            completion = Completion((), (), "length", problem_id=draw.problem.id)
            grade = Grade(0.0, "unparsed", reason="no branch was finished within the budget")
        told = {
            "ended": solution.ended,
            "branches": len(solution.completions),
            "change": solution.change,
            "ledger": solution.ledger,
            "wall": wall,
            "notes": dict(solution.notes),
        }
        grade = replace(grade, parts={**grade.parts, "search": told})
        settings, key = self.settings[draw.effort], self.search.key
        return make_attempt(
            self.task.name, draw.problem, draw.number, self.model, draw.effort, settings, completion, grade, key
        )

    def _count(self, row: Attempt) -> None:
        if row.graded:
            self.verdicts.setdefault((row.problem, row.effort or ""), []).append(float(row.correct))

    def _show(self) -> None:
        if self.bar is None:
            return
        seconds = max(self.clock() - self.started, 1e-9)
        left = seconds / self.finished * (len(self.draws) - self.finished)
        self.bar.advance(
            1,
            accuracy=shown_interval(accuracy_of(self.verdicts)),
            tokens_per_s=f"{self.tokens / seconds:,.0f}",
            left=f"{left:.0f}s",
        )
