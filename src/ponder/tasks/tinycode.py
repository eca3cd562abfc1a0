"""A tiny language of programs over one whole number x: read, run, traced, spelt as Python, in words, and with one fault.

    *3            x=x*3                             an operand is a number, y, or i inside a loop
    y=x           remember x as y
    >20?-3:+5     if x>20: x=x-3, else x=x+5        the else may be missing
    3(+i)         for i in range(3): x=x+i

A program is a few such stages between `;`. Text is read with regular expressions and run by this module: nothing is evaluated.
Not covered: several inputs, nested stages, loops whose end depends on x; so every program ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

LONGEST = 400
SIGNS = {"+": "add", "-": "subtract", "*": "multiply by"}
_OP = r"([-+*])([1-9]\d?|[yi])"
_STAGE = re.compile(rf"(?P<op>{_OP})|(?P<save>y=x)|([<>])(\d{{1,2}})\?{_OP}(?::{_OP})?|([2-9])\({_OP}\)")


@dataclass(frozen=True, slots=True)
class Op:
    """x = x `sign` `operand`."""

    sign: str
    operand: str

    def __str__(self) -> str:
        return self.sign + self.operand

    def apply(self, x: int, names: dict[str, int]) -> int:
        by = names[self.operand] if self.operand in names else int(self.operand)
        return x + by if self.sign == "+" else x - by if self.sign == "-" else x * by


@dataclass(frozen=True, slots=True)
class Save:
    """y = x."""

    def __str__(self) -> str:
        return "y=x"


@dataclass(frozen=True, slots=True)
class If:
    """`then` where x `sign` `bound` holds, else `other`."""

    sign: str
    bound: int
    then: Op
    other: Op | None = None

    def __str__(self) -> str:
        return f"{self.sign}{self.bound}?{self.then}" + (f":{self.other}" if self.other else "")

    def holds(self, x: int) -> bool:
        return x > self.bound if self.sign == ">" else x < self.bound


@dataclass(frozen=True, slots=True)
class Loop:
    """`body`, `times` times, i counting from 0."""

    times: int
    body: Op

    def __str__(self) -> str:
        return f"{self.times}({self.body})"


Stage = Op | Save | If | Loop


@dataclass(frozen=True, slots=True)
class Event:
    """What one stage did: its trace in words of the language, x afterwards, every value on the way, what was exercised."""

    line: str
    x: int
    values: tuple[int, ...]
    exercised: frozenset[tuple[int, str]]


def read(text: str) -> list[Stage] | None:
    """The stages of `+7;>20?-3:+5`; None when it is no program of this language, or uses y or i where there is none."""
    if not text or len(text) > LONGEST:
        return None
    found = [stage(part) for part in text.split(";")]
    known = [s for s in found if s is not None]
    return known if len(known) == len(found) and sound(known) else None


def stage(text: str) -> Stage | None:
    """One stage, None when it is none."""
    match = _STAGE.fullmatch(text)
    if match is None:
        return None
    _, sign, operand, _, than, bound, then, left, other, right, times, body, by = match.groups()
    if sign:
        return Op(sign, operand)
    if than:
        return If(than, int(bound), Op(then, left), Op(other, right) if other else None)
    return Loop(int(times), Op(body, by)) if times else Save()


def sound(stages: Sequence[Stage]) -> bool:
    """Whether y is remembered before it is used, and i is used in loops alone."""
    known = False
    for s in stages:
        if isinstance(s, Save):
            known = True
        used = {op.operand for op in operations(s)}
        if ("y" in used and not known) or ("i" in used and not isinstance(s, Loop)):
            return False
    return True


def operations(s: Stage) -> list[Op]:
    """The operations in a stage."""
    if isinstance(s, Op):
        return [s]
    if isinstance(s, If):
        return [s.then, s.other] if s.other else [s.then]
    return [s.body] if isinstance(s, Loop) else []


def run(stages: Sequence[Stage], x: int) -> int:
    """What the program returns for x; `KeyError` never, where `sound` holds."""
    return trace(stages, x)[-1].x


def trace(stages: Sequence[Stage], x: int) -> list[Event]:
    """What each stage does to x."""
    names: dict[str, int] = {}
    events: list[Event] = []
    for at, s in enumerate(stages):
        event = _step(s, at, x, names)
        if isinstance(s, Save):
            names["y"] = x
        events.append(event)
        x = event.x
    return events


def _step(s: Stage, at: int, x: int, names: dict[str, int]) -> Event:
    if isinstance(s, Save):
        return Event(f"y{x}", x, (x,), frozenset())
    if isinstance(s, Loop):
        lines, values = list[str](), list[int]()
        for i in range(s.times):
            x, line = _apply(s.body, x, {**names, "i": i})
            lines.append(line)
            values.append(x)
        return Event(",".join(lines), x, tuple(values), frozenset())
    if isinstance(s, Op):
        after, line = _apply(s, x, names)
        return Event(line, after, (after,), frozenset())
    held = s.holds(x)
    taken = s.then if held else s.other
    after, line = _apply(taken, x, names) if taken else (x, "")
    edge = {(at, f"edge {x - s.bound:+d}")} if abs(x - s.bound) <= 1 else set[tuple[int, str]]()
    text = f"{x}{s.sign}{s.bound}{'y' if held else 'n'}" + (f"|{line}" if line else "")
    return Event(text, after, (after,), frozenset({(at, str(held)), *edge}))


def _apply(op: Op, x: int, names: dict[str, int]) -> tuple[int, str]:
    after = op.apply(x, names)
    return after, f"{x}{op.sign}{names.get(op.operand, op.operand)}:{after}"


def python(stages: Sequence[Stage]) -> str:
    """The program as a Python function f."""
    lines = ["def f(x):"]
    for s in stages:
        if isinstance(s, Op):
            lines.append(f" x=x{s}")
        elif isinstance(s, Save):
            lines.append(" y=x")
        elif isinstance(s, Loop):
            lines += [f" for i in range({s.times}):", f"  x=x{s.body}"]
        else:
            lines += [f" if x{s.sign}{s.bound}:", f"  x=x{s.then}"]
            lines += [" else:", f"  x=x{s.other}"] if s.other else []
    return "\n".join([*lines, " return x"])


def english(s: Stage) -> str:
    """A stage for models that were not trained on the terse notation."""
    if isinstance(s, Op):
        return f"{SIGNS[s.sign]} {s.operand}"
    if isinstance(s, Save):
        return "remember the number as y"
    if isinstance(s, Loop):
        each = f"for i from 0 to {s.times - 1}" if s.body.operand == "i" else f"{s.times} times"
        return f"{each}: {english(s.body)}"
    than = "above" if s.sign == ">" else "below"
    return f"if the number is {than} {s.bound}: {english(s.then)}" + (f"; else: {english(s.other)}" if s.other else "")


def faults(s: Stage) -> list[Stage]:
    """The stages that differ from `s` by one slip: a sign, a number one off, branches swapped, a turn more or less."""
    if isinstance(s, Save):
        return []
    if isinstance(s, Op):
        found = [replace(s, sign=sign) for sign in SIGNS if sign != s.sign]
        if s.operand.isdigit():
            found += [replace(s, operand=str(n)) for n in (int(s.operand) - 1, int(s.operand) + 1) if 1 <= n <= 99]
        return list(found)
    if isinstance(s, Loop):
        turns: list[Stage] = [replace(s, times=n) for n in (s.times - 1, s.times + 1) if 2 <= n <= 9]
        return turns + [replace(s, body=body) for body in faults(s.body) if isinstance(body, Op)]
    slips: list[Stage] = [replace(s, sign="<" if s.sign == ">" else ">")]
    slips += [replace(s, bound=n) for n in (s.bound - 1, s.bound + 1) if 0 <= n <= 99]
    slips += [replace(s, then=op) for op in faults(s.then) if isinstance(op, Op)]
    if s.other:
        slips += [replace(s, other=op) for op in faults(s.other) if isinstance(op, Op)]
        slips += [replace(s, then=s.other, other=s.then)] if s.other != s.then else []
    return slips
