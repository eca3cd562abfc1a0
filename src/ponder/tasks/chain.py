"""Chain: straight-line programs over the whole numbers 0 to 99, every line checkable.

A program is statements like `a=3+4;b=a*2;c=b-a?c`. The thinking evaluates them in order. Its style follows the effort:

    low     b=a7*2:B14                substituted and computed
    medium  b=a*2|a7*2:B14            statement copied, substituted, computed
    high    b=a*2|a7*2:B14~2*7=14     and checked by another computation; a failed check writes the line again

A value is written right behind its name, `B14` where it is made (the capital stands nowhere else) and `b14` where it is used:
looking a variable up is then one step of attention, and so is looking a statement up, since `b=` is one token.

Values stay in 0 to 99 instead of a modulus, so each line is ordinary arithmetic and guessing the answer is worth about
2 %. Variables are looked up from the line before (near) and from anywhere earlier (far) equally often.
`noise` corrupts a share of the demonstrated results, carried forward consistently: a planted weakness, 0 unless asked for.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from ponder.errors import ConfigError
from ponder.tasks.base import draw, grade_integer
from ponder.tasks.expression import Binary, Node, Number, apply, parse
from ponder.types import Completion, Demonstration, Effort, Grade, Message, Problem, Split, Step

NAMES = "abcdefghijklmnopqrstuvwxyz"
HIGHEST_VALUE = 99


@dataclass(frozen=True, slots=True)
class Statement:
    """`name = left op right`; an operand is a variable name or a number."""

    name: str
    left: str
    op: str
    right: str

    def __str__(self) -> str:
        return f"{self.name}={self.left}{self.op}{self.right}"


class ChainGrader:
    """Compares whole numbers."""

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        return grade_integer(problem, completion)

    def key(self, answer: str) -> str | None:
        """Answers with the same key are the same answer in a vote; None abstains."""
        text = answer.strip()
        return str(int(text)) if text.isdecimal() and len(text) < 40 else None


@dataclass(frozen=True, slots=True)
class Chain:
    """The task. Programs have `shortest` to `longest` statements."""

    shortest: int = 3
    longest: int = 7
    noise: float = 0.0
    far: float = 0.5
    words: bool = False
    name: str = "chain"

    def __post_init__(self) -> None:
        if not 1 <= self.shortest <= self.longest <= len(NAMES):
            raise ConfigError(f"chain: lengths {self.shortest} to {self.longest} must lie in 1 to {len(NAMES)}")
        if not 0 <= self.noise < 1:
            raise ConfigError(f"chain: noise {self.noise} must be at least 0 and below 1")

    @property
    def grader(self) -> ChainGrader:
        return ChainGrader()

    def problems(self, split: Split, limit: int | None = None, seed: int = 0) -> list[Problem]:
        return draw(self.make, self.name, split, limit, seed)

    def make(self, rng: random.Random) -> Problem | None:
        """One random program, of any split."""
        names = rng.sample(NAMES, rng.randint(self.shortest, self.longest))
        program: list[Statement] = []
        values: dict[str, int] = {}
        for name in names:
            statement = _statement(name, [s.name for s in program], values, self.far, rng)
            if statement is None:
                return None
            program.append(statement)
            values[name] = evaluate(statement, values)
        return self.problem(program)

    def problem(self, program: list[Statement]) -> Problem:
        """The problem of finding the last variable's value."""
        values = run(program)
        text = f"{';'.join(map(str, program))}?{program[-1].name}"
        shown = f"Evaluate this program and put the value of {program[-1].name} in \\boxed{{}}:\n" + "\n".join(
            map(str, program)
        )
        return Problem(
            (Message("user", shown if self.words else text),),
            reference=values[program[-1].name],
            task=self.name,
            tags={"lines": len(program), "far": sum(_distance(program, i) > 1 for i in range(len(program)))},
            canonical=text,
        )

    def demonstrate(self, problem: Problem, effort: Effort | None, rng: random.Random) -> Demonstration:
        """The program evaluated line by line in the style of `effort`."""
        program = read(problem.canonical)
        assert program is not None
        values: dict[str, int] = {}
        lines: list[str] = []
        for statement in program:
            for _ in range(4):
                values[statement.name], line, sure = self._line(statement, values, effort or "medium", rng)
                lines.append(line)
                if sure:
                    break
        return Demonstration(problem, f"<think>{chr(10).join(lines)}\n</think>{values[program[-1].name]}", effort)

    def _line(self, s: Statement, values: dict[str, int], effort: Effort, rng: random.Random) -> tuple[int, str, bool]:
        left, right = (values[o] if o in values else int(o) for o in (s.left, s.right))
        true = apply(s.op, left, right)
        value = rng.randint(0, HIGHEST_VALUE) if rng.random() < self.noise else max(0, min(HIGHEST_VALUE, true))
        work = f"{_shown(s.left, values)}{s.op}{_shown(s.right, values)}"
        copied = "" if effort == "low" or work == f"{s.left}{s.op}{s.right}" else f"{s.left}{s.op}{s.right}|"
        line = f"{s.name}={copied}{work}:{s.name.upper()}{value}"
        if effort != "high":
            return value, line, True
        check, expected = _check(s.op, left, right, value)
        return value, f"{line}~{check}", expected

    def steps(self, problem: Problem, thinking: str) -> list[Step]:
        """Exact labels: a line is sound when it follows its statement and the values written before it."""
        program = read(problem.canonical)
        assert program is not None
        true, said = run(program), {}
        statements = {s.name: s for s in program}
        return [_label(line, statements, said, true) for line in thinking.strip("\n").split("\n")]


