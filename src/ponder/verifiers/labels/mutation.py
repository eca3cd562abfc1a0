"""Step labels for code: faults put into reference programs, and unit tests that say which fault first breaks them.

The label of a step is whether the program up to it, continued as the reference goes on, still passes the tests; the first
step that breaks them and everything after it are 0. After HGS-PRM (Ma et al. 2023, arXiv 2310.10080), which labels mutants of
MBPP's references so. Which faults there are: `mutants`. Programs run elsewhere, through a `Check`; none runs in this process.

A mutant is left out when it is the same program as the reference or as another mutant (by text, or by the bytecode it
compiles to: trivial compiler equivalence, Papadakis et al. 2015), and when it passes all tests: it may be right, or the tests
may be weak, and nobody can tell. A check that could not be made is no failure. Not covered: mutants of programs other than
the references, tests that are right only by chance.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ponder.errors import ConfigError, DataError, WorkError
from ponder.tasks.mutants import Edit, Written, edits, fingerprint, mutated, parse
from ponder.types import Grade, Problem
from ponder.verifiers.samples import LabelledSample, check
from ponder.verifiers.tests import Runner

TRIES = 10
OPEN, CLOSE = "```python\n", "```"

Check = Callable[[Problem, Sequence[str]], Sequence[bool | None]]
"""Does each program pass all tests of the problem? None when that could not be found out. It never raises for a program."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How many mutants of a reference are tried, with up to how many faults each, and whether the reference is a row too."""

    mutants: int = 8
    faults: int = 2
    reference: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mutants < 1 or self.faults < 1:
            raise ConfigError(f"mutants = {self.mutants}, faults = {self.faults}: at least one of each")


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


def rows(
    references: Iterable[tuple[Problem, str]], passes: Check, recipe: Recipe, counts: Counts
) -> Iterator[LabelledSample]:
    """Labelled rows of every reference (problem and program) that passes its tests; `samples.write` writes them."""
    for problem, source in references:
        counts.references += 1
        try:
            tree = parse(source)
        except DataError:
            counts.unread += 1
            continue
        made = mutants(tree, recipe, counts)
        reference = mutated(tree, ())
        texts = list(dict.fromkeys([reference.text, *(text for mutant in made for text in mutant.prefixes)]))
        verdicts = list(passes(problem, texts))
        if len(verdicts) != len(texts):
            raise WorkError(f"{len(verdicts)} verdicts for {len(texts)} programs")
        passed = dict(zip(texts, verdicts, strict=True))
        if passed[reference.text] is not True:
            counts.failing += 1
            continue
        if recipe.reference:
            counts.rows += 1
            yield row(problem, reference, [1.0] * len(reference.steps), True, "mutation none")
        yield from _labelled(problem, made, passed, counts)


def _labelled(
    problem: Problem, made: Sequence[Mutant], passed: dict[str, bool | None], counts: Counts
) -> Iterator[LabelledSample]:
    for mutant in made:
        verdicts = [passed[text] for text in mutant.prefixes]
        if verdicts[-1] is False:
            counts.rows += 1
            kinds = "+".join(fault.operator for fault in mutant.faults)
            yield row(problem, mutant.program, labels(mutant, verdicts), False, f"mutation {kinds}")
        elif verdicts[-1]:
            counts.survived += 1
        else:
            counts.unknown += 1


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
        verdict = verdicts[met - 1] if met else True
        broken = broken or any(v is False for v in verdicts[:met])
        found.append(0.0 if broken else None if verdict is None else 1.0)
    return found


def row(
    problem: Problem, program: Written, step_labels: Sequence[float | None], correct: bool, source: str
) -> LabelledSample:
    """A row of the one format that verifiers train on: the program in a code fence, a step per statement."""
    texts = list(program.steps)
    texts[0] = OPEN + texts[0]
    texts[-1] += CLOSE
    sample = LabelledSample(
        problem=problem.id,
        messages=problem.messages,
        task=problem.task,
        texts=tuple(texts),
        labels=tuple(step_labels),
        correct=correct,
        source=source,
        model="reference",
        split=problem.split,
    )
    return check(sample, f"problem {problem.id}")


def by_runner(runner: Runner, tests: Callable[[Problem], Sequence[str]]) -> Check:
    """A check through the runner that `UnitTests` uses: every test passes."""

    def passes(problem: Problem, programs: Sequence[str]) -> list[bool | None]:
        wanted = list(tests(problem))
        return [all_of(runner(program, wanted)) for program in programs]

    return passes


def by_grader(grade_many: Callable[[Sequence[tuple[object, str]]], Sequence[Grade]]) -> Check:
    """A check through a grader of code, in one batch: `CodeGrader(…).check_many`, on the problem's own reference."""

    def passes(problem: Problem, programs: Sequence[str]) -> list[bool | None]:
        grades = list(grade_many([(problem.reference, fenced(program)) for program in programs]))
        return [None if grade.score is None else grade.correct for grade in grades]

    return passes


def fenced(program: str) -> str:
    """The program as a completion: in a code fence."""
    return f"{OPEN}{program}{CLOSE}"


def all_of(verdicts: Sequence[bool | None]) -> bool | None:
    """False when any is, else None when any is or there are none, else True."""
    if any(verdict is False for verdict in verdicts):
        return False
    return True if verdicts and all(verdicts) else None
