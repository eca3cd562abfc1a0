"""Graders of form, which need no reference: think tags, and length.

Sources: the format reward of DeepSeek-R1 (thinking between tags, then an answer); the soft overlong punishment of DAPO
(Yu et al. 2025, eq. 13), here with its two limits named directly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ponder.errors import ConfigError
from ponder.graders import extract
from ponder.graders.extract import THINK_CLOSE, THINK_OPEN
from ponder.types import Completion, Grade, Problem


@dataclass(frozen=True, slots=True)
class FormatGrader:
    """1 when exactly one thinking is opened and closed and an answer follows it, else 0 with the reason."""

    opened_by_prompt: bool = False
    """Whether the prompt already ends in the opening tag, so that text must not repeat it."""
    need_box: bool = False

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        return self.check(None, completion)

    def check(self, reference: object, completion: str | Completion) -> Grade:
        """As `grade`; there is no reference to use."""
        reason = self._fault(completion)
        return Grade(0.0, "wrong", reason=reason) if reason else Grade(1.0, "correct")

    def _fault(self, completion: str | Completion) -> str:
        thinking, answer = extract.parts(completion)
        if isinstance(completion, str) or (thinking is None and answer is None):
            text = completion if isinstance(completion, str) else completion.text
            opened, closed = text.count(THINK_OPEN), text.count(THINK_CLOSE)
            if opened != (0 if self.opened_by_prompt else 1) or closed != 1:
                return f"{opened} opening and {closed} closing think tags"
            if not self.opened_by_prompt and text[: text.find(THINK_OPEN)].strip():
                return "text before the thinking"
        elif thinking is None or answer is None:
            return "no thinking" if thinking is None else "thinking was not closed"
        elif any(tag in part for tag in (THINK_OPEN, THINK_CLOSE) for part in (thinking, answer)):
            return "think tags spelt inside thinking or answer"
        if not (answer or "").strip():
            return "no answer after the thinking"
        if self.need_box and extract.find_in(answer or "", extract.Rule(marks=(), phrases=False, whole=0)).text is None:
            return "no single box in the answer"
        return ""


@dataclass(frozen=True, slots=True)
class LengthGrader:
    """0 up to `soft`, falling linearly to -1 at `hard` and beyond; counted in tokens, or characters of a bare text."""

    soft: int = 1024
    hard: int = 2048
    of: Literal["all", "thinking"] = "all"
    """What is counted; "thinking" is always counted in characters."""

    def __post_init__(self) -> None:
        if not 0 <= self.soft < self.hard:
            raise ConfigError(f"length: soft ({self.soft}) must lie below hard ({self.hard}), and neither below 0")

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        return self.check(None, completion)

    def check(self, reference: object, completion: str | Completion) -> Grade:
        """As `grade`; there is no reference to use."""
        length = self._length(completion)
        over = min(max(length - self.soft, 0) / (self.hard - self.soft), 1.0)
        parts = {"length": length}
        return Grade(
            0.0 - over, "correct" if over == 0 else "wrong", parts, "" if over == 0 else f"{length} is over {self.soft}"
        )

    def _length(self, completion: str | Completion) -> int:
        if self.of == "thinking":
            return len(extract.parts(completion)[0] or "")
        if isinstance(completion, str):
            return len(completion)
        return len(completion.token_ids) or len(completion.text)
