"""The report as one self-contained HTML page: figures as inline SVG, style inline, no script, nothing fetched.

A pure function of the dictionary that `report.json` holds. Everything that a model or a file wrote is escaped. Works
from phone to print, in light and dark. Not covered: paging (what is shown of attempts and trees is capped and says so; the
rest is in attempts.jsonl and trees.jsonl).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ponder.evals import attempt_html, report_figures, search_html, ungraded
from ponder.evals.page import cell, figure_grid, page, percent, prose, text, thinking, whole
from ponder.files import encode, write_atomic

__all__ = ["REPORT", "percent", "render", "write"]

REPORT = "report.json"
MARKS = {"became right": "good", "stayed right": "plain", "stayed wrong": "plain", "became wrong": "", "right": "good"}


def write(report: Mapping[str, Any], folder: Path) -> None:
    """Write `report.json` and `report.html` into `folder`."""
    write_atomic(folder / REPORT, msgspec.json.format(encode(report), indent=2) + b"\n")
    write_atomic(folder / "report.html", render(report).encode("utf-8"))


def render(report: Mapping[str, Any]) -> str:
    """The page of a report dictionary."""
    sections = [
        _top(report),
        *[_part(part, i, report["parts"][:i]) for i, part in enumerate(report["parts"])],
        search_html.section(report.get("searches")),
        _training(report),
        *[_traces(part) for part in report["parts"]],
        search_html.drill_down(report.get("searches")),
        attempt_html.drill_down(report.get("attempts")),
        _planted(report),
        _details(report),
    ]
    return page(report["title"], sections)


def _top(report: Mapping[str, Any]) -> str:
    return f'<p class="eyebrow">{text(report["eyebrow"])}</p>\n<h1>{prose(report["title"])}</h1>\n' + "\n".join(
        f"<p>{prose(line)}</p>" for line in report["lead"]
    )


NOTE = (
    "pass@1: share of right answers over all attempts. cons@k: the most frequent answer of k attempts, where those that "
    "give up or can not be read do not vote. pass@k: at least one of k is right (no one knows which). greedy: always the "
    "likeliest token. sound steps: share of the lines of thinking that are right given what stands before them. "
    "hack rate: share of the attempts that pass when believed by how their process ended, and fail by what they return. Small "
    "print: 95 % intervals over problems."
)


def _part(part: Mapping[str, Any], number: int, before: Sequence[Mapping[str, Any]]) -> str:
    by_effort = len(part["models"][0]["efforts"]) > 1
    level = " by effort" if by_effort else "" if part["effort_level"] == "none" else f", effort {part['effort_level']}"
    title = f"Results on {part['task']}{level}"
    tags = part["task"] not in [earlier["task"] for earlier in before]
    tried = f"{part['problems']} held-out problems, {part['attempts']} attempts at each."
    return (
        f'<h2>{text(title)}</h2>\n<p class="note">{text(tried)}</p>\n{_table(part)}\n{_ungraded(part)}'
        + ("" if before else f'<p class="note">{NOTE}</p>\n')
        + figure_grid(report_figures.measured(part, f"p{number}", tags))
    )


def _ungraded(part: Mapping[str, Any]) -> str:
    """A line for every model and effort with attempts that could not be graded."""
    many = len(part["models"]) > 1 or len(part["models"][0]["efforts"]) > 1
    lines: list[str] = []
    for model in part["models"]:
        for level, found in model["efforts"].items():
            if told := ungraded.sentence(found):
                name = f"{model['label']}, effort {level}: " if many else ""
                lines.append(f'<p class="note">{text(f"{name}could not be graded: {told}")}</p>\n')
    return "".join(lines)


def _table(part: Mapping[str, Any]) -> str:
    models = part["models"]
    k = list(models[0]["efforts"][part["effort_level"]]["pass_at"])[-1]
    columns = ["pass@1", *([f"cons@{k}", f"pass@{k}"] if k != "1" else [])]
    columns += ["greedy"] if any(model["greedy"] for model in models) else []
    labelled = any(found.get("sound_steps") for model in models for found in model["efforts"].values())
    columns += ["sound steps"] if labelled else []
    twins = any(found.get("hack_rate") for model in models for found in model["efforts"].values())
    columns += ["hack rate"] if twins else []
    head = "".join(f"<th>{text(column)}</th>" for column in ["", *columns, "tokens"])
    body = "".join(_row(model, level, columns, k, i) for i, model in enumerate(models) for level in model["efforts"])
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _row(model: Mapping[str, Any], level: str, columns: Sequence[str], k: str, i: int) -> str:
    found = model["efforts"][level]
    values: dict[str, Any] = {"pass@1": found["pass_at"]["1"], "greedy": model["greedy"].get(level)}
    values |= {f"{name}@{k}": found[f"{name}_at"][k] for name in ("cons", "pass") if k != "1"}
    values |= {"sound steps": found.get("sound_steps"), "hack rate": found.get("hack_rate")}
    cells = "".join(f"<td>{cell(values[column])}</td>" for column in columns)
    effort = "" if level == "none" else f'<small class="level">effort {text(level)}</small>'
    return (
        f'<tr><td><i class="dot m{i}"></i>{text(model["label"])}{effort}</td>{cells}<td>{found["tokens"]:.0f}</td></tr>'
    )


def _training(report: Mapping[str, Any]) -> str:
    figures = report_figures.training(report)
    return f"<h2>Training</h2>\n{figure_grid(figures)}" if figures else ""


def _traces(part: Mapping[str, Any]) -> str:
    traces = part.get("traces")
    if not traces or not traces["shown"]:
        return ""
    total = sum(traces["counts"].values())
    level = "" if part["effort_level"] == "none" else f", effort {part['effort_level']}"
    counts = ", ".join(f"{text(kind)} {count}" for kind, count in traces["counts"].items())
    legend = (
        '<div class="legend"><span class="sound">sound step</span><span class="lost">sound, but the goal is out of '
        'reach after it</span><span class="unsound">wrong step</span></div>'
    )
    labelled = any("sound" in piece for t in traces["shown"] for s in _sides(t) for piece in t[s]["pieces"])
    return (
        f'<h2>Traces: {text(part["task"])}{level}</h2>\n<p class="note">First attempts at the same problems, chosen '
        f"by rule: the first of each kind in the task's order. Of {total} problems: {counts}.</p>\n"
        + (legend if labelled else "")
        + "\n".join(_trace(t, part) for t in traces["shown"])
    )


def _sides(trace: Mapping[str, Any]) -> list[str]:
    return [side for side in ("before", "after") if side in trace]


def _trace(trace: Mapping[str, Any], part: Mapping[str, Any]) -> str:
    sides = _sides(trace)
    labels = [model["label"] for model in part["models"]][-len(sides) :]
    shown = "".join(
        f"<div><h4>{text(label)} {_badge(trace[side])}</h4>{thinking(trace[side]['pieces'])}{_answer(trace[side])}</div>"
        for side, label in zip(sides, labels, strict=True)
    )
    kind = trace["change"]
    return (
        f'<article class="trace"><header><code class="ask">{text(trace["problem"]["text"])}</code>'
        f'<span class="badge {MARKS.get(kind, "")}">{text(kind)}</span></header>'
        f'<div class="sides">{shown}</div></article>'
    )


def _badge(side: Mapping[str, Any]) -> str:
    mark = "correct" if side["outcome"] == "correct" else ""
    return (
        f'<span class="badge {mark}">{text(side["outcome"])}</span> <span class="count">{side["tokens"]} tokens</span>'
    )


def _answer(side: Mapping[str, Any]) -> str:
    if side["answer"] is None:
        why = "cut off at the token limit" if side["finish"] == "length" else "none"
        return f'<p class="answer">answer: <i>{why}</i></p>'
    reason = f' <span class="count">({text(side["reason"])})</span>' if side["reason"] else ""
    if program := whole(side["answer"]):
        return f'<p class="answer">answer:{reason}</p>{program}'
    return f'<p class="answer">answer: <code><b>{text(side["answer"])}</b></code>{reason}</p>'


def _planted(report: Mapping[str, Any]) -> str:
    if not report.get("planted"):
        return ""
    items = "".join(f"<li>{text(line)}</li>" for line in report["planted"])
    return (
        "<h2>What was planted</h2>\n<p>This is a miniature, and these weaknesses were put into it on purpose, so that "
        f'there is something for reinforcement learning to remove:</p>\n<div class="planted"><ul>{items}</ul></div>'
    )


def _details(report: Mapping[str, Any]) -> str:
    parts = [("Time", _pairs(report.get("timings") or {}, "{:.1f} s"))]
    outcomes = {
        f"{part['task']}, {model['label']}, effort {level}": ", ".join(
            f"{name} {count}" for name, count in sorted(found["outcomes"].items())
        )
        for part in report["parts"]
        for model in part["models"]
        for level, found in model["efforts"].items()
    }
    parts.append(("Outcomes", _pairs(outcomes)))
    parts.append(("Configuration", f"<pre>{text(json.dumps(report['config'], indent=2, ensure_ascii=False))}</pre>"))
    parts.append(("Versions", _pairs({**report.get("versions", {}), "commit": report.get("commit") or "none"})))
    shown = "\n".join(f"<details><summary>{name}</summary>{body}</details>" for name, body in parts if body)
    return f"<h2>How this was made</h2>\n{shown}"


def _pairs(values: Mapping[str, Any], form: str = "{}") -> str:
    if not values:
        return ""
    rows = "".join(
        f"<tr><td>{text(name)}</td><td>{text(form.format(value))}</td></tr>" for name, value in values.items()
    )
    return f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>'
