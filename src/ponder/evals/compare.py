"""`ponder compare RUN_A RUN_B [RUN_C …]`: how two or more runs differ on the problems they share, and how surely.

The first run is the baseline; every other is compared with it, setting by setting (`sides` says which belong together).
Nothing is drawn: the attempts stored are all there is, and all of them count. With one attempt per problem on both sides
the interval is Newcombe's and p is McNemar's exact one; otherwise rates per problem are compared with Student's t. The
p-values of all rows are corrected together by Holm's method; tags are shown with intervals and no p-values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from ponder.config import Config
from ponder.errors import ConfigError, DataError
from ponder.evals import paired
from ponder.evals.attempts import Attempt
from ponder.evals.figures import Series, line_figure, standalone
from ponder.evals.report import percent
from ponder.evals.sides import Groups, NothingGraded, Setting, Side, graded_both, matched, problems_of, read_side
from ponder.evals.summary import MAX_TAG_VALUES, interval_json
from ponder.files import encode, write_atomic
from ponder.intervals import cluster_mean, mean_interval
from ponder.types import Problem

DRAWS = 10_000
SHOWN_FROM = 10  # problems with a tag's value, for people; JSON has all


class CompareConfig(Config):
    """`ponder compare RUN_A RUN_B [RUN_C …]`: each run against the first, paired by problem."""

    runs: tuple[str, ...] = ()
    """Two runs or more: RUN, RUN:MODEL, or RUN:strategy=NAME,effort=LEVEL,model=NAME."""
    level: Annotated[float, Meta(ge=0.5, le=0.999)] = 0.95
    """Of the intervals."""
    power: Annotated[float, Meta(ge=0.5, le=0.999)] = 0.8
    """With which the minimum detectable effect would be found."""
    draws: Annotated[int, Meta(ge=100, le=1_000_000)] = DRAWS
    """Of problems, for the bootstrap."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Decides the bootstrap's draws."""
    out: str | None = None
    """Also write the JSON result to this file."""
    figure: str | None = None
    """Write the first row's per-problem differences to this SVG file."""


def run(config: CompareConfig) -> dict[str, Any]:
    """Compare stored attempts; returns a row per pair of settings, for every run against the first."""
    if len(config.runs) < 2:
        raise ConfigError(f"compare needs two runs or more, not {len(config.runs)}: ponder compare RUN_A RUN_B")
    sides = [read_side(text) for text in config.runs]
    tags = problems_of(sides[0])
    rows, left_out = list[dict[str, Any]](), list[str]()
    for side, one, other in ((b, *pair) for b in sides[1:] for pair in matched(sides[0], b)):
        try:
            rows.append(row(sides[0], side, one, other, config, tags))
        except NothingGraded as error:
            left_out.append(f"{one[0]}, {one[1]}, effort {one[2]}: {error}")
    if not rows:
        raise NothingGraded(left_out[0])
    for entry, corrected in zip(rows, paired.holm([entry["p"] for entry in rows]), strict=True):
        entry["p_holm"] = corrected
    result = {
        "baseline": sides[0].label,
        "runs": [{"run": s.label, "path": str(s.path), "model": s.model} for s in sides],
        "level": config.level,
        "power": config.power,
        "tests": len(rows),
        "rows": rows,
        "left_out": left_out,
        "seed": config.seed,
    }
    if config.figure is not None:
        write_atomic(config.figure, figure(result).encode("utf-8"))
    if config.out is not None:
        write_atomic(config.out, encode(result) + b"\n")
    return result


def row(
    a: Side, b: Side, one: Setting, other: Setting, config: CompareConfig, tags: Mapping[str, Problem]
) -> dict[str, Any]:
    """One setting of `a` against one of `b`, over the problems both were graded on; DataError when there is none."""
    left, right = a.rows[one], b.rows[other]
    common = [name for name in left if name in right]
    if not common:
        raise DataError(
            f"{a.label} and {b.label} have no problem of {one[0]} in common ({len(left)} and {len(right)}); "
            "compare runs of one split with the same problems"
        )
    tried = [{name: side[name] for name in common} for side in (left, right)]
    known, mine, theirs = graded_both(*tried)
    one_cost, other_cost = ({name: side[name] for name in known} for side in tried)
    rates = [_by(side, lambda r: float(r.correct)) for side in (mine, theirs)]
    return {
        "a": a.label,
        "b": b.label,
        "task": one[0],
        "strategy": [one[1], other[1]],
        "effort": [one[2], other[2]],
        "problems": len(known),
        "only_a": len(left) - len(common),
        "only_b": len(right) - len(common),
        "attempts": [sum(len(rows) for rows in side.values()) for side in (one_cost, other_cost)],
        "ungraded": [sum(not r.graded for rows in side.values() for r in rows) for side in tried],
        "ungraded_problems": len(common) - len(known),
        "accuracy": [interval_json(cluster_mean(values, config.level)) for values in rates],
        **_tested(mine, theirs, config),
        **_power(mine, theirs, config),
        "tokens": _tokens(one_cost, other_cost, "decoded", config.level),
        "verified": _tokens(one_cost, other_cost, "verified", config.level),
        "tags": _by_tag(known, rates, tags, config.level),
        "per_problem": [[name, x, y] for name, x, y in zip(known, *rates, strict=True)],
    }


