"""Any Python function as a verifier: `f(question, completion) -> float`, or `f(trace) -> float`.

    ponder solve "…" --verifier mine.scores:plausible

Which of the two is decided by the number of arguments without a default. The text is the completion's answer where the
thinking was split off and the whole is finished, else all that was written. A function may carry `semantics` ("outcome" unless
it says otherwise); None abstains. What it raises, or returns outside 0 to 1, is a WorkError naming the problem.
Not covered: functions that know the reference; that is a grader.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

from ponder.errors import ConfigError, PonderError, WorkError, unknown
from ponder.types import Ledger, Semantics, Trace

SEMANTICS: tuple[Semantics, ...] = ("correctness", "value", "outcome")


class FunctionVerifier:
    """A `Verifier` around a function; ConfigError when it does not take one or two arguments."""

    def __init__(self, function: Callable[..., Any], name: str = "", semantics: Semantics | None = None) -> None:
        self.function = function
        self.name = name or str(getattr(function, "__qualname__", type(function).__name__))
        meaning = semantics or getattr(function, "semantics", "outcome")
        if meaning not in SEMANTICS:
            raise unknown(f"semantics of verifier '{self.name}'", str(meaning), SEMANTICS)
        self.semantics: Semantics = meaning
        self._takes = _arguments(function, self.name)

    def score(self, traces: Sequence[Trace]) -> list[float | None]:
        """The function's score of each trace."""
        return [self._one(trace) for trace in traces]

    @property
    def ledger(self) -> Ledger:
        """A function spends no tokens."""
        return Ledger()

    def _one(self, trace: Trace) -> float | None:
        try:
            found = self.function(trace) if self._takes == 1 else self.function(question(trace), said(trace))
        except PonderError:
            raise
        except Exception as error:
            raise WorkError(
                f"problem {trace.problem_id}: verifier '{self.name}' failed ({type(error).__name__}: {error})"
            ) from error
        return checked(found, self.name, trace)


def checked(found: Any, name: str, trace: Trace) -> float | None:
    """`found` as a score; WorkError when it is no number in 0 to 1 (and not None)."""
    if found is None:
        return None
    value = found
    if hasattr(value, "item") and not isinstance(value, int | float):
        value = value.item()  # a number of numpy or torch
    if not isinstance(value, int | float) or not math.isfinite(value) or not 0.0 <= value <= 1.0:
        raise WorkError(
            f"problem {trace.problem_id}: verifier '{name}' returned {found!r:.60}; a score lies in 0 to 1, or is None"
        )
    return float(value)


def question(trace: Trace) -> str:
    """The last user message."""
    return next((m.content for m in reversed(trace.messages) if m.role == "user"), "")


def said(trace: Trace) -> str:
    """The answer of a finished trace, else everything written."""
    return trace.answer if trace.finished and trace.answer is not None else trace.text


def _arguments(function: Callable[..., Any], name: str) -> int:
    if not callable(function):
        raise ConfigError(f"verifier '{name}' is not a function")
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise ConfigError(f"verifier '{name}': its arguments can not be read; wrap it in a Python function") from None
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in parameters if p.default is inspect.Parameter.empty and p.kind in kinds]
    keywords = [
        p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY and p.default is inspect.Parameter.empty
    ]
    if len(needed) not in (1, 2) or keywords:
        raise ConfigError(
            f"verifier '{name}' needs {len(needed) + len(keywords)} arguments; "
            "a scoring function takes (question, completion) or (trace)"
        )
    return len(needed)
