"""What submissions earned: the numbers of a run, its page, and its lines for people.

Scores are shares of a problem's points, averaged over problems, with 95 % intervals over problems. A sample whose hidden verdict
is not known (the sandbox failed) is no part of the random baselines; a submission without one counts nothing, and both are
told. Without the verdicts of all samples (`--no-baselines`, stored rows without `earned`) only the chosen score stands.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ponder import config as configs
from ponder.evals.figures import Figure, Series, line_figure
from ponder.evals.page import figure_grid, page, percent, prose, table, text
from ponder.evals.submission_settings import SubmitConfig
from ponder.evals.submission_work import Entry
from ponder.intervals import Interval, cluster_mean, paired_difference
from ponder.runs import Run
from ponder.search.submit import Plan, Program, fields
from ponder.search.submit_score import Curve, Truth, curve, earned, report
from ponder.search.submit_tune import HeldOut

JSON, PAGE = "report.json", "report.html"
WAYS = ("chosen", "random", "random_kept", "best")
LABELS = {
    "chosen": "chosen",
    "random": "random",
    "random_kept": "random, visible tests passed",
    "best": "best possible",
}
SHOWN = 500


@dataclass(frozen=True, slots=True)
class Outcome:
    """A problem, what was submitted, and the hidden verdicts that are known."""

    entry: Entry
    plan: Plan
    truth: Truth

    @property
    def every(self) -> tuple[Program, ...]:
        return (*self.entry.programs, *self.entry.blank)

    @property
    def judged(self) -> tuple[Program, ...]:
        """The samples with a known verdict; one without a program earns nothing, that needs no judge."""
        return tuple(p for p in self.every if p.id in self.truth)

    @property
    def possible(self) -> float:
        return math.fsum(s.points for s in self.entry.subtasks)

    def handed(self) -> dict[str, Mapping[str, float]]:
        """The verdicts, with nothing earned by a submission that could not be judged."""
        return {**{s.program.id: {} for s in self.plan.submissions}, **self.truth}


def write(
    opened: Run, config: SubmitConfig, outcomes: Sequence[Outcome], level: str, tuned: HeldOut | None
) -> dict[str, Any]:
    """Compute the report, write report.json and report.html, and return what the JSON holds."""
    found = build(config, outcomes, level, tuned)
    found |= {"out": str(opened.path), "report": str(opened.path / PAGE)}
    opened.write_json(JSON, found)
    opened.write_text(PAGE, html(found))
    return found


def build(config: SubmitConfig, outcomes: Sequence[Outcome], level: str, tuned: HeldOut | None) -> dict[str, Any]:
    """The report dictionary."""
    limit = config.submissions
    compared = config.baselines and all(o.judged for o in outcomes)
    rows = [_row(o, limit, compared) for o in outcomes]
    chosen = [_shares(o, earned(o.entry.subtasks, o.plan, o.handed(), limit)) for o in outcomes]
    curves: dict[str, list[float]] = {"chosen": _mean(chosen)}
    score: dict[str, Any] = {"chosen": _plain([c[-1] for c in chosen])}
    if compared:
        drawn = [_curve(o, limit) for o in outcomes]
        for way in WAYS[1:]:
            shares = [_shares(o, getattr(c, way)) for o, c in zip(outcomes, drawn, strict=True)]
            curves[way] = _mean(shares)
            score[way] = _plain([s[-1] for s in shares])
            if way != "best":
                score[f"gain_over_{way}"] = _gained([s[-1] for s in shares], [c[-1] for c in chosen])
                areas = [[math.fsum(row) / limit for row in rows] for rows in (shares, chosen)]
                score[f"area_over_{way}"] = _gained(*areas)
        score["every"] = score.pop("best")
    return {
        "kind": "submit",
        "title": f"{percent(score['chosen']['mean'])} of the points with at most {limit} submissions",
        "problems": len(outcomes),
        "samples": sum(len(o.every) for o in outcomes),
        "without_program": sum(len(o.entry.blank) for o in outcomes),
        "submissions": limit,
        "compared": compared,
        "score": score,
        "curve": curves,
        "inputs": dict(Counter(source for o in outcomes for source in _sources(o))),
        "unjudged": sum(_unknown(o) for o in outcomes),
        "tuned": _tuned(tuned),
        "level": level,
        "rows": rows,
        "config": configs.to_dict(config),
    }


def _unknown(o: Outcome) -> int:
    """Samples whose verdict is not known."""
    return len(o.every) - len(o.judged)


def _curve(o: Outcome, limit: int) -> Curve:
    return curve(o.entry.subtasks, o.judged, o.plan, o.handed(), limit)


def _shares(o: Outcome, points: Sequence[float]) -> list[float]:
    return [p / o.possible for p in points]


def _mean(rows: Sequence[Sequence[float]]) -> list[float]:
    return [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]


def _plain(values: Sequence[float]) -> dict[str, float | None]:
    return _interval(cluster_mean(values))


def _gained(before: Sequence[float], after: Sequence[float]) -> dict[str, float | None]:
    """The mean difference by problem; without an interval where a single problem gives none."""
    return _interval(paired_difference(before, after))


def _interval(found: Interval) -> dict[str, float | None]:
    low, high = (end if math.isfinite(end) else None for end in (found.low, found.high))
    return {"mean": found.mean, "low": low, "high": high}


def _sources(o: Outcome) -> list[str]:
    return [f.source for f in o.entry.found.values()] if o.entry.found is not None else ["stored"]


def _row(o: Outcome, limit: int, compared: bool) -> dict[str, Any]:
    subtasks, ready = o.entry.subtasks, fields(o.entry.subtasks, o.entry.programs)
    points = earned(subtasks, o.plan, o.handed(), limit)
    first = next((i for i, p in enumerate(points, 1) if p == points[-1]), 0) if points[-1] else None
    row: dict[str, Any] = {
        "problem": o.entry.name,
        "samples": len(o.every),
        "kept": {s.name: 0 if ready[s.name].relaxed else len(_members(ready[s.name])) for s in subtasks},
        "clusters": {s.name: len(ready[s.name].clusters) for s in subtasks},
        "inputs": {s.name: len(s.inputs) for s in subtasks},
        "source": _sources(o),
        "heard": [[f.heard, f.validators] for f in o.entry.found.values()] if o.entry.found is not None else [],
        "relaxed": list(o.plan.relaxed),
        "submitted": [s.program.id for s in o.plan.submissions],
        "points": points[-1],
        "possible": o.possible,
        "reached_at": first,
        "unjudged": _unknown(o),
    }
    if compared:
        found = report(subtasks, o.judged, o.plan, o.handed(), limit)
        row |= {"random": found.random, "random_kept": found.random_kept, "every": found.every}
        row["by_subtask"] = dict(found.by_subtask)
    return row


def _members(ready: Any) -> list[Program]:
    return [p for c in ready.clusters for p in c.programs]


def _tuned(tuned: HeldOut | None) -> dict[str, Any] | None:
    if tuned is None:
        return None
    weights = {name: getattr(tuned.weights, name) for name in ("size", "errors", "learned", "repeat")}
    return {
        "weights": weights,
        "start": _plain(tuned.start),
        "held_out": _plain(tuned.tuned),
        "gain": _gained(tuned.start, tuned.tuned),
    }


# ---- for people


def figure(found: Mapping[str, Any]) -> Figure:
    """The score against the number of submissions."""
    curves = found["curve"]
    series = [
        Series(LABELS[way], list(range(1, len(curves[way]) + 1)), curves[way], colour=i, dashed=way == "best")
        for i, way in ((1, "chosen"), (0, "random"), (2, "random_kept"), (3, "best"))
        if way in curves
    ]
    svg = line_figure(
        series, x_label="submissions", y_label="share of the points", name="submit", percent=True, logarithmic=True
    )
    caption = (
        "Mean over problems of the share of points after so many submissions. Random choice is an exact expectation: of all "
        "samples, and of those that pass the visible tests. The dashed line is the best that so many of these samples could do."
    )
    return Figure("Score against submissions", svg, caption)


def html(found: Mapping[str, Any]) -> str:
    """The page."""
    parts = [
        f'<p class="eyebrow">ponder submit {text(found["config"]["task"] or found["config"]["stored"])}, '
        f"seed {found['config']['seed']}</p>",
        f"<h1>{text(found['title'])}</h1>",
        *[f"<p>{prose(line)}</p>" for line in _lines(found)],
        figure_grid([figure(found)]) if found["submissions"] > 1 else "",
        "<h2>Problems</h2>",
        table(_head(found), [_cells(row, found["compared"]) for row in found["rows"][:SHOWN]]),
        f'<p class="note">{prose(NOTE)}</p>',
    ]
    return page(found["title"], parts)


NOTE = (
    "kept: programs that pass all visible tests (0: none does, those that fail the fewest stand in). clusters: of identical "
    "outputs on the inputs. at: the submission with which the score was reached. Several subtasks are separated by /."
)


def _head(found: Mapping[str, Any]) -> list[str]:
    head = ["problem", "samples", "kept", "clusters", "inputs", "chosen", "at"]
    return [*head, "random", "kept at random", "all", "possible"] if found["compared"] else [*head, "possible"]


def _cells(row: Mapping[str, Any], compared: bool) -> list[str]:
    many = [" / ".join(str(v) for v in row[name].values()) for name in ("kept", "clusters", "inputs")]
    at = "–" if row["reached_at"] is None else str(row["reached_at"])
    cells = [text(str(row["problem"])[:60]), str(row["samples"]), *many, f"<b>{row['points']:.4g}</b>", at]
    names = ("random", "random_kept", "every", "possible") if compared else ("possible",)
    return [*cells, *[f"{row[name]:.4g}" for name in names]]


def _lines(found: Mapping[str, Any]) -> list[str]:
    score, limit = found["score"], found["submissions"]
    lines = [
        f"chosen         {_shown(score['chosen'])}, at most {limit} submissions for each of {found['problems']} problems"
    ]
    if found["compared"]:
        lines += [
            f"random         {_shown(score['random'])}, expected of {limit} of all samples",
            f"random, kept   {_shown(score['random_kept'])}, expected of {limit} that pass the visible tests",
            f"all samples    {_shown(score['every'])}",
            f"gain           {_gain(score['gain_over_random'])} over random, {_gain(score['gain_over_random_kept'])} over kept",
            f"  on average   {_gain(score['area_over_random'])} and {_gain(score['area_over_random_kept'])}, of 1 to {limit}",
        ]
    if found["unjudged"] and found["compared"]:
        lines.append(
            f"not judged     {found['unjudged']} samples: the sandbox failed on them; the same line tries again"
        )
    if found["tuned"]:
        tuned = found["tuned"]
        weights = " ".join(f"--weights.{name} {value:.3g}" for name, value in tuned["weights"].items())
        lines.append(
            f"tuned          {_gain(tuned['gain'])} of the area on problems left out; best on all of them: {weights}"
        )
    return lines


def _shown(value: Mapping[str, float]) -> str:
    return f"{100 * value['mean']:5.1f} % ({100 * value['low']:.1f} to {100 * value['high']:.1f})"


def _gain(value: Mapping[str, Any]) -> str:
    between = f" ({100 * value['low']:+.1f} to {100 * value['high']:+.1f})" if value["low"] is not None else ""
    return f"{100 * value['mean']:+.1f}{between}"


def show(found: Mapping[str, Any]) -> str:
    """The result in lines."""
    inputs = ", ".join(f"{count} by {source}" for source, count in found["inputs"].items())
    lines = [f"{found['samples']:,} samples, {found['without_program']:,} without a program; inputs: {inputs}"]
    if len(found["rows"]) <= 12:
        for row in found["rows"]:
            kept, clusters, inputs = ("/".join(map(str, row[name].values())) for name in ("kept", "clusters", "inputs"))
            at = "" if row["reached_at"] is None else f" at submission {row['reached_at']}"
            other = f"   random {row['random']:.3g}, all {row['every']:.3g}" if found["compared"] else ""
            lines.append(
                f"{row['problem'][:24]:<24} kept {kept} of {row['samples']}, {clusters} clusters on {inputs} inputs   "
                f"{row['points']:.3g} of {row['possible']:g} points{at}{other}"
            )
    return "\n".join([*lines, *_lines(found), f"report         {found['report']}"])
