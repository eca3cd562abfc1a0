"""Step labels for code: faults put into reference programs, and unit tests that say which fault first breaks them.

The label of a step is whether the program up to it, continued as the reference goes on, still passes the tests; the first
step that breaks them and everything after it are 0. After HGS-PRM (Ma et al. 2023, arXiv 2310.10080), which mutates the
syntax trees of MBPP's references and lets the unit tests judge. Departures: a step is a statement, theirs a line;
a program can have several faults, each judged apart; a mutant that passes is left out where they call its line neutral;
the operators are ours (`mutants`). Programs run elsewhere, through a `Check`; none runs in this process.

A mutant is left out when it is the same program as the reference or as another mutant (by text, or by the bytecode it
compiles to: trivial compiler equivalence, Papadakis et al. 2015), and when it passes all tests: it may be right, or the tests
may be weak, and nobody can tell. A check that could not be made is no failure. Not covered: mutants of programs other than
the references, tests that are right only by chance.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from ponder.errors import ConfigError, DataError, WorkError
from ponder.graders.programs import program_of
from ponder.tasks.mutants import Edit, Written, edits, fingerprint, mutated, parse
from ponder.types import Demonstration, Effort, Grade, Problem, Split
from ponder.verifiers.labels.layout import by_line, compact, laid_out
from ponder.verifiers.samples import LabelledSample, check

TRIES = 10
OPEN, CLOSE = "```python\n", "\n```"


@dataclass(frozen=True, slots=True)
class Reference:
    """A problem with a program that solves it, and what stands around the program in an answer."""

    problem: Problem
    program: str
    before: str = OPEN
    after: str = CLOSE

    @property
    def compact(self) -> bool:
        """Is the program written without blanks, as small models write?"""
        return compact(f"{self.program}\n") == f"{self.program}\n"

    @classmethod
    def of(cls, shown: Demonstration) -> Reference | None:
        """The program of a demonstration, as the grader of code finds it; None when there is none."""
        program = program_of(shown.text)
        if program is None:
            return None
        before, _, after = shown.text.rpartition(program)
        return cls(shown.problem, program, before, after)


@dataclass(frozen=True, slots=True)
class Trial:
    """A program to run on its problem's tests, with at most `seconds` of processor time a test (None: what the problem says)."""

    problem: Problem
    program: str
    seconds: float | None = None


Check = Callable[[Sequence[Trial]], Sequence[bool | None]]
"""Does each program pass all tests of its problem? None when that could not be found out. It never raises for a program."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How many mutants of a reference are tried, with up to how many faults each, and whether the reference is a row too.

    A mutant that loops for ever is ended after `seconds` of processor time a test. A reference that needs more than half of
    that has slow tests: it and its mutants get what the problem allows.
    """

    mutants: int = 8
    faults: int = 2
    reference: bool = True
    seed: int = 0
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.mutants < 1 or self.faults < 1:
            raise ConfigError(f"mutants = {self.mutants}, faults = {self.faults}: at least one of each")
        if not self.seconds > 0:
            raise ConfigError(f"seconds = {self.seconds}: a limit is above 0")


@dataclass(slots=True)
class Counts:
    """What became of the references and their mutants: `same` were equivalent, `survived` passed the tests, `unknown` could
    not be checked, `failing` references do not pass their own tests, `unread` ones are no programs."""

    references: int = 0
    unread: int = 0
    failing: int = 0
    same: int = 0
    survived: int = 0
    unknown: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Mutant:
    """A program with faults, and the programs that have the first one, the first two, … of them; the last is itself."""

    faults: tuple[Edit, ...]
    program: Written
    prefixes: tuple[str, ...]


@dataclass(slots=True)
class Tried:
    """A reference that is a program: its tree, its text as it is rewritten, and the limit it passed its tests in."""

    reference: Reference
    tree: ast.Module
    written: Written
    seconds: float | None = None
    mutants: list[Mutant] = field(default_factory=list[Mutant])

    def trial(self, text: str) -> Trial:
        return Trial(self.reference.problem, text, self.seconds)


def rows(
    references: Sequence[Reference],
    passes: Check,
    recipe: Recipe,
    counts: Counts,
    *,
    split: Split | None = None,
    effort: Effort | None = None,
) -> list[LabelledSample]:
    """Labelled rows of every reference that passes its tests, in order; `samples.write` writes them.

    The references' programs are one call of `passes` (two where some are slow), all their mutants the next.
    """
    sound = _sound(references, passes, recipe, counts)
    for one in sound:
        one.mutants = mutants(one.tree, recipe, counts)
    keys = sorted({(i, text) for i, one in enumerate(sound) for m in one.mutants for text in m.prefixes})
    verdicts = dict(zip(keys, _verdicts(passes, [sound[i].trial(text) for i, text in keys]), strict=True))
    found: list[LabelledSample] = []
    for i, one in enumerate(sound):
        if recipe.reference:
            steps = [1.0] * len(one.written.steps)
            found.append(row(one.reference, one.written, steps, True, "mutation none", split, effort))
        for mutant in one.mutants:
            judged = [verdicts[i, text] for text in mutant.prefixes]
            if judged[-1] is False:
                kinds = "mutation " + "+".join(fault.operator for fault in mutant.faults)
                found.append(row(one.reference, mutant.program, labels(mutant, judged), False, kinds, split, effort))
            elif judged[-1]:
                counts.survived += 1
            else:
                counts.unknown += 1
    counts.rows += len(found)
    return found


