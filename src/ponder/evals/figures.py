"""Figures as inline SVG that follows the page's light or dark colours and stays text (searchable, selectable).

matplotlib draws with marker colours that stand for roles (ink, grid, first and second model); in the SVG text they are
replaced by CSS variables of the page. Ids are prefixed, so several figures live in one page. The same values give the
same bytes. matplotlib is imported when the first figure is drawn.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, cast

INK, GRID, MUTED = "#010101", "#020202", "#030303"
COLOURS = tuple(f"#0a0a0{i}" for i in range(1, 9))
VARIABLES = {INK: "--ink", GRID: "--grid", MUTED: "--muted"} | {c: f"--c{i + 1}" for i, c in enumerate(COLOURS)}
SIZE = (4.6, 2.9)
MARGINS = (0.165, 0.16, 0.815, 0.82)  # left, bottom, width, height; fixed, for automatic layout doubles the time
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ponder",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
}


@dataclass(frozen=True, slots=True)
class Series:
    """One line: points, an optional band (`wash` its strength) or error bars (`low`, `high`), an optional label at each point."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    names: Sequence[str] = ()
    colour: int = 0
    bars: bool = False
    dashed: bool = False
    wash: float = 0.18
    dots: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing with its title and how to read it."""

    title: str
    svg: str
    caption: str


def line_figure(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    name: str,
    percent: bool = False,
    doubling: bool = False,
    logarithmic: bool = False,
    legend: bool = True,
) -> str:
    """An SVG of `series`; `percent` shows shares as per cent, `doubling` spaces powers of two evenly, `logarithmic` all x.

    `legend` False leaves it to the page. `name` prefixes the SVG's ids and must be unique on the page.
    """
    with _axes() as (figure, axes):
        for one in series:
            _draw(axes, one)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        if doubling:
            _double(axes, sorted({x for one in series for x in one.x}))
        if logarithmic:
            _logarithmic(axes, [x for one in series for x in one.x])
        if percent:
            axes.yaxis.set_major_formatter(_percent)
        axes.margins(x=0.15 if any(one.names for one in series) else 0.04, y=0.12)
        if percent:
            low, high = axes.get_ylim()
            axes.set_ylim(max(low, -0.02), min(high, 1.02))
        if not legend:
            pass
        elif sum(bool(one.label) for one in series) > 1 or any(one.names for one in series):
            axes.legend(loc="best")
        return _svg(figure, name)


def bar_figure(
    groups: Sequence[str], series: Sequence[Series], *, x_label: str, y_label: str, name: str, percent: bool = True
) -> str:
    """Grouped points with error bars: `groups` along the x axis, `series[i].y[j]` belonging to `groups[j]`."""
    with _axes() as (figure, axes):
        shift = 0.16
        for i, one in enumerate(series):
            offset = (i - (len(series) - 1) / 2) * shift
            x = [j + offset for j in range(len(groups))]
            _draw(axes, Series(one.label, x, one.y, one.low, one.high, colour=one.colour, bars=True, dots=True))
        axes.set_xticks(range(len(groups)), list(groups))
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        if percent:
            axes.yaxis.set_major_formatter(_percent)
            axes.set_ylim(-0.02, 1.02)
        axes.grid(axis="x", visible=False)
        if len(series) > 1:
            axes.legend(loc="best")
        return _svg(figure, name)


def _draw(axes: Any, one: Series) -> None:
    colour = COLOURS[one.colour % len(COLOURS)]
    keep = [i for i, y in enumerate(one.y) if math.isfinite(y)]
    x, y = [one.x[i] for i in keep], [one.y[i] for i in keep]
    low, high = ([side[i] for i in keep] if len(side) else [] for side in (one.low, one.high))
    if one.bars and low:
        ends = [[b - a for a, b in zip(low, y, strict=True)], [b - a for a, b in zip(y, high, strict=True)]]
        axes.errorbar(x, y, yerr=ends, fmt="none", ecolor=colour, elinewidth=1.4, capsize=3)
    elif low:
        axes.fill_between(x, low, high, color=colour, alpha=one.wash, linewidth=0)
    marker = "o" if one.bars or one.dots or len(x) < 3 else None
    style = "none" if one.dots and one.bars else "--" if one.dashed else "-"
    axes.plot(x, y, color=colour, label=one.label or None, marker=marker, markersize=4.5, linestyle=style)
    for i, text in enumerate(one.names[: len(x)]):  # below the first line, above the others, so that lines may meet
        last = i == len(x) - 1
        offset, side = ((6, -11), "left") if one.colour == 0 else ((7, 4), "left") if last else ((-7, 5), "right")
        axes.annotate(text, (x[i], y[i]), offset, textcoords="offset points", color=MUTED, fontsize=8.5, ha=side)


def _percent(value: float, _: int) -> str:
    return f"{100 * value:.0f} %"


def _double(axes: Any, values: Sequence[float]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.minorticks_off()


def _logarithmic(axes: Any, values: Sequence[float]) -> None:
    """A logarithmic axis with plain numbers at 1, 2 and 5 times the powers of ten that lie within the values."""
    low, high = min(values), max(values)
    axes.set_xscale("log")
    steps = [
        m * 10.0**e for e in range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1) for m in (1, 2, 5)
    ]
    ticks = [step for step in steps if low / 1.3 <= step <= high * 1.3]
    while len(ticks) > 7:
        ticks = ticks[::3] if len(ticks) > 12 else ticks[::2]
    axes.set_xticks(ticks, [short_number(tick) for tick in ticks])
    axes.minorticks_off()


def short_number(value: float) -> str:
    """1500 as `1.5k`, 2,000,000 as `2M`, from 10^9 on as `2e9`."""
    if value >= 1e9:
        return f"{value:.0e}".replace("e+", "e").replace("e0", "e")
    size, unit = (1e6, "M") if value >= 1e6 else (1e3, "k") if value >= 1e3 else (1.0, "")
    return f"{value / size:.3g}{unit}"


@contextlib.contextmanager
def _axes() -> Generator[tuple[Any, Any]]:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with cast(Any, matplotlib).rc_context(STYLE):
        figure: Any = Figure(figsize=SIZE)
        FigureCanvasSVG(figure)
        yield figure, figure.add_axes(MARGINS)


def _svg(figure: Any, name: str) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return for_page(out.getvalue(), name)


def standalone(svg: str, style: str) -> str:
    """A figure for a page as a file of its own, with the colours of `style` (the page's CSS) for light and dark."""
    colours = "\n".join(
        re.findall(r":root \{.*?\}|@media \(prefers-color-scheme: dark\) \{.*?\}\s*\}", style, re.DOTALL)
    )
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    head, rest = svg.split(">", 1)
    return f"{head.replace('<svg', f'<svg {spaces}', 1)}>\n<style>{colours}</style>{rest}\n"


def for_page(svg: str, name: str) -> str:
    """matplotlib's SVG document made part of a page: no prologue, CSS colours, page font, ids of its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', svg, count=1)
    svg = re.sub(r"font:([^;\"]*?)px [^;\"]*", r"font:\1px system-ui, sans-serif", svg)
    svg = re.sub(r"font-family:[^;\"]*", "font-family: system-ui, sans-serif", svg)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    for marker, variable in VARIABLES.items():
        svg = svg.replace(marker, f"var({variable})")
    return svg.strip()
