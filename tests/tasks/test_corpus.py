"""The pretraining text: what it says is right, and worked problems come from the train split alone."""

from __future__ import annotations

import random
import re

import pytest

from ponder import tasks
from ponder.errors import ConfigError
from ponder.tasks import corpus
from ponder.tasks.chain import Chain
from ponder.tasks.countdown import Countdown, moves
from ponder.tasks.expression import apply


def test_documents_follow_from_their_number() -> None:
    mixture = dict.fromkeys(corpus.KINDS, 1.0)
    assert [corpus.document(mixture, 3, i) for i in range(50)] == [corpus.document(mixture, 3, i) for i in range(50)]
    assert corpus.document(mixture, 3, 0) != corpus.document(mixture, 4, 0)
    with pytest.raises(ConfigError, match="did you mean 'legal'"):
        corpus.document({"leagl": 1.0}, 0, 0)


def test_facts_are_facts() -> None:
    for i in range(100):
        text = "".join(piece for piece, _ in corpus.document({"facts": 1.0}, 0, i))
        for left, op, right, value in re.findall(r"(\d+)([-+*])(\d+)=(\d+);", text):
            assert apply(op, int(left), int(right)) == int(value)


def test_legal_lists_the_operations_countdown_allows() -> None:
    seen = set()
    for i in range(100):
        text = "".join(piece for piece, _ in corpus.document({"legal": 1.0}, 0, i))
        for a, b, operations in re.findall(r"(\d+),(\d+):([-+*]*);", text):
            allowed = {move.op for move in moves(tuple(sorted((int(a), int(b)))))}
            assert set(operations) == allowed
            seen.add(operations)
    assert {"+-*", "+-", "-"} <= seen


@pytest.mark.parametrize("kind", ["chain", "countdown", "wide"])
def test_worked_problems_are_right_and_never_held_out(kind: str) -> None:
    for i in range(150):
        (prompt, _), (text, learned) = corpus.document({kind: 1.0}, 0, i)
        assert learned
        asked = re.sub(r"<\|\w+\|>", "", prompt)
        if kind == "chain":
            program = tasks.read(asked)
            assert program is not None
            task, problem = Chain(), Chain().problem(program)
        else:
            numbers, _, target = asked.partition(">")
            task, problem = Countdown(), Countdown().problem([int(n) for n in numbers.split(",")], int(target))
        assert problem.split == "train"
        thinking = text.removeprefix("<think>").partition("</think>")[0]
        assert all(step.sound for step in task.steps(problem, thinking)), text


def test_wide_problems_stand_at_the_edge() -> None:
    rng = random.Random(0)
    prompts = [corpus.wide(rng)[0][0] for _ in range(400)]
    numbers = [[int(n) for n in re.findall(r"\d+(?=[,>])", prompt)] for prompt in prompts]
    assert sum(max(n) > 50 for n in numbers) > 60
    assert sum(len(set(n)) < len(n) for n in numbers) > 40
