"""What a calibration shows: the frontier, the levels on fresh problems, what cross-validation and routing said.

`report.json` is the dictionary, `report.html` shows it, `frontier.svg` is its figure as a file of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ponder.evals.figures import Figure, Series, line_figure, standalone
from ponder.evals.frontier import CrossValidated, Levels, candidates, frontier
from ponder.evals.page import cell, figure_grid, percent, prose, table, text
from ponder.evals.routing import Routed
from ponder.evals.sweep import Fresh, Swept
from ponder.files import encode, write_atomic
from ponder.intervals import Interval

FIGURE = "frontier.svg"


def build(
    task: str,
    model: str,
    record: Mapping[str, Any],
    swept: Swept,
    found: Levels,
    fresh: Sequence[Fresh],
    kept: Sequence[Fresh],
    verdict: str,
    routed: Sequence[tuple[str, Routed]] | None,
) -> dict[str, Any]:
    """The report's dictionary."""
    shown = [_level(level, level in kept) for level in fresh]
    routing = None if routed is None else [_routed(name, one, swept) for name, one in routed]
    return {
        "kind": "calibrate",
        "title": _title(task, model, kept),
        "eyebrow": f"ponder calibrate {task}, {len(swept.curve.accuracy)} problems to choose, {len(fresh[0].right)} fresh",
        "verdict": verdict,
        "headline": {
            "levels": {row["level"]: row for row in shown if row["kept"]},
            "rises": len(kept) == len(fresh),
            "problems": len(swept.curve.accuracy),
            "fresh": len(fresh[0].right),
            "verdict": verdict,
            "routing": None if routing is None else routing_verdict(routing),
        },
        "points": _points(swept, found),
        "levels": shown,
        "cross_validated": _checked(found.checked, found.names),
        "refused": [{"levels": count, "why": why} for count, why in found.refused],
        "routing": routing,
        "config": record["config"],
        "versions": record["versions"],
        "commit": record["commit"],
    }


def _title(task: str, model: str, kept: Sequence[Fresh]) -> str:
    first, last = kept[0], kept[-1]
    if len(kept) == 1:
        return f"{model} on {task}: one level, {percent(first.accuracy.mean)} at {first.cost['tokens']:.0f} tokens"
    return (
        f"{model} on {task}: {len(kept)} levels, from {percent(first.accuracy.mean)} at {first.cost['tokens']:.0f} tokens "
        f"to {percent(last.accuracy.mean)} at {last.cost['tokens']:.0f} tokens"
    )


def _level(level: Fresh, kept: bool) -> dict[str, Any]:
    found = level.accuracy
    return {
        "level": level.name,
        "point": level.point.label,
        **msgspec.to_builtins(level.point),
        "options": dict(level.point.options),
        "accuracy": found.mean,
        "interval": found.pair,
        "attempts": level.attempts,
        **level.cost,
        "latency": level.latency,
        "kept": kept,
    }


def _points(swept: Swept, found: Levels) -> list[dict[str, Any]]:
    accuracy, tokens = swept.curve.means
    front, able = frontier(swept.curve), candidates(swept.curve)
    names = dict(zip(found.points, found.names, strict=True))
    return [
        {
            "point": point.label,
            "accuracy": float(accuracy[m]),
            "tokens": float(tokens[m]),
            "frontier": m in front,
            "worth": m in able,
            "level": names.get(m),
        }
        for m, point in enumerate(swept.points)
    ]


def _checked(checked: CrossValidated | None, names: Sequence[str]) -> list[dict[str, Any]]:
    if checked is None:
        return []
    accuracy, tokens = checked.held.means
    gains: list[Interval | None] = [None, *checked.gains]
    return [
        {
            "level": name,
            "accuracy": float(accuracy[i]),
            "tokens": float(tokens[i]),
            "gain": None if gain is None else [gain.mean, gain.low, gain.high],
        }
        for i, (name, gain) in enumerate(zip(names, gains, strict=True))
    ]


def _routed(name: str, one: Routed, swept: Swept) -> dict[str, Any]:
    return {
        "level": name,
        "accuracy": one.accuracy,
        "tokens": one.tokens,
        "fixed_accuracy": one.fixed_accuracy,
        "fixed_tokens": one.fixed_tokens,
        "gain": [one.gain.mean, one.gain.low, one.gain.high],
        "policy": {str(agreeing): swept.points[m].label for agreeing, m in enumerate(one.policy)},
    }


def routing_verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """Whether routing pays, in a sentence."""
    if not rows:
        return "No level costs enough to pay for a probe of difficulty first."
    better = [row["level"] for row in rows if row["gain"][1] > 0]
    worse = [row["level"] for row in rows if row["gain"][2] < 0]
    parts = [f"beats no routing at equal tokens at the cost of {', '.join(better)}"] if better else []
    parts += [f"loses to it at {', '.join(worse)}"] if worse else []
    return f"Routing by the probe's agreement {' and '.join(parts) or 'is not told apart from no routing at equal tokens'}."


