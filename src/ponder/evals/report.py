"""The report as one self-contained HTML page: figures as inline SVG, style inline, no script, nothing fetched.

A pure function of the dictionary that `report.json` holds. Everything that a model or a file wrote is escaped. Works
from phone to print, in light and dark. Not covered: paging (traces are few by choice, the rest is in attempts.jsonl).
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ponder.evals import report_figures

MARKS = {"became right": "good", "stayed right": "plain", "stayed wrong": "plain", "became wrong": "", "right": "good"}


def render(report: Mapping[str, Any]) -> str:
    """The page of a report dictionary."""
    sections = [
        _top(report),
        _table(report),
        _measured(report),
        _training(report),
        _traces(report),
        _planted(report),
        _details(report),
    ]
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(report['title'])}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(section for section in sections if section)
        + "\n</main>\n</body>\n</html>\n"
    )


def _text(value: Any) -> str:
    """Escaped for HTML, without the control characters a page must not hold."""
    plain = "".join(c if c >= " " or c in "\n\t" else "\ufffd" for c in str(value))
    return html.escape(plain, quote=True)


def percent(value: float) -> str:
    """`61.2 %`."""
    return f"{100 * value:.1f} %"


def _top(report: Mapping[str, Any]) -> str:
    return f'<p class="eyebrow">{_text(report["eyebrow"])}</p>\n<h1>{_text(report["title"])}</h1>\n' + "\n".join(
        f"<p>{_text(line)}</p>" for line in report["lead"]
    )


def _table(report: Mapping[str, Any]) -> str:
    effort, models = report["effort_level"], report["models"]
    ks = [k for k in models[0]["efforts"][effort]["pass_at"] if k != "1"][-1:]
    columns = ["pass@1", *[f"{name}@{k}" for k in ks for name in ("cons", "pass")], "greedy", "tokens"]
    head = "".join(f"<th>{_text(column)}</th>" for column in ["", *columns])
    body = "".join(_row(model, effort, ks, i) for i, model in enumerate(models))
    note = (
        "pass@1: share of right answers over all attempts. cons@k: the most frequent answer of k attempts. pass@k: at "
        "least one of k is right (no one knows which). greedy: always the likeliest token. Small print: 95 % intervals "
        "over problems."
    )
    level = "" if effort == "none" else f" (effort {_text(effort)})"
    return (
        f'<h2>Results{level}</h2>\n<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f'<tbody>{body}</tbody></table></div>\n<p class="note">{note}</p>'
    )


def _row(model: Mapping[str, Any], effort: str, ks: Sequence[str], i: int) -> str:
    level = model["efforts"][effort]
    cells = [level["pass_at"]["1"]]
    for k in ks:
        cells += [level["cons_at"][k], level["pass_at"][k]]
    cells.append(model["greedy"].get(effort))
    shown = "".join(f"<td>{_cell(value)}</td>" for value in cells)
    return f'<tr><td><i class="dot m{i}"></i>{_text(model["label"])}</td>{shown}<td>{level["tokens"]:.0f}</td></tr>'


def _cell(value: Mapping[str, float] | None) -> str:
    if value is None:
        return "–"
    return f"<b>{percent(value['mean'])}</b><small>{100 * value['low']:.1f} – {100 * value['high']:.1f}</small>"


def _measured(report: Mapping[str, Any]) -> str:
    return _figures("What thinking buys", report_figures.measured(report))


def _training(report: Mapping[str, Any]) -> str:
    return _figures("Training", report_figures.training(report))


def _figures(title: str, figures: Sequence[report_figures.Figure]) -> str:
    if not figures:
        return ""
    shown = "\n".join(
        f'<figure role="img" aria-label="{_text(f.title)}"><h3>{_text(f.title)}</h3>\n{f.svg}\n'
        f"<figcaption>{_text(f.caption)}</figcaption></figure>"
        for f in figures
    )
    return f'<h2>{_text(title)}</h2>\n<div class="figures">\n{shown}\n</div>'


def _traces(report: Mapping[str, Any]) -> str:
    traces = report.get("traces")
    if not traces or not traces["shown"]:
        return ""
    total = sum(traces["counts"].values())
    counts = ", ".join(f"{_text(kind)} {count}" for kind, count in traces["counts"].items())
    legend = (
        '<div class="legend"><span class="sound">sound step</span><span class="lost">sound, but the goal is out of '
        'reach after it</span><span class="unsound">wrong step</span></div>'
    )
    labelled = any("sound" in piece for t in traces["shown"] for s in _sides(t) for piece in t[s]["pieces"])
    return (
        '<h2>Traces</h2>\n<p class="note">First attempts at the same problems, chosen by rule: the first of each '
        f"kind in the task's order. Of {total} problems: {counts}.</p>\n"
        + (legend if labelled else "")
        + "\n".join(_trace(t, report) for t in traces["shown"])
    )


def _sides(trace: Mapping[str, Any]) -> list[str]:
    return [side for side in ("before", "after") if side in trace]


def _trace(trace: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    sides = _sides(trace)
    labels = [model["label"] for model in report["models"]][-len(sides) :]
    shown = "".join(
        f"<div><h4>{_text(label)} {_badge(trace[side])}</h4>{_thinking(trace[side])}{_answer(trace[side])}</div>"
        for side, label in zip(sides, labels, strict=True)
    )
    kind = trace["change"]
    return (
        f'<article class="trace"><header><code class="ask">{_text(trace["problem"]["text"])}</code>'
        f'<span class="badge {MARKS.get(kind, "")}">{_text(kind)}</span></header>'
        f'<div class="sides">{shown}</div></article>'
    )


def _badge(side: Mapping[str, Any]) -> str:
    mark = "correct" if side["outcome"] == "correct" else ""
    return (
        f'<span class="badge {mark}">{_text(side["outcome"])}</span> <span class="count">{side["tokens"]} tokens</span>'
    )


def _thinking(side: Mapping[str, Any]) -> str:
    pieces = "".join(_piece(piece) for piece in side["pieces"])
    return f'<pre class="thinking">{pieces or "<i>no thinking</i>"}</pre>'


def _piece(piece: Mapping[str, Any]) -> str:
    text = _text(piece["text"])
    if "sound" not in piece:
        return text
    if not piece["sound"]:
        reason = f'<span class="because">✗ {_text(piece["reason"])}</span>' if piece["reason"] else ""
        return f'<span class="unsound">{text}</span>{reason}'
    return f'<span class="{"lost" if piece["alive"] is False else "sound"}">{text}</span>'


def _answer(side: Mapping[str, Any]) -> str:
    if side["answer"] is None:
        why = "cut off at the token limit" if side["finish"] == "length" else "none"
        return f'<p class="answer">answer: <i>{why}</i></p>'
    reason = f' <span class="count">({_text(side["reason"])})</span>' if side["reason"] else ""
    return f'<p class="answer">answer: <code><b>{_text(side["answer"])}</b></code>{reason}</p>'


def _planted(report: Mapping[str, Any]) -> str:
    if not report.get("planted"):
        return ""
    items = "".join(f"<li>{_text(line)}</li>" for line in report["planted"])
    return (
        "<h2>What was planted</h2>\n<p>This is a miniature, and these weaknesses were put into it on purpose, so that "
        f'there is something for reinforcement learning to remove:</p>\n<div class="planted"><ul>{items}</ul></div>'
    )


def _details(report: Mapping[str, Any]) -> str:
    parts = [("Time", _pairs(report.get("timings") or {}, "{:.1f} s"))]
    outcomes = {
        f"{model['label']}, effort {level}": ", ".join(
            f"{name} {count}" for name, count in sorted(found["outcomes"].items())
        )
        for model in report["models"]
        for level, found in model["efforts"].items()
    }
    parts.append(("Outcomes", _pairs(outcomes)))
    parts.append(("Configuration", f"<pre>{_text(json.dumps(report['config'], indent=2, ensure_ascii=False))}</pre>"))
    parts.append(("Versions", _pairs({**report.get("versions", {}), "commit": report.get("commit") or "none"})))
    shown = "\n".join(f"<details><summary>{name}</summary>{body}</details>" for name, body in parts if body)
    return f"<h2>How this was made</h2>\n{shown}"


def _pairs(values: Mapping[str, Any], form: str = "{}") -> str:
    if not values:
        return ""
    rows = "".join(
        f"<tr><td>{_text(name)}</td><td>{_text(form.format(value))}</td></tr>" for name, value in values.items()
    )
    return f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>'
