"""Which figures a report shows and how each is read; the drawing is in `figures`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ponder.errors import ConfigError
from ponder.evals import curve_figures
from ponder.evals.figures import Figure, Series, bar_figure, line_figure, standalone

LEAST_PROBLEMS = 5


@dataclass(frozen=True, slots=True)
class Curve:
    """A training figure: the metrics drawn, where each is (key, label), and how to read it."""

    title: str
    keys: tuple[tuple[str, str], ...]
    caption: str
    percent: bool = False
    unit: str = ""


GRPO_CURVES = (
    Curve(
        "Reward while training",
        (("reward", "reward"),),
        "Mean reward of the samples drawn at each step, from training problems. It should rise and flatten; a jump "
        "with falling held-out accuracy would mean the reward is being gamed.",
    ),
    Curve(
        "Held-out pass@1",
        (("eval_pass1", "pass@1"),),
        "Accuracy on problems never trained on, with its 95 % interval over problems (band). The number to believe.",
        percent=True,
    ),
    Curve(
        "Held-out pass@1 by effort",
        (("eval_pass1_low", "low"), ("eval_pass1_medium", "medium"), ("eval_pass1_high", "high")),
        "The same, for each effort level the model is trained at.",
        percent=True,
        unit="pass@1",
    ),
    Curve(
        "Entropy",
        (("entropy", "entropy"),),
        "How undecided the sampler is per token, in nats. A fall to almost 0 means the samples are all alike and "
        "nothing more can be learned from comparing them.",
    ),
    Curve(
        "Length",
        (("length", "tokens per sample"),),
        "Mean tokens per sample. Growth means that longer thinking earned more.",
    ),
    Curve(
        "Distance and clipping",
        (("kl", "KL to the start"), ("clip_share", "clipped share")),
        "How far the model has moved from where it began, and the share of tokens whose update was cut off.",
    ),
    Curve(
        "Groups that teach nothing",
        (("zero_variance_share", "share"),),
        "Groups whose samples all earned the same: no comparison, no gradient. Near 0 and near 1 both mean the "
        "problems no longer fit the model.",
        percent=True,
    ),
)
SFT_CURVES = (
    Curve(
        "Cold start: loss",
        (("loss", "training loss"), ("eval_loss", "held-out loss")),
        "Cross-entropy per learned token while imitating worked examples; the two lines apart would mean memorising.",
    ),
)


def measured(part: Mapping[str, Any], name: str, tags: bool = True) -> list[Figure]:
    """Accuracy against tokens, against attempts, and by difficulty if `tags`; `name` keeps ids apart between parts."""
    models, effort = part["models"], part["effort_level"]
    figures: list[Figure] = []
    if any(len(model["efforts"]) > 1 for model in models):
        figures.append(_effort(models, name))
    if len(models[0]["efforts"][effort]["pass_at"]) > 1:
        figures.append(_attempts(models, effort, name))
    for i, tag in enumerate(models[0]["tags"] if tags else ()):
        by_tag = _tag(models, tag, f"{name}-tag{i}")
        figures += [by_tag] if by_tag else []
    return figures


def main_figure(report: Mapping[str, Any]) -> str:
    """The first figure of the report's last measurement, or of its searches, as an SVG file."""
    found = measured(report["parts"][-1], "main") if report["parts"] else []
    if not found and report.get("searches"):
        found = curve_figures.figures(report["searches"]["curves"], "main")[:1]
    if not found:
        raise ConfigError("this report has no figure: measure more than one attempt or more than one effort")
    return as_file(found[0].svg)


def as_file(svg: str) -> str:
    """A page's figure as an SVG file of its own, in the page's colours."""
    return standalone(svg, Path(__file__).with_name("report.css").read_text(encoding="utf-8"))


def _effort(models: Sequence[Mapping[str, Any]], name: str) -> Figure:
    series = [_effort_series(model, i) for i, model in enumerate(models)]
    svg = line_figure(series, x_label="mean tokens per attempt", y_label="pass@1", name=f"{name}-effort", percent=True)
    return Figure(
        "Accuracy against thinking",
        svg,
        "Each point is an effort level asked for in the prompt: further right thinks longer, higher is right more "
        "often. Bars are 95 % intervals over problems; levels whose bars do not overlap differ.",
    )


