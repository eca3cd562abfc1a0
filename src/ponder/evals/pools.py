"""Drawing the pools of a sweep, and what each operating point brings per problem, computed from them.

One row per pool and problem is appended to `drawn.jsonl` as its search ends; what stands there is not drawn again. A pool of
N samples gives every point of k <= N samples its *expected* accuracy over k-subsets: exactly for voting and for the best
score (`stats`), over many random subsets for other rules (`subsets`). Its expected cost is the prompt once, k mean samples,
and where the point scores them as many tokens again. The whole points of a sweep thus see the same samples, which makes
their differences paired and much less noisy than runs of their own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from ponder.errors import DataError, PonderError
from ponder.evals.points import Point, Pool
from ponder.evals.stats import best_of_k, majority_at_k, pass_at_k
from ponder.evals.subsets import selector_at_k
from ponder.files import read_rows
from ponder.graders.memory import Memory
from ponder.progress import Bar
from ponder.runs import Run
from ponder.search.drive import Driver
from ponder.search.job import Job
from ponder.search.select import SCORED, Candidate
from ponder.search.solution import Solution
from ponder.search.solve import make_job
from ponder.types import Budget, Engine, Ledger, Problem, Task, Verifier

FILE = "drawn.jsonl"
BRANCHES = 1024  # drawn at once over all problems, about: often enough stored, and the engine full
ROUNDS = 8
APART = 1_000_003  # between the seeds of attempts


class Drawn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One problem's pool: each finished sample's answer class, verdict, score, log-probability and length.

    `right` is the verdict on the answer the search itself chose; `wall` the time since the solution before it ended.
    """

    pool: str
    problem: str
    right: bool
    prompt: int
    names: tuple[str | None, ...]
    verdicts: tuple[bool, ...]
    scores: tuple[float | None, ...]
    logprobs: tuple[float, ...]
    lengths: tuple[int, ...]
    weights: tuple[float | None, ...]
    ledger: Ledger
    wall: float
    ended: str


@dataclass(slots=True)
class Store:
    """The rows of a run by pool and problem. `model` names weights, verifier and seed: others never share rows."""

    run: Run
    model: str
    rows: dict[tuple[str, str], Drawn] = field(default_factory=dict[tuple[str, str], Drawn])

    def __post_init__(self) -> None:
        path = self.run.path / FILE
        try:
            found = [msgspec.convert(row, Drawn) for row in read_rows(path)]
        except msgspec.ValidationError as error:
            raise DataError(f"{path}: not the rows of a calibration ({error}); remove the file to draw again") from None
        self.rows.update({(row.pool, row.problem): row for row in found})

    def name(self, pool: Pool, attempt: int = 0) -> str:
        """The key of a pool's attempt in the file."""
        return f"{self.model}/{pool.key}/{attempt}"

    def missing(self, pool: Pool, problems: Sequence[Problem], attempt: int = 0) -> list[Problem]:
        return [p for p in problems if (self.name(pool, attempt), p.id) not in self.rows]

    def get(self, pool: Pool, problems: Sequence[Problem], attempt: int = 0) -> list[Drawn]:
        """The rows of all `problems` in their order; KeyError where one is missing."""
        return [self.rows[self.name(pool, attempt), p.id] for p in problems]

    def add(self, row: Drawn) -> None:
        self.run.append(FILE, msgspec.to_builtins(row))
        self.rows[row.pool, row.problem] = row


@dataclass(frozen=True, slots=True)
class Rig:
    """What searches run on: the engine, the verifier (None: none), the task, and the seed of all draws."""

    engine: Engine
    verifier: Verifier | None
    task: Task
    seed: int


def work(store: Store, todo: Iterable[tuple[Pool, int]], problems: Sequence[Problem]) -> int:
    """Completions still to be drawn for the attempts at each pool."""
    return sum(pool.size * len(store.missing(pool, problems, i)) for pool, attempts in todo for i in range(attempts))


