"""What a report says, as plain JSON values: computed from a run's files alone, never from a model.

`report.json` is this dictionary; `report.html` shows it and adds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ponder.evals import summary, traces
from ponder.evals.attempts import Attempt
from ponder.evals.stats import cluster_mean, paired_difference
from ponder.evals.summary import Classify, interval_json
from ponder.types import Problem, Task


@dataclass(frozen=True, slots=True)
class ModelRows:
    """The attempts of one model: `sampled` at all efforts, and `greedy` (temperature 0, once per problem)."""

    name: str
    label: str
    sampled: Sequence[Attempt]
    greedy: Sequence[Attempt]


def model_block(model: ModelRows, problems: Sequence[Problem], classify: Classify, effort: str) -> dict[str, Any]:
    """Everything about one model: per effort level, greedy, and per tag at the headline effort."""
    levels = summary.by_effort(model.sampled, classify)
    at = _rows_at(model.sampled, effort)
    cold = [row for row in model.greedy if row.graded]
    greedy = summary.by_effort(cold, classify) if cold else {}
    return {
        "name": model.name,
        "label": model.label,
        "efforts": {level: summary.plain(found) for level, found in levels.items()},
        "greedy": {level: interval_json(found.pass_at_1) for level, found in greedy.items()},
        "tags": summary.by_tag(at, problems),
    }


def part_block(
    task: Task, problems: Sequence[Problem], models: Sequence[ModelRows], effort: str, attempts: int
) -> dict[str, Any]:
    """One measurement: its models before each other, and traces at the headline effort."""
    classify, steps = summary.classifier(task.grader), getattr(task, "steps", None)
    at = [_rows_at(model.sampled, effort) for model in models]
    if len(models) > 1:
        shown = traces.compare_traces(problems, at[0], at[-1], steps)
    else:
        shown = traces.single_traces(problems, at[0], steps)
    blocks = [model_block(model, problems, classify, effort) for model in models]
    for block, model in zip(blocks, models, strict=True):
        for level, found in block["efforts"].items():
            found["sound_steps"] = line_honesty(problems, _rows_at(model.sampled, level), steps)
    return {
        "task": task.name,
        "problems": len(problems),
        "attempts": attempts,
        "effort_level": effort,
        "models": blocks,
        "traces": shown,
    }


def _rows_at(rows: Sequence[Attempt], effort: str) -> list[Attempt]:
    return [row for row in rows if (row.effort or "none") == effort]


def headline(models: Sequence[Mapping[str, Any]], effort: str) -> dict[str, Any]:
    """The few numbers that matter, by model name: pass1_NAME, consK_NAME, passK_NAME, greedy_NAME, and intervals."""
    found: dict[str, Any] = {}
    intervals: dict[str, Any] = {}
    for model in models:
        name, level = model["name"], model["efforts"][effort]
        entries = {f"pass1_{name}": level["pass_at"]["1"]}
        for k in level["pass_at"]:
            if k != "1":
                entries |= {f"cons{k}_{name}": level["cons_at"][k], f"pass{k}_{name}": level["pass_at"][k]}
        if effort in model["greedy"]:
            entries[f"greedy_{name}"] = model["greedy"][effort]
        found |= {key: value["mean"] for key, value in entries.items()}
        intervals |= {key: [value["low"], value["high"]] for key, value in entries.items()}
    return {**found, "intervals": intervals}


def effort_table(model: Mapping[str, Any]) -> dict[str, Any]:
    """Effort level -> accuracy with its interval, and tokens per attempt."""
    return {
        level: {"accuracy": found["pass_at_1"], "interval": found["interval"], "tokens": found["tokens"]}
        for level, found in model["efforts"].items()
    }


def gain(before: Sequence[Attempt], after: Sequence[Attempt], effort: str) -> dict[str, float]:
    """The paired difference in pass@1 over the problems both were tried on, with its interval."""
    rates = [summary.rates(_rows_at(side, effort)) for side in (before, after)]
    both = [name for name in rates[0] if name in rates[1]]
    return interval_json(paired_difference([rates[0][n] for n in both], [rates[1][n] for n in both]))


def line_honesty(problems: Sequence[Problem], rows: Sequence[Attempt], steps: Any) -> dict[str, float] | None:
    """Share of written steps that are sound, per problem and then over problems; None where the task can not tell."""
    if steps is None:
        return None
    known = {problem.id: problem for problem in problems}
    rates: list[float] = []
    for name, group in summary.by_problem(rows).items():
        labels = [step.sound for row in group if row.thinking for step in steps(known[name], row.thinking)]
        if labels:
            rates.append(sum(labels) / len(labels))
    return interval_json(cluster_mean(rates)) if rates else None
