"""`ponder curves RUN...`: accuracy against compute from the stored searches of one or more evaluations, as SVG, HTML and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from ponder.config import Config
from ponder.errors import ConfigError, unknown
from ponder.evals import curve_figures, curves, report_figures, search_html, search_report, search_worth
from ponder.evals.attempts import FILE, read_attempts
from ponder.evals.page import figure_grid, page, text
from ponder.evals.replay import ANY
from ponder.evals.searched import SearchedRun, open_run
from ponder.evals.trees import FILE as TREES
from ponder.evals.trees import TreeStore
from ponder.files import write_atomic
from ponder.runs import read_record
from ponder.search.select import SELECTORS
from ponder.types import Problem

Axis = Literal["samples", "decoded", "forwarded", "flops", "seconds"]
JSON, PAGE = "curves.json", "curves.html"


class CurvesConfig(Config):
    """`ponder curves RUN...`: one curve per strategy and selection, from stored trees alone."""

    runs: tuple[str, ...] = ()
    """Directories of evaluations with searches, of the same task."""
    select: tuple[str, ...] = ("vote",)
    """Selections to draw besides each strategy's own, where its branches are alike: vote, weighted, best, any, …"""
    by: str = ""
    """Also one figure per value of this tag of the problems."""
    reference: str = ""
    """Also one figure per bin of difficulty: pass@1 of the problems in this other run."""
    bins: Annotated[int, Meta(ge=2, le=20)] = 5
    """Quantile bins of the reference's pass@1."""
    axis: Axis = "forwarded"
    """The cost axis of the figures by tag or difficulty."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Taken because every command takes it; curves draw nothing."""
    out: str = "runs/curves"
    """The folder to write to."""


def run(config: CurvesConfig) -> dict[str, Any]:
    """Write `accuracy-AXIS.svg`, `curves.html` and `curves.json` into the folder; returns what the JSON holds."""
    for name in config.select:
        if name != ANY and name not in SELECTORS:
            raise unknown("selection", name, [*SELECTORS, ANY])
    runs = [open_run(Path(path)) for path in config.runs]
    tasks = {run.task.name for run in runs}
    if len(tasks) > 1:
        raise ConfigError(
            f"curves of different tasks ({', '.join(sorted(tasks))}) can not share a figure; give runs of one"
        )
    drawn = curves.curves([group for run in runs for group in run.groups], config.select)
    problems = {name: problem for run in runs for name, problem in run.problems.items()}
    binned = search_report.binned(drawn, _bins(config, problems, runs))
    found = {
        "task": runs[0].task.name,
        "runs": list(config.runs),
        "curves": [curve.plain() for curve in drawn],
        "bins": binned,
        "worth": search_worth.blocks(drawn, search_report.axis(drawn)),
    }
    files = _write(Path(config.out), found, config.axis)
    return {**found, "out": config.out, "files": files}


def _bins(config: CurvesConfig, problems: Mapping[str, Problem], runs: Sequence[SearchedRun]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    if config.by:
        found |= curves.by_tag(problems, config.by)
        if not found:
            known = {tag for problem in problems.values() for tag in problem.tags}
            raise unknown("tag of these problems", config.by, known)
    if config.reference:
        rates = {name: rate for name, rate in pass_at_1(Path(config.reference)).items() if name in problems}
        if not rates:
            raise ConfigError(
                f"{config.reference}: no attempt there at any problem of {runs[0].path}; give a run on them"
            )
        found |= curves.by_difficulty(rates, config.bins)
    return found


def pass_at_1(path: Path) -> dict[str, float]:
    """By problem, the share of right samples in a run; of finished branches where the run only searched."""
    if read_record(path) is None:
        raise ConfigError(f"{path}: there is no run here to take difficulty from")
    verdicts: dict[str, list[bool]] = {}
    for row in read_attempts(path / FILE):
        if row.strategy == "sample" and not row.sampling.startswith("temperature=0"):
            verdicts.setdefault(row.problem, []).extend([row.correct] if row.graded else [])
    if not verdicts:
        for tree in TreeStore(path / TREES):
            if tree.flat:
                verdicts.setdefault(tree.problem, []).extend(end.correct for end in tree.ends if end.score is not None)
    return {name: sum(right) / len(right) for name, right in verdicts.items() if right}


def _write(folder: Path, found: Mapping[str, Any], axis: str) -> list[str]:
    from ponder.files import encode

    drawn = found["curves"]
    files: dict[str, str] = {}
    for name in curve_figures.known_axes(drawn):
        figure = curve_figures.figure(drawn, name, f"file-{name}")
        files[f"accuracy-{name}.svg"] = report_figures.as_file(figure.svg)
    for i, figure in enumerate(curve_figures.binned(found["bins"], axis, "file", legend=True)):
        files[f"accuracy-{axis}-bin{i}.svg"] = report_figures.as_file(figure.svg)
    files[PAGE] = _page(found, axis)
    files[JSON] = encode(found).decode() + "\n"
    for name, content in files.items():
        write_atomic(folder / name, content.encode("utf-8"))
    return sorted(files)


def _page(found: Mapping[str, Any], axis: str) -> str:
    drawn = found["curves"]
    legend = curve_figures.legend(drawn)
    parts = [
        f'<p class="eyebrow">ponder curves {text(" ".join(found["runs"]))}</p>',
        f"<h1>Accuracy against compute on {text(found['task'])}</h1>",
        legend,
        figure_grid(curve_figures.figures(drawn, "all")),
    ]
    if found["bins"]:
        parts += ["<h2>By difficulty</h2>", legend, figure_grid(curve_figures.binned(found["bins"], axis, "bins"))]
    return page(f"Accuracy against compute on {found['task']}", [*parts, search_html.worth(found["worth"])])


def show(result: Mapping[str, Any]) -> str:
    """The last point of every curve, the answers at equal compute, and where the figures are."""
    lines: list[str] = []
    for curve in result["curves"]:
        last = curve["points"][-1]
        lines.append(
            f"{curve['label']:<24} {100 * last['accuracy']:5.1f} % ({100 * last['low']:.1f} to {100 * last['high']:.1f}) at "
            f"{last['forwarded']:,.0f} tokens, {len(curve['points'])} points"
            + (f", {last['left_out']} problems left out, not graded" if last["left_out"] else "")
        )
    lines += [search_worth.sentence(block) for block in result["worth"]]
    return "\n".join([*lines, f"figures  {result['out']}/{PAGE}"])
