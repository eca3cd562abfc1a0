"""The searches of a report as HTML: tables, curves, equal compute, trees, and every search to open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ponder.evals import curve_figures, ungraded
from ponder.evals.figures import short_number
from ponder.evals.page import cell, figure_grid, percent, prose, table, text
from ponder.evals.tree_html import search_block

NOTE = (
    "accuracy: share of problems whose chosen answer is right, with its 95 % interval over problems. one branch: share of all "
    "finished branches that are right. any right: a branch is right, whether chosen or not, the ceiling of every way to "
    "choose. decoded, read: tokens per problem that the model wrote and that a verifier read; all: both and the prompt. "
    "time: wall clock per problem, many problems side by side."
)
BIN_AXIS = "forwarded"
SELECTIONS = {"vote": "vote", "weighted": "weighted vote", "best": "best score", "likelihood": "likeliest"}


def section(searches: Mapping[str, Any] | None) -> str:
    """Strategies, what other selections would have given, curves, and equal compute; empty without searches."""
    if not searches:
        return ""
    rows = searches["strategies"]
    many = len({row["effort"] for row in rows}) > 1
    parts = [
        f"<h2>Strategies on {text(searches['task'])}</h2>",
        table(COLUMNS, [_row(row, many) for row in rows]),
        f'<p class="note">{prose(NOTE)}</p>',
        *[
            f'<p class="note">{text(row["label"])}: could not be graded: {text(told)}</p>'
            for row in rows
            if (told := ungraded.sentence(row))
        ],
        _selections(rows),
        _alarms(rows),
        _curves(searches),
        worth(searches["worth"]),
        _trees(searches),
    ]
    return "\n".join(part for part in parts if part)


COLUMNS = ("strategy", "accuracy", "one branch", "any right", "decoded", "read", "all", "time")


def _row(row: Mapping[str, Any], many: bool) -> list[str]:
    each = row["each"]
    low, high = row["interval"]
    shown = {"mean": row["accuracy"], "low": low, "high": high}
    return [
        _name(row, many),
        cell(shown),
        percent(row["pass_at_1"]),
        percent(row["coverage"]["mean"]),
        *[f"{each[name]:,.0f}" for name in ("decoded", "verified", "forwarded")],
        _seconds(each["seconds"]),
    ]


def _seconds(value: float) -> str:
    return f"{1000 * value:.3g} ms" if value < 0.1 else f"{value:.3g} s"


def _name(row: Mapping[str, Any], many: bool) -> str:
    details = [f"{name}={value}" for name, value in row["apart"].items()]
    details += [f"select {row['select']}"]
    details += [f"verifier {row['verifier']}"] if row["verifier"] else []
    details += [f"budget {row['budget']}"] if row["budget"] is not None else []
    details += [f"effort {row['effort']}"] if many and row["effort"] != "none" else []
    cut = row["ended"].get("budget", 0)
    details += [f"{cut} ended by the budget"] if cut else []
    return f'{text(row["name"])}<small class="level wrap">{text(", ".join(details))}</small>'


def _selections(rows: Sequence[Mapping[str, Any]]) -> str:
    kept = [row for row in rows if row["branches"] > 1]
    names = [name for name in SELECTIONS if any(name in row["selections"] for row in kept)]
    if not kept or len(names) < 2:
        return ""
    body = [[text(row["label"]), *[cell(row["selections"].get(name)) for name in names]] for row in kept]
    return (
        "<h3>The same branches under other selections</h3>\n"
        + table(["", *[SELECTIONS[name] for name in names]], body)
        + '\n<p class="note">Recomputed from the stored trees. A search that grew by its scores would have grown elsewhere '
        "under others: its row says what could have been chosen from these branches.</p>"
    )


def _alarms(rows: Sequence[Mapping[str, Any]]) -> str:
    loud = [row for row in rows if row["alarm"] and row["alarm"]["alarm"]]
    return "\n".join(
        f'<p class="note alarm">Over-optimisation: with {text(row["label"])}, '
        "more branches raise the chosen score and not the accuracy.</p>"
        for row in loud
    )


def _curves(searches: Mapping[str, Any]) -> str:
    drawn = searches["curves"]
    if not any(len(curve["points"]) > 1 for curve in drawn) and len(drawn) < 2:
        return ""
    figures = figure_grid(curve_figures.figures(drawn, "curve"))
    legend = curve_figures.legend(drawn)
    parts = ["<h2>Accuracy against compute</h2>", legend, figures]
    for number, (tag, bins) in enumerate(searches["tags"].items()):
        grid = figure_grid(curve_figures.binned(bins, BIN_AXIS, f"tag{number}"))
        parts.append(f"<details><summary>By {text(tag.replace('_', ' '))}</summary>{legend}{grid}</details>")
    return "\n".join(parts)


def worth(blocks: Sequence[Mapping[str, Any]]) -> str:
    """Every pair at equal compute."""
    if not blocks:
        return ""
    head = ("search", "against", "worth it?", "at equal compute", "p", "cost ratio")
    rows: list[list[str]] = []
    for block in blocks:
        average = block["average"]
        shown = "–"
        if average is not None:
            mean, low, high = (100 * average[side] for side in ("mean", "low", "high"))
            shown = f"<b>{mean:+.1f}</b><small>{low:+.1f} – {high:+.1f}</small>"
        p = "–" if block["p"] is None else f"{block['p']:.2g}"
        ratio = "–" if block["ratio"] is None else f"{block['ratio']:.2g} ×"
        rows.append([text(block["search"]), text(block["baseline"]), text(block["answer"]), shown, p, ratio])
    what = "FLOPs" if blocks[0]["axis"] == "flops" else "forwarded tokens"
    costs = [
        f"{short_number(block['costs'][0])} to {short_number(block['costs'][1])}" for block in blocks if block["costs"]
    ]
    note = (
        f"Both curves read at equal {what} per problem, verifiers included, averaged over the costs both were run at"
        f"{f' ({costs[0]})' if len(set(costs)) == 1 else ''}; points of accuracy, paired by problem, 95 % bootstrap "
        "intervals. Undecided: the interval holds 0. No overlap: no cost in common. Cost ratio: how many times the search's "
        "cost the baseline pays for the same accuracy, where both reach it."
    )
    return f'<h2>Is search worth it?</h2>\n{table(head, rows)}\n<p class="note">{prose(note)}</p>'


LEGEND = (
    '<div class="legend"><span class="scale">verifier’s score 0</span><span class="scale high">verifier’s score 1</span>'
    '<span class="onpath">chosen branch</span><span class="sound">sound step</span>'
    '<span class="lost">sound, goal out of reach</span><span class="unsound">wrong step</span></div>'
)


def _trees(searches: Mapping[str, Any]) -> str:
    if not searches["trees"]:
        return ""
    labels = _labels(searches)
    shown = "\n".join(
        search_block(tree, labels[tree["strategy"]], picture=True, is_open=tree["outcome"] == "correct")
        for tree in searches["trees"]
    )
    return (
        '<h2>Trees</h2>\n<p class="note">Of every strategy that grows a tree the first problem answered right and the first '
        f"answered wrong.</p>\n{LEGEND}\n{shown}"
    )


def drill_down(searches: Mapping[str, Any] | None) -> str:
    """Every search that fits, to open."""
    if not searches or not searches["attempts"]["shown"]:
        return ""
    labels = _labels(searches)
    shown, total = searches["attempts"]["shown"], searches["attempts"]["total"]
    note = f"All {total} searches." if len(shown) == total else (
        f"The first {len(shown)} of {total} searches, by problem; the rest is in trees.jsonl."
    )  # fmt: skip
    blocks = "\n".join(search_block(one, labels[one["strategy"]]) for one in shown)
    return f'<h2>Every search</h2>\n<p class="note">{note} Click to open.</p>\n{LEGEND}\n{blocks}'


def _labels(searches: Mapping[str, Any]) -> dict[str, str]:
    return {row["strategy"]: row["label"] for row in searches["strategies"]}
