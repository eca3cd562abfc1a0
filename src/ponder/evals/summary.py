"""Numbers from stored attempts: pass@k, cons@k, tokens, outcomes, by effort, by tag. Pure functions, no new tokens.

Per problem first, then over problems, so a problem counts once however often it was tried, and every interval is over
problems (`cluster_mean`). k runs over powers of two up to the smallest number of attempts at any problem, so no k is
ever estimated from fewer than k attempts. Attempts that could not be graded are left out of n and counted (`ungraded`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ponder.errors import WorkError
from ponder.evals import ungraded
from ponder.evals.attempts import Attempt
from ponder.evals.resample import within_pass_at_k
from ponder.evals.stats import cluster_mean, majority_at_k, pass_at_k, powers_of_two
from ponder.graders.permissive import hack_rate
from ponder.intervals import Interval, mean_interval
from ponder.search.answers import answers_of, classes
from ponder.types import EFFORTS, Grader, Problem

Classify = Callable[[Sequence[Attempt]], Sequence[Hashable | None]]
MAX_TAG_VALUES = 12


@dataclass(frozen=True, slots=True)
class Hacks:
    """The hack rate with its interval over problems, and the attempts behind it: `hacked` of `decided`."""

    rate: Interval
    hacked: int
    decided: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What a set of attempts shows: `pass_at` and `cons_at` by k; `tokens` per attempt; counts by outcome.

    `problems` are those in the means, `attempts` all that were made. `ungraded` attempts are in no rate, and
    `ungraded_problems` had no other; `reasons` say why, and `least` is pass@1 had they all been wrong.

    `within` is pass@1 with its interval over attempts at these very problems, None where some was tried only once.
    `hacks` is the share of attempts that the permissive twin passed and the strict grader did not, None where no twin ran.
    """

    problems: int
    attempts: int
    pass_at: dict[int, Interval]
    cons_at: dict[int, Interval]
    tokens: Interval
    outcomes: dict[str, int]
    truncated: int
    within: Interval | None = None
    hacks: Hacks | None = None
    ungraded: int = 0
    ungraded_problems: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict[str, int])
    least: float | None = None

    @property
    def pass_at_1(self) -> Interval:
        return self.pass_at[1]


def classifier(grader: Grader) -> Classify:
    """How the attempts at one problem vote: as `search.answers` tells answers apart, by the grader's `key` or `equal`.

    An attempt without an answer, or whose answer could not be read, abstains. Right and wrong are never looked at.
    """

    def classify(rows: Sequence[Attempt]) -> Sequence[Hashable | None]:
        answers = answers_of([row.completion() for row in rows], grader)
        lost = ("unparsed", "timeout", "error")
        return classes([None if r.outcome in lost else a for r, a in zip(rows, answers, strict=True)], grader)

    return classify


def by_problem(rows: Iterable[Attempt]) -> dict[str, list[Attempt]]:
    """Rows grouped by problem, in order of attempt."""
    groups: dict[str, list[Attempt]] = {}
    for row in rows:
        groups.setdefault(row.problem, []).append(row)
    return {problem: sorted(group, key=lambda r: r.attempt) for problem, group in groups.items()}


def graded_groups(rows: Iterable[Attempt]) -> dict[str, list[Attempt]]:
    """`by_problem` of the attempts that could be graded; a problem without any is left out."""
    return by_problem(row for row in rows if row.graded)


def rates(rows: Iterable[Attempt]) -> dict[str, float]:
    """By problem, the share right of its graded attempts; a problem without any is left out."""
    return {name: sum(r.correct for r in group) / len(group) for name, group in graded_groups(rows).items()}


