"""What selecting submissions is worth, on samples known to be right or wrong: references of MBPP and HumanEval, and mutants.

    python benchmarks/submit.py [--mbpp 100] [--humaneval 50] [--mutants 12] [--pools 5] [--inputs 20] [--write]

Of every problem whose reference passes its tests, faulty variants are made (one or two faults, `ponder.tasks.mutants`) and run
on the visible tests; those that pass are judged by the hidden ones and run on inputs made by changing the visible ones. A pool is
50 samples: a share of 5 to 35 % (uniform, 20 % on average) is the reference, the others are mutants in random proportions, so
that one wrong program may be the most frequent. Mutants that pass every test count as right. Two kinds of pools:

    all mutants    drawn from all of them; visible tests alone sort most of them out
    hard           drawn from those that pass the visible tests and fail hidden ones; problems without any are left out

Numbers are the mean over problems and pools of the chance that one of the first k submissions is right, with 95 % intervals over
problems. `chosen` is `submit.choose` with its own weights, `repeat 0.25` comes back to large clusters sooner, `size` takes
clusters by size alone, one submission each in turn, `random` is the exact expectation. The mutants are no model's samples:
faults of a model are more alike. Needs PONDER_DATA.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ponder import tasks
from ponder.errors import DataError
from ponder.graders.code import CodeGrader
from ponder.graders.programs import program_of
from ponder.intervals import cluster_mean, paired_difference
from ponder.progress import Progress
from ponder.sandbox import Sandbox
from ponder.search import submit_tests
from ponder.search.submit import Plan, Program, Subtask, Weights, choose, keep
from ponder.search.submit_form import Form
from ponder.search.submit_inputs import Boxed, with_outputs
from ponder.search.submit_score import curve, earned
from ponder.search.submit_tune import Solved, held_out
from ponder.tasks.mutants import mutated, parse
from ponder.tasks.programs import fenced
from ponder.types import Problem
from ponder.verifiers.labels.mutation import Counts, Recipe, mutants

ROOT = Path(__file__).resolve().parents[1]
SPLITS = {"mbpp": "test", "humaneval": "test"}
POOL, LIMIT, CPU_SECONDS = 50, 10, 1.0
KS = (1, 3, 10)
OFTEN = Weights(repeat=0.25)
SIZE_ALONE = Weights(size=1.0, errors=0.0, learned=0.0, repeat=1000.0)


def variants(task: Any, problem: Problem, count: int, seed: int) -> list[str]:
    """The reference and its mutants, the reference first; empty where it is no program to mutate."""
    source = program_of(task.demonstrate(problem).text) or ""
    try:
        tree = parse(source)
    except DataError:
        return []
    recipe = Recipe(mutants=count, faults=2, seed=seed)
    return [mutated(tree, ()).text, *(m.program.text for m in mutants(tree, recipe, Counts()))]


def studied(
    task: Any, problem: Problem, count: int, inputs: int, seed: int, box: Sandbox
) -> tuple[list[Program], list[bool], list[str], str] | None:
    """Each variant run and judged, with the inputs' ids and where they came from; None when the reference fails its tests."""
    reference = {**problem.reference, "cpu_seconds": CPU_SECONDS}
    codes = variants(task, problem, count, seed)
    if len(codes) < 2 or "visible" not in reference:
        return None
    pairs = [(reference, fenced(code)) for code in codes]
    if not CodeGrader(sandbox=box).check_many(pairs[:1])[0].correct:
        return None
    shown = CodeGrader(tests="visible", sandbox=box).check_many(pairs)
    programs = [
        Program(str(i), "all", code, (None if g.score is None else g.correct,))
        for i, (code, g) in enumerate(zip(codes, shown, strict=True))
    ]
    kept = keep(programs)[0]
    grades = CodeGrader(sandbox=box).check_many([pairs[int(p.id)] for p in kept])
    right = {p.id for p, grade in zip(kept, grades, strict=True) if grade.correct}
    form = Form.of(reference)
    called = Boxed(box, form)
    wanted = submit_tests.Wanted(inputs, seed=seed)
    found = submit_tests.inputs_for(form, wanted, Boxed(box, whole=True), called, [p.code for p in kept])
    done = {p.id: p for p in with_outputs(called, kept, found.inputs)}
    verdicts = [p.id in right for p in programs]
    return [done.get(p.id, p) for p in programs], verdicts, [one.id for one in found.inputs], found.source


def pool(
    programs: Sequence[Program], right: Sequence[bool], rng: random.Random
) -> tuple[list[Program], dict[str, Any]]:
    """50 samples of the variants in random proportions, each a program of its own, and their verdicts."""
    share = rng.uniform(0.05, 0.35)
    weights = [share] + [0.0] * (len(programs) - 1)
    parts = [rng.expovariate(1.0) ** 2 for _ in programs[1:]]
    weights[1:] = [(1 - share) * part / sum(parts) for part in parts]
    drawn = rng.choices(range(len(programs)), weights, k=POOL)
    found = [replace(programs[i], id=f"{n}", code=f"{programs[i].code}# sample {n}\n") for n, i in enumerate(drawn)]
    return found, {f"{n}": {"all": float(right[i])} for n, i in enumerate(drawn)}


def study(name: str, limit: int, args: argparse.Namespace, box: Sandbox) -> Iterator[tuple[Any, ...]]:
    task = tasks.get(name)
    with Progress() as progress:
        problems = task.problems(SPLITS[name])
        bar = progress.bar(name, limit)
        taken = 0
        for problem in problems:
            if taken == limit:
                return
            found = studied(task, problem, args.mutants, args.inputs, args.seed, box)
            if found is not None:
                taken += 1
                bar.advance(1)
                yield (name, problem.id, *found)