def draw(
    rig: Rig, store: Store, pool: Pool, problems: Sequence[Problem], bar: Bar | None = None, attempt: int = 0
) -> list[Drawn]:
    """The rows of a pool over `problems`, drawing what is missing; whatever ends the call early, the rest is kept.

    Attempts after the first have other seeds.
    """
    missing = store.missing(pool, problems, attempt)
    if missing:
        driver = Driver(rig.engine, rig.verifier if pool.scored else None)
        recorder = _Recorder(rig.task, store, pool, store.name(pool, attempt), missing, bar)
        live = max(4, min(256, BRANCHES // pool.size))
        other = replace(rig, seed=rig.seed + attempt * APART)
        driver.run((job_of(other, pool.search, p, pool.scored) for p in missing), recorder.done, live)
    return store.get(pool, problems, attempt)


def job_of(rig: Rig, point: Point, problem: Problem, scored: bool) -> Job:
    """The search of one point at one problem; the problem is named where it can not be asked."""
    try:
        return make_job(
            problem,
            rig.engine,
            point.strategy,
            point.n,
            rig.seed,
            verifier=rig.verifier if scored else None,
            budget=None if point.budget is None else Budget(tokens=point.budget),
            select=point.select,
            effort=point.effort,
            temperature=point.temperature,
            options=dict(point.options),
            grader=rig.task.grader,
        )
    except PonderError as error:
        raise type(error)(f"problem {problem.id} ({problem.text[:40]!r}): {error}") from None


@dataclass(slots=True)
class _Recorder:
    task: Task
    store: Store
    pool: Pool
    name: str
    problems: Sequence[Problem]
    bar: Bar | None
    memory: Memory = field(default_factory=Memory)
    clock: Callable[[], float] = time.perf_counter
    last: float = field(default_factory=time.perf_counter)

    def done(self, number: int, solution: Solution) -> None:
        now = self.clock()
        problem = self.problems[number]
        grades = self.memory.grade(self.task.grader, [(problem, c) for c in solution.completions])
        row = drawn(self.name, problem, solution, [grade.correct for grade in grades], now - self.last)
        self.last = now
        self.store.add(row)
        if self.bar is not None:
            self.bar.advance(self.pool.size, point=self.pool.search.label, left=f"{left(self.bar):.0f}s")


def left(bar: Bar) -> float:
    """Seconds to go at the speed so far."""
    spent = time.monotonic() - bar.started
    return spent / max(bar.done, 1) * ((bar.total or bar.done) - bar.done)


def drawn(pool: str, problem: Problem, solution: Solution, verdicts: Sequence[bool], wall: float) -> Drawn:
    """The row of a solution, with a verdict on every finished branch."""
    return Drawn(
        pool=pool,
        problem=problem.id,
        right=solution.chosen is not None and verdicts[solution.chosen],
        prompt=len(solution.tree.root.prompt_ids),
        names=tuple(None if c.answer is None else str(c.answer) for c in solution.candidates),
        verdicts=tuple(verdicts),
        scores=tuple(c.score for c in solution.candidates),
        logprobs=tuple(c.logprob for c in solution.candidates),
        lengths=tuple(c.tokens for c in solution.candidates),
        weights=tuple(c.weight for c in solution.candidates),
        ledger=solution.ledger,
        wall=wall,
        ended=solution.ended,
    )


def accuracy(row: Drawn, point: Point, seed: int = 0) -> float:
    """Expected correctness of `point` at the problem of a row."""
    if not point.pooled:
        return float(row.right)
    k = min(point.count, len(row.names))  # fewer finished where the engine cancelled some
    if k == 0:
        return 0.0
    if point.rule == "first" and k == 1:
        return pass_at_k(len(row.names), sum(_answered(row)), 1)
    if point.rule == "vote":
        return majority_at_k(row.names, _answered(row), k)
    if point.rule == "best":
        able = [None if name is None else score for name, score in zip(row.names, row.scores, strict=True)]
        return best_of_k(able, _answered(row), k)
    return selector_at_k(point.rule, candidates(row), row.verdicts, k, rounds=ROUNDS, seed=seed).mean


def _answered(row: Drawn) -> list[bool]:
    """Verdicts, where a sample without an answer class can not be chosen and is wrong."""
    return [good and name is not None for name, good in zip(row.names, row.verdicts, strict=True)]


def candidates(row: Drawn) -> list[Candidate]:
    """The samples as `search.select` sees them."""
    columns = zip(row.names, row.scores, row.logprobs, row.lengths, row.weights, strict=True)
    return [Candidate(*fields) for fields in columns]


def tokens(row: Drawn, point: Point) -> float:
    """Expected tokens forwarded by `point` at the problem of a row: prompt, samples, and what the verifier reads of them."""
    if not point.pooled:
        return float(row.ledger.forwarded)
    whole = row.prompt + sum(row.lengths)
    own = row.prompt + point.count * (sum(row.lengths) / max(1, len(row.lengths)))
    return own + (row.ledger.verified * own / whole if point.rule in SCORED else 0.0)


def summary(rows: Sequence[Drawn]) -> Mapping[str, Any]:
    """Means over problems of a point run by itself: tokens forwarded, seconds, share of budgets that ran out."""
    n = len(rows)
    return {
        "tokens": sum(row.ledger.forwarded for row in rows) / n,
        "flops": sum(row.ledger.flops for row in rows) / n,
        "seconds": sum(row.wall for row in rows) / n,
        "cut_off": sum(row.ended == "budget" for row in rows) / n,
    }
