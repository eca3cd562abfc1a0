"""Gradings as generators of jobs: many completions are stepped together, so that they share the sandbox's workers.

A `Plan` yields the jobs it wants run and gets their results, as often as it likes; what it returns is its grade.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from ponder.sandbox.jobs import Job, Result
from ponder.types import Grade

Plan = Generator[list[Job], list[Result], Grade]


def drive(plans: Sequence[Plan], run: Any) -> list[Grade]:
    """Step all plans together, the jobs of a round in one call."""
    done: dict[int, Grade] = {}
    waiting: list[tuple[int, Plan, list[Job]]] = []

    def step(index: int, plan: Plan, results: list[Result] | None) -> None:
        try:
            jobs = next(plan) if results is None else plan.send(results)
            waiting.append((index, plan, jobs))
        except StopIteration as stop:
            done[index] = stop.value

    for index, plan in enumerate(plans):
        step(index, plan, None)
    while waiting:
        turn, waiting = waiting, []
        results = run([job for _, _, jobs in turn for job in jobs])
        start = 0
        for index, plan, jobs in turn:
            step(index, plan, results[start : start + len(jobs)])
            start += len(jobs)
    return [done[i] for i in range(len(plans))]
