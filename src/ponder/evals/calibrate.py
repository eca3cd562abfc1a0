"""`ponder calibrate TASK`: which search a user's effort level should stand for, measured.

Sweep operating points on a development split (`points`, `pools`), choose levels by cross-validation (`frontier`), measure
them on fresh problems, write the model's table (`operating.json`) and a report. Every solution is stored as it ends: the
same line goes on where it was interrupted, and with more --problems draws only the new ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ponder import config as configs
from ponder import efforts
from ponder.config import Config
from ponder.efforts import NAMES, OPERATING, Operating, OperatingPoint, OperatingTable
from ponder.errors import ConfigError, DataError
from ponder.evals import calibrate_report, measure, routing, sweep
from ponder.evals.frontier import Levels, folds, levels
from ponder.evals.points import Sweep, SweepFile, default_sweep, expand, known_efforts, pools
from ponder.evals.pools import Rig, Store
from ponder.evals.searching import verifier_identity
from ponder.evals.settings import slug
from ponder.evals.sweep import Fresh, Swept
from ponder.files import write_atomic
from ponder.progress import Progress
from ponder.runs import Run
from ponder.search.options import read_options
from ponder.types import Problem, Split, Task, content_hash

Count = Annotated[int, Meta(ge=1)]
GROWS = ("problems", "fresh", "resume", "out", "rows", "device", "install", "alone", "probe", "folds", "confidence")
LEAST = 20


class CalibrateConfig(Config):
    """`ponder calibrate TASK`: find what none … xhigh should mean for a model, by measuring."""

    task: str = ""
    """Name of a task, benchmark or file reader."""
    task_options: tuple[str, ...] = ()
    """Settings of the task, each NAME=VALUE, such as numbers=[4]."""
    model: str = "mini"
    """A shipped name, a run, a Hugging Face folder, or scripted:FILE."""
    verifier: str = ""
    """A verifier; the sweep then tries its best and its weighted vote too."""
    recipe: str = ""
    """A TOML file of [[sweep]] tables instead of the default sweep."""
    most: Annotated[int, Meta(ge=1, le=4096)] = 64
    """Samples of the default sweep's largest points."""
    problems: Annotated[int, Meta(ge=LEAST)] = 200
    """Problems to choose the levels on."""
    split: Literal["train", "dev", "test"] = "dev"
    """Where those come from."""
    fresh: Annotated[int, Meta(ge=LEAST)] = 200
    """Other problems, to measure the chosen levels on."""
    fresh_split: Literal["train", "dev", "test"] = "test"
    """Where those come from; if it is the same split, problems beyond the first ones."""
    folds: Annotated[int, Meta(ge=2, le=100)] = 5
    """Parts of the cross-validation."""
    confidence: Annotated[float, Meta(ge=0.5, lt=1)] = 0.95
    """That no level is a false one; fewer levels where the data can not tell more apart."""
    probe: Annotated[int, Meta(ge=0, le=64)] = 4
    """Samples that estimate a problem's difficulty, to ask whether routing pays; 0 does not ask."""
    alone: Annotated[int, Meta(ge=0)] = 4
    """Fresh problems each level answers one at a time, to measure its latency."""
    install: bool | None = None
    """Put the table into the model's folder; unset: yes, but not for a model that ships with ponder."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Decides every draw, fold and tie."""
    out: str = ""
    """The run's directory; runs/calibrate-TASK-MODEL unless told."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes CUDA where there is one."""
    rows: Count | None = None
    """Completions in flight; as many as memory allows unless told."""
    resume: bool | None = None
    """true: go on with a run that must be there; false: start anew, the earlier run moves aside; unset: go on if there is one."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is known before a model is loaded. `sweep` is empty where the default depends on the model."""

    task: Task
    options: Mapping[str, Any]
    dev: list[Problem]
    fresh: list[Problem]
    sweep: tuple[Sweep, ...]


def prepare(config: CalibrateConfig) -> Prepared:
    """The task's problems and the recipe; ConfigError or DataError for what is wrong with them."""
    from ponder import tasks

    sweep = configs.load(SweepFile, configs.find_recipe(config.recipe)).sweep if config.recipe else ()
    if config.recipe and not sweep:
        raise ConfigError(f"{config.recipe}: has no [[sweep]] tables")
    options = read_options(config.task_options)
    task: Task = tasks.get(config.task, **options)
    dev, fresh = _problems(task, config)
    for problems, wanted, flag in ((dev, config.problems, "problems"), (fresh, config.fresh, "fresh")):
        if len(problems) < min(wanted, LEAST):
            raise DataError(
                f"task '{config.task}': only {len(problems)} problems for --{flag}; at least {LEAST} are needed"
            )
    shared = {problem.id for problem in dev} & {problem.id for problem in fresh}
    if shared:
        raise DataError(
            f"task '{config.task}': {len(shared)} problems are both in {config.split} and in {config.fresh_split}, "
            f"{min(shared)} among them; levels would be measured on problems they were chosen on"
        )
    return Prepared(task, options, dev, fresh, sweep)


def _problems(task: Task, config: CalibrateConfig) -> tuple[list[Problem], list[Problem]]:
    split: Split = config.split
    seed = config.seed
    if split != config.fresh_split:
        return task.problems(split, config.problems, seed), task.problems(config.fresh_split, config.fresh, seed)
    both = task.problems(split, config.problems + config.fresh, seed)
    return both[: config.problems], both[config.problems :]


