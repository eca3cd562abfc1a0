"""Speed of the sandbox, in runs a second per level, beside a subprocess and a multiprocessing Manager per run.

    python benchmarks/sandbox.py [--runs 1000] [--workers 2] [--rounds 3] [--write]

A run calls a one-line function on one input. All mechanisms are measured in the same call, round after round; the best
and the slowest round are shown, since other work on the machine only slows. The subprocess is `python -I -S` with the
code on its command line and none of the sandbox's limits; the Manager is what common graders start for every check (a
manager process for the result, a process for the code). Both run with as many threads as there are workers.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ponder.sandbox import Job, Sandbox
from ponder.sandbox.box import held

CODE = "def f(x): return x + 1"
ROOT = Path(__file__).resolve().parents[1]


def by_sandbox(box: Sandbox, runs: int) -> None:
    results = box.run([Job(CODE, "call", "f", (k,)) for k in range(runs)])
    assert [result.value for result in results] == list(range(1, runs + 1))


def by_subprocess(workers: int, runs: int) -> None:
    def one(k: int) -> int:
        command = [sys.executable, "-I", "-S", "-c", f"{CODE}\nprint(f({k}))"]
        return int(subprocess.run(command, capture_output=True, check=True).stdout)

    with ThreadPoolExecutor(workers) as threads:
        assert list(threads.map(one, range(runs))) == list(range(1, runs + 1))


def _checked(results: Any, k: int) -> None:
    names: dict[str, Any] = {}
    exec(CODE, names)
    results.append(names["f"](k))


def by_manager(workers: int, runs: int) -> None:
    def one(k: int) -> int:
        with multiprocessing.Manager() as manager:
            results = manager.list()
            process = multiprocessing.Process(target=_checked, args=(results, k))
            process.start()
            process.join()
            return results[0]

    with ThreadPoolExecutor(workers) as threads:
        assert list(threads.map(one, range(runs))) == list(range(1, runs + 1))


def measure(ways: dict[str, tuple[Callable[[int], None], int]], rounds: int) -> dict[str, dict[str, Any]]:
    """Runs a second of every way: best and slowest of the rounds, the ways taking turns."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (way, runs) in ways.items():
            started = time.perf_counter()
            way(runs)
            rates[name].append(runs / (time.perf_counter() - started))
    return {name: {"best": max(rows), "slowest": min(rows), "runs": ways[name][1]} for name, rows in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/sandbox.json")
    arguments = parser.parse_args()
    workers, few = arguments.workers, max(1, arguments.runs // 10)
    levels = [level for level in ("L1", "L2") if held(level) == ""]
    boxes = {level: Sandbox(level, workers=workers) for level in levels}
    ways: dict[str, tuple[Callable[[int], None], int]] = {}
    for level, box in boxes.items():
        by_sandbox(box, 10)  # started
        ways[f"sandbox {level}"] = (lambda runs, box=box: by_sandbox(box, runs), arguments.runs)
    ways["subprocess per run"] = (lambda runs: by_subprocess(workers, runs), few)
    ways["Manager per run"] = (lambda runs: by_manager(workers, runs), few)
    load = os.getloadavg()[0]
    rows = measure(ways, arguments.rounds)
    for box in boxes.values():
        box.close()
    print(f"{workers} workers, {os.cpu_count()} cores, load {load:.1f} before, Python {platform.python_version()}")
    for name, row in rows.items():
        print(f"{name:<20} {row['best']:8.0f} runs/s   (slowest round {row['slowest']:.0f})")
    if arguments.write:
        result = {
            "rows": rows,
            "workers": workers,
            "cores": os.cpu_count(),
            "load": load,
            "python": platform.python_version(),
        }
        (ROOT / "benchmarks/results/sandbox.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
