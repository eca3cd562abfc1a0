"""A sandbox that isolates nothing, for tests of what stands on this side of the split. Only for programs written here."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Sequence
from typing import Any
from unittest import mock

from ponder.sandbox.jobs import Job, Result

PLAIN = (type(None), bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset)


class FakeSandbox:
    """Runs jobs in this process; `broken` names codes that end as infra errors; `seen` are the jobs it was given."""

    def __init__(self, broken: str = "") -> None:
        self.broken, self.seen, self.batches = broken, list[Job](), 0

    def run(self, jobs: Sequence[Job]) -> list[Result]:
        self.batches += 1
        self.seen.extend(jobs)
        return [self._run(job) for job in jobs]

    def _run(self, job: Job) -> Result:
        if self.broken and self.broken in job.code:
            return Result("infra", error="no worker")
        out, space = io.StringIO(), dict[str, Any](__name__="__main__")
        try:
            with contextlib.redirect_stdout(out), mock.patch("sys.stdin", io.StringIO(job.stdin)):
                exec(compile(job.code, "<job>", "exec"), space)
                value = None
                if job.kind == "call":
                    value = space[job.entry](*copy.deepcopy(job.args), **copy.deepcopy(dict(job.kwargs)))
        except SystemExit as error:
            done = job.kind == "stdin" and not error.code
            return Result("ok" if done else "exited", stdout=out.getvalue(), exit_code=int(error.code or 0))
        except TimeoutError:
            return Result("timeout")
        except BaseException as error:
            return Result("raised", stdout=out.getvalue(), error=f"{type(error).__name__}: {error}")
        return Result("ok", value, out.getvalue()) if plain(value) else Result("refused", error="not plain")


def plain(value: Any) -> bool:
    if type(value) is dict:
        return all(plain(k) and plain(v) for k, v in value.items())
    if type(value) in (list, tuple, set, frozenset):
        return all(map(plain, value))
    return type(value) in PLAIN
