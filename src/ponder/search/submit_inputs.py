"""Test inputs that nobody gave: made by a function, by a program a model wrote, or read out of a model's reply.

An input is accepted when at least 75 % of the validators that could be run say it is valid (o1 at the IOI, arXiv 2502.06807).
A validator that crashes has not said so. Programs run elsewhere, through a `Runner`: model text never runs in this process,
and what it prints is only ever compared and stored. Not covered: whether inputs are hard enough to tell programs apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Protocol

from ponder.errors import ConfigError, WorkError
from ponder.sandbox.jobs import Job, Limits, Result
from ponder.search.submit import Output, Program
from ponder.types import content_hash

SHARE = 0.75
MOST = 256
LONGEST = 1 << 20
_FENCE = re.compile(r"^```[^\n`]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
_YES = frozenset({"valid", "yes", "ok", "true", "1"})


@dataclass(frozen=True, slots=True)
class Run:
    """One program to run on one input."""

    code: str
    stdin: str


class Runner(Protocol):
    """Runs programs it does not trust, in one batch. It never raises and never hangs for what a program does."""

    def __call__(self, runs: Sequence[Run]) -> Sequence[Output]:
        """One output per run, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Input:
    """A generated input; its id is a hash of its text."""

    id: str
    text: str


Validator = Callable[[str], bool | None]
"""Is this text a valid input? None when that could not be found out."""


def made(make: Callable[[int], str], count: int = MOST, seed: int = 0) -> list[Input]:
    """Up to `count` different inputs of `make(number)`; four numbers are tried for each before fewer are taken."""
    if count < 1:
        raise ConfigError(f"count = {count}: at least one input")
    return distinct((make(seed + number) for number in range(4 * count)), count)


def written(runner: Runner, generators: Sequence[str], count: int = MOST, seed: int = 0) -> list[Input]:
    """Up to `count` different inputs printed by `generators`, programs that read a seed; they take turns."""
    if count < 1:
        raise ConfigError(f"count = {count}: at least one input")
    each = -(-count // max(1, len(generators)))
    runs = [Run(code, f"{seed + number}\n") for number in range(each) for code in generators]
    return distinct((output.text for output in _run(runner, runs) if output.status == "ok"), count)


def fenced(reply: str, count: int = MOST) -> list[Input]:
    """Up to `count` different inputs out of a model's reply: the contents of its code fences."""
    return distinct((found[1] for found in _FENCE.finditer(reply)), count)


def distinct(texts: Iterable[str], count: int) -> list[Input]:
    """The first `count` different texts, without those that are blank or longer than `LONGEST` characters."""
    found: dict[str, Input] = {}
    for text in texts:
        if text.strip() and len(text) <= LONGEST and text not in found:
            found[text] = Input(content_hash(["input", text]), text)
            if len(found) == count:
                break
    return list(found.values())


def agreed(votes: Sequence[bool | None], share: float = SHARE) -> bool:
    """Do at least `share` of the votes that were cast say yes? Not when none was. Exact: no rounding at the edge."""
    if not 0 < share <= 1:
        raise ConfigError(f"share = {share}: above 0, at most 1")
    cast = [vote for vote in votes if vote is not None]
    return bool(cast) and sum(cast) >= Fraction(share).limit_denominator(10_000) * len(cast)


def accepted(inputs: Sequence[Input], validators: Sequence[Validator], share: float = SHARE) -> list[Input]:
    """The inputs that enough of `validators`, functions one trusts, call valid."""
    return [one for one in inputs if agreed([validator(one.text) for validator in validators], share)]


def accepted_by_programs(
    runner: Runner, inputs: Sequence[Input], validators: Sequence[str], share: float = SHARE
) -> list[Input]:
    """The inputs that enough of `validators` call valid: programs that read the input and print valid, yes, ok, true or 1."""
    outputs = _run(runner, [Run(code, one.text) for one in inputs for code in validators])
    votes = [verdict(output) for output in outputs]
    width = len(validators)
    return [one for i, one in enumerate(inputs) if agreed(votes[i * width : (i + 1) * width], share)]


def verdict(output: Output) -> bool | None:
    """What a validator's output says; None when it could not be run."""
    return None if output.status == "infra" else output.status == "ok" and output.text.strip().lower() in _YES


def with_outputs(runner: Runner, programs: Sequence[Program], inputs: Sequence[Input]) -> list[Program]:
    """The programs with their outputs on `inputs` beside those they have; each different code runs once."""
    codes = list(dict.fromkeys(program.code for program in programs))
    outputs = iter(_run(runner, [Run(code, one.text) for code in codes for one in inputs]))
    did = {code: {one.id: next(outputs) for one in inputs} for code in codes}
    return [replace(program, outputs={**program.outputs, **did[program.code]}) for program in programs]


class Box(Protocol):
    """What of a sandbox is needed here."""

    def run(self, jobs: Sequence[Job]) -> Sequence[Result]:
        """One result per job, in order."""
        ...


def boxed(box: Box, limits: Limits = Limits()) -> Runner:
    """A runner that runs programs in a sandbox, standard input to standard output; every limit reached is an error."""

    def runner(runs: Sequence[Run]) -> list[Output]:
        results = box.run([Job(run.code, "stdin", stdin=run.stdin, limits=limits) for run in runs])
        return [read(result) for result in results]

    def read(result: Result) -> Output:
        if result.status == "ok":
            return Output("ok", result.stdout)
        return Output("infra" if result.status == "infra" else "error")

    return runner


def _run(runner: Runner, runs: Sequence[Run]) -> list[Output]:
    outputs = list(runner(runs)) if runs else []
    if len(outputs) != len(runs):
        raise WorkError(f"the runner returned {len(outputs)} outputs for {len(runs)} runs")
    return outputs
