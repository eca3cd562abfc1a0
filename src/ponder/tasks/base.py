"""What the generated tasks share: drawing distinct problems of a split, integer grading, effort limits.

A generator draws from an endless stream decided by (task, seed); a problem's split is decided by its own hash, so
`problems("test", n, seed)` of any seed never meets a training problem.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from ponder.errors import ConfigError
from ponder.types import Completion, Grade, Problem, Split

SPLITS: tuple[Split, ...] = ("train", "dev", "test")
DEFAULT_LIMIT = 1000
MAX_MISSES = 20_000


def draw(
    make: Callable[[random.Random], Problem | None], name: str, split: Split, limit: int | None, seed: int
) -> list[Problem]:
    """The first `limit` distinct problems of `split` in the stream of `seed`: a prefix of every longer list."""
    if split not in SPLITS:
        raise ConfigError(f"task '{name}' has no split '{split}'; it has {', '.join(SPLITS)}")
    wanted = DEFAULT_LIMIT if limit is None else limit
    found: dict[str, Problem] = {}
    misses = 0
    for problem in stream(make, f"{name}/{seed}"):
        if len(found) >= wanted:
            break
        if problem.split != split or problem.id in found:
            misses += 1
            if misses > MAX_MISSES + 50 * wanted:
                raise ConfigError(
                    f"task '{name}' with these options has only {len(found)} {split} problems, {wanted} asked for"
                )
            continue
        found[problem.id] = problem
    return list(found.values())


def stream(make: Callable[[random.Random], Problem | None], seed: str) -> Iterator[Problem]:
    """Problems of every split, forever; `make` may return None to reject a draw."""
    rng = random.Random(seed)
    while True:
        problem = make(rng)
        if problem is not None:
            yield problem


def grade_integer(problem: Problem, completion: Completion) -> Grade:
    """Compare the answer with an integer reference; thousands commas and spaces between digits are forgiven."""
    answer = final_answer(completion)
    if answer is None:
        return Grade(0.0, "unparsed", reason="the thinking never closed, so there is no answer")
    digits = answer.replace(",", "").replace(" ", "")
    if not digits.removeprefix("-").isdecimal() or len(digits) > 40:
        return Grade(0.0, "unparsed", reason=f"not a whole number: {answer[:40]!r}")
    if int(digits) == int(problem.reference):
        return Grade(1.0, "correct")
    return Grade(0.0, "wrong", reason=f"{digits} is not {problem.reference}")


def final_answer(completion: Completion) -> str | None:
    """The answer region, out of a single `\\boxed{}` when there is one."""
    if completion.answer is None:
        return None
    text = completion.answer.strip()
    if text.count("\\boxed{") == 1 and "}" in text:
        text = text.split("\\boxed{")[1].rsplit("}", 1)[0]
    return text.strip()
