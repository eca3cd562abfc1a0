"""One sandbox per process for everybody with the same demands, here or on machines elsewhere."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Sequence
from typing import Any, Protocol, cast

from ponder.sandbox.jobs import Job, Result

_boxes: dict[tuple[str | None, str | None, str], Any] = {}
_lock = threading.Lock()


class Runs(Protocol):
    """What most callers need of a sandbox."""

    def run(self, jobs: Sequence[Job]) -> list[Result]: ...


def shared(level: str | None = None, require: str | None = None, remote: str | None = None) -> Runs:
    """The sandbox that all of this process with these demands share; started on first use.

    `remote`, or the environment's PONDER_SANDBOX where no `level` of this machine is asked for, names pools elsewhere
    ("host:port", several with commas); their token is in the file that PONDER_SANDBOX_TOKEN_FILE names.
    """
    aim = remote or ("" if level else os.environ.get("PONDER_SANDBOX", ""))
    with _lock:
        if (level, require, aim) not in _boxes:
            made: Any = importlib.import_module("ponder.sandbox.remote" if aim else "ponder.sandbox")
            box = made.from_environment(aim, level, require) if aim else made.Sandbox(level, require)
            _boxes[level, require, aim] = box
        return cast(Runs, _boxes[level, require, aim])