def _sound(references: Sequence[Reference], passes: Check, recipe: Recipe, counts: Counts) -> list[Tried]:
    """The references that are programs and pass their tests."""
    counts.references += len(references)
    tried: list[Tried] = []
    for reference in references:
        try:
            tree = parse(reference.program)
        except DataError:
            counts.unread += 1
            continue
        tried.append(Tried(reference, tree, mutated(tree, ()), recipe.seconds / 2))
    slow = [
        one
        for one, ok in zip(tried, _verdicts(passes, [t.trial(t.written.text) for t in tried]), strict=True)
        if not ok
    ]
    for one in tried:
        one.seconds = recipe.seconds
    for one in slow:
        one.seconds = None
    second = dict(zip(map(id, slow), _verdicts(passes, [t.trial(t.written.text) for t in slow]), strict=True))
    counts.failing += sum(ok is False for ok in second.values())
    counts.unknown += sum(ok is None for ok in second.values())
    return [one for one in tried if second.get(id(one), True)]


def _verdicts(passes: Check, trials: Sequence[Trial]) -> list[bool | None]:
    verdicts = list(passes(trials)) if trials else []
    if len(verdicts) != len(trials):
        raise WorkError(f"{len(verdicts)} verdicts for {len(trials)} programs")
    return verdicts


def mutants(tree: ast.Module, recipe: Recipe, counts: Counts) -> list[Mutant]:
    """Different mutants of a program, drawn with `recipe.seed`: the operators take turns, so that none drowns the others."""
    rng = random.Random(f"mutation/{recipe.seed}/{ast.dump(tree)}")
    every = edits(tree)
    piles: dict[str, list[Edit]] = {}
    for edit in rng.sample(every, len(every)):
        piles.setdefault(edit.operator, []).append(edit)
    turns = [pile[i] for i in range(len(every)) for pile in piles.values() if i < len(pile)]
    seen = {fingerprint(mutated(tree, ()).text)}
    found: list[Mutant] = []
    for number in range(TRIES * recipe.mutants):
        if len(found) == recipe.mutants or number >= len(turns) * recipe.faults:
            break
        mutant = _mutant(tree, _draw(turns[number % len(turns)], every, recipe.faults, rng))
        key = fingerprint(mutant.program.text)
        if key in seen:
            counts.same += 1
            continue
        seen.add(key)
        found.append(mutant)
    return found


def _draw(first: Edit, every: Sequence[Edit], most: int, rng: random.Random) -> list[Edit]:
    """`first` and, so that there are 1 to `most` with equal chance, faults of other statements, in the order of the text."""
    chosen = {first.statement: first}
    for other in rng.sample(every, len(every))[: rng.randint(1, most) - 1]:
        chosen.setdefault(other.statement, other)
    return sorted(chosen.values())


def _mutant(tree: ast.Module, faults: Sequence[Edit]) -> Mutant:
    programs = [mutated(tree, faults[: i + 1]) for i in range(len(faults))]
    return Mutant(tuple(faults), programs[-1], tuple(program.text for program in programs))


def labels(mutant: Mutant, verdicts: Sequence[bool | None]) -> list[float | None]:
    """A label per step: 1 as long as the faults so far break nothing, None while that is not known, 0 from the first that does.

    `verdicts[i]` is whether the program with the first i + 1 faults passes. A statement left out is met at the step that
    follows its place.
    """
    found: list[float | None] = []
    broken = False
    for place in mutant.program.places:
        met = sum(fault.statement <= place for fault in mutant.faults)
        broken = broken or any(v is False for v in verdicts[:met])
        found.append(0.0 if broken else None if met and verdicts[met - 1] is None else 1.0)
    return found


def row(
    reference: Reference,
    program: Written,
    step_labels: Sequence[float | None],
    correct: bool,
    source: str,
    split: Split | None = None,
    effort: Effort | None = None,
) -> LabelledSample:
    """The program where the reference stood, as a row to train on: a step per statement, in compact layout per line."""
    problem, steps = reference.problem, program.steps
    if reference.compact:
        steps, step_labels = by_line(laid_out(steps), step_labels)
    texts = list(steps)
    texts[0] = reference.before + texts[0]
    texts[-1] = texts[-1].removesuffix("\n") + reference.after
    sample = LabelledSample(
        problem=problem.id,
        messages=problem.messages,
        task=problem.task,
        effort=effort,
        texts=tuple(texts),
        labels=tuple(step_labels),
        correct=correct,
        source=source,
        model="reference",
        split=split or problem.split,
    )
    return check(sample, f"problem {problem.id}")


def by_grader(grade_many: Callable[[Sequence[tuple[object, str]]], Sequence[Grade]]) -> Check:
    """A check through a grader of code, in one batch: `CodeGrader(…).check_many`, on the problems' own references."""

    def passes(trials: Sequence[Trial]) -> list[bool | None]:
        grades = grade_many([(_limited(t.problem.reference, t.seconds), fenced(t.program)) for t in trials])
        return [None if grade.score is None else grade.correct for grade in grades]

    return passes


def _limited(reference: object, seconds: float | None) -> object:
    """The reference with another limit of processor time."""
    if seconds is None or not isinstance(reference, Mapping):
        return reference
    return {**cast("Mapping[str, object]", reference), "cpu_seconds": seconds}


def fenced(program: str) -> str:
    """The program as a completion: in a code fence."""
    return OPEN + program.removesuffix("\n") + CLOSE
