"""Nothing grows over many runs, hostile ones among them; `benchmarks/sandbox.py --endurance` is the long form."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest

from ponder.sandbox import Job, Limits, Sandbox
from ponder.sandbox.box import held

FAST = Limits(cpu_seconds=0.3, wall_seconds=1.0, output_bytes=10_000)
GOOD = Job("def f(x): return x", "call", "f", (7,))
linux = pytest.mark.skipif(sys.platform != "linux" or held("L2") != "", reason="level L2 does not hold here")


def _children(parents: list[int]) -> list[str]:
    stats: list[str] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            stats.append(path.read_text())
    return [row for row in stats if int(row.rpartition(")")[2].split()[1]) in parents]


def _growth(box: Sandbox) -> tuple[int, int, int, int]:
    """What may not grow: our open files, those of the workers, children, entries in scratch folders."""
    workers = [keeper.process.pid for keeper in box._idle]
    files = max(len(os.listdir(f"/proc/{pid}/fd")) for pid in workers)
    inside = sum(len(os.listdir(keeper.scratch)) for keeper in box._idle)
    return len(os.listdir("/proc/self/fd")), files, len(_children(workers)), inside


def _memory(pid: int | str) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


@pytest.mark.slow
@linux
@pytest.mark.parametrize("level", ["L1", "L2"])
def test_hostile_runs_leave_nothing_behind(level: str) -> None:
    hostile = [
        Job("import os\nfor n in range(200): open(str(n), 'w').close()\nos.mkdir('d')", "exec", limits=FAST),
        Job("while True: print('x' * 1000)", "exec", limits=FAST),
        Job("import os\nfor n in range(64):\n try: os.write(n, b'T' * 40)\n except OSError: pass\nos._exit(0)", "exec"),
        Job(
            "import os\nfor _ in range(5):\n try: os.fork()\n except OSError: pass\nimport time\ntime.sleep(0.01)",
            "exec",
        ),
        Job(
            "import threading, time\nfor _ in range(20): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
            "exec",
        ),
    ]
    batch = [GOOD] * 45 + hostile
    with Sandbox(level, workers=1) as box:  # type: ignore[arg-type]
        box.run(batch * 2)
        before, memory = _growth(box), (_memory("self"), _memory(box._idle[0].process.pid))
        for _ in range(8):
            results = box.run(batch)
            assert {result.status for result in results[:45]} == {"ok"}
            assert [result.status for result in results[45:]] != ["ok"] * 5
        assert _growth(box) == before
        assert _memory("self") - memory[0] < 4096
        assert _memory(box._idle[0].process.pid) - memory[1] < 1024