def _by(side: Groups, value: Callable[[Attempt], float]) -> list[float]:
    return [math.fsum(map(value, rows)) / len(rows) for rows in side.values()]


def _tested(a: Groups, b: Groups, config: CompareConfig) -> dict[str, Any]:
    """The difference with its interval and p-values."""
    x, y = (_by(side, lambda r: float(r.correct)) for side in (a, b))
    found, table = paired.difference(x, y, config.level), None
    boot = paired.paired_bootstrap(x, y, draws=config.draws, seed=config.seed, level=config.level)
    interval, p = found.interval, found.p
    if all(len(rows) == 1 for side in (a, b) for rows in side.values()):
        pairs = list(zip(x, y, strict=True))
        both, only_a, only_b, neither = (pairs.count(cell) for cell in ((1, 1), (1, 0), (0, 1), (0, 0)))
        interval, p = paired.newcombe(both, only_a, only_b, neither, config.level), paired.mcnemar(only_a, only_b)
        table = {"both": both, "only_a": only_a, "only_b": only_b, "neither": neither}
        table |= {"p": p, "p_mid": paired.mcnemar(only_a, only_b, mid=True)}
    return {
        "difference": interval_json(interval),
        "p": p,
        "test": "t" if table is None else "mcnemar",
        "mcnemar": table,
        "bootstrap": {"low": boot.interval.low, "high": boot.interval.high, "p": boot.p},
    }


def _power(a: Groups, b: Groups, config: CompareConfig) -> dict[str, Any]:
    """What could have been found, how many problems the difference seen would need, and what the noise is made of.

    None where the differences do not vary, which says nothing about how they would on other problems.
    """
    x, y = (_by(side, lambda r: float(r.correct)) for side in (a, b))
    empty: dict[str, Any] = {"mde": None, "problems_needed": None, "spread": None}
    if len(x) < 2 or (deviation := paired.deviation_of(x, y)) < 1e-12:
        return empty
    effect = abs(math.fsum(y) - math.fsum(x)) / len(x)
    found = empty | {"mde": paired.detectable(deviation, len(x), config.power, config.level)}
    if effect >= 0.001:
        found["problems_needed"] = paired.problems_needed(effect, deviation, config.power, config.level)
    if all(len(rows) > 1 for side in (a, b) for rows in side.values()):
        parts = paired.spread(*([[float(r.correct) for r in rows] for rows in side.values()] for side in (a, b)))
        found["spread"] = {"between": parts.between, "within_a": parts.within_a, "within_b": parts.within_b}
    return found


def spent(attempt: Attempt, kind: str) -> float:
    """Tokens an attempt cost: what the whole search spent where there was one, else its own tokens, all decoded."""
    ledger = attempt.parts.get("search", {}).get("ledger")
    if ledger is None:
        return float(len(attempt.tokens)) if kind == "decoded" else 0.0
    return float(ledger.get(kind, 0))


def _tokens(a: Groups, b: Groups, kind: str, level: float) -> dict[str, float] | None:
    x, y = (_by(side, lambda r: spent(r, kind)) for side in (a, b))
    if kind == "verified" and not any(x) and not any(y):
        return None
    means = {"a": math.fsum(x) / len(x), "b": math.fsum(y) / len(y)}
    found = mean_interval([v - u for u, v in zip(x, y, strict=True)], level)
    return means | {"difference": found.mean, "low": found.low, "high": found.high}


def _by_tag(
    names: Sequence[str], rates: Sequence[Sequence[float]], problems: Mapping[str, Problem], level: float
) -> dict[str, dict[str, dict[str, Any]]]:
    """tag -> value -> accuracies and difference, for tags with 2 to 12 values; intervals are not corrected for their number."""
    groups: dict[str, dict[str, list[int]]] = {}
    for i, name in enumerate(names):
        problem = problems.get(name)
        for tag, value in problem.tags.items() if problem is not None else ():
            groups.setdefault(tag, {}).setdefault(str(value), []).append(i)
    return {
        tag: {value: _tag_row(rates, values[value], level) for value in sorted(values, key=_order)}
        for tag, values in groups.items()
        if 2 <= len(values) <= MAX_TAG_VALUES
    }


def _tag_row(rates: Sequence[Sequence[float]], members: Sequence[int], level: float) -> dict[str, Any]:
    x, y = ([side[i] for i in members] for side in rates)
    found = interval_json(paired.difference(x, y, level).interval)
    return {"problems": len(members), "a": math.fsum(x) / len(x), "b": math.fsum(y) / len(y), "difference": found}


def _order(value: str) -> tuple[bool, float, str]:
    try:
        return (False, float(value), value)
    except ValueError:
        return (True, 0.0, value)


