"""The scores that shipped weights carry in `scores.json`: greedy, on test problems that no training touched.

For `mini-base` the share of its lines that are right, per task; for `mini` the accuracy per task and effort, each effort
within the limits that travel with the model.
"""

from __future__ import annotations

from typing import Any

from ponder import efforts, tasks
from ponder.evals.lines import TASKS, honesty
from ponder.graders.memory import grade_all
from ponder.types import EFFORTS, Request

PROBLEMS = 500


def base_scores(engine: Any, problems: int = PROBLEMS) -> dict[str, Any]:
    """Lines written and lines right, per task."""
    found: dict[str, Any] = {}
    for name in TASKS:
        task = tasks.get(name)
        h = honesty(engine, task, task.problems("test", problems))
        found[name] = {"lines": h.lines, "right": h.right, "share": round(h.share, 4)}
    return found


def mini_scores(engine: Any, problems: int = PROBLEMS) -> dict[str, Any]:
    """Greedy accuracy per task and effort, each effort within the limits that travel with the model."""
    levels = efforts.read(engine.path)
    found: dict[str, Any] = {}
    for name in TASKS:
        task = tasks.get(name)
        asked = task.problems("test", problems)
        found[name] = {}
        for effort in EFFORTS:
            sampling = levels.get(effort, efforts.Level()).sampling(temperature=0.0)
            done = engine.generate([Request(engine.encode(p.messages, effort), sampling) for p in asked])
            right = sum(grade.correct for grade in grade_all(task.grader, list(zip(asked, done, strict=True))))
            found[name][effort] = round(right / len(asked), 4)
    return found


def scores(name: str, engine: Any, problems: int = PROBLEMS) -> dict[str, Any]:
    """What `scores.json` of the shipped model `name` holds."""
    measure = base_scores if name == "mini-base" else mini_scores
    return {"split": "test", "seed": 0, "problems": problems, "greedy": measure(engine, problems)}