def hard(row: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The row with the reference and the wrong mutants that pass the visible tests; None without any."""
    name, problem, programs, right, *rest = row
    kept = [i for i, p in enumerate(programs) if i == 0 or (p.public != (False,) and not right[i])]
    if len(kept) < 2:
        return None
    return (name, problem, [programs[i] for i in kept], [right[i] for i in kept], *rest)


def measured(rows: Sequence[tuple[Any, ...]], args: argparse.Namespace) -> dict[str, list[list[float]]]:
    """By way of choosing, the curve of every problem, averaged over its pools."""
    solved: list[Solved] = []
    found: dict[str, list[list[float]]] = {}
    for name, problem, programs, right, inputs, _ in rows:
        rng = random.Random(f"{name}/{problem}/{args.seed}")
        subtasks = [Subtask("all", inputs=tuple(inputs))]
        curves: dict[str, list[Sequence[float]]] = {}
        for number in range(args.pools):
            samples, truth = pool(programs, right, rng)
            judge = lambda p, truth=truth: truth[p.id]  # noqa: E731
            plans: dict[str, Plan] = {
                "chosen": choose(subtasks, samples, judge, limit=LIMIT, seed=number),
                "repeat 0.25": choose(subtasks, samples, judge, OFTEN, LIMIT, number),
                "size": choose(subtasks, samples, judge, SIZE_ALONE, LIMIT, number),
            }
            drawn = curve(subtasks, samples, plans["chosen"], truth, LIMIT)
            ways = {way: earned(subtasks, plan, truth, LIMIT) for way, plan in plans.items()}
            ways |= {"random": drawn.random, "random, kept": drawn.random_kept, "best possible": drawn.best}
            for way, values in ways.items():
                curves.setdefault(way, []).append(values)
            if number == 0:
                solved.append(Solved.of(subtasks, samples, truth, number))
        for way, several in curves.items():
            found.setdefault(way, []).append([sum(column) / len(several) for column in zip(*several, strict=True)])
    with Progress() as progress:
        bar = progress.bar("weights", args.trials + 1)
        tuned = held_out(solved, args.trials, LIMIT, seed=args.seed, told=bar.advance)
    gain = paired_difference(tuned.start, tuned.tuned)
    print(f"tuned, area over 1 to {LIMIT} on problems left out, first pool: {100 * gain.mean:+.2f} points "
          f"({100 * gain.low:+.2f} to {100 * gain.high:+.2f}); best on all: {tuned.weights}")  # fmt: skip
    return found


def table(title: str, curves: dict[str, list[list[float]]]) -> list[dict[str, Any]]:
    print(f"\n{title}\n{'':<16}" + "".join(f"{f'k = {k}':>24}" for k in KS))
    rows: list[dict[str, Any]] = []
    for way, problems in curves.items():
        values = [cluster_mean([curve[k - 1] for curve in problems]) for k in KS]
        print(
            f"{way:<16}"
            + "".join(f"{f'{100 * v.mean:.1f} ({100 * v.low:.1f} to {100 * v.high:.1f})':>24}" for v in values)
        )
        rows.append({"way": way} | {f"k{k}": [v.mean, v.low, v.high] for k, v in zip(KS, values, strict=True)})
    for other in ("repeat 0.25", "size", "random, kept"):
        gains = [paired_difference([c[k - 1] for c in curves[other]], [c[k - 1] for c in curves["chosen"]]) for k in KS]
        print(
            f"{'− ' + other:<16}"
            + "".join(f"{f'{100 * g.mean:+.1f} ({100 * g.low:+.1f} to {100 * g.high:+.1f})':>24}" for g in gains)
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (
        ("mbpp", 100),
        ("humaneval", 50),
        ("mutants", 12),
        ("pools", 5),
        ("inputs", 20),
        ("trials", 200),
        ("seed", 0),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/submit.json")
    args = parser.parse_args()
    with Sandbox() as box:
        rows = [row for name in SPLITS if getattr(args, name) for row in study(name, getattr(args, name), args, box)]
    codes = sum(len(row[2]) for row in rows)
    passing = sum(sum(row[3]) for row in rows) - len(rows)
    none = sum(row[5] == "none" for row in rows)
    shown = sum(p.public != (False,) for row in rows for p in row[2]) - len(rows)
    print(f"{len(rows)} problems, {codes - len(rows)} mutants, {passing} of them pass all tests, {shown} the visible ones; "
          f"{sum(len(row[4]) for row in rows) / len(rows):.1f} inputs a problem, {none} problems without")  # fmt: skip
    report: dict[str, Any] = {}
    for kind, chosen in (("all mutants", rows), ("hard", [found for row in rows if (found := hard(row)) is not None])):
        print(
            f"\n== {kind}: {len(chosen)} problems, {args.pools} pools of {POOL} samples each, percent right within k submissions"
        )
        every = measured(chosen, args)
        report[kind] = table("all", every)
        for name in SPLITS:
            mine = [i for i, row in enumerate(chosen) if row[0] == name]
            if len(mine) > 1:
                report[f"{kind}, {name}"] = table(
                    f"{name}, {len(mine)}", {w: [c[i] for i in mine] for w, c in every.items()}
                )
    if args.write:
        file = ROOT / "benchmarks/results/submit.json"
        file.write_text(json.dumps({"settings": vars(args), "problems": len(rows), "tables": report}, indent=2) + "\n")


if __name__ == "__main__":
    main()
