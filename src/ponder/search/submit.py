"""Which programs to submit when only a few may be: the procedure of o1 at the IOI, over stored samples.

    keep      per subtask, the programs that pass its public tests (those that fail the fewest, when none passes)
    cluster   those of identical outputs on the generated inputs
    rank      a cluster by its size, its errors on generated inputs, its learned score, less a penalty per earlier submission
    choose    round robin over the subtasks, hardest first; a solved subtask is left alone; at most `LIMIT` in all

After OpenAI 2025 (arXiv 2502.06807), appendix C, whose weights are not published: ours are `Weights`, and cluster size is a
term of the rank as in AlphaCode (Li et al. 2022, arXiv 2203.07814). Once a part of a subtask is solved, programs that differ
from its solver on that part's inputs are passed over, unless none is left. The same code is never submitted twice.

Everything here is a pure function of plain data: nothing runs, nobody reads a verdict except in the judge's reply to a
submission. The order of the programs decides nothing: ties fall to a hash of the seed and the program's id.
Inputs come from `submit_tests`, baselines from `submit_score`, weights from `submit_tune`. Not covered: sampling.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ponder.errors import ConfigError, DataError

LIMIT = 50

Status = Literal["ok", "error", "timeout", "infra"]


@dataclass(frozen=True, slots=True)
class Output:
    """What a program did: the `text` it printed or returned; "error" (crash, limit), "timeout", "infra" (could not be run)."""

    status: Status = "ok"
    text: str = ""


@dataclass(frozen=True, slots=True)
class Program:
    """A sampled program, the subtask it was written for, and what is known of it without its hidden tests.

    `public`: by test, None where the harness failed. `outputs`: by input id; a missing one is "infra". `learned`: a scoring
    function's opinion, if any."""

    id: str
    subtask: str
    code: str
    public: tuple[bool | None, ...] = ()
    outputs: Mapping[str, Output] = field(default_factory=dict[str, Output])
    learned: float | None = None


@dataclass(frozen=True, slots=True)
class Subtask:
    """A part of the problem: its points, how hard it is (higher first), its inputs' ids, and the subtasks it contains."""

    name: str
    points: float = 1.0
    difficulty: float = 0.0
    inputs: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Weights:
    """What each term of a cluster's rank weighs: shares in 0..1 of programs and inputs, the score as it comes, and each earlier
    submission; a `repeat` as large as `size` turns to every cluster without errors before it comes back (docs/submit.md)."""

    size: float = 1.0
    errors: float = 1.0
    learned: float = 1.0
    repeat: float = 1.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """Programs with the same outputs, the best first, and the share of the inputs on which they fail."""

    programs: tuple[Program, ...]
    errors: float
    learned: float | None
    tie: str


@dataclass(frozen=True, slots=True)
class Submission:
    """A program handed in, the subtask whose turn it was, and by subtask the share of its points that the judge gave."""

    program: Program
    subtask: str
    earned: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class Plan:
    """All submissions in their order, the subtasks solved, and those where no program passed the public tests."""

    submissions: tuple[Submission, ...]
    solved: tuple[str, ...]
    relaxed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """What is known of a subtask's candidates before the first submission; no weight changes it."""

    clusters: tuple[Cluster, ...]
    total: int
    relaxed: bool


Judge = Callable[[Program], Mapping[str, float]]
"""The contest's reply to a submission: the share of each subtask's points, 1 for solved. It alone knows the hidden tests."""


def keep(programs: Sequence[Program]) -> tuple[list[Program], bool]:
    """The programs that fail no public test, and False; those that fail the fewest, and True, when every one fails some.

    A verdict of None is no failure: the harness's trouble is not the program's.
    """
    if not programs:
        return [], False
    failures = [sum(verdict is False for verdict in program.public) for program in programs]
    fewest = min(failures)
    return [p for p, count in zip(programs, failures, strict=True) if count == fewest], fewest > 0


def clusters(programs: Sequence[Program], inputs: Sequence[str], seed: int = 0) -> list[Cluster]:
    """The programs by identical outputs on `inputs`, in no order that depends on theirs.

    Outputs are compared as contests do: trailing blanks and blank last lines apart. All errors are alike. A program whose
    output on some input is not known is alone: what nobody saw is no agreement. Without inputs, so is every program.
    """
    groups: dict[object, list[Program]] = {}
    for program in programs:
        known = signature(program, inputs)
        groups.setdefault(("alone", program.id) if known is None or not inputs else known, []).append(program)
    return sorted((_cluster(group, inputs, seed) for group in groups.values()), key=lambda c: c.tie)


def signature(program: Program, inputs: Sequence[str]) -> tuple[str | None, ...] | None:
    """The outputs on `inputs`, None for an error; None for all of it when one is not known."""
    found: list[str | None] = []
    for name in inputs:
        output = program.outputs.get(name)
        if output is None or output.status == "infra":
            return None
        found.append(plain(output.text) if output.status == "ok" else None)
    return tuple(found)


def plain(text: str) -> str:
    """Printed text without trailing blanks and blank last lines."""
    return "\n".join(line.rstrip() for line in text.split("\n")).rstrip("\n")


def rank(cluster: Cluster, total: int, submitted: int, weights: Weights) -> float:
    """How good the next submission from `cluster` seems, among `total` programs, after `submitted` from it."""
    learned = 0.0 if cluster.learned is None else cluster.learned
    size = len(cluster.programs) / total
    return (
        weights.size * size - weights.errors * cluster.errors + weights.learned * learned - weights.repeat * submitted
    )


