"""The report of a repair run, from its files alone: numbers, a table of instances, every try with its conversation and diff.

Everything a model wrote is escaped; `report.json` has the numbers, `attempts.jsonl` the conversations in full.
Not covered: more than `MOST` tries on the page; the rest stays in the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from ponder.errors import RunError
from ponder.evals.attempts import FILE, Attempt, AttemptStore, Key
from ponder.evals.page import cell, page, percent, prose, table, text
from ponder.evals.repair_numbers import per_instance, summarize, told
from ponder.evals.searched import finished
from ponder.evals.summary import by_problem
from ponder.files import encode, read_rows, write_atomic
from ponder.runs import METRICS, read_record
from ponder.types import Ledger

INSTANCES = "instances.json"
MOST = 500
NAMES = {
    "pass_at_1": ("pass@1", "resolved share of an instance's valid patches, 0 without one; mean over instances"),
    "resolved": ("resolved", "the same over all tries"),
    "resolved_any": ("any try", "instances that some try resolves"),
    "valid": ("valid", "tries that end in a patch that parses and changes the program"),
    "overfit": ("overfit", "of the valid patches that pass the visible tests, those that a hidden test fails"),
}


def write(path: Path) -> dict[str, Any]:
    """Compute the report of the run at `path` and write report.json and report.html; no model is loaded."""
    found, rows, instances = build(path)
    write_atomic(path / "report.json", msgspec.json.format(encode(found), indent=2) + b"\n")
    write_atomic(path / "report.html", html(found, rows, instances).encode("utf-8"))
    return found


def build(path: Path) -> tuple[dict[str, Any], list[Attempt], dict[str, Any]]:
    """The report dictionary, its rows, and the instances by problem id; RunError when the run has not finished."""
    record, ended = read_record(path), finished(path)
    if record is None or not ended:
        raise RunError(f"{path}: these repairs have not finished; run the command again to go on")
    store = AttemptStore(path / FILE)
    rows = [row for k in ended["keys"] if (row := store.get(cast("Key", tuple(k)))) is not None]
    if len(rows) < len(ended["keys"]):
        raise RunError(f"{path / FILE}: {len(ended['keys']) - len(rows)} tries are missing; run the command again")
    listed = cast("list[dict[str, Any]]", msgspec.json.decode((path / INSTANCES).read_bytes()))
    instances = {row["problem"]: row for row in listed}
    numbers, config = summarize(rows), ended["config"]
    total = Ledger()
    for row in read_rows(path / METRICS):
        total = total + Ledger(**row["ledger"])
    headline = {**numbers, "ledger": msgspec.to_builtins(total)}
    shown = numbers["pass_at_1"]
    title = (
        f"{config['model']} repairs {percent(shown['mean'])} of {numbers['instances']} {config['task']} programs"
        if shown
        else f"{config['model']}: no repair of {config['task']} could be judged"
    )
    found = {
        "kind": "repair",
        "title": title,
        "eyebrow": f"ponder repair {config['task']}, split {config['split']}, seed {config['seed']}",
        "headline": headline,
        "instances": per_instance(rows),
        "config": config,
        "versions": record["versions"],
        "commit": record["commit"],
    }
    return found, rows, instances


def html(found: Mapping[str, Any], rows: Sequence[Attempt], instances: Mapping[str, Any]) -> str:
    """The page of a report."""
    numbers = found["headline"]
    top = f'<p class="eyebrow">{text(found["eyebrow"])}</p>\n<h1>{prose(found["title"])}</h1>'
    sections = [
        top,
        _lead(numbers),
        _numbers(numbers),
        _instances(found["instances"], instances),
        _tries(rows, instances),
    ]
    details = f"<pre>{text(msgspec.json.format(encode(found['config']), indent=2).decode())}</pre>"
    sections.append(f"<h2>How this was made</h2><details><summary>Configuration</summary>{details}</details>")
    return page(found["title"], sections)


def _lead(numbers: Mapping[str, Any]) -> str:
    ended = ", ".join(f"{name} {count}" for name, count in sorted(numbers["ended"].items()))
    levels = ", ".join(sorted(numbers["levels"])) or "none"
    words = [f"{numbers['tries']} tries. How they ended: {ended}. Isolation of the tests: {levels}."]
    if numbers["turns"]:
        words.append(
            f"On average {numbers['turns']['mean']:.1f} turns and {numbers['tokens']['mean']:.0f} tokens a try."
        )
    if numbers["hack_rate"] is not None:
        words.append(f"Of {numbers['twin_judged']} valid patches, {numbers['hacked']} pass the permissive twin alone.")
    if numbers["ungraded"]:
        words.append(f"{numbers['ungraded']} tries could not be judged, and count nowhere.")
    return f"<p>{prose(' '.join(words))}</p>"


def _numbers(numbers: Mapping[str, Any]) -> str:
    rows = [
        [f"{text(name)}<small class='wrap'>{text(about)}</small>", cell(numbers[key])]
        for key, (name, about) in NAMES.items()
    ]
    note = '<p class="note">Small print: 95 % intervals over instances.</p>'
    return f"<h2>Numbers</h2>\n{table(['', 'share'], rows)}\n{note}"


def _instances(rows: Sequence[Mapping[str, Any]], instances: Mapping[str, Any]) -> str:
    body = [
        [
            f"<code>{text(_name(instances[row['problem']]))}</code>",
            *(str(row[key]) for key in ("tries", "valid", "visible", "resolved")),
        ]
        for row in rows
    ]
    return f"<h2>Instances</h2>\n{table(['', 'tries', 'valid', 'visible pass', 'resolved'], body)}"


def _name(instance: Mapping[str, Any]) -> str:
    tags = instance["tags"]
    said = " ".join(str(tags[key]) for key in ("program", "name", "fault") if key in tags)
    return said or ", ".join(instance["files"])


def _tries(rows: Sequence[Attempt], instances: Mapping[str, Any]) -> str:
    shown = list(rows)[:MOST]
    note = (
        "Click to open."
        if len(shown) == len(rows)
        else f"The first {MOST} of {len(rows)}; the rest is in attempts.jsonl."
    )
    blocks = "\n".join(_instance(group, instances[problem]) for problem, group in by_problem(shown).items())
    return f'<h2>Every try</h2>\n<p class="note">{note}</p>\n{blocks}'


def _instance(rows: Sequence[Attempt], instance: Mapping[str, Any]) -> str:
    right = sum(row.correct for row in rows)
    head = (
        f'<code class="ask">{text(_name(instance))}</code> <span class="count">{right} of {len(rows)} resolved</span>'
    )
    asked = f"<details><summary>the question</summary><pre>{text(instance['question'])}</pre></details>"
    body = "".join(_try(row) for row in rows)
    return f'<details class="search"><summary>{head}</summary>{asked}{body}</details>'


def _try(row: Attempt) -> str:
    said = told(row)
    turns = said["turns"]
    mark = "correct" if row.correct else ""
    word = "resolved" if row.correct else "not judged" if row.score is None else row.outcome
    why = f" ({text(row.reason)})" if row.reason else ""
    head = (
        f'<span class="badge {mark}">{text(word)}</span> <span class="count">try {row.attempt}, {_many(len(turns), "turn")}, '
        f"{len(row.tokens)} tokens, ended: {text(said['ended'])}{why}</span>"
    )
    talk = "".join(_turn(number, turn) for number, turn in enumerate(turns, 1))
    patch = f"<h4>The patch</h4>{diff_html(said['diff'])}" if said["diff"] else ""
    return f"<details><summary>{head}</summary>{talk}{patch}</details>"


def _turn(number: int, turn: Mapping[str, Any]) -> str:
    tests = "" if turn["total"] is None else f", {turn['passed']} of {turn['total']} visible tests pass"
    head = f"<h4>Turn {number}: {_many(turn['edits'], 'edit')}, {turn['tokens']} tokens{tests}</h4>"
    thinking = turn["thinking"]
    thought = f"<details><summary>thinking</summary><pre>{text(thinking)}</pre></details>" if thinking else ""
    heard = f'<pre class="told">{text(turn["told"])}</pre>' if turn["told"] else ""
    return f'{head}{thought}<pre class="said">{text(turn["said"]) or "<i>nothing</i>"}</pre>{heard}'


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def diff_html(patch: str) -> str:
    """A unified diff, escaped, its lines coloured by what they do."""
    kinds = {"+": "add", "-": "del", "@": "at"}
    lines = [
        f'<span class="{kinds[line[0]]}">{text(line)}</span>'
        if line[:1] in kinds and not line.startswith(("+++", "---"))
        else f"<span>{text(line)}</span>"
        for line in patch.splitlines()
    ]
    return f'<pre class="diff">{chr(10).join(lines)}</pre>'
