"""An evaluation's report from the files of its run: what was sampled, what was searched, or both. No model is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from ponder import config as configs
from ponder.errors import RunError
from ponder.evals import measure, report, report_data, search_report, traces
from ponder.evals.attempts import FILE, AttemptStore
from ponder.evals.report import percent
from ponder.evals.searched import PLAIN, SEARCHES, finished
from ponder.evals.settings import DEFAULT_ATTEMPTS, EvalConfig, settings_of
from ponder.files import read_rows
from ponder.runs import METRICS, read_record
from ponder.types import Ledger


def write(path: Path) -> dict[str, Any]:
    """Compute an evaluation's report from its files and write it; no model is loaded."""
    found = build(path)
    report.write(found, path)
    return found


def build(path: Path) -> dict[str, Any]:
    """The report dictionary of the evaluation at `path`; RunError when it has not finished."""
    record = read_record(path)
    told = finished(path)
    if record is None or not told:
        raise RunError(f"{path}: this evaluation has not finished; run it again to go on")
    searches = search_report.build(path) if told.get(SEARCHES) else None
    sampled = _sampled(path, record, told)
    front = sampled or search_report.front(searches)
    if sampled and searches:
        front = front | {"lead": [*front["lead"], search_report.best_sentence(searches)]}
    return {
        "kind": "eval",
        **front,
        "parts": front.get("parts", []),
        "searches": searches,
        "config": record["config"],
        "versions": record["versions"],
        "commit": record["commit"],
    }


def _sampled(path: Path, record: dict[str, Any], told: dict[str, Any]) -> dict[str, Any] | None:
    """Title, lead, headline and parts of what was sampled; None for a run that only searched."""
    if PLAIN not in told and SEARCHES in told:
        return None
    config = configs.build(EvalConfig, told.get(PLAIN) or record["config"])
    if config.attempts is None:
        config = msgspec.structs.replace(config, attempts=DEFAULT_ATTEMPTS)
    settings = settings_of(config)
    part = measure.prepare(settings, config.seed)
    identity = told["models"]["model"]
    rows = measure.recall("model", config.model, part, AttemptStore(path / FILE), identity)
    if rows is None:
        raise RunError(f"{path / FILE}: attempts of '{identity}' are missing; run the evaluation again")
    shown = report_data.part_block(part.task, part.problems, [rows], settings.headline, config.tries)
    block = shown["models"][0]
    level = block["efforts"][settings.headline]
    ledger = _ledger(path)
    low, high = level["interval"]
    return {
        "title": f"{config.model} solves {percent(level['pass_at_1'])} of {level['problems']} {config.task} problems",
        "eyebrow": f"ponder eval {config.task}, split {config.split}, seed {config.seed}",
        "lead": [
            f"pass@1 at effort {settings.headline}, 95 % interval over problems {percent(low)} to {percent(high)}, "
            f"{config.tries} attempts at each problem."
        ],
        "headline": level
        | {
            "attempts": config.tries,
            "effort": report_data.effort_table(block),
            "greedy": block["greedy"].get(settings.headline),
            "tags": block["tags"],
            "ledger": ledger,
        },
        "parts": [shown],
        "attempts": traces.every_attempt(part.problems, rows.sampled, rows.greedy, getattr(part.task, "steps", None)),
        "timings": {"measuring": ledger["seconds"]},
    }


def _ledger(path: Path) -> dict[str, float]:
    """What sampling spent; a search's sessions are reported with the search."""
    total = Ledger()
    for row in read_rows(path / METRICS):
        total = total + Ledger(**row["ledger"]) if "ledger" in row else total
    return msgspec.to_builtins(total)
