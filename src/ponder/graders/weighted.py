"""A weighted sum of named parts.

The first part decides the outcome, and what its permissive twin says is kept; every part's score is kept by name. A part that
could not be graded makes the whole ungraded (None, with the reason), unless it is declared optional: then it adds nothing and
says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ponder.errors import ConfigError
from ponder.graders.base import judge, make
from ponder.graders.memory import Pair, grade_all
from ponder.types import Completion, Grade, Outcome, Problem

TWIN = ("permissive", "believed")


@dataclass(frozen=True, slots=True)
class Part:
    """One term: a grader or its name, the options to make it with, its weight."""

    grader: Any
    weight: float = 1.0
    optional: bool = False
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class WeightedGrader:
    """`parts` maps a name to a weight (the name is the grader's), a `Part`, or a mapping of its fields, in order."""

    parts: Mapping[str, Any]
    _made: tuple[tuple[str, Part], ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        if not self.parts:
            raise ConfigError("grader 'weighted' needs at least one part")
        object.__setattr__(self, "_made", tuple((name, _part(name, value)) for name, value in self.parts.items()))

    def equal(self, a: str, b: str) -> bool | None:
        """Equality of answers as the first part sees it; plain text where it has no say."""
        same = getattr(self._made[0][1].grader, "equal", None)
        return same(a, b) if same else a.strip() == b.strip()

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        return self.grade_many([(problem, completion)])[0]

    def grade_many(self, pairs: Sequence[Pair]) -> list[Grade]:
        """The grades of many completions, in their order; each part sees all of them at once."""
        columns = [grade_all(part.grader, pairs) for _, part in self._made]
        return [self._sum([column[i] for column in columns]) for i in range(len(pairs))]

    def check(self, reference: object, completion: str | Completion) -> Grade:
        """As `grade`, for a bare reference."""
        return self._sum([judge(part.grader, reference, completion) for _, part in self._made])

    def _sum(self, grades: list[Grade]) -> Grade:
        total, missing, reasons = 0.0, False, list[str]()
        scores: dict[str, Any] = {}
        for (name, part), grade in zip(self._made, grades, strict=True):
            scores[name] = grade.score
            if grade.reason:
                reasons.append(f"{name}: {grade.reason}")
            if grade.score is not None:
                total += part.weight * grade.score
            elif not part.optional:
                missing = True
        outcome: Outcome = grades[0].outcome
        if missing and outcome in ("correct", "wrong"):
            outcome = "error"
        first = grades[0].parts
        kept = {"answer": first.get("answer"), **{key: first[key] for key in TWIN if key in first}}
        return Grade(None if missing else total, outcome, {**scores, **kept}, "; ".join(reasons))


def _part(name: str, value: Any) -> Part:
    if isinstance(value, Mapping):
        fields: dict[str, Any] = {"grader": name, **cast("Mapping[str, Any]", value)}
        try:
            part = Part(**fields)
        except TypeError as error:
            raise ConfigError(f"part '{name}': {error}") from None
    else:
        part = value if isinstance(value, Part) else Part(name, float(value))
    grader = make(part.grader, **part.options) if isinstance(part.grader, str) else part.grader
    return Part(grader, part.weight, part.optional)
