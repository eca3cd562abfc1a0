"""Speed of the math grader, in grades a second on one core, beside math-verify where it is installed.

    python benchmarks/grading.py [--rounds 5] [--write]

Every grade goes from a completion's text (some 500 characters of thinking, then a box) to a `Grade`. Settings: whole
numbers, all different; the MATH-500 references with 16 completions each, as rollouts give them (half right, a quarter
rewritten, a quarter another problem's answer), less what only sympy decides; the 5,000 MATH test references, every text
read for the first time; and answers that only sympy can decide, in a warm worker. Rates are by processor time, the best
of the rounds, since other work on the machine only slows; the slowest round is shown too. math-verify gets the same
pairs, its fastest settings (no timeout) and one round. MATH files come from PONDER_DATA; without them those rows are
left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ponder.graders import extract, reading
from ponder.graders.math import MathGrader, Policy, equal

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("PONDER_DATA", ROOT / "../shared/data"))
THINKING = "<think>" + "so the sum of both is twelve and we go on. " * 12 + "</think>"
Pair = tuple[str, str]
HARD = [
    ("\\cos {}^\\circ", "\\sin {other}^\\circ"),
    ("\\ln {}", "\\ln({other}) - 1"),
    ("\\sqrt{{ {} + \\sqrt 2 }}", "\\sqrt{{ {other} - \\sqrt 3 }}"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/grading.json")
    arguments = parser.parse_args()
    grader, rng = MathGrader(), random.Random(0)
    fast = MathGrader(Policy(symbolic=False))
    rows: dict[str, dict[str, Any]] = {}
    numbers = whole_numbers(rng, 20_000)
    rows["whole numbers, all different"] = measure(grader, numbers, arguments.rounds)
    if (DATA / "math/math500_test.jsonl").exists():
        rollouts = [pair for pair in math500_rollouts(rng) if equal(*pair, Policy(symbolic=False)) is not None]
        rows["MATH-500, 16 completions each"] = measure(grader, rollouts, arguments.rounds)
        rows["MATH test, every text new"] = measure(fast, first_reads(rng), arguments.rounds, fresh=True)
    rows["symbolic, warm worker"] = measure_symbolic(grader)
    peer(
        rows,
        {"whole numbers, all different": numbers[:1000]}
        | ({"MATH-500, 16 completions each": rollouts[:1000]} if len(rows) > 2 else {}),
    )
    report(rows)
    if arguments.write:
        path = ROOT / "benchmarks/results/grading.json"
        path.parent.mkdir(exist_ok=True)
        machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
        path.write_text(json.dumps({"date": time.strftime("%Y-%m-%d"), **machine, "rows": rows}, indent=1) + "\n")


def boxed(answer: str) -> str:
    return f"{THINKING}The answer is \\boxed{{{answer}}}."


def whole_numbers(rng: random.Random, count: int) -> list[Pair]:
    values = [rng.randrange(-(10**6), 10**6) for _ in range(count)]
    return [(str(v), str(v if rng.random() < 0.5 else v + rng.randrange(1, 9))) for v in values]


def math500_rollouts(rng: random.Random) -> list[Pair]:
    references = [json.loads(line)["answer"] for line in (DATA / "math/math500_test.jsonl").open()]
    pairs: list[Pair] = []
    for reference in references:
        written = [reference] * 8 + [
            f"x = {reference}",
            f"\\left({reference}\\right)",
            f"$ {reference} $",
            f" {reference}.",
        ]
        pairs += [(reference, answer) for answer in written + rng.choices(references, k=4)]
    return pairs


def first_reads(rng: random.Random) -> list[Pair]:
    solutions = [json.loads(line)["solution"] for line in (DATA / "math/math_test_5000.jsonl").open()]
    found = [extract.find_in(s).text for s in solutions]
    references = [r for r in found if r]
    return [(r, rng.choice([r, rng.choice(references)])) for r in references]


def measure(grader: MathGrader, pairs: list[Pair], rounds: int, fresh: bool = False) -> dict[str, Any]:
    """Grades a second: best and slowest round. With `fresh`, nothing read before is remembered."""
    jobs = [(reference, boxed(answer)) for reference, answer in pairs]
    rates: list[float] = []
    outcomes: Counter[str] = Counter()
    for _ in range(rounds):
        if fresh:
            reading._read_short.cache_clear()  # pyright: ignore[reportPrivateUsage]
        started = time.process_time()
        outcomes = Counter(grader.check(*job).outcome for job in jobs)
        rates.append(len(jobs) / (time.process_time() - started))
    return {"grades": len(jobs), "per_second": max(rates), "slowest": min(rates), "outcomes": dict(outcomes)}


def measure_symbolic(grader: MathGrader) -> dict[str, Any]:
    """By wall time, since the work is another process's."""
    pairs = [(a.format(n), b.format(n, other=n + k)) for n in range(10, 40) for k in (0, 1) for a, b in HARD]
    equal("\\cos 1^\\circ", "\\sin 2^\\circ")  # the worker starts
    started = time.perf_counter()
    outcomes = Counter(grader.check(a, boxed(b)).outcome for a, b in pairs)
    rate = len(pairs) / (time.perf_counter() - started)
    return {"grades": len(pairs), "per_second": rate, "slowest": rate, "outcomes": dict(outcomes)}


def peer(rows: dict[str, dict[str, Any]], sets: dict[str, list[Pair]]) -> None:
    try:
        import math_verify  # pyright: ignore[reportMissingImports]
    except ImportError:
        print("math-verify is not installed: its column is left out", file=sys.stderr)
        return
    verify: Callable[..., bool] = math_verify.verify
    for name, pairs in sets.items():
        started = time.process_time()
        for reference, answer in pairs:
            gold = math_verify.parse(f"\\boxed{{{reference}}}", parsing_timeout=None)
            verify(gold, math_verify.parse(boxed(answer), parsing_timeout=None), timeout_seconds=None)
        rows[name]["math_verify_per_second"] = len(pairs) / (time.process_time() - started)


def report(rows: dict[str, dict[str, Any]]) -> None:
    print(f"{'':32} {'grades/s':>10} {'slowest':>10} {'math-verify':>12}  outcomes")
    for name, row in rows.items():
        other = f"{row['math_verify_per_second']:,.0f}" if "math_verify_per_second" in row else "-"
        outcomes = ", ".join(f"{k} {v}" for k, v in sorted(row["outcomes"].items()))
        print(f"{name:32} {row['per_second']:>10,.0f} {row['slowest']:>10,.0f} {other:>12}  {outcomes}")


if __name__ == "__main__":
    main()