def read(text: str) -> list[Statement] | None:
    """The statements of `a=3+4;b=a*2?b`, or None when it is not such a program (unknown or repeated names, long text)."""
    if len(text) > 600:
        return None
    body, _, asked = text.replace(" ", "").partition("?")
    program: list[Statement] = []
    for part in body.strip(";").split(";"):
        match = re.fullmatch(r"([a-z])=([a-z]|\d{1,2})([-+*])([a-z]|\d{1,2})", part)
        if match is None:
            return None
        known = {s.name for s in program}
        if match[1] in known or any(o.isalpha() and o not in known for o in (match[2], match[4])):
            return None
        program.append(Statement(match[1], match[2], match[3], match[4]))
    return program if program and asked in ("", program[-1].name) else None


def evaluate(statement: Statement, values: dict[str, int]) -> int:
    left, right = (values[o] if o in values else int(o) for o in (statement.left, statement.right))
    return apply(statement.op, left, right)


def run(program: list[Statement]) -> dict[str, int]:
    """The value of every variable."""
    values: dict[str, int] = {}
    for statement in program:
        values[statement.name] = evaluate(statement, values)
    return values


def compile_expression(text: str) -> list[Statement] | None:
    """`(3+4)*5-6` as a program, or None when it is no expression, has no operation or leaves 0 to 99 on the way."""
    tree = parse(text)
    if not isinstance(tree, Binary):
        return None
    program: list[Statement] = []
    stack: list[str] = []
    todo: list[Node | str] = [tree]
    while todo:
        top = todo.pop()
        if isinstance(top, Number):
            stack.append(str(top.value))
        elif isinstance(top, Binary):
            todo += [top.op, top.right, top.left]
        else:
            if len(program) == len(NAMES):
                return None
            right, left = stack.pop(), stack.pop()
            program.append(Statement(NAMES[len(program)], left, top, right))
            stack.append(program[-1].name)
    numbers = [int(o) for s in program for o in (s.left, s.right) if o.isdigit()]
    return program if all(0 <= v <= HIGHEST_VALUE for v in [*run(program).values(), *numbers]) else None


def _statement(
    name: str, earlier: list[str], values: dict[str, int], far: float, rng: random.Random
) -> Statement | None:
    for _ in range(40):
        op = rng.choice("+-*")
        if earlier:
            near_or_far = rng.choice(earlier) if rng.random() < far else earlier[-1]
            other = rng.choice(earlier) if rng.random() < 0.4 else str(rng.randint(1, 20))
            left, right = (near_or_far, other) if rng.random() < 0.6 else (other, near_or_far)
        else:
            left, right = str(rng.randint(1, 30)), str(rng.randint(1, 20))
        statement = Statement(name, left, op, right)
        if left != right and 1 <= evaluate(statement, values) <= HIGHEST_VALUE:
            return statement
    return None


def _shown(operand: str, values: dict[str, int]) -> str:
    return f"{operand}{values[operand]}" if operand in values else operand


def _check(op: str, left: int, right: int, value: int) -> tuple[str, bool]:
    """A second computation of `left op right = value`, and whether it agrees."""
    if op == "-":
        back = min(HIGHEST_VALUE, value + right)
        return f"{value}+{right}={back}", back == left
    again = apply(op, right, left)
    return f"{right}{op}{left}={again}", again == value


def _distance(program: list[Statement], at: int) -> int:
    names = [s.name for s in program[:at]]
    used = [names.index(o) for o in (program[at].left, program[at].right) if o in names]
    return at - min(used) if used else 0


_LINE = re.compile(
    r"(?P<name>[a-z])=(?:(?P<copied>(?:[a-z]|\d{1,2})[-+*](?:[a-z]|\d{1,2}))\|)?"
    r"(?P<left>[a-z]?\d{1,2})(?P<op>[-+*])(?P<right>[a-z]?\d{1,2}):(?P<capital>[A-Z])(?P<value>\d{1,2})"
    r"(?:~(?P<a>\d{1,2})(?P<check>[-+*])(?P<b>\d{1,2})=(?P<again>\d{1,2}))?"
)


def _label(line: str, statements: dict[str, Statement], said: dict[str, int], true: dict[str, int]) -> Step:
    match = _LINE.fullmatch(line)
    if match is None or match["name"] not in statements or match["capital"] != match["name"].upper():
        return Step(line, False, None, "not a line of this program")
    s, value, work = statements[match["name"]], int(match["value"]), f"{match['left']}{match['op']}{match['right']}"
    left, right = (int(match[side].lstrip(NAMES)) for side in ("left", "right"))
    reason = ""
    if match["copied"] not in (None, f"{s.left}{s.op}{s.right}"):
        reason = f"the statement is {s}"
    elif work != f"{_shown(s.left, said)}{s.op}{_shown(s.right, said)}":
        reason = f"substitutes {work} in {s}"
    elif apply(s.op, left, right) != value:
        reason = f"{left}{s.op}{right} is {apply(s.op, left, right)}"
    elif match["again"] and (check := apply(match["check"], int(match["a"]), int(match["b"]))) != int(match["again"]):
        reason = f"the check {match['a']}{match['check']}{match['b']} is {check}"
    said[s.name] = value
    return Step(line, not reason, value == true[s.name] or None, reason)
