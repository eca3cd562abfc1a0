"""How honest a model is: the share of its own lines that are right, under greedy decoding.

Every line gets the task's exact label: right given the problem and what the model itself wrote before. This is stricter than
reading a given text, since an error's consequences are the model's own, and it is what a reasoning model needs of its base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ponder import tasks
from ponder.intervals import Interval, wilson
from ponder.training import pretrain as training
from ponder.types import Effort, Problem, Request, Sampling

TASKS = ("chain", "countdown", "arithmetic")
WATCHED = 100


@dataclass(frozen=True, slots=True)
class Honesty:
    """Lines written and lines right over some problems, and one wrong line to look at."""

    lines: int
    right: int
    example: str = ""

    @property
    def share(self) -> float:
        return self.right / max(1, self.lines)

    @property
    def interval(self) -> Interval:
        return wilson(self.right, max(1, self.lines))


def honesty(
    engine: Any, task: Any, problems: Sequence[Problem], effort: Effort = "medium", max_tokens: int = 400
) -> Honesty:
    """Let the model work on `problems` greedily and label every line it writes."""
    sampling = Sampling(temperature=0.0, max_tokens=max_tokens)
    done = engine.generate([Request(engine.encode(p.messages, effort), sampling) for p in problems])
    labels = [s for p, c in zip(problems, done, strict=True) for s in task.steps(p, c.thinking or "")]
    wrong = [f"{s.text}  ({s.reason})" for s in labels if not s.sound]
    return Honesty(len(labels), sum(s.sound for s in labels), wrong[0] if wrong else "")


def pretrain(config: training.PretrainConfig) -> dict[str, Any]:
    """`ponder train pretrain`: every `eval_every` steps also the honesty (`lines_chain`, …) on dev problems."""
    watched = [tasks.get(name) for name in TASKS if config.mixture.get(name)]
    problems = [task.problems("dev", WATCHED) for task in watched]

    def evaluate(model: Any, tokenizer: Any, step: int) -> dict[str, float]:
        from ponder.engines.local import LocalEngine

        longest = min(400, model.config.context // 2)
        engine = LocalEngine(model, tokenizer, device=next(model.parameters()).device)
        return {
            f"lines_{task.name}": honesty(engine, task, asked, max_tokens=longest).share
            for task, asked in zip(watched, problems, strict=True)
        }

    return training.run(config, evaluate)
