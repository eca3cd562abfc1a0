"""The quickstart's report from the files of its run, as JSON, as a page and as text for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ponder import config as configs
from ponder.errors import RunError
from ponder.evals import measure, report, report_data
from ponder.evals.attempts import FILE, AttemptStore
from ponder.evals.measure import Measure, Part
from ponder.evals.report import percent
from ponder.evals.report_data import ModelRows
from ponder.evals.settings import FINISHED
from ponder.files import read_rows
from ponder.runs import METRICS, read_record

NAMES = {"sft": "sft", "grpo": "rl"}
LABELS = {"sft": "after SFT", "rl": "after GRPO"}


def is_finished(path: Path) -> bool:
    """Whether every stage of the quickstart at `path` has ended."""
    return (path / FINISHED).exists()


def write(path: Path) -> dict[str, Any]:
    """Compute the report of a finished run and write `report.json` and `report.html`; no model is loaded."""
    found = build(path)
    report.write(found, path)
    return found


def build(path: Path) -> dict[str, Any]:
    """The report dictionary of the run at `path`; RunError when it has not finished."""
    record = read_record(path)
    if record is None or not is_finished(path):
        raise RunError(f"{path}: this quickstart has not finished; run 'ponder quickstart --out {path}' to go on")
    recipe = record["config"]
    tables = [recipe[name] for name in ("eval", "effort") if recipe.get(name)]
    parts = [measure.prepare(configs.build(Measure, table), recipe["seed"]) for table in tables]
    store = AttemptStore(path / FILE)
    models = [[_rows(path, name, part, store) for name in LABELS] for part in parts]
    blocks = [
        report_data.part_block(p.task, p.problems, rows, p.settings.headline, p.settings.attempts)
        for p, rows in zip(parts, models, strict=True)
    ]
    timings = stage_seconds(path)
    headline = _headline(blocks, parts[0].settings.headline, models[0]) | {"seconds": sum(timings.values())}
    return {
        "kind": "quickstart",
        "title": _title(headline, parts[0].settings),
        "eyebrow": f"ponder quickstart, preset {recipe['preset']}, seed {recipe['seed']}",
        "lead": _lead(headline, parts[0].settings),
        "headline": headline,
        "parts": blocks,
        "training": {stage: thin(read_rows(path / stage / METRICS)) for stage in NAMES},
        "planted": recipe["planted"],
        "timings": timings,
        "config": recipe,
        "versions": record["versions"],
        "commit": record["commit"],
    }


def _headline(blocks: Sequence[Mapping[str, Any]], effort: str, models: Sequence[ModelRows]) -> dict[str, Any]:
    before, after = blocks[-1]["models"]
    return report_data.headline(blocks[0]["models"], effort) | {
        "effort": report_data.effort_table(after),
        "effort_sft": report_data.effort_table(before),
        "effort_task": blocks[-1]["task"],
        "gain": report_data.gain(models[0].sampled, models[1].sampled, effort),
        "task": blocks[0]["task"],
        "problems": blocks[0]["problems"],
        "attempts": blocks[0]["attempts"],
    }


def _rows(path: Path, name: str, part: Part, store: AttemptStore) -> ModelRows:
    identity = msgspec.json.decode((path / FINISHED).read_bytes())["models"][name]
    found = measure.recall(name, LABELS[name], part, store, identity)
    if found is None:
        raise RunError(f"{path / FILE}: attempts of '{identity}' are missing; run 'ponder quickstart --out {path}'")
    return found


def stage_seconds(path: Path) -> dict[str, float]:
    """Seconds by stage, all sessions of a resumed run added up."""
    total: dict[str, float] = {}
    for row in read_rows(path / METRICS):
        total[row["stage"]] = total.get(row["stage"], 0.0) + row["seconds"]
    return total


def thin(rows: Sequence[dict[str, Any]], most: int = 400) -> list[dict[str, Any]]:
    """At most about `most` rows for drawing: every n-th, and all that carry an evaluation."""
    every = max(1, len(rows) // most)
    return [row for i, row in enumerate(rows) if i % every == 0 or any(key.startswith("eval") for key in row)]


def _title(headline: Mapping[str, Any], settings: Measure) -> str:
    before, after = percent(headline["pass1_sft"]), percent(headline["pass1_rl"])
    verb = "raised" if headline["gain"]["low"] > 0 else "moved"
    return f"GRPO {verb} pass@1 from {before} to {after} on {headline['problems']} held-out {settings.task} problems"


def _lead(headline: Mapping[str, Any], settings: Measure) -> list[str]:
    gain, low, high = (100 * headline["gain"][key] for key in ("mean", "low", "high"))
    seconds = headline["seconds"]
    levels = ", ".join(
        f"{level} {percent(row['accuracy'])} ({row['tokens']:.0f} tokens)" for level, row in headline["effort"].items()
    )
    return [
        f"The difference is {gain:+.1f} points, paired by problem (95 % interval {low:+.1f} to {high:+.1f}), at effort "
        f"{settings.headline}, {settings.attempts} attempts at each problem.",
        f"Effort after training, on {headline['effort_task']}: {levels}.",
        f"Training and measuring took {int(seconds // 60)} min {seconds % 60:.0f} s.",
    ]


def terminal(path: Path) -> str:
    """The report's headline, effort levels and traces as plain text."""
    found = msgspec.json.decode((path / report.REPORT).read_bytes())
    parts = [found["title"], "", _text_table(found), ""]
    for trace in found["parts"][0]["traces"]["shown"][:2]:
        parts += [f"{trace['problem']['text']}    {trace['change']}"]
        for side, label in (("before", LABELS["sft"]), ("after", LABELS["rl"])):
            parts += _text_trace(label, trace[side])
        parts.append("")
    parts += [f"planted on purpose: {line}" for line in found["planted"]]
    parts += [f"report  {path / 'report.html'}", f"model   {path / 'model'}"]
    return "\n".join(parts)