def figure(result: Mapping[str, Any]) -> str:
    """Per-problem differences of the first row, sorted, with their mean and its interval, as an SVG file."""
    first = result["rows"][0]
    points = sorted(100 * (y - x) for _, x, y in first["per_problem"])
    low, mean, high = (100 * first["difference"][key] for key in ("low", "mean", "high"))
    ends = [0.0, float(max(1, len(points) - 1))]
    series = [
        Series("one problem", list(range(len(points))), points, dots=True, bars=True),
        Series("mean", ends, [mean, mean], low=[low, low], high=[high, high], colour=1),
    ]
    names = f"{first['b']} minus {first['a']}, points".replace("$", r"\$")  # not the start of a formula
    drawn = line_figure(series, x_label="problems, sorted", y_label=names, name="compare")
    return standalone(drawn, Path(__file__).with_name("report.css").read_text(encoding="utf-8"))


def show(result: Mapping[str, Any]) -> str:
    """The comparison for people: a block per row."""
    lines: list[str] = []
    for entry in result["rows"]:
        lines += [*_shown(entry, result), ""]
    lines += [f"left out  {told}" for told in result["left_out"]]
    if result["tests"] > 1:
        lines.append(f"Holm: p corrected for all {result['tests']} comparisons together.")
    return "\n".join(lines).rstrip()


def _shown(entry: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    ways = [f"{s}, effort {e}" for s, e in zip(entry["strategy"], entry["effort"], strict=True)]
    setting = ways[0] if ways[0] == ways[1] else f"{ways[0]}  against  {ways[1]}"
    level = f"{100 * result['level']:g} %"
    apart = [f"{entry[key]} only in {entry[side]}" for side, key in (("a", "only_a"), ("b", "only_b")) if entry[key]]
    lost = [f"{entry['ungraded_problems']} left out, not graded"] if entry["ungraded_problems"] else []
    counted = ", ".join([f"{entry['problems']} problems in common", *apart, *lost])
    lines = [f"{entry['task']}   {setting}   {counted}"]
    width = max(len(entry["a"]), len(entry["b"]), 10)
    for side, label in enumerate((entry["a"], entry["b"])):
        found = entry["accuracy"][side]
        lost = f"   {entry['ungraded'][side]} could not be graded" if entry["ungraded"][side] else ""
        spread = f"{level} {percent(found['low'])} to {percent(found['high'])}"
        tries = entry["attempts"][side] / entry["problems"]
        cost = entry["tokens"]["ab"[side]]
        lines.append(
            f"  {label:<{width}}  {percent(found['mean'])}   {spread}   "
            f"{tries:.3g} {'try' if tries == 1 else 'tries'} each, {cost:.0f} tokens{lost}"
        )
    found = entry["difference"]
    mean, low, high = (100 * found[key] for key in ("mean", "low", "high"))
    holm = f", Holm {probability(entry['p_holm'])}" if result["tests"] > 1 else ""
    lines.append(
        f"  {'difference':<{width}}  {mean:+.1f} points   {level} {low:+.1f} to {high:+.1f}   "
        f"p {probability(entry['p'])} ({'McNemar' if entry['mcnemar'] else 'paired t'}){holm}"
    )
    return [*lines, *_shown_more(entry, width, result["power"])]


def _shown_more(entry: Mapping[str, Any], width: int, power: float) -> list[str]:
    lines: list[str] = []
    if (table := entry["mcnemar"]) is not None:
        lines.append(
            f"  {'solved':<{width}}  {table['only_b']} only by {entry['b']}, {table['only_a']} only by {entry['a']}"
        )
    if entry["mde"] is not None:
        needed = entry["problems_needed"]
        unseen = needed is not None and needed > entry["problems"]
        more = f"; the difference seen would take {needed:,}" if unseen else ""
        text = f"{100 * entry['mde']:.1f} points with power {100 * power:g} % on {entry['problems']} problems{more}"
        lines.append(f"  {'detectable':<{width}}  {text}")
    cost = entry["tokens"]
    lines.append(
        f"  {'tokens':<{width}}  {cost['difference']:+.1f} an attempt   {cost['low']:+.1f} to {cost['high']:+.1f}"
        + (f"   verified {entry['verified']['difference']:+.1f}" if entry["verified"] else "")
    )
    for tag, values in entry["tags"].items():
        many = {value: one for value, one in values.items() if one["problems"] >= SHOWN_FROM}
        if len(many) > 1:
            lines.append(f"  {f'by {tag}':<{width}}  {',  '.join(map(_tag_text, many, many.values()))}")
    return lines


def _tag_text(value: str, one: Mapping[str, Any]) -> str:
    mean, low, high = (100 * one["difference"][key] for key in ("mean", "low", "high"))
    return f"{value}: {mean:+.1f} ({low:+.0f} to {high:+.0f}, n {one['problems']})"


def probability(p: float) -> str:
    """A p-value for people."""
    return "< 0.0001" if p < 0.0001 else f"{p:.2g}"
