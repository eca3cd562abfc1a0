"""`ponder eval TASK` and `ponder report RUN`.

An evaluation is a run directory: the same line again draws only what is missing, `--attempts 64` after 16 draws 48 more,
`--regrade` grades the stored completions with today's grader, and `ponder report` renders without a model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ponder import config as configs
from ponder import efforts
from ponder.config import Config
from ponder.efforts import Level
from ponder.errors import RunError
from ponder.evals import measure, quickstart_report, report, report_data, report_figures
from ponder.evals.attempts import FILE, AttemptStore
from ponder.evals.measure import Measure
from ponder.evals.quickstart_report import FINISHED
from ponder.evals.report import percent
from ponder.files import encode, read_rows, write_atomic
from ponder.runs import METRICS, Run, read_record
from ponder.types import EFFORTS, Effort, Ledger

Count = Annotated[int, Meta(ge=1)]
DEFAULT_TOKENS = 256
GROWS = ("attempts", "limit", "regrade", "resume", "out", "rows")


class EvalConfig(Config):
    """`ponder eval TASK`: `limit` held-out problems, each tried `attempts` times at each effort.

    Without `max_tokens` and `levels` the model's own table of effort limits holds, and 256 tokens where it has none.
    """

    task: str = ""
    """Name of a task, benchmark or file reader."""
    model: str = "mini"
    """A shipped name, a run, a Hugging Face folder, or scripted:FILE."""
    attempts: Count = 16
    """Sampled completions per problem and effort."""
    limit: Count = 200
    """Held-out problems."""
    efforts: tuple[Effort, ...] = ("medium",)
    """Effort levels to measure."""
    split: Literal["dev", "test"] = "test"
    """dev was watched in training, test was not."""
    greedy: bool = True
    """Also one completion at temperature 0."""
    temperature: Annotated[float, Meta(gt=0, le=10)] = 1.0
    """Of the samples."""
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Smallest set of tokens with this much probability."""
    max_tokens: Count | None = None
    """Most tokens per completion; the model's own limits unless told."""
    levels: dict[Effort, Level] = {}
    seed: int = 0
    """Decides every draw."""
    out: str = ""
    """The run's directory; runs/eval-TASK-… unless told."""
    regrade: bool = False
    """Grade the stored completions again and draw none."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes CUDA where there is one."""
    rows: Count | None = None
    """Completions in flight; as many as memory allows unless told."""
    resume: bool | None = None
    """true: go on with a run that must be there; false: start anew, the earlier run moves aside; unset: go on if there is one."""


class ReportConfig(Config):
    """`ponder report RUN`: write the report of a quickstart or evaluation again from its files.

    Nothing is drawn, so `seed` changes nothing; every command takes it. `out` also writes the JSON result to that file.
    `figure` names an SVG file for the report's last measurement: accuracy against thinking, or against attempts.
    """

    run: str = ""
    """The directory of a quickstart or an evaluation."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Taken because every command takes it; a report draws nothing."""
    out: str | None = None
    """Also write the JSON result to this file."""
    figure: str | None = None
    """Write the last measurement's figure to this SVG file."""


def settings_of(config: EvalConfig) -> Measure:
    """The measurement an `EvalConfig` asks for; the table shows medium effort where it is measured."""
    return Measure(
        task=config.task,
        split=config.split,
        problems=config.limit,
        attempts=config.attempts,
        efforts=config.efforts,
        headline="medium" if "medium" in config.efforts or not config.efforts else config.efforts[-1],
        greedy=config.greedy,
        temperature=config.temperature,
        top_p=config.top_p,
        max_tokens=config.max_tokens or DEFAULT_TOKENS,
        levels=config.levels,
    )


def resolved(config: EvalConfig, folder: str | None) -> EvalConfig:
    """`config` with the effort limits of the model in `folder`, unless it sets its own."""
    if config.max_tokens is not None or config.levels or folder is None:
        return config
    table = efforts.read(folder)
    return msgspec.structs.replace(config, levels={effort: table[effort] for effort in EFFORTS if effort in table})


