"""How honest a base model is: the share of its own lines that are right, under greedy decoding.

A base model continues plain text, `<|medium|>problem|work|answer`, so it is asked that way, without a conversation. Every line of
its work gets the task's exact label: right given the problem and what the model itself wrote before. This is stricter
than reading a given text (an error's consequences are the model's own) and is what a reasoning model needs of its base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ponder.intervals import Interval, wilson
from ponder.tasks.corpus import prompt
from ponder.types import Effort, Engine, Problem, Request, Sampling

TASKS = ("chain", "countdown", "arithmetic")


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
    """Let the base model work on `problems` greedily and label every line it writes."""
    texts = continue_text(engine, [prompt(p, effort) for p in problems], max_tokens)
    labels = [
        s for p, text in zip(problems, texts, strict=True) for s in task.steps(p, text.split("|")[0].rstrip("\n"))
    ]
    wrong = [f"{s.text}  ({s.reason})" for s in labels if not s.sound]
    return Honesty(len(labels), sum(s.sound for s in labels), wrong[0] if wrong else "")


def continue_text(engine: Engine, texts: Sequence[str], max_tokens: int) -> list[str]:
    """Greedy continuations of plain texts, without any conversation around them."""
    tokenizer: Any = engine.tokenizer  # type: ignore[attr-defined]
    sampling = Sampling(temperature=0.0, max_tokens=max_tokens)
    requests = [Request(tuple(tokenizer.encode(text)), sampling) for text in texts]
    return [
        tokenizer.decode([i for i in c.token_ids if i not in tokenizer.stop_ids]) for c in engine.generate(requests)
    ]