def _text_table(found: Mapping[str, Any]) -> str:
    top = found["headline"]
    largest = max(int(key[4:-3]) for key in top if key.startswith("pass") and key.endswith("_rl"))
    keys = ["pass1", *([f"cons{largest}", f"pass{largest}"] if largest > 1 else []), "greedy"]
    rows = [[top["task"], *[key.replace("pass", "pass@").replace("cons", "cons@") for key in keys]]]
    rows += [[label, *[_text_cell(top, f"{key}_{name}") for key in keys]] for name, label in LABELS.items()]
    levels = list(top["effort"])
    efforts = [[f"{top['effort_task']}, pass@1 by effort", *levels]]
    for label, key in ((LABELS["sft"], "effort_sft"), (LABELS["rl"], "effort")):
        efforts.append([label, *[_text_effort(top[key][level]) for level in levels]])
    note = f"95 % intervals over {top['problems']} held-out problems, {top['attempts']} attempts at each"
    return "\n".join([*_aligned(rows), note, "", *_aligned(efforts)])


def _text_effort(row: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    return f"{percent(row['accuracy'])} ({100 * low:.0f}-{100 * high:.0f}) {row['tokens']:.0f} tokens"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _text_cell(top: Mapping[str, Any], key: str) -> str:
    if key not in top:
        return "-"
    low, high = top["intervals"][key]
    return f"{percent(top[key])} ({100 * low:.0f}-{100 * high:.0f})"


def _text_trace(label: str, side: Mapping[str, Any]) -> list[str]:
    thinking = "".join(
        piece["text"] + (f" [wrong: {piece['reason']}]" if piece.get("sound") is False else "")
        for piece in side["pieces"]
    )
    lines = [f"    {line}" for line in thinking.strip("\n").split("\n")]
    return [f"  {label}:", *lines, f"    answer {side['answer']}  {side['outcome']}"]