def run(config: EvalConfig) -> dict[str, Any]:
    """Measure a model on a task; returns pass@1 with its interval, counts and what it cost."""
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
        opened.write_json(FINISHED, {"models": {"model": identity}})
        found = write(opened.path)
    return {**found["headline"], "regraded": regraded, "out": folder, "report": f"{folder}/report.html"}


def slug(text: str) -> str:
    """A name as part of a folder's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-") or "model"


def render(config: ReportConfig) -> dict[str, Any]:
    """Write report.json and report.html of a finished run again."""
    path = Path(config.run)
    record = read_record(path)
    if record is None:
        raise RunError(f"{path}: there is no run here; give the folder of a quickstart or evaluation")
    writers = {"quickstart": quickstart_report.write, "eval": write}
    if record["command"] not in writers:
        raise RunError(f"{path}: a run of '{record['command']}' has no report; quickstart and eval runs have one")
    found = writers[record["command"]](path)
    if config.figure is not None:
        write_atomic(config.figure, report_figures.main_figure(found).encode("utf-8"))
    result = {"report": str(path / "report.html"), "title": found["title"], "headline": found["headline"]}
    if config.out is not None:
        write_atomic(config.out, encode(result) + b"\n")
    return result


def write(path: Path) -> dict[str, Any]:
    """Compute an evaluation's report from its files and write it; no model is loaded."""
    found = build(path)
    report.write(found, path)
    return found


def build(path: Path) -> dict[str, Any]:
    """The report dictionary of the evaluation at `path`; RunError when it has not finished."""
    record = read_record(path)
    if record is None or not (path / FINISHED).exists():
        raise RunError(f"{path}: this evaluation has not finished; run it again to go on")
    config = configs.build(EvalConfig, record["config"])
    settings = settings_of(config)
    part = measure.prepare(settings, config.seed)
    identity = msgspec.json.decode((path / FINISHED).read_bytes())["models"]["model"]
    rows = measure.recall("model", config.model, part, AttemptStore(path / FILE), identity)
    if rows is None:
        raise RunError(f"{path / FILE}: attempts of '{identity}' are missing; run the evaluation again")
    shown = report_data.part_block(part.task, part.problems, [rows], settings.headline, config.attempts)
    block = shown["models"][0]
    level = block["efforts"][settings.headline]
    ledger = _ledger(path)
    low, high = level["interval"]
    return {
        "kind": "eval",
        "title": f"{config.model} solves {percent(level['pass_at_1'])} of {len(part.problems)} {config.task} problems",
        "eyebrow": f"ponder eval {config.task}, split {config.split}, seed {config.seed}",
        "lead": [
            f"pass@1 at effort {settings.headline}, 95 % interval over problems {percent(low)} to {percent(high)}, "
            f"{config.attempts} attempts at each problem."
        ],
        "headline": level
        | {
            "attempts": config.attempts,
            "effort": report_data.effort_table(block),
            "greedy": block["greedy"].get(settings.headline),
            "tags": block["tags"],
            "ledger": ledger,
        },
        "parts": [shown],
        "timings": {"measuring": ledger["seconds"]},
        "config": record["config"],
        "versions": record["versions"],
        "commit": record["commit"],
    }


def _ledger(path: Path) -> dict[str, float]:
    total = Ledger()
    for row in read_rows(path / METRICS):
        total = total + Ledger(**row["ledger"])
    return msgspec.to_builtins(total)


def show(result: Mapping[str, Any]) -> str:
    """An evaluation's result for people."""
    low, high = result["interval"]
    lines = [
        f"pass@1   {percent(result['pass_at_1'])}   95 % interval {percent(low)} to {percent(high)}   "
        f"{result['problems']} problems, {result['attempts']} attempts each"
    ]
    for k, row in list(result["cons_at"].items())[-1:]:
        lines.append(f"cons@{k}  {percent(row['mean'])}   pass@{k}  {percent(result['pass_at'][k]['mean'])}")
    if result["greedy"]:
        lines.append(f"greedy   {percent(result['greedy']['mean'])}")
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
