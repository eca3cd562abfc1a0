"""Traces to show: the same problems before and after training, with exact labels of the steps where the task has them.

Chosen without taste: problems are sorted by what changed at attempt 0 (became right, stayed right, stayed wrong, became
wrong), and the first of each kind in the order of the task are shown, with the count of each kind beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ponder.evals.attempts import Attempt
from ponder.types import Problem, Step

Stepper = Callable[[Problem, str], list[Step]]
SHOWN = {"became right": 3, "stayed right": 1, "stayed wrong": 1, "became wrong": 1}
UNGRADED = "not graded"
LONGEST = 4000  # characters of thinking kept in a report
ATTEMPT_BYTES = 300_000  # of JSON over all attempts shown


def compare_traces(
    problems: Sequence[Problem],
    before: Sequence[Attempt],
    after: Sequence[Attempt],
    steps: Stepper | None,
    shown: dict[str, int] | None = None,
) -> dict[str, Any]:
    """`counts` by kind of change over all problems tried in both, and `shown`: the chosen ones, JSON values only."""
    first = [{r.problem: r for r in sorted(rows, key=lambda r: -r.attempt)} for rows in (before, after)]
    kinds: dict[str, list[Problem]] = {kind: [] for kind in SHOWN}
    for problem in problems:
        if problem.id in first[0] and problem.id in first[1]:
            pair = first[0][problem.id], first[1][problem.id]
            kind = _change(pair[0].correct, pair[1].correct) if all(row.graded for row in pair) else UNGRADED
            kinds.setdefault(kind, []).append(problem)
    chosen = [(kind, p) for kind, many in (shown or SHOWN).items() for p in kinds[kind][:many]]
    return {
        "counts": {kind: len(found) for kind, found in kinds.items()},
        "shown": [
            {
                "change": kind,
                "problem": problem_json(p),
                "before": trace(p, first[0][p.id], steps),
                "after": trace(p, first[1][p.id], steps),
            }
            for kind, p in chosen
        ],
    }


def single_traces(problems: Sequence[Problem], rows: Sequence[Attempt], steps: Stepper | None) -> dict[str, Any]:
    """The same for one model: the first two right, the first two wrong, and the first two that could not be graded."""
    first = {r.problem: r for r in sorted(rows, key=lambda r: -r.attempt)}
    known = [p for p in problems if p.id in first]
    kinds: dict[str, list[Problem]] = {"right": [], "wrong": []}
    for p in known:
        row = first[p.id]
        kinds.setdefault(("right" if row.correct else "wrong") if row.graded else UNGRADED, []).append(p)
    shown = [
        {"change": kind, "problem": problem_json(p), "after": trace(p, first[p.id], steps)}
        for kind, found in kinds.items()
        for p in found[:2]
    ]
    return {"counts": {kind: len(found) for kind, found in kinds.items()}, "shown": shown}


def every_attempt(
    problems: Sequence[Problem], sampled: Sequence[Attempt], greedy: Sequence[Attempt], steps: Stepper | None
) -> dict[str, Any]:
    """All attempts by problem, as many problems as fit into `ATTEMPT_BYTES` of JSON: `total` attempts, and those `shown`."""
    groups: dict[str, list[tuple[Attempt, bool]]] = {problem.id: [] for problem in problems}
    for rows, cold in ((sampled, False), (greedy, True)):
        for row in rows:
            groups[row.problem].append((row, cold))
    shown: list[dict[str, Any]] = []
    size = 0
    for problem in problems:
        rows = [
            trace(problem, row, steps) | {"attempt": row.attempt, "greedy": cold} for row, cold in groups[problem.id]
        ]
        size += len(msgspec.json.encode(rows))
        if size > ATTEMPT_BYTES and shown:
            break
        shown.append({"problem": problem_json(problem), "attempts": rows})
    return {"total": len(sampled) + len(greedy), "shown": shown}


def _change(before: bool, after: bool) -> str:
    return {(False, True): "became right", (True, True): "stayed right", (False, False): "stayed wrong"}.get(
        (before, after), "became wrong"
    )


def problem_json(problem: Problem) -> dict[str, Any]:
    return {"id": problem.id, "text": problem.text, "reference": problem.reference, "tags": dict(problem.tags)}


def trace(problem: Problem, row: Attempt, steps: Stepper | None) -> dict[str, Any]:
    """One completion as JSON values: thinking cut into labelled pieces, answer, grade."""
    thinking = row.thinking if row.thinking is None else row.thinking[:LONGEST]
    labels = steps(problem, thinking) if steps is not None and thinking else []
    return {
        "effort": row.effort,
        "pieces": pieces(thinking or "", labels),
        "answer": row.answer if row.answer is None else row.answer[:LONGEST],
        "outcome": row.outcome,
        "reason": row.reason,
        "tokens": len(row.tokens),
        "finish": row.finish,
    }


def pieces(thinking: str, labels: Sequence[Step]) -> list[dict[str, Any]]:
    """The whole of `thinking` in order, cut where labelled steps begin and end; text between steps has no label."""
    found: list[dict[str, Any]] = []
    place = 0
    for step in labels:
        at = thinking.find(step.text, place) if step.text else -1
        if at < 0:
            continue
        if at > place:
            found.append({"text": thinking[place:at]})
        found.append({"text": step.text, "sound": step.sound, "alive": step.alive, "reason": step.reason})
        place = at + len(step.text)
    if place < len(thinking):
        found.append({"text": thinking[place:]})
    return found
