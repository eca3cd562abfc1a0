"""`ponder replay RUN`: what another selection, another verifier, or fewer branches would have given. No engine is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from ponder.config import Config
from ponder.errors import ConfigError, unknown
from ponder.evals import curves, ungraded
from ponder.evals.labels import labels, scored_by
from ponder.evals.page import percent
from ponder.evals.replay import ANY, check, exact, rescored
from ponder.evals.search_eval import open_verifier
from ponder.evals.search_numbers import SELECTS
from ponder.evals.searched import Group, open_run
from ponder.evals.searching import verifier_identity
from ponder.files import encode, write_atomic
from ponder.search.select import SCORED, SELECTORS
from ponder.types import Ledger

Count = Annotated[int, Meta(ge=1)]


class ReplayConfig(Config):
    """`ponder replay RUN`: choose again from the stored trees of an evaluation."""

    run: str = ""
    """The directory of an evaluation with searches."""
    select: tuple[str, ...] = ()
    """Selections to try: vote, weighted, best, likelihood, any (an oracle), …; all that work unless told."""
    verifier: str = ""
    """Score every branch again with this verifier first; costs its tokens."""
    k: tuple[Count, ...] = ()
    """Numbers of branches to choose from, for flat searches; all branches unless told."""
    strategy: str = ""
    """Only this strategy, by name or by its whole key; all of them unless told."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Taken because every command takes it; a replay draws nothing."""
    out: str | None = None
    """Also write the JSON result to this file."""


def run(config: ReplayConfig) -> dict[str, Any]:
    """Accuracy and cost of every selection at every k asked for, per strategy."""
    for name in config.select:
        if name != ANY and name not in SELECTORS:
            raise unknown("selection", name, [*SELECTORS, ANY])
    found = open_run(Path(config.run))
    groups = _wanted(found.groups, config.strategy, config.run)
    spent = Ledger()
    if config.verifier:
        verifier = open_verifier(config.verifier)
        identity = verifier_identity(config.verifier)
        before = verifier.ledger
        groups = [replace(g, rows=rescored(g.rows, found.problems, verifier, identity)[0]) for g in groups]
        spent = verifier.ledger - before
    names = labels([g.first.name for g in groups], [_facts(g) for g in groups])
    rows = [row for name, group in zip(names, groups, strict=True) for row in _rows(name, group, config)]
    if not rows:
        raise ConfigError(
            f"{config.run}: nothing to replay with k = {config.k}: only flat searches have fewer branches"
        )
    result = {"run": config.run, "verifier": config.verifier, "rows": rows, "ledger": spent}
    if config.out is not None:
        write_atomic(config.out, encode(result) + b"\n")
    return result


def _wanted(groups: Sequence[Group], strategy: str, run: str) -> list[Group]:
    kept = [g for g in groups if strategy in ("", g.first.name, g.strategy)]
    if not kept:
        raise unknown(f"strategy of {run}", strategy, {g.first.name for g in groups})
    return kept


def _facts(group: Group) -> dict[str, Any]:
    first = group.first
    told = {"select": first.select, "budget": first.budget, "effort": group.effort}
    return {**first.options, **told, **scored_by(first.verifier)}


def _rows(name: str, group: Group, config: ReplayConfig) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for select in config.select or _able(group):
        check(group.rows, select)
        for k in config.k or (None,):
            if k is not None and not (group.flat and k <= group.n):
                continue
            made = curves.point(group, select, k)
            sure = k is None or exact(group.rows, select, k)
            told = {"label": name, "select": select, "exact": sure, "effort": group.effort, **made.plain()}
            found.append(told | ungraded.of_trees(group.rows) | {"ungraded_problems": told["left_out"]})
    return found


def _able(group: Group) -> list[str]:
    scored = any(c.score is not None for row in group.rows for c in row.candidates())
    wanted = dict.fromkeys([group.first.select, *SELECTS, ANY])
    return [name for name in wanted if scored or name not in SCORED]


def show(result: Mapping[str, Any]) -> str:
    """A table for people."""
    table = [["strategy", "select", "k", "accuracy", "interval", "forwarded"]]
    for row in result["rows"]:
        interval = f"{percent(row['low'])} to {percent(row['high'])}"
        about = "" if row["exact"] else "about "
        k = "all" if row["k"] is None else str(row["k"])
        accuracy = f"{about}{percent(row['accuracy'])}"
        table.append([row["label"], row["select"], k, accuracy, interval, f"{row['forwarded']:,.0f}"])
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
    said = {f"{row['label']}, {row['select']}": ungraded.sentence(row) for row in result["rows"]}
    lines += [f"ungraded  {name}: {told}" for name, told in said.items() if told]
    if result["verifier"]:
        lines.append(f"scored again by {result['verifier']}: {result['ledger'].forwarded:,} tokens read")
    return "\n".join(lines)