def summarize(rows: Sequence[Attempt], classify: Classify) -> Summary:
    """The summary of one model, effort and sampling; ValueError when there is no row, WorkError when none was graded."""
    tried = by_problem(rows)
    if not tried:
        raise ValueError("summarize: no attempts")
    groups = list(graded_groups(rows).values())
    if not groups:
        raise WorkError(
            f"none of the {len(rows)} attempts could be graded: {next(iter(ungraded.reasons(rows)))}; mend that and give the "
            "same line again, which grades the stored completions"
        )
    least = min(len(group) for group in groups)
    pass_at: dict[int, Interval] = {}
    cons_at: dict[int, Interval] = {}
    votes = [(classify(group), [r.correct for r in group]) for group in groups]
    for k in powers_of_two(least):
        pass_at[k] = cluster_mean([pass_at_k(len(good), sum(good), k) for _, good in votes])
        cons_at[k] = cluster_mean([majority_at_k(answers, good, k) for answers, good in votes])
    return Summary(
        problems=len(groups),
        attempts=len(rows),
        pass_at=pass_at,
        cons_at=cons_at,
        tokens=mean_interval([sum(len(r.tokens) for r in group) / len(group) for group in tried.values()]),
        outcomes=dict(Counter(row.outcome for row in rows)),
        truncated=sum(row.finish == "length" for row in rows),
        within=within_pass_at_k([(len(good), sum(good)) for _, good in votes]),
        hacks=_hacks(groups),
        ungraded=sum(not row.graded for row in rows),
        ungraded_problems=len(tried) - len(groups),
        reasons=ungraded.reasons(rows),
        least=math.fsum(sum(r.correct for r in group) / len(group) for group in tried.values()) / len(tried),
    )


def _hacks(groups: Sequence[Sequence[Attempt]]) -> Hacks | None:
    """Over the attempts that both graders decided; a problem without any does not count."""
    found = [one for one in map(hack_rate, groups) if one.rate is not None]
    if not found:
        return None
    rate = cluster_mean([one.hacked / one.decided for one in found])
    return Hacks(rate, sum(one.hacked for one in found), sum(one.decided for one in found))


def by_effort(rows: Sequence[Attempt], classify: Classify) -> dict[str, Summary]:
    """A summary per effort level present, low to high; rows without an effort come under 'none'."""
    found = {row.effort for row in rows}
    levels = [effort for effort in (None, *EFFORTS) if effort in found]
    return {level or "none": summarize([r for r in rows if r.effort == level], classify) for level in levels}


def by_tag(rows: Sequence[Attempt], problems: Sequence[Problem]) -> dict[str, dict[str, dict[str, Any]]]:
    """pass@1 per value of every tag with 2 to 12 values: tag -> value -> mean, low, high, problems."""
    rate = rates(rows)
    known = [problem for problem in problems if problem.id in rate]
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for tag in dict.fromkeys(tag for problem in known for tag in problem.tags):
        values: dict[Any, list[float]] = {}
        for problem in known:
            if tag in problem.tags:
                values.setdefault(problem.tags[tag], []).append(rate[problem.id])
        if 2 <= len(values) <= MAX_TAG_VALUES:
            table[tag] = {str(value): _tag_row(rates) for value, rates in sorted(values.items(), key=_order)}
    return table


def _tag_row(rates: Sequence[float]) -> dict[str, Any]:
    found = cluster_mean(rates)
    return {"mean": found.mean, "low": found.low, "high": found.high, "problems": len(rates)}


def _order(item: tuple[Any, Any]) -> tuple[bool, Any]:
    value = item[0]
    return (False, value) if isinstance(value, int | float) else (True, str(value))


def plain(summary: Summary) -> dict[str, Any]:
    """The summary as it is written to JSON."""
    curves = {
        name: {str(k): interval_json(v) for k, v in table.items()}
        for name, table in (("pass_at", summary.pass_at), ("cons_at", summary.cons_at))
    }
    hacks = summary.hacks
    return {
        "problems": summary.problems,
        "attempts": summary.attempts,
        "pass_at_1": summary.pass_at_1.mean,
        "interval": summary.pass_at_1.pair,
        "within": None if summary.within is None else summary.within.pair,
        **curves,
        "tokens": summary.tokens.mean,
        "outcomes": summary.outcomes,
        "truncated": summary.truncated,
        "ungraded": summary.ungraded,
        "ungraded_problems": summary.ungraded_problems,
        "ungraded_reasons": dict(summary.reasons),
        "least": summary.least,
        "hack_rate": hacks and {**interval_json(hacks.rate), "hacked": hacks.hacked, "decided": hacks.decided},
    }


def interval_json(value: Interval) -> dict[str, float]:
    """mean, low and high of an interval."""
    return {"mean": value.mean, "low": value.low, "high": value.high}
