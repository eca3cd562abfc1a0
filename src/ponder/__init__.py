"""Reasoning language models: train, search, measure, stress and serve them.

The public names are imported when first used, so `import ponder` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ponder import engines as engines
    from ponder import evals as evals
    from ponder import graders as graders
    from ponder import models as models
    from ponder import search as search
    from ponder import tasks as tasks
    from ponder import verifiers as verifiers
    from ponder.engines import load as load
    from ponder.errors import PonderError as PonderError
    from ponder.graders import grade as grade
    from ponder.search import Solution as Solution
    from ponder.search import solve as solve
    from ponder.types import Budget as Budget
    from ponder.types import Completion as Completion
    from ponder.types import Grade as Grade
    from ponder.types import Ledger as Ledger
    from ponder.types import Message as Message
    from ponder.types import Problem as Problem
    from ponder.types import Sampling as Sampling

    __version__: str

_NAMES = {
    "load": "ponder.engines",
    "solve": "ponder.search",
    "Solution": "ponder.search",
    "grade": "ponder.graders",
    "Budget": "ponder.types",
    "Problem": "ponder.types",
    "Completion": "ponder.types",
    "Grade": "ponder.types",
    "Ledger": "ponder.types",
    "Message": "ponder.types",
    "Sampling": "ponder.types",
    "PonderError": "ponder.errors",
}
_MODULES = ("engines", "evals", "graders", "models", "search", "tasks", "verifiers")

__all__ = [  # noqa: RUF022 (objects first, then modules)
    "Budget",
    "Completion",
    "Grade",
    "Ledger",
    "Message",
    "PonderError",
    "Problem",
    "Sampling",
    "Solution",
    "grade",
    "load",
    "solve",
    "engines",
    "evals",
    "graders",
    "models",
    "search",
    "tasks",
    "verifiers",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    if name in _MODULES:
        return import_module(f"ponder.{name}")
    if name == "__version__":
        from importlib.metadata import version

        return version("ponder")
    raise AttributeError(f"module 'ponder' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
