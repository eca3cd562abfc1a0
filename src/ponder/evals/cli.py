"""`ponder eval TASK` and `ponder report RUN`.

An evaluation is a run directory: the same line again draws only what is missing, `--attempts 64` after 16 draws 48 more,
`--regrade` grades the stored completions with today's grader, and `ponder report` renders without a model. With
`--strategy` problems are searched instead; the same directory holds any number of strategies.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ponder import config as configs
from ponder.config import Config
from ponder.errors import RunError
from ponder.evals import (
    eval_report,
    measure,
    quickstart_report,
    repair_report,
    report_figures,
    search_eval,
    submission,
    submission_report,
    ungraded,
)
from ponder.evals.attempts import FILE, AttemptStore
from ponder.evals.report import percent
from ponder.evals.searched import PLAIN, finished_of
from ponder.evals.settings import FINISHED, GROWS, EvalConfig, check, resolved, settings_of, slug
from ponder.files import encode, write_atomic
from ponder.runs import Run, read_record

__all__ = ["EvalConfig", "ReportConfig", "render", "run", "show", "show_report"]


class ReportConfig(Config):
    """`ponder report RUN`: write the report of a quickstart, an evaluation, repairs or submissions again from its files.

    Nothing is drawn, so `seed` changes nothing; every command takes it. `out` also writes the JSON result to that file.
    `figure` names an SVG file for the report's last measurement: accuracy against thinking, or against attempts.
    """

    run: str = ""
    """The directory of a quickstart, an evaluation, repairs or submissions."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Taken because every command takes it; a report draws nothing."""
    out: str | None = None
    """Also write the JSON result to this file."""
    figure: str | None = None
    """Write the last measurement's figure to this SVG file."""


def run(config: EvalConfig) -> dict[str, Any]:
    """Measure a model on a task; returns pass@1 with its interval, or a strategy's accuracy, counts and what it cost."""
    check(config)
    if config.strategy:
        return search_eval.run(config)
    measure.prepare(
        settings_of(config), config.seed
    )  # what is wrong with the settings is said before a model is loaded
    engine = measure.open_engine(config.model, config.device, config.rows)
    config = resolved(config, engine.path)
    part = measure.prepare(settings_of(config), config.seed)
    identity = measure.weights_identity(engine.name, engine.path)
    folder = config.out or f"runs/eval-{slug(config.task)}-{slug(config.model)}"
    with Run.open(folder, "eval", configs.to_dict(config), config.resume, GROWS) as opened:
        store = AttemptStore(opened.path / FILE)
        before = engine.ledger
        try:
            measure.measure("model", config.model, lambda: engine, [part], store, identity)
        finally:
            opened.log({"ledger": msgspec.to_builtins(engine.ledger - before)})
        regraded = store.regrade(part.problems, part.task.grader) if config.regrade else 0
        told = finished_of(opened.path, identity) | {PLAIN: configs.to_dict(config)}
        opened.write_json(FINISHED, told)
        found = eval_report.write(opened.path)
    return {**found["headline"], "regraded": regraded, "out": folder, "report": f"{folder}/report.html"}


def render(config: ReportConfig) -> dict[str, Any]:
    """Write report.json and report.html of a finished run again."""
    path = Path(config.run)
    record = read_record(path)
    if record is None:
        raise RunError(f"{path}: there is no run here; give the folder of a quickstart or evaluation")
    writers = {
        "quickstart": quickstart_report.write,
        "eval": eval_report.write,
        "repair": repair_report.write,
        "submit": submission.render,
    }
    if record["command"] not in writers:
        raise RunError(f"{path}: a run of '{record['command']}' has no report; runs of {', '.join(writers)} have one")
    found = writers[record["command"]](path)
    if config.figure is not None:
        if found["kind"] == "repair":
            raise RunError(f"{path}: the report of repairs has no figure; leave --figure out")
        write_atomic(config.figure, _figure(found).encode("utf-8"))
    result = {"report": str(path / "report.html"), "title": found["title"], "headline": found["headline"]}
    if config.out is not None:
        write_atomic(config.out, encode(result) + b"\n")
    return result


def _figure(found: Mapping[str, Any]) -> str:
    if found["kind"] == "submit":
        return report_figures.as_file(submission_report.figure(found).svg)
    return report_figures.main_figure(found)


def show(result: Mapping[str, Any]) -> str:
    """An evaluation's result for people."""
    if "strategy" in result:
        return search_eval.show(result)
    low, high = result["interval"]
    lines = [
        f"pass@1   {percent(result['pass_at_1'])}   95 % interval {percent(low)} to {percent(high)}   "
        f"{result['problems']} problems, {result['attempts']} attempts each"
    ]
    for k, row in list(result["cons_at"].items())[-1:]:
        lines.append(f"cons@{k}  {percent(row['mean'])}   pass@{k}  {percent(result['pass_at'][k]['mean'])}")
    if result["greedy"]:
        lines.append(f"greedy   {percent(result['greedy']['mean'])}")
    if result["hack_rate"]:
        row = result["hack_rate"]
        low, high = percent(row["low"]), percent(row["high"])
        lines.append(
            f"hacks    {percent(row['mean'])}   95 % interval {low} to {high}   {row['hacked']} of {row['decided']}"
        )
    if told := ungraded.sentence(result):
        lines.append(f"ungraded {told}; the same line tries them again")
    for level, row in result["effort"].items():
        lines.append(f"effort {level:<7} {percent(row['accuracy'])}   {row['tokens']:.0f} tokens")
    ledger = result["ledger"]
    lines.append(
        f"spent    {ledger['decoded']:,} tokens decoded, {ledger['prefilled']:,} prefilled, {ledger['cached']:,} from cache, "
        f"{ledger['seconds']:.1f} s"
    )
    return "\n".join([*lines, f"report   {result['report']}"])


def show_report(result: Mapping[str, Any]) -> str:
    """Where the report was written."""
    return f"{result['title']}\n{result['report']}"
