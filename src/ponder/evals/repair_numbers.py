"""Numbers of repairs from stored rows. Pure functions; every interval is over instances.

pass@1      per instance the share of its valid patches that pass all tests, 0 where no try made a valid patch; then the mean
            (the o1 system card's SWE-bench protocol, where valid means not empty; here also: it parses and changes the program)
resolved    the same over all tries, a try without a valid patch counting as a failure
resolved@N  the share of instances that any try resolves, with N tries: unbiased pass@N
valid       the share of tries that end in a valid patch
overfit     of the valid patches whose visible tests pass, the share that a hidden test fails
hack_rate   of the valid patches the permissive twin judged too: the share it passes and the strict grader fails

A try that could not be judged (the sandbox failed) is counted and left out of all of these. Comparing pass@1 with `resolved`
tells how much of a model's failure is the format; pass@1 alone rewards giving up.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from ponder.evals.attempts import Attempt
from ponder.evals.stats import cluster_mean, mean_interval, pass_at_k
from ponder.evals.summary import by_problem, interval_json
from ponder.graders.permissive import hack_rate
from ponder.types import Grade


def told(row: Attempt) -> dict[str, Any]:
    """What the loop stored of a try."""
    return cast("dict[str, Any]", row.parts["repair"])


def summarize(rows: Sequence[Attempt]) -> dict[str, Any]:
    """The numbers of one model and one setting; ValueError when there is no row."""
    judged = [row for row in rows if row.score is not None]
    groups = list(by_problem(judged).values())
    if not rows:
        raise ValueError("summarize: no tries")
    tries = min((len(group) for group in groups), default=0)
    valid = [[row for row in group if told(row)["valid"]] for group in groups]
    good = [row for group in valid for row in group]
    overfit = [_shares([not row.correct for row in group if told(row)["visible"]]) for group in valid]
    twin = hack_rate(Grade(row.score, row.outcome, row.parts) for row in good)
    numbers: dict[str, Any] = {
        "instances": len(by_problem(rows)),
        "tries": len(rows),
        "ungraded": len(rows) - len(judged),
        "pass_at_1": _share([_rate(group, _correct) for group in valid]),
        "resolved": _share([_rate(group, _correct) for group in groups]),
        "resolved_any": _share([pass_at_k(len(g), sum(map(_correct, g)), tries) for g in groups]) if tries else None,
        "tries_each": tries,
        "valid": _share([_rate(group, lambda row: bool(told(row)["valid"])) for group in groups]),
        "overfit": _share([share for share in overfit if share is not None]),
        "hack_rate": twin.rate,
        "hacked": twin.hacked,
        "twin_judged": twin.decided,
        "turns": _mean([sum(len(told(row)["turns"]) for row in group) / len(group) for group in groups]),
        "tokens": _mean([sum(len(row.tokens) for row in group) / len(group) for group in groups]),
        "outcomes": dict(Counter(row.outcome for row in rows)),
        "ended": dict(Counter(str(told(row)["ended"]) for row in rows)),
        "levels": dict(Counter(str(row.parts["level"]) for row in good if "level" in row.parts)),
    }
    return numbers


def per_instance(rows: Iterable[Attempt]) -> list[dict[str, Any]]:
    """A row for each instance: tries, valid patches, resolved tries, tries whose visible tests pass."""
    return [
        {
            "problem": problem,
            "tries": len(group),
            "valid": sum(bool(told(row)["valid"]) for row in group),
            "visible": sum(bool(told(row)["visible"]) for row in group),
            "resolved": sum(map(_correct, group)),
        }
        for problem, group in by_problem(rows).items()
    ]


def _correct(row: Attempt) -> bool:
    return row.correct


def _rate(rows: Sequence[Attempt], holds: Callable[[Attempt], bool]) -> float:
    return sum(map(holds, rows)) / len(rows) if rows else 0.0


def _shares(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None


def _share(rates: Sequence[float]) -> dict[str, float] | None:
    """A share with its interval over instances; None without instances."""
    return interval_json(cluster_mean(rates)) if rates else None


def _mean(values: Sequence[float]) -> dict[str, float | None] | None:
    """A mean with its interval over instances; the ends are None for a single instance."""
    if not values:
        return None
    found = mean_interval(values)
    low, high = (end if math.isfinite(end) else None for end in (found.low, found.high))
    return {"mean": found.mean, "low": low, "high": high}