def _effort_series(model: Mapping[str, Any], i: int) -> Series:
    levels = model["efforts"]
    return Series(
        model["label"],
        [found["tokens"] for found in levels.values()],
        [found["pass_at_1"] for found in levels.values()],
        [found["interval"][0] for found in levels.values()],
        [found["interval"][1] for found in levels.values()],
        names=list(levels),
        colour=i,
        bars=True,
    )


def _attempts(models: Sequence[Mapping[str, Any]], effort: str, part: str) -> Figure:
    series: list[Series] = []
    for i, model in enumerate(models):
        level = model["efforts"][effort]
        for name, dashed in (("cons", False), ("pass", True)):
            curve = level[f"{name}_at"]
            values = list(curve.values())
            series.append(
                Series(
                    f"{name}@k {model['label']}",
                    [int(k) for k in curve],
                    [v["mean"] for v in values],
                    [v["low"] for v in values],
                    [v["high"] for v in values],
                    colour=i,
                    dashed=dashed,
                )
            )
    svg = line_figure(
        series, x_label="attempts k", y_label="problems solved", name=f"{part}-attempts", percent=True, doubling=True
    )
    return Figure(
        "Accuracy against attempts",
        svg,
        "Solid: the most frequent answer of k attempts (ties and abstentions counted exactly). Dashed: at least one of "
        "k is right, the ceiling of any way to choose. Bands are 95 % intervals over problems.",
    )


def _tag(models: Sequence[Mapping[str, Any]], tag: str, name: str) -> Figure | None:
    rows_of = [model["tags"].get(tag, {}) for model in models]
    groups = list(dict.fromkeys(v for rows in rows_of for v, row in rows.items() if row["problems"] >= LEAST_PROBLEMS))
    series: list[Series] = []
    for i, model in enumerate(models):
        rows = [model["tags"].get(tag, {}).get(group) for group in groups]
        columns = [[row[side] if row else float("nan") for row in rows] for side in ("mean", "low", "high")]
        series.append(Series(model["label"], (), columns[0], columns[1], columns[2], colour=i))
    if len(groups) < 2:
        return None
    svg = bar_figure(groups, series, x_label=tag.replace("_", " "), y_label="pass@1", name=name)
    return Figure(
        f"Accuracy by {tag.replace('_', ' ')}",
        svg,
        f"pass@1 among the problems of each kind that has {LEAST_PROBLEMS} or more, with 95 % intervals over them.",
    )


def training(report: Mapping[str, Any]) -> list[Figure]:
    """Curves from the metrics of each training stage; a metric that was not logged has no figure."""
    stages: Mapping[str, Any] = report.get("training") or {}
    figures: list[Figure] = []
    for stage, curves in (("grpo", GRPO_CURVES), ("sft", SFT_CURVES)):
        rows: Sequence[Mapping[str, Any]] = stages.get(stage) or []
        for i, curve in enumerate(curves):
            series = [found for j, key in enumerate(curve.keys) if (found := _curve_series(rows, *key, colour=j + 1))]
            if series:
                svg = line_figure(
                    series,
                    x_label="step",
                    y_label=curve.unit or curve.keys[0][1],
                    name=f"{stage}{i}",
                    percent=curve.percent,
                )
                figures.append(Figure(curve.title, svg, curve.caption))
    return figures


def _curve_series(rows: Sequence[Mapping[str, Any]], key: str, label: str, colour: int) -> Series | None:
    kept = [row for row in rows if isinstance(row.get(key), int | float) and "step" in row]
    if len(kept) < 2 or not any(row[key] for row in kept):  # a metric that is 0 throughout was switched off
        return None
    banded = all(f"{key}_interval" in row for row in kept)
    low, high = ([row[f"{key}_interval"][side] for row in kept] if banded else [] for side in (0, 1))
    return Series(label, [row["step"] for row in kept], [row[key] for row in kept], low, high, colour=colour)
