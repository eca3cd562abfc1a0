"""What `--effort` means for `ponder solve`: a measured operating point where the model has been calibrated, else the model's
own level of thinking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ponder.efforts import NAMES, operating, operating_point
from ponder.types import EFFORTS

if TYPE_CHECKING:
    from ponder.cli.solve import SolveConfig

OWN = ("strategy", "n", "options", "select", "verifier", "budget")


def at_effort(config: SolveConfig, engine: Any) -> tuple[SolveConfig, dict[str, Any] | None]:
    """The settings with what the effort stands for, and what is known of it (None where nothing was calibrated).

    Whoever names a strategy, or any of its settings, gets that and no operating point. Without one, `none` and `minimal`
    are the model's low, `xhigh` its high, and an effort not given its medium.
    """
    asked = config.effort or "medium"
    told = any(getattr(config, name) not in (None, "", ()) for name in OWN)
    found, task = None, ""
    if config.effort is not None and not told and engine.path is not None:
        task = calibrated(engine.path, _task(config.text, engine))
        found = operating_point(engine.path, asked, task)
    if found is None:
        nearest = asked if asked in EFFORTS else EFFORTS[0] if NAMES.index(asked) < NAMES.index("low") else EFFORTS[-1]
        return msgspec.structs.replace(config, effort=nearest), None
    name, point = found
    settings = {key: getattr(point, key) for key in ("strategy", "n", "select", "verifier", "budget", "effort")}
    settings |= {"options": tuple(f"{k}={msgspec.json.encode(v).decode()}" for k, v in point.options.items())}
    known = {
        "level": name,
        "task": task,
        "accuracy": point.accuracy,
        "interval": point.interval,
        "tokens": point.tokens,
    }
    return msgspec.structs.replace(config, temperature=point.temperature, **settings), known


def calibrated(folder: str, task: str) -> str:
    """The task whose table speaks for `task`: itself where it was calibrated, else the model's default."""
    found = operating(folder)
    return task if found is None or task in found.tasks else found.default


def _task(text: str, engine: Any) -> str:
    """The task a text is read as, empty where it is of none."""
    from ponder.search.solve import as_problem

    return as_problem(text, engine).task
