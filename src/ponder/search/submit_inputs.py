"""Test inputs that nobody gave, and what programs do with them.

Inputs are made by a function, printed by programs that read a seed, or read out of a model's reply. One is accepted when at
least 75 % of the validators that could be run say it is valid (o1 at the IOI, arXiv 2502.06807); a validator that crashes has
not said so. Programs run elsewhere, through a `Runner`: model text never runs in this process, and what it prints is only ever
compared and stored. Not covered: whether inputs are hard enough to tell programs apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Protocol

from ponder.errors import ConfigError, WorkError
from ponder.sandbox.jobs import Job, Result
from ponder.search.submit import Output, Program
from ponder.search.submit_form import STDIN, Form
from ponder.types import content_hash

SHARE = 0.75
MOST = 256
LONGEST = 1 << 20
_FENCE = re.compile(r"^```[^\n`]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
_YES = frozenset({"valid", "yes", "ok", "true", "1"})


@dataclass(frozen=True, slots=True)
class Run:
    """One program to run on one input: what it reads, or the arguments it is called with (`submit_form`)."""

    code: str
    text: str


class Runner(Protocol):
    """Runs programs it does not trust. It never raises and never hangs for what a program does."""

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


@dataclass(slots=True)
class Boxed:
    """A runner in a sandbox. Every limit reached is an error, and nobody's time is wasted on a program that is always late.

    A program's runs come in growing waves; once it ran out of time `late` times, its further runs are not made and count as
    late. `whole`: outputs are kept as they are, however long. At most `batch` runs are asked of the sandbox together, which
    bounds memory at their outputs. `told` hears how many runs are settled.
    """

    box: Box
    form: Form = STDIN
    late: int = 3
    batch: int = 128
    whole: bool = False
    told: Callable[[int], None] | None = None

    def __call__(self, runs: Sequence[Run]) -> list[Output]:
        outputs: list[Output] = [Output("error")] * len(runs)
        waiting: dict[str, list[tuple[int, Job]]] = {}
        for place, run in enumerate(runs):
            job = self.form.job(run.code, run.text)
            if job is not None:
                waiting.setdefault(run.code, []).append((place, job))
        self._say(len(runs) - sum(map(len, waiting.values())))
        late = dict.fromkeys(waiting, 0)
        size = self.late
        while waiting:
            turn = [(code, place, job) for code, jobs in waiting.items() for place, job in jobs[:size]]
            for start in range(0, len(turn), self.batch):
                part = turn[start : start + self.batch]
                for (code, place, _), result in zip(part, self._results([job for *_, job in part]), strict=True):
                    outputs[place] = self.form.output(result, self.whole)
                    late[code] += outputs[place].status == "timeout"
                self._say(len(part))
            for code in list(waiting):
                rest = waiting[code][size:]
                if late[code] >= self.late:
                    for place, _ in rest:
                        outputs[place] = Output("timeout")
                    self._say(len(rest))
                    rest = []
                waiting[code] = rest
                if not rest:
                    del waiting[code]
            size *= 4
        return outputs

    def _results(self, jobs: Sequence[Job]) -> Sequence[Result]:
        results = self.box.run(jobs)
        if len(results) != len(jobs):
            raise WorkError(f"the sandbox gave {len(results)} results for {len(jobs)} runs")
        return results

    def _say(self, count: int) -> None:
        if self.told is not None and count:
            self.told(count)


def _run(runner: Runner, runs: Sequence[Run]) -> list[Output]:
    outputs = list(runner(runs)) if runs else []
    if len(outputs) != len(runs):
        raise WorkError(f"the runner returned {len(outputs)} outputs for {len(runs)} runs")
    return outputs
