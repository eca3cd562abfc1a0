"""Speed of the sandbox, in runs a second and processor time a run, and its endurance.

    python benchmarks/sandbox.py [--runs 1000] [--workers 2] [--rounds 3] [--write]
    python benchmarks/sandbox.py --endurance 100000 [--level L2] [--workers 2]

A run is one job from `Sandbox.run` to its result: four files without a name are made and the job is written into one, a
clean process forks, the copy takes its limits (and at L2 its system call filter), compiles a one-line function, calls it on
one number and writes the value; the clean process waits for it, measures it and empties the scratch folder; the value is
decoded and compared here. All mechanisms are measured in the same call, round after round; median, slowest and best round
are shown: other work on the machine only slows. Processor time is that of this process and all its descendants, and the median
of the rounds. The subprocess is `python -I -S` with the code on its command line and none of the sandbox's limits; the Manager
is what common graders start for every check (a manager process for the result, a process for the code). Both run with as
many threads as there are workers.

Endurance makes that many runs, one in a hundred of them hostile (a loop, a flood, a forged reply, a thousand files, an
early exit), and prints what has grown since the first thousand: open files and memory of this process and its workers, zombies,
folders left behind. It ends with exit code 1 when there is anything.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ponder.sandbox import Job, Limits, Sandbox, places, usage
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
    """Runs a second (median, best and slowest round) and milliseconds of processor a run (median: a round in which a worker
    was replaced loses that worker's time), the ways taking turns."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    costs: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (way, runs) in ways.items():
            started, spent = time.perf_counter(), processor()
            way(runs)
            rates[name].append(runs / (time.perf_counter() - started))
            costs[name].append((processor() - spent) / runs * 1000)
    return {
        name: {
            "median": statistics.median(rows),
            "best": max(rows),
            "slowest": min(rows),
            "cpu_ms": statistics.median(costs[name]),
            "runs": ways[name][1],
        }
        for name, rows in rates.items()
    }


def processor() -> float:
    """Processor seconds of this process and its descendants; NaN where there is no /proc."""
    return usage.usage(os.getpid())[0] if sys.platform == "linux" else float("nan")


HOSTILE = (
    ("while True: pass", "timeout"),
    ("while True: print('x' * 1000)", "output"),
    ("import os\nfor n in range(64):\n try: os.write(n, b'T' * 40)\n except OSError: pass\nos._exit(0)", "refused"),
    ("for n in range(900): open(str(n), 'w').close()\ndef f(x): return x + 1", "ok"),
    ("import os\nos._exit(0)", "exited"),
)


def mixed(start: int, runs: int) -> tuple[list[Job], list[str]]:
    """Jobs with a hostile one in a hundred, and how each has to end."""
    tight = Limits(cpu_seconds=0.05, wall_seconds=5.0, output_bytes=10_000)
    jobs, ends = [], []
    for k in range(start, start + runs):
        code, end = HOSTILE[k // 100 % len(HOSTILE)] if k % 100 == 50 else (CODE, "ok")
        jobs.append(Job(code, "call", "f", (k,), limits=tight if end in ("timeout", "output") else Limits()))
        ends.append(end)
    return jobs, ends


def state(box: Sandbox) -> dict[str, float]:
    """What could grow."""
    workers = [keeper.process.pid for keeper in box._idle]
    of_zombies = [row for row in Path("/proc").glob("[0-9]*/stat") if _is_zombie_of(row, {os.getpid(), *workers})]
    return {
        "open files here": len(os.listdir("/proc/self/fd")),
        "memory here, MB": _proportional("self"),
        "open files of a worker": max(len(os.listdir(f"/proc/{pid}/fd")) for pid in workers),
        "memory of a worker, MB": max(map(_proportional, workers)),
        "zombies": len(of_zombies),
        "entries in scratch folders": sum(len(os.listdir(keeper.scratch)) for keeper in box._idle),
        "scratch folders": folders(),
    }


def folders() -> int:
    return len(list(Path(tempfile.gettempdir()).glob(f"{places.PREFIX}*")))


def _is_zombie_of(path: Path, parents: set[int]) -> bool:
    try:
        words = path.read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return words[0] == "Z" and int(words[1]) in parents


def _proportional(pid: int | str) -> float:
    """Memory in MB, shared pages divided among those that share them."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def endure(level: Any, workers: int, runs: int, step: int = 1000) -> int:
    """The endurance test; the exit code."""
    wrong, first, done = Counter[str](), {}, 0
    with Sandbox(level, workers=workers) as box:
        started = last = time.perf_counter()
        spent = processor()
        while done < runs:
            jobs, ends = mixed(done, min(step, runs - done))
            for result, end in zip(box.run(jobs), ends, strict=True):
                if result.status != end:
                    wrong[f"{result.status} ({result.error}) and not {end}"] += 1
            done += len(jobs)
            first = first or state(box)
            if done % (10 * step) == 0 or done == runs:
                now = time.perf_counter()
                print(f"{done:>8} runs  {done / (now - started):6.0f} runs/s so far", flush=True)
                last = now
        cost, after, took = (processor() - spent) / runs * 1000, state(box), last - started
    print(f"level {box.level}, {workers} workers: {runs} runs in {took:.0f} s, {cost:.2f} ms of processor a run")
    print(f"ends other than they should be: {wrong.total()}")
    for name, count in wrong.items():
        print(f"{count} x {name}")
    grown = []
    for name, value in after.items():
        print(f"{name:<28} {first[name]:8.1f} -> {value:8.1f}")
        if value > first[name] + (8 if "memory" in name else 0):
            grown.append(name)
    print(f"scratch folders left after closing: {folders()}")
    return 1 if wrong or grown or folders() else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/sandbox.json")
    parser.add_argument(
        "--endurance", type=int, metavar="RUNS", help="instead: this many runs, and what grows over them"
    )
    parser.add_argument(
        "--level", choices=["L1", "L2", "L3"], help="of the endurance test (default: the best that holds)"
    )
    arguments = parser.parse_args()
    if arguments.endurance:
        with tempfile.TemporaryDirectory() as apart:  # what is left in it is ours
            os.chmod(apart, 0o711)
            tempfile.tempdir = apart
            sys.exit(endure(arguments.level, arguments.workers, arguments.endurance))
    workers, few = arguments.workers, max(1, arguments.runs // 10)
    levels = [level for level in ("L1", "L2", "L3") if held(level) == ""]
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
        speed = f"{row['median']:8.0f} runs/s ({row['slowest']:.0f} to {row['best']:.0f})"
        print(f"{name:<20} {speed:<40} {row['cpu_ms']:6.2f} ms of processor a run")
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
