"""Self-consistency: the answer most completions agree on (Wang et al. 2023, arXiv:2203.11171, unweighted).

Answers are compared by equivalence class, not as text. Whoever has no answer abstains; ties are broken by the seed,
among the tied classes alone, so the outcome depends on nothing but the answers and the seed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from ponder.types import Completion, Grader


def answers_of(completions: Sequence[Completion], grader: Grader | None = None) -> list[str | None]:
    """The final answer of each completion, None where there is not exactly one to be read."""
    if hasattr(grader, "key"):
        plain = [None if c.answer is None else c.answer.strip() for c in completions]
        if not any(text and "\\boxed" in text for text in plain):
            return plain
    from ponder.graders import extract

    return [extract.find(completion).text for completion in completions]


def classes(answers: Sequence[str | None], grader: Grader | None = None) -> list[str | None]:
    """The equivalence class of each answer, None where it abstains.

    A grader that can name the class without the reference (`key(answer)`) decides; otherwise answers are one class when
    its `equal`, or `graders.math.equal`, says so, and named by its first member. What can not be decided stays apart.
    """
    name = getattr(grader, "key", None)
    if name is not None:
        return [None if answer is None else name(answer) for answer in answers]
    from ponder import graders

    numbers = graders.classes(answers, getattr(grader, "equal", None))
    return [None if number is None else answers[numbers.index(number)] for number in numbers]


def elect(names: Sequence[str | None], seed: int) -> int | None:
    """Index of the first member of the class with most votes; None when everyone abstains."""
    votes = Counter(name for name in names if name is not None)
    if not votes:
        return None
    most = max(votes.values())
    tied = sorted(name for name, count in votes.items() if count == most)
    return list(names).index(random.Random(f"vote/{seed}").choice(tied))