def choose(
    subtasks: Sequence[Subtask],
    programs: Sequence[Program],
    judge: Judge | None = None,
    weights: Weights = Weights(),
    limit: int = LIMIT,
    seed: int = 0,
) -> Plan:
    """At most `limit` submissions. Without a judge nothing is ever known to be solved, and the order is what is chosen."""
    checked(subtasks, programs, limit, weights)
    return choose_from(subtasks, fields(subtasks, programs, seed), judge, weights, limit)


def fields(subtasks: Sequence[Subtask], programs: Sequence[Program], seed: int = 0) -> dict[str, Field]:
    """The candidates of every subtask, filtered and clustered."""
    found: dict[str, Field] = {}
    for subtask in subtasks:
        kept, relaxed = keep([p for p in programs if p.subtask == subtask.name])
        found[subtask.name] = Field(tuple(clusters(kept, subtask.inputs, seed)), max(1, len(kept)), relaxed)
    return found


def choose_from(
    subtasks: Sequence[Subtask],
    ready: Mapping[str, Field],
    judge: Judge | None = None,
    weights: Weights = Weights(),
    limit: int = LIMIT,
) -> Plan:
    """As `choose`, on `fields` that were prepared once for many weights."""
    turns = sorted(subtasks, key=lambda s: (-s.difficulty, s.name))
    table = {s.name: _Bench(ready[s.name], weights) for s in turns}
    done: list[Submission] = []
    codes: set[str] = set()
    solvers: dict[str, Program] = {}
    idle = False
    while not idle:
        idle = True
        for subtask in turns:
            if len(done) == limit or subtask.name in solvers:
                continue
            program = table[subtask.name].take(codes)
            if program is None:
                continue
            idle = False
            codes.add(program.code.strip())
            earned = dict(judge(program)) if judge else {}
            done.append(Submission(program, subtask.name, earned))
            new = [s for s in turns if earned.get(s.name, 0.0) >= 1.0 and s.name not in solvers]
            solvers.update((s.name, program) for s in new)
            for other in turns:
                table[other.name].narrow([s for s in new if s.name in other.includes], program)
    relaxed = tuple(s.name for s in turns if ready[s.name].relaxed)
    return Plan(tuple(done), tuple(s.name for s in turns if s.name in solvers), relaxed)


def checked(subtasks: Sequence[Subtask], programs: Sequence[Program], limit: int, weights: Weights) -> None:
    """Nothing; an error that says what does not fit: names given twice, unknown subtasks, scores that are no numbers."""
    if not 1 <= limit <= LIMIT:
        raise ConfigError(f"limit = {limit}: from 1 to {LIMIT} submissions")
    if not all(math.isfinite(w) for w in (weights.size, weights.errors, weights.learned, weights.repeat)):
        raise ConfigError(f"{weights}: every weight is a finite number")
    names = [s.name for s in subtasks]
    if len(set(names)) < len(names):
        raise DataError(f"subtasks {names}: a name is given twice")
    lost = sorted({name for s in subtasks for name in s.includes} - set(names))
    if lost:
        raise DataError(f"includes names subtask '{lost[0]}', which does not exist; subtasks: {', '.join(names)}")
    seen: set[str] = set()
    for program in programs:
        if program.id in seen:
            raise DataError(f"program '{program.id}' is given twice")
        seen.add(program.id)
        if program.subtask not in names:
            raise DataError(f"program '{program.id}': no subtask '{program.subtask}'; subtasks: {', '.join(names)}")
        if program.learned is not None and not math.isfinite(program.learned):
            raise DataError(
                f"program '{program.id}': learned score {program.learned} is not finite; give None for none"
            )


class _Bench:
    """The candidates of one subtask, and how often each of its clusters had a turn."""

    def __init__(self, ready: Field, weights: Weights) -> None:
        self.weights, self.total, self.clusters = weights, ready.total, ready.clusters
        self.waiting = {c.tie: list(c.programs) for c in self.clusters}
        self.turns = {c.tie: 0 for c in self.clusters}

    def take(self, codes: set[str]) -> Program | None:
        """The best program not yet submitted, of the cluster that ranks highest; None when there is none."""
        while True:
            able = [c for c in self.clusters if self.waiting[c.tie]]
            if not able:
                return None
            best = min(able, key=lambda c: (-rank(c, self.total, self.turns[c.tie], self.weights), c.tie))
            program = self.waiting[best.tie].pop(0)
            if program.code.strip() not in codes:
                self.turns[best.tie] += 1
                return program

    def narrow(self, solved: Sequence[Subtask], solver: Program) -> None:
        """Pass over the programs that differ from `solver` on inputs of a part it solved, unless all of them do."""
        for part in solved:
            agree = {
                tie: [p for p in waiting if not differs(p, solver, part.inputs)]
                for tie, waiting in self.waiting.items()
            }
            if any(agree.values()):
                self.waiting = agree


def differs(one: Program, other: Program, inputs: Sequence[str]) -> bool:
    """Is there an input on which what both did is known, and not the same?"""
    for name in inputs:
        a, b = signature(one, [name]), signature(other, [name])
        if a is not None and b is not None and a != b:
            return True
    return False


def _cluster(programs: Sequence[Program], inputs: Sequence[str], seed: int) -> Cluster:
    ties = {p.id: hashlib.sha256(f"submit/{seed}/{p.id}".encode()).hexdigest() for p in programs}
    ordered = sorted(programs, key=lambda p: (-math.inf if p.learned is None else p.learned, ties[p.id]), reverse=True)
    missing = Output("infra")
    statuses = [programs[0].outputs.get(name, missing).status for name in inputs]
    scored = [p.learned for p in programs if p.learned is not None]
    return Cluster(
        tuple(ordered),
        sum(status in ("error", "timeout") for status in statuses) / max(1, len(statuses)),
        math.fsum(scored) / len(scored) if scored else None,
        min(ties.values()),
    )
