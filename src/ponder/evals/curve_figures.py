"""Figures of accuracy against compute, from the JSON values of curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ponder.evals.curves import AXES
from ponder.evals.figures import COLOURS, Figure, Series, line_figure
from ponder.evals.page import text

TITLES = {
    "samples": "Accuracy against samples",
    "decoded": "Accuracy against decoded tokens",
    "forwarded": "Accuracy against all tokens",
    "flops": "Accuracy against FLOPs",
    "seconds": "Accuracy against seconds",
}
CAPTIONS = {
    "samples": "Finished branches per problem. Not what they cost: a branch of a tree shares its trunk with others, and a "
    "verifier is not counted.",
    "decoded": "Tokens the model wrote, per problem. Prompts and what verifiers read are not counted.",
    "forwarded": "Tokens that went through any model, per problem: the prompt once, everything drawn, everything a verifier "
    "read. The fair axis where verifier and model are alike in size.",
    "flops": "Arithmetic per problem, the verifier's included. The fair axis where the verifier is larger or smaller.",
    "seconds": "Wall-clock seconds per problem of this evaluation, which ran many problems side by side: a measure of "
    "throughput on this machine, not of one user's wait.",
}
HOW = " Bands are 95 % intervals over problems."


def figures(curves: Sequence[Mapping[str, Any]], name: str, axes: Sequence[str] = tuple(AXES)) -> list[Figure]:
    """A figure per axis on which every curve has a cost; `name` keeps ids apart on a page, which has one `legend` for all."""
    return [figure(curves, axis, f"{name}-{axis}", legend=False) for axis in known_axes(curves, axes)]


def known_axes(curves: Sequence[Mapping[str, Any]], axes: Sequence[str] = tuple(AXES)) -> list[str]:
    """The axes on which every curve has a cost."""
    return [axis for axis in axes if _drawable(curves, axis)]


def legend(curves: Sequence[Mapping[str, Any]]) -> str:
    """Which colour is which curve, as HTML."""
    dots = "".join(
        f'<span><i class="dot m{i % len(COLOURS)}{" ring" if i >= len(COLOURS) else ""}"></i>{text(curve["label"])}</span>'
        for i, curve in enumerate(curves)
    )
    return f'<div class="legend">{dots}</div>'


def figure(
    curves: Sequence[Mapping[str, Any]], axis: str, name: str, title: str = "", caption: str = "", legend: bool = True
) -> Figure:
    """Accuracy of every curve against one axis."""
    series = [_series(curve, axis, i, 0.18 if len(curves) < 4 else 0.08) for i, curve in enumerate(curves)]
    svg = line_figure(
        series,
        x_label=AXES[axis],
        y_label="accuracy",
        name=name,
        percent=True,
        legend=legend,
        doubling=axis == "samples" and all(x == int(x) for one in series for x in one.x),
        logarithmic=axis != "samples" or any(x != int(x) for one in series for x in one.x),
    )
    return Figure(title or TITLES[axis], svg, caption or CAPTIONS[axis] + HOW)


def binned(bins: Mapping[str, Sequence[Mapping[str, Any]]], axis: str, name: str, legend: bool = False) -> list[Figure]:
    """The same axis for each bin of difficulty."""
    return [
        figure(
            curves,
            axis,
            f"{name}-bin{i}",
            f"{label} ({_problems(curves)} problems)",
            AXES[axis] + "." + HOW,
            legend=False,
        )
        for i, (label, curves) in enumerate(bins.items())
        if curves and _drawable(curves, axis)
    ]


def _problems(curves: Sequence[Mapping[str, Any]]) -> int:
    return max(point["problems"] for curve in curves for point in curve["points"])


def _drawable(curves: Sequence[Mapping[str, Any]], axis: str) -> bool:
    return bool(curves) and all(point[axis] > 0 for curve in curves for point in curve["points"])


def _series(curve: Mapping[str, Any], axis: str, colour: int, wash: float) -> Series:
    points = sorted(curve["points"], key=lambda point: point[axis])
    columns = [[point[name] for point in points] for name in (axis, "accuracy", "low", "high")]
    alone = len(points) == 1
    return Series(
        curve["label"],
        columns[0],
        columns[1],
        columns[2],
        columns[3],
        colour=colour,
        bars=alone,
        wash=wash,
        dashed=colour >= len(COLOURS),
        dots=not alone and not curve["flat"],
    )