def figure(report: Mapping[str, Any]) -> str:
    """Accuracy against tokens: all points, the frontier they leave, the levels on fresh problems."""
    points = sorted(report["points"], key=lambda row: row["tokens"])
    front = [row for row in points if row["frontier"]]
    levels = report["levels"]
    series = [
        Series("points tried", _column(points, "tokens"), _column(points, "accuracy"), dots=True, bars=True),
        Series("frontier", _column(front, "tokens"), _column(front, "accuracy"), colour=2, dashed=True),
        Series(
            "levels, fresh problems",
            _column(levels, "tokens"),
            _column(levels, "accuracy"),
            [row["interval"][0] for row in levels],
            [row["interval"][1] for row in levels],
            names=[row["level"] for row in levels],
            colour=1,
            bars=True,
        ),
    ]
    return line_figure(
        series, x_label="tokens per problem", y_label="problems solved", name="frontier", percent=True, logarithmic=True
    )


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [row[name] for row in rows]


def write(report: Mapping[str, Any], folder: Path) -> None:
    """Write `report.json`, `report.html` and `frontier.svg` into `folder`."""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    svg = figure(report)
    write_atomic(folder / "report.json", msgspec.json.format(encode(report), indent=2) + b"\n")
    write_atomic(folder / FIGURE, standalone(svg, style).encode("utf-8"))
    write_atomic(folder / "report.html", render(report, svg, style).encode("utf-8"))


CAPTION = (
    "Grey: operating points on the problems they were chosen from, where the best of many looks better than it is. Dashed: "
    "those that no cheaper one equals. Levels with bars: fresh problems, 95 % intervals."
)
NOTE = (
    "Accuracy and cost on fresh problems, in small print the 95 % interval over problems. Tokens: prompt, written, read by the "
    "verifier. Seconds per problem with many at once; latency with one at a time. Gain: held-out accuracy over the level "
    "below, chosen without the problems it is read on, with its interval."
)


def render(report: Mapping[str, Any], svg: str, style: str) -> str:
    """The page."""
    sections = [
        f'<p class="eyebrow">{text(report["eyebrow"])}</p>\n<h1>{prose(report["title"])}</h1>\n<p>{prose(report["verdict"])}</p>',
        figure_grid([Figure("Accuracy against compute", svg, CAPTION)]),
        "<h2>Levels</h2>",
        _levels_table(report),
        f'<p class="note">{prose(NOTE)}</p>',
        _refused(report["refused"]),
        _routing_section(report["routing"]),
        _points_section(report["points"]),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(report['title'])}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(section for section in sections if section)
        + "\n</main>\n</body>\n</html>\n"
    )


def _levels_table(report: Mapping[str, Any]) -> str:
    checked = {row["level"]: row for row in report["cross_validated"]}
    rows: list[list[str]] = []
    for row in report["levels"]:
        low, high = row["interval"]
        shown = cell({"mean": row["accuracy"], "low": low, "high": high})
        gain = checked.get(row["level"], {}).get("gain")
        name = text(row["level"]) + ("" if row["kept"] else " <small>left out</small>")
        latency = "–" if row["latency"] is None else f"{row['latency']:.2f} s"
        seconds = f"{row['seconds']:.3f} s"
        rows.append([name, text(row["point"]), shown, f"{row['tokens']:,.0f}", seconds, latency, _gain(gain)])
    return table(["level", "runs", "accuracy", "tokens", "seconds", "latency", "gain"], rows)


def _gain(gain: Sequence[float] | None) -> str:
    if gain is None:
        return "–"
    return f"<b>{100 * gain[0]:+.1f}</b><small>{100 * gain[1]:+.1f} – {100 * gain[2]:+.1f}</small>"


def _refused(refused: Sequence[Mapping[str, Any]]) -> str:
    if not refused:
        return ""
    items = "".join(f"<li>{row['levels']} levels: {prose(row['why'])}</li>" for row in refused)
    return f"<details><summary>Why not more levels</summary><ul>{items}</ul></details>"


def _routing_section(rows: Sequence[Mapping[str, Any]] | None) -> str:
    if rows is None:
        return ""
    head = ["at the cost of", "routed", "tokens", "fixed, same tokens", "gain", "samples agreeing: goes to"]
    shown = [
        [
            text(row["level"]),
            percent(row["accuracy"]),
            f"{row['tokens']:,.0f}",
            percent(row["fixed_accuracy"]),
            _gain(row["gain"]),
            "<br>".join(f"{text(agreeing)}: {text(label)}" for agreeing, label in row["policy"].items()),
        ]
        for row in rows
    ]
    told = f"<h2>Routing by difficulty</h2>\n<p>{prose(routing_verdict(rows))} The probe is charged.</p>\n"
    return told + (table(head, shown) if rows else "")


def _points_section(points: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            text(row["point"]),
            percent(row["accuracy"]),
            f"{row['tokens']:,.0f}",
            text(row["level"] or ("frontier" if row["frontier"] else "")),
        ]
        for row in sorted(points, key=lambda row: row["tokens"])
    ]
    body = table(["point", "accuracy", "tokens", ""], rows)
    return f"<details><summary>All {len(points)} operating points</summary>{body}</details>"


def show(result: Mapping[str, Any]) -> str:
    """The levels for people."""
    lines: list[str] = []
    for name, row in result["levels"].items():
        low, high = row["interval"]
        latency = "" if row["latency"] is None else f"   {row['latency']:.2f} s alone"
        lines.append(
            f"{name:<8} {percent(row['accuracy']):>7}  ({100 * low:.1f} to {100 * high:.1f})   "
            f"{row['tokens']:>8,.0f} tokens{latency}   {row['point']}"
        )
    lines.append(result["verdict"])
    lines += [result["routing"]] if result["routing"] else []
    return "\n".join([*lines, f"table    {result['operating']}", f"report   {result['report']}"])
