"""Every sampled attempt of a report, to open: by problem, each with its thinking and exact labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ponder.evals.page import brief, text, thinking, whole


def drill_down(attempts: Mapping[str, Any] | None) -> str:
    """The attempts that fit, problem by problem; empty without any."""
    if not attempts or not attempts["shown"]:
        return ""
    count = sum(len(one["attempts"]) for one in attempts["shown"])
    total = attempts["total"]
    note = f"All {total} attempts." if count == total else (
        f"The first {count:,} of {total:,} attempts, by problem; the rest is in attempts.jsonl."
    )  # fmt: skip
    blocks = "\n".join(_problem(one) for one in attempts["shown"])
    return f'<h2>Every attempt</h2>\n<p class="note">{note} Click to open.</p>\n{blocks}'


def _problem(one: Mapping[str, Any]) -> str:
    rows = one["attempts"]
    right = sum(row["outcome"] == "correct" for row in rows)
    head = f'<code class="ask">{brief(one["problem"]["text"])}</code> <span class="count">{right} of {len(rows)} right</span>'
    body = "".join(_attempt(row) for row in rows)
    return f'<details class="search"><summary>{head}</summary>{whole(one["problem"]["text"])}{body}</details>'


def _attempt(row: Mapping[str, Any]) -> str:
    mark = "correct" if row["outcome"] == "correct" else ""
    answer = "no answer" if row["answer"] is None else row["answer"]
    reason = f" ({text(row['reason'])})" if row["reason"] else ""
    which = "greedy" if row["greedy"] else f"attempt {row['attempt']}"
    effort = f", effort {text(row['effort'])}" if row["effort"] else ""
    head = (
        f'<span class="badge {mark}">{text(row["outcome"])}</span> <code>{brief(answer)}</code> '
        f'<span class="count">{which}{effort}, {row["tokens"]} tokens{reason}</span>'
    )
    return f"<details><summary>{head}</summary>{thinking(row['pieces'])}{whole(answer)}</details>"
