"""The text that a miniature base model is pretrained on: drills and worked problems, generated, endless, deterministic.

A document is a list of pieces `(text, trainable)`: what is random (operands, problems) is read, what follows from it is
learned. Kinds of document:

    facts       12+7=19;30-4=26;…                  all sums, differences and products within 0 to 99
    copy        k7m|k7m and k,7,31|k,7,31          carrying text over
    recall      a7k31c9?k31a7                      what was written right behind a name,
                y=16-f;k=2+y?k=2+y;                a statement by its name,
                a=k+c;k=2*9?:A7:K31?k-a|k31-a7;    values of names that stand in statements as well
    compare     12?19:<;7?7:=;40?3:>               order of numbers
    left        3,7,12:7+3=10:10,12                what is left after a move (countdown's bookkeeping)
    legal       47,68:-;7,3:+-*;                   the operations that keep to 1 to 99 (countdown's rule)
    chain, countdown, arithmetic                   worked train-split problems of the tasks, one style per document
    wide                                           countdown where many moves would leave 1 to 99: numbers up to 99,
                                                   equal ones, openings that leave two numbers at the edge

Worked problems are conversations with the effort of their style, `<|user|>problem<|low|><|assistant|><think>work</think>
answer`: a base model of this size needs to have met the tokens that the cold start is going to use. Document `i` is a
pure function of (mixture, seed, i).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from ponder.errors import unknown
from ponder.tasks.arithmetic import Arithmetic
from ponder.tasks.chain import Chain
from ponder.tasks.countdown import Countdown, moves, reachable
from ponder.tasks.expression import apply
from ponder.types import EFFORTS, Effort, Problem

Pieces = list[tuple[str, bool]]
HIGHEST = 99


def document(mixture: Mapping[str, float], seed: int, index: int) -> Pieces:
    """Document `index` of the stream: its kind drawn by the weights of `mixture`."""
    rng = random.Random(f"corpus/{seed}/{index}")
    check(mixture)
    kind = rng.choices(list(mixture), list(mixture.values()))[0]
    return KINDS[kind](rng)


def check(mixture: Mapping[str, float]) -> None:
    """ConfigError for a kind of document that does not exist."""
    for kind in mixture:
        if kind not in KINDS:
            raise unknown("kind of document", kind, KINDS)


@cache
def all_facts() -> dict[str, list[tuple[int, int]]]:
    """For each operation, the operand pairs whose result lies in 0 to 99."""
    pairs = [(a, b) for a in range(HIGHEST + 1) for b in range(HIGHEST + 1)]
    return {op: [(a, b) for a, b in pairs if 0 <= apply(op, a, b) <= HIGHEST] for op in "+-*"}


def facts(rng: random.Random) -> Pieces:
    table = all_facts()
    pieces: Pieces = []
    for _ in range(12):
        op = rng.choice("++--*")
        a, b = rng.choice(table[op])
        if op == "*" and rng.random() < 0.5:
            a, b = rng.choice([p for p in ((rng.randint(2, 12), rng.randint(2, 12)), (a, b)) if p[0] * p[1] <= HIGHEST])
        pieces += [(f"{a}{op}{b}=", False), (f"{apply(op, a, b)};", True)]
    return pieces


def copy(rng: random.Random) -> Pieces:
    """Letters and numbers, side by side (at most two digits together, so that tokens stay apart) or with commas."""
    words = [rng.choice([str(rng.randint(0, HIGHEST)), chr(rng.randint(97, 122))]) for _ in range(rng.randint(2, 14))]
    if rng.random() < 0.5:
        text = ",".join(words)
    else:
        text = "".join(w if w.isalpha() else chr(rng.randint(97, 122)) + w for w in words)
    return [(f"{text}|", False), (f"{text}\n", True)]


def recall(rng: random.Random) -> Pieces:
    """Three drills: values by name, statements by name, values put into expressions."""
    names = rng.sample("abcdefghijklmnopqrstuvwxyz", rng.randint(2, 9))
    values = {name: rng.randint(0, HIGHEST) for name in names}
    asked = rng.sample(names, len(names))
    kind = rng.random()
    if kind < 0.2:
        pieces: Pieces = [("".join(f"{n}{v}" for n, v in values.items()) + "?", False)]
        for name in asked:
            pieces += [(name, False), (str(values[name]), True)]
        return pieces
    right_sides = {n: f"{_operand(names, rng)}{rng.choice('+-*')}{_operand(names, rng)}" for n in names}
    statements = ";".join(f"{n}={r}" for n, r in right_sides.items())
    if kind < 0.4:
        pieces = [(f"{statements}?", False)]
        for name in asked:
            pieces += [(f"{name}=", False), (f"{right_sides[name]};", True)]
        return pieces
    pieces = [(f"{statements}?{''.join(f':{n.upper()}{v}' for n, v in values.items())}?", False)]
    for _ in range(6):
        left, op, right = _operand(names, rng), rng.choice("+-*"), _operand(names, rng)
        shown = op.join(f"{o}{values[o]}" if o in values else o for o in (left, right))
        pieces += [(f"{left}{op}{right}|", False), (f"{shown};", True)]
    return pieces


def _operand(names: list[str], rng: random.Random) -> str:
    return rng.choice(names) if rng.random() < 0.7 else str(rng.randint(1, 30))


def compare(rng: random.Random) -> Pieces:
    pieces: Pieces = []
    for _ in range(10):
        a = rng.randint(0, HIGHEST)
        b = a if rng.random() < 0.2 else rng.randint(0, HIGHEST)
        pieces += [(f"{a}?{b}:", False), ("<;" if a < b else ">;" if a > b else "=;", True)]
    return pieces


def left(rng: random.Random) -> Pieces:
    pieces: Pieces = []
    while len(pieces) < 8:
        numbers = [rng.randint(1, 40) for _ in range(rng.randint(3, 4))]
        options = moves(tuple(sorted(numbers)))
        if options:
            move = rng.choice(options)
            shown = ",".join(map(str, numbers))
            pieces += [
                (f"{shown}:{move.left}{move.op}{move.right}=", False),
                (f"{move.value}:{','.join(map(str, move.rest))}\n", True),
            ]
    return pieces


def legal(rng: random.Random) -> Pieces:
    pieces: Pieces = []
    for _ in range(10):
        a, b = (rng.randint(1, rng.choice((12, 50, HIGHEST))) for _ in range(2))
        found = {move.op for move in moves((min(a, b), max(a, b)))}
        pieces += [(f"{a},{b}:", False), (f"{''.join(op for op in '+-*' if op in found)};", True)]
    return pieces


def _worked(task: Any, rng: random.Random) -> Pieces:
    problem: Problem | None = None
    while problem is None or problem.split != "train":
        problem = task.make(rng)
    effort = rng.choice(EFFORTS)
    return _conversation(problem, effort, task.demonstrate(problem, effort, rng).text)


def _conversation(problem: Problem, effort: Effort, text: str) -> Pieces:
    return [(f"<|user|>{problem.text}<|{effort}|><|assistant|>", False), (text, True)]


def chain(rng: random.Random) -> Pieces:
    return _worked(Chain(shortest=1, longest=8), rng)


def countdown(rng: random.Random) -> Pieces:
    large = rng.random() < 0.7
    numbers, highest = ((2, 3, 3), 50) if large else ((3, 4, 4), 20)
    return _worked(Countdown(numbers=numbers, highest=highest, guidance=0.6), rng)


def wide(rng: random.Random) -> Pieces:
    """Half of them open with a move that leaves two numbers at the edge of what is legal."""
    task = Countdown(numbers=(2, 3), highest=HIGHEST, guidance=0.6)
    edge, opening = rng.random() < 0.5, None
    while True:
        given = [
            rng.randint(1, 50 if edge else rng.choice((50, HIGHEST))) for _ in range(3 if edge else rng.choice((2, 3)))
        ]
        if not edge and rng.random() < 0.25:
            given[1] = given[0]
        numbers = tuple(sorted(given))
        if edge:
            at_edge = [move for move in moves(numbers) if _at_edge(*move.rest)]
            opening = rng.choice(at_edge) if at_edge else None
        targets = reachable(numbers) - set(given)
        if targets and (opening or not edge):
            problem = task.problem(given, rng.choice(sorted(targets)))
            if problem.split == "train":
                effort = rng.choice(EFFORTS)
                return _conversation(problem, effort, task.demonstrate(problem, effort, rng, opening).text)


def _at_edge(a: int, b: int) -> bool:
    return a == b or 96 <= a + b <= 116 or 92 <= a * b <= 130


def arithmetic(rng: random.Random) -> Pieces:
    return _worked(Arithmetic(shortest=1), rng)


KINDS: dict[str, Callable[[random.Random], Pieces]] = {
    "facts": facts,
    "copy": copy,
    "recall": recall,
    "compare": compare,
    "left": left,
    "legal": legal,
    "chain": chain,
    "countdown": countdown,
    "wide": wide,
    "arithmetic": arithmetic,
}


def stream(mixture: Mapping[str, float], seed: int) -> Iterator[Pieces]:
    """Documents 0, 1, 2, … of (mixture, seed), forever."""
    return (document(mixture, seed, i) for i in itertools.count())