def run(config: CalibrateConfig) -> dict[str, Any]:
    """Calibrate a model on a task; returns the levels with their measured accuracy, tokens and seconds."""
    ready = prepare(config)
    engine = measure.open_engine(config.model, config.device, config.rows)
    verifier = _verifier(config.verifier) if config.verifier else None
    lines = ready.sweep or default_sweep(config.most, verifier is not None)
    points = expand(lines, known_efforts(engine), verifier is not None)
    folder = config.out or f"runs/calibrate-{slug(config.task)}-{slug(config.model)}"
    settings = configs.to_dict(config) | {"sweep": msgspec.to_builtins(lines)}
    identity = measure.weights_identity(engine.name, engine.path)
    marked = identity if verifier is None else f"{identity}+{verifier_identity(config.verifier)}"
    with Run.open(folder, "calibrate", settings, config.resume, GROWS) as opened:
        rig = Rig(engine, verifier, ready.task, config.seed)
        store = Store(opened, f"{marked}/{config.seed}/{content_hash(dict(ready.options))}")
        with Progress(f"calibrate {config.model} on {config.task}") as progress:
            swept = sweep.sweep(rig, store, ready.dev, pools(points, config.probe), points, progress)
            parts = folds(len(ready.dev), min(config.folds, len(ready.dev)), config.seed)
            found = levels(swept.curve, parts=parts, level=config.confidence)
            fresh = sweep.measure(rig, store, ready.fresh, swept, found, config.alone, progress)
        kept, verdict = sweep.judge(fresh, found, config.confidence)
        routed = _route(swept, found, parts, config)
        table = _table(config, ready, kept, identity, verdict)
        written = _write_table(config, opened.path, engine.path, table)
        report = calibrate_report.build(
            config.task, config.model, opened.record, swept, found, fresh, kept, verdict, routed
        )
        calibrate_report.write(report, opened.path)
    return {**report["headline"], "operating": written, "out": folder, "report": f"{folder}/report.html"}


def _route(
    swept: Swept, found: Levels, parts: Sequence[Any], config: CalibrateConfig
) -> list[tuple[str, routing.Routed]] | None:
    """Routing at the cost of each level that can pay for a probe; None where nothing was asked."""
    own = routing.cheapest(swept.pools, swept.rows, config.probe) if config.probe else None
    if own is None:
        return None
    probed = routing.probe(swept.rows[own], swept.pools[own], swept.points, swept.curve, config.probe, config.seed)
    able = [
        (n, m) for n, m in zip(found.names, found.points, strict=True) if routing.affordable(probed, swept.curve, m)
    ]
    routed = routing.route(probed, swept.curve, [m for _, m in able], parts, config.probe)
    return [(name, one) for (name, _), one in zip(able, routed, strict=True)]


def _table(
    config: CalibrateConfig, ready: Prepared, kept: Sequence[Fresh], identity: str, verdict: str
) -> OperatingTable:
    rows = {level.name: _point(level, anywhere(config.verifier)) for level in kept}
    ordered = {name: rows[name] for name in NAMES if name in rows}
    return OperatingTable(
        levels=ordered, model=identity, options=dict(ready.options), problems=len(ready.fresh), verdict=verdict
    )


def anywhere(spec: str) -> str:
    """A verifier's name with its folders spelt out from the root, so that it is found from any directory."""
    if not Path(spec).is_dir() and "+" in spec:
        return "+".join(map(anywhere, spec.split("+")))
    scheme, mark, rest = ("", "", spec) if Path(spec).is_dir() else spec.rpartition(":")
    return f"{scheme}{mark}{Path(rest).resolve()}" if rest and Path(rest).is_dir() else spec


def _point(level: Fresh, verifier: str) -> OperatingPoint:
    found = level.accuracy
    return msgspec.structs.replace(
        level.point.operating(verifier),
        accuracy=found.mean,
        interval=(found.low, found.high),
        tokens=level.cost["tokens"],
        seconds=level.cost["seconds"],
        latency=level.latency,
    )


def _write_table(config: CalibrateConfig, run_folder: Path, model: str | None, table: OperatingTable) -> str:
    """Write the table into the run and, where wanted, into the model's folder; the last file written."""
    from ponder.engines.load import WEIGHTS

    written = install(run_folder, config.task, table, earlier=False)
    shipped = model is not None and WEIGHTS in Path(model).resolve().parents
    if model is not None and (config.install if config.install is not None else not shipped):
        written = install(model, config.task, table)
    elif config.install:
        raise ConfigError(f"--install: {config.model} has no folder to put {OPERATING} into")
    return str(written)


def install(folder: str | Path, task: str, table: OperatingTable, earlier: bool = True) -> Path:
    """Write a task's table into a folder, as the default, beside those of other tasks that are there."""
    known = efforts.operating(folder) if earlier else None
    tables = {**({} if known is None else known.tasks), task: table}
    plain = msgspec.json.encode(Operating(default=task, tasks=tables))
    return write_atomic(Path(folder) / OPERATING, msgspec.json.format(plain, indent=2) + b"\n")


def _verifier(spec: str) -> Any:
    from ponder import verifiers

    return verifiers.load(spec)


def show(result: Mapping[str, Any]) -> str:
    """The levels for people."""
    return calibrate_report.show(result)
