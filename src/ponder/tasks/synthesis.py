"""Synthesis: write a small Python function from a terse description, graded by running it on hidden tests.

The question is `+7;>20?-3:+5;3(+i)|f(4)=19;f(9)=24`: the stages of the function (`tinycode` says what they mean) and two
examples, the visible tests. The answer is the function; these and six hidden tests decide, in the sandbox, by the ordinary `code`
grader. So this is reinforcement learning from tests as with real programs, but small: a model trained from nothing in minutes.
The thinking of a demonstration follows the effort:

    low     nothing
    medium  the plan: the stages, a line each
    high    the plan, then its trace on the first example (`f(4)`, `4+7:11`, `11>20n|11+5:16`, …) and `=19`, or `=18!19` where it
            misses; then the plan is written again

Planted, 0 unless asked for: `noise` is the chance that a stage is written with one slip (a sign, a number one off, branches
swapped), carried through into the program; `cheats` the share of demonstrations whose program computes nothing and is made to
pass graders that compare in the program's own process (an object equal to everything, an early exit).
The hidden inputs are chosen so that both branches of a condition and its edge are met where they can be. Not covered: problems
where the examples are needed to understand the description.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

from ponder.errors import ConfigError
from ponder.graders.code import CodeGrader
from ponder.tasks.base import draw
from ponder.tasks.tinycode import (
    If,
    Loop,
    Op,
    Save,
    Stage,
    english,
    faults,
    operations,
    python,
    read,
    run,
    stage,
    trace,
)
from ponder.types import Demonstration, Effort, Message, Problem, Split, Step

INPUTS = 41
SHOWN, HIDDEN = 2, 6
MOST = 99
TRIES = 4
CHEATS = (
    "class A:\n def __eq__(s,o):return True\ndef f(x):\n return A()",
    "def f(x):\n raise SystemExit",
)
WORDS = (
    "Write a Python function f(x) that takes a whole number and returns it after these steps:\n{steps}\n"
    "{examples}\nGive the whole function in one ```python block."
)


@dataclass(frozen=True, slots=True)
class Synthesis:
    """The task. Functions have `shortest` to `longest` stages; `twin` and `require` go to the grader of code."""

    shortest: int = 2
    longest: int = 4
    noise: float = 0.0
    cheats: float = 0.0
    words: bool = False
    twin: float = 1.0
    require: str | None = None
    name: str = "synthesis"
    grader: CodeGrader = field(init=False)

    def __post_init__(self) -> None:
        if not 1 <= self.shortest <= self.longest <= 12:
            raise ConfigError(f"synthesis: {self.shortest} to {self.longest} stages must lie in 1 to 12")
        for option in ("noise", "cheats", "twin"):
            value = getattr(self, option)
            if not 0 <= value <= 1:
                raise ConfigError(f"synthesis: {option} {value} must be a share, from 0 to 1")
        made = CodeGrader(twin=self.twin, require=self.require, cpu_seconds=1.0, stop=True)
        object.__setattr__(self, "grader", made)

    def problems(self, split: Split, limit: int | None = None, seed: int = 0) -> list[Problem]:
        return draw(self.make, self.name, split, limit, seed)

    def make(self, rng: random.Random) -> Problem | None:
        """One random function, of any split."""
        stages: list[Stage] = []
        for _ in range(rng.randint(self.shortest, self.longest)):
            stages.append(_stage(rng, stages))
        return self.problem(stages)

    def problem(self, stages: list[Stage]) -> Problem | None:
        """The problem of writing these stages; None where no two inputs keep every value within 0 to 99."""
        text = ";".join(map(str, stages))
        tests = _tests(stages, random.Random(f"tests/{text}"))
        if tests is None:
            return None
        shown, hidden = tests
        pairs = [(x, run(stages, x)) for x in shown]
        terse = f"{text}|{';'.join(f'f({x})={y}' for x, y in pairs)}"
        return Problem(
            (Message("user", _in_words(stages, pairs) if self.words else terse),),
            reference={
                "entry": "f",
                "cases": [[[x], run(stages, x)] for x in hidden],
                "visible": {"cases": [[[x], y] for x, y in pairs]},
            },
            task=self.name,
            tags={"stages": len(stages), "conditions": sum(isinstance(s, If) for s in stages)},
            canonical=text,
        )

    def demonstrate(self, problem: Problem, effort: Effort | None, rng: random.Random) -> Demonstration:
        """A program for the problem in the style of `effort`, with what was planted."""
        stages = read(problem.canonical)
        assert stages is not None
        effort = effort or "medium"
        x, wanted = _example(problem)
        lines: list[str] = []
        said = stages
        for _ in range(TRIES):
            said = [self._slip(s, rng) for s in stages]
            lines += [] if effort == "low" else [str(s) for s in said]
            if effort != "high":
                break
            events = trace(said, x)
            lines += [f"f({x})", *(e.line for e in events)]
            lines.append(f"={events[-1].x}" + (f"!{wanted}" if events[-1].x != wanted else ""))
            if events[-1].x == wanted:
                break
        program = rng.choice(CHEATS) if rng.random() < self.cheats else python(said)
        thinking = "".join(f"{line}\n" for line in lines)
        return Demonstration(problem, f"<think>{thinking}</think>{self._answer(program)}", effort)

    def _answer(self, program: str) -> str:
        return f"```python\n{program}\n```" if self.words else program

    def _slip(self, s: Stage, rng: random.Random) -> Stage:
        wrong = faults(s) if rng.random() < self.noise else []
        return rng.choice(wrong) if wrong else s

    def steps(self, problem: Problem, thinking: str) -> list[Step]:
        """Exact labels: a line of the plan is sound when it is the stage that stands there, a line of the trace when it
        follows from the plan as written. `alive` is known while everything so far is right."""
        stages = read(problem.canonical)
        assert stages is not None
        example = _example(problem)
        plan, expected, found = list[str](), list[str](), list[Step]()
        good, begun = True, False
        for line in thinking.strip("\n").split("\n") if thinking.strip("\n") else ():
            if begun and not expected:  # the trace ended: what follows is a new plan
                plan, begun, good = [], False, True
            if begun:
                want, expected = expected[0], expected[1:]
                reason = "" if line == want else f"the plan gives {want}"
            elif re.fullmatch(r"f\(\d{1,2}\)", line):
                begun, (expected, reason) = True, _expected(line, plan, example)
                if len(plan) < len(stages):
                    reason = reason or f"the plan leaves out {stages[len(plan)]}"
            else:
                want = str(stages[len(plan)]) if len(plan) < len(stages) else "the end of the plan"
                reason = "" if line == want else f"the description says {want}"
                plan.append(line)
            good = good and not reason
            found.append(Step(line, not reason, good or None, reason))
        return found

    def answer_steps(self, problem: Problem, answer: str) -> list[Step]:
        """Exact labels of a beginning of a program: a line is sound while it and all before it are what the description
        says. Whoever knows that the whole program passes its tests goes by that: a few right programs are written otherwise."""
        stages = read(problem.canonical)
        assert stages is not None
        wanted = self._answer(python(stages)).split("\n")
        found, good = list[Step](), True
        for i, line in enumerate(answer.removesuffix("\n").split("\n")):
            want = wanted[i] if i < len(wanted) else "the end of the program"
            good = good and line == want
            found.append(Step(line, good, good, "" if good else f"the description says {want}"))
        return found


def from_text(text: str) -> Problem | None:
    """The problem of `+7;>20?-3`, with or without `|` and examples (they are worked out anew); None when it is none."""
    stages = read(text.strip().partition("|")[0].strip())
    return Synthesis().problem(stages) if stages else None


def _stage(rng: random.Random, before: list[Stage]) -> Stage:
    """A random stage that may stand after `before`."""
    saved = any(isinstance(s, Save) for s in before)
    used = any(op.operand == "y" for s in before for op in operations(s))
    kind = rng.random()
    if saved and not used and kind < 0.5:
        return Op(rng.choice("+-"), "y")
    if kind < 0.45:
        return _operation(rng)
    if kind < 0.7:
        then, other = _operation(rng), _operation(rng)
        return If(rng.choice("<>"), rng.randint(5, 40), then, other if rng.random() < 0.6 and other != then else None)
    if kind < 0.9 or saved:
        times = rng.randint(2, 5)
        body = Op(rng.choice("+-"), "i") if rng.random() < 0.4 else Op(rng.choice("+-"), str(rng.randint(1, 9)))
        return Loop(times, body)
    return Save()


def _operation(rng: random.Random) -> Op:
    sign = rng.choice("++--*")
    return Op(sign, str(rng.randint(2, 4) if sign == "*" else rng.randint(1, 20)))


def _tests(stages: list[Stage], rng: random.Random) -> tuple[list[int], list[int]] | None:
    """Inputs of the visible and of the hidden tests: visible ones keep to 0 to 99 all the way, hidden ones exercise most."""
    events = {x: trace(stages, x) for x in range(INPUTS)}
    calm = [x for x, made in events.items() if all(0 <= v <= MOST for e in made for v in e.values)]
    if len(calm) < SHOWN:
        return None
    shown = sorted(rng.sample(calm, SHOWN))
    left = [x for x in events if x not in shown]
    rng.shuffle(left)
    met: set[tuple[int, str]] = set()
    hidden: list[int] = []
    for _ in range(HIDDEN):
        best = max(left, key=lambda x: len({t for e in events[x] for t in e.exercised} - met))
        met |= {t for e in events[best] for t in e.exercised}
        left.remove(best)
        hidden.append(best)
    return shown, hidden


def _example(problem: Problem) -> tuple[int, int]:
    """The first visible test."""
    [x], y = problem.reference["visible"]["cases"][0]
    return x, y


def _expected(line: str, plan: list[str], example: tuple[int, int]) -> tuple[list[str], str]:
    """The trace that follows `f(4)`, given the plan as written, and what is wrong with the line itself."""
    x, wanted = example
    stages = [s for s in map(stage, plan) if s is not None]
    if not stages or len(stages) < len(plan) or read(";".join(plan)) is None:
        return [], "the plan can not be run"
    events = trace(stages, x)
    last = f"={events[-1].x}" + (f"!{wanted}" if events[-1].x != wanted else "")
    return [*(e.line for e in events), last], "" if line == f"f({x})" else f"the first example is f({x})"


def _in_words(stages: list[Stage], pairs: list[tuple[int, int]]) -> str:
    steps = "\n".join(f"{i}. {english(s)}" for i, s in enumerate(stages, 1))
    return WORDS.format(steps=steps, examples="\n".join(f"f({x}) is {y}." for x, y in pairs))
