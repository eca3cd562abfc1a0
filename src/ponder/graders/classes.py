"""Answers → equivalence classes, for voting.

Design: graders' equality need not be transitive (5 equals both 5 cm and 5 m), so classes must not depend on the order
of the answers: distinct texts are placed longest first (most specific first), each into the first class whose head it
equals, and the numbering is restored to order of appearance afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence


def classes(answers: Sequence[str | None], same: Callable[[str, str], bool | None] | None = None) -> list[int | None]:
    """The class index of each answer, numbered by first appearance; None (or blank) abstains and gets None.

    `same` is a grader's `equal` (default: `graders.math.equal`); what it can not decide stays apart.
    """
    if same is None:
        from ponder.graders.math import equal

        same = equal
    texts = [(a.strip() or None) if a is not None else None for a in answers]
    distinct = sorted({t for t in texts if t is not None}, key=lambda t: (-len(t), t))
    heads: list[str] = []
    head_of: dict[str, str] = {}
    for text in distinct:
        head = next((h for h in heads if same(h, text)), None)
        if head is None:
            heads.append(text)
            head = text
        head_of[text] = head
    numbers: dict[str, int] = {}
    return [None if t is None else numbers.setdefault(head_of[t], len(numbers)) for t in texts]
