"""What could not be graded is no part of any number, is counted beside it, and is tried again.

One rule for every grader and every number: a grade without a score (None) says nothing about the answer. So a sandbox that
failed, a symbolic comparison that ran out of time and an answer that no rule decides are neither right nor wrong; an answer that
is missing or can not be read has score 0 and is wrong, and so is a program that ran out of time in a sandbox that held. An
ungraded attempt leaves n at its problem; a problem without a graded attempt leaves the mean. A model could hide wrong answers
behind undecidable ones, so the number is told with the rate that counts them all wrong (`least`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ponder.evals.attempts import AttemptStore, Key
    from ponder.evals.trees import TreeRow, TreeStore
    from ponder.types import Problem, Task

REASONS = 3
LONGEST = 160  # characters of a reason


class Graded(Protocol):
    """A row that holds a grade: an attempt, or the end of a branch."""

    @property
    def score(self) -> float | None: ...
    @property
    def outcome(self) -> str: ...
    @property
    def reason(self) -> str: ...


def reasons(rows: Iterable[Graded]) -> dict[str, int]:
    """Why rows could not be graded, with counts: the most frequent reasons first, at most 3."""
    found = Counter((row.reason or row.outcome)[:LONGEST] for row in rows if row.score is None)
    return dict(found.most_common(REASONS))


def of_trees(rows: Sequence[TreeRow]) -> dict[str, Any]:
    """Of searches: `ungraded` answers given, `ungraded_branches` of all finished, and the first `ungraded_reasons`."""
    return {
        "ungraded": sum(not row.graded for row in rows),
        "ungraded_branches": sum(sum(row.undecided) for row in rows),
        "ungraded_reasons": reasons(end for row in rows for end in row.ends),
    }


def grade_again(
    task: Task, problems: Sequence[Problem], store: AttemptStore, trees: TreeStore, keys: Sequence[Key]
) -> int:
    """Grade what the searches called `keys` hold ungraded once more, without a new token; how many trees changed."""
    rows = [row for k in keys if (row := trees.get(k)) is not None and any(row.undecided)]
    changed = trees.regrade(problems, task.grader, rows)
    attempts = [found for row in rows if (found := store.get(row.key)) is not None and not found.graded]
    store.regrade(problems, task.grader, attempts)
    return changed


def sentence(found: Mapping[str, Any]) -> str:
    """What was left out, in one line; empty when everything was graded. `found` has the `ungraded…` names of a result."""
    count, problems = found.get("ungraded", 0), found.get("ungraded_problems", 0)
    branches = found.get("ungraded_branches", 0)
    if not count and not branches:
        return ""
    told = f"{count} answers and {branches} branches left out" if branches else f"{count} left out"
    if problems:
        told += f", {problems} {'problem' if problems == 1 else 'problems'} without any grade"
    if (least := found.get("least")) is not None:
        told += f"; {100 * least:.1f} % were they all wrong"
    why = "; ".join(f"{n} x {reason}" for reason, n in found.get("ungraded_reasons", {}).items())
    return f"{told}: {why}" if why else told
