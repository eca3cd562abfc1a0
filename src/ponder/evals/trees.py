"""The store of search trees: one line of `trees.jsonl` per solution, so that any choice can be made again without new tokens.

A row has the key of its attempt (task, problem, attempt, model, strategy, effort, sampling), every node with its tokens,
log-probabilities, score and text (`search.tree.plain`), and every finished branch with its answer, the class of that answer
in a vote, and its grade. Which branch is chosen under another rule, verifier or number of branches is a function of the row
(`replay`). Rows are appended, never changed: of two rows with one key the last counts, and a partial last line is passed
over. In memory stands only where each row begins.
Not covered: several processes appending at once (the run's lock keeps them out).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from ponder.errors import DataError
from ponder.evals.attempts import Key, joined, key
from ponder.files import append_line
from ponder.graders.memory import Memory
from ponder.search.asks import DEFAULTS, Aggregate, aggregate
from ponder.search.select import Candidate
from ponder.search.solution import Ended
from ponder.search.tree import Tree, read
from ponder.types import Completion, Effort, Finish, Grade, Grader, Ledger, Outcome, Problem, Semantics

FILE = "trees.jsonl"


class End(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A finished branch: its last node, what it says, the class of its answer in a vote (None abstains), and its grade.

    `text` is None where think tags, `thinking` and `answer` spell it out. `score` is the grader's, not the verifier's;
    `weight` is the strategy's own opinion of the branch.
    """

    node: int
    outcome: Outcome
    score: float | None
    name: Any = None
    weight: float | None = None
    thinking: str | None = None
    answer: str | None = None
    text: str | None = None
    reason: str = ""

    @property
    def correct(self) -> bool:
        return self.outcome == "correct"

    @property
    def full_text(self) -> str:
        """What the model wrote, think tags included."""
        return self.text if self.text is not None else joined(self.thinking, self.answer)


class TreeKey(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a row that says which attempt it belongs to."""

    task: str
    problem: str
    attempt: int
    model: str
    strategy: str
    effort: Effort | None = None
    sampling: str = ""

    @property
    def key(self) -> Key:
        return key(
            self.task, self.problem, self.attempt, self.model, self.effort, self.sampling, strategy=self.strategy
        )


class TreeRow(TreeKey, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True, dict=True):
    """One solution with its whole tree.

    `name` and `options` are the strategy and its settings, `select` the rule that chose, `verifier` the scores' origin and
    `semantics` their meaning, `budget` the most forwarded tokens. `nodes` are the rows of `search.tree.plain`, each with
    the `text` of its span (and of its whole `branch` where tokens were taken away). `ends` are the finished branches in
    the order they were made, `chosen` the position of the one that answers. `opened`: the prompt ends inside the thinking.
    `drawing` are the FLOPs of `ledger.flops` that the verifier did not take, `reading` those of the prompt alone (0 where a
    token's price is not known). `wall` are the seconds between this solution and the one stored before it: added up over
    rows, what the whole took, while `ledger.seconds` is what this problem waited, in company of others.
    """

    seed: int
    name: str
    options: dict[str, Any]
    select: str
    verifier: str = ""
    semantics: Semantics | None = None
    budget: int | None = None
    opened: bool = False
    prompt: tuple[int, ...]
    nodes: list[dict[str, Any]]
    ends: tuple[End, ...]
    chosen: int | None = None
    change: float | None = None
    ended: Ended = "done"
    ledger: Ledger = Ledger()
    drawing: float = 0.0
    reading: float = 0.0
    wall: float = 0.0
    notes: dict[str, Any] = {}

    def tree(self) -> Tree:
        """The tree, its scores included."""
        return read({"prompt": self.prompt, "nodes": self.nodes})

    @cached_property
    def flat(self) -> bool:
        """Were all `n` branches drawn whole from the prompt, one like the other? Then fewer of them is a smaller search.

        A search that stopped by itself, or because its budget ended, is not: how many it drew says something about them.
        """
        parents = [node["parent"] for node in self.nodes[1:]]
        whole = len(self.ends) == len(parents) == self.options.get("n", 1)
        return whole and not any(parents) and not any("prompt" in node for node in self.nodes)

    @property
    def given(self) -> End | None:
        """The branch that answers: the chosen one, or the first when none has an answer; None when none was finished."""
        return self.ends[self.chosen or 0] if self.ends else None

    @property
    def graded(self) -> bool:
        """Does the grade of the answer given say anything? A search that finished no branch has no answer, which is wrong."""
        return self.given is None or self.given.score is not None

    @property
    def right(self) -> bool:
        """Is the answer given right? Says nothing where it was not `graded`."""
        return self.given is not None and self.given.correct

    @property
    def correct(self) -> list[bool]:
        """Whether each finished branch is right."""
        return [end.correct for end in self.ends]

    @property
    def undecided(self) -> list[bool]:
        """Whether each finished branch is one that could not be graded."""
        return [end.score is None for end in self.ends]

    def candidates(self, how: Aggregate | None = None) -> list[Candidate]:
        """The finished branches as a selection sees them; `how` None aggregates scores as their meaning calls for."""
        return self._candidates if how is None else self._aggregated(how)

    @cached_property
    def _candidates(self) -> list[Candidate]:
        return self._aggregated(DEFAULTS[self.semantics] if self.semantics is not None else "last")

    def _aggregated(self, how: Aggregate) -> list[Candidate]:
        tree = self.tree()
        found: list[Candidate] = []
        for end in self.ends:
            node = tree.nodes[end.node]
            score = aggregate(tree.path_scores(node), how)
            found.append(Candidate(end.name, score, node.logprob, len(node.written), end.weight))
        return found

    def completion(self, end: End) -> Completion:
        """The completion of a finished branch, to grade it again; its tokens are in the tree."""
        finish: Finish = self.nodes[end.node]["finish"]
        return Completion((), (), finish, end.full_text, end.thinking, end.answer, problem_id=self.problem)


class TreeStore:
    """The rows of one `trees.jsonl`; `path` None keeps them in memory only."""

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = Path(path) if path is not None else None
        self._places: dict[Key, int] = {}
        self._rows: dict[Key, TreeRow] = {}
        if self.path is not None:
            self._places = {key: place for place, key in _keys(self.path)}

    def __len__(self) -> int:
        return len(self._places) + len(self._rows)

    def __contains__(self, wanted: object) -> bool:
        return wanted in self._places or wanted in self._rows

    def keys(self) -> list[Key]:
        """The keys of all rows, in the order first written."""
        return [*self._places, *self._rows]

    def __iter__(self) -> Iterator[TreeRow]:
        """Every row, one at a time."""
        return (row for key in self.keys() if (row := self.get(key)) is not None)

    def get(self, wanted: Key) -> TreeRow | None:
        """The row of a key, None when there is none; DataError when its line is broken."""
        place = self._places.get(wanted)
        if place is None or self.path is None:
            return self._rows.get(wanted)
        with self.path.open("rb") as handle:
            handle.seek(place)
            line = handle.readline()
        try:
            return msgspec.json.decode(line, type=TreeRow)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise DataError(
                f"{self.path}: byte {place}: not a search tree ({error}); remove the line to go on"
            ) from None

    def add(self, row: TreeRow) -> None:
        """Append a row; WorkError when the disk is full, and then the file is as it was."""
        if self.path is None:
            self._rows[row.key] = row
            return
        line = msgspec.json.encode(row, enc_hook=str)
        append_line(self.path, line)
        self._places[row.key] = self.path.stat().st_size - len(line) - 1

    def regrade(self, problems: Iterable[Problem], grader: Grader, among: Iterable[TreeRow] | None = None) -> int:
        """Grade every finished branch of `problems` again, or those `among` the rows; append and count rows that changed."""
        known = {problem.id: problem for problem in problems}
        memory, changed = Memory(), 0
        for row in self if among is None else among:
            if row.problem not in known:
                continue
            grades = memory.grade(grader, [(known[row.problem], row.completion(end)) for end in row.ends])
            ends = tuple(graded(end, grade) for end, grade in zip(row.ends, grades, strict=True))
            if [(e.outcome, e.score) for e in ends] != [(e.outcome, e.score) for e in row.ends]:
                self.add(msgspec.structs.replace(row, ends=ends))
                changed += 1
        return changed


def graded(end: End, grade: Grade) -> End:
    """`end` with another grade."""
    return msgspec.structs.replace(end, outcome=grade.outcome, score=grade.score, reason=grade.reason)


def by_strategy(rows: Iterable[TreeRow]) -> dict[tuple[str, str], list[TreeRow]]:
    """Rows grouped by strategy and effort ('none' without one)."""
    groups: dict[tuple[str, str], list[TreeRow]] = {}
    for row in rows:
        groups.setdefault((row.strategy, row.effort or "none"), []).append(row)
    return groups


def per_problem(rows: Sequence[TreeRow]) -> dict[str, list[TreeRow]]:
    """Rows grouped by problem, in order of attempt."""
    groups: dict[str, list[TreeRow]] = {}
    for row in sorted(rows, key=lambda row: row.attempt):
        groups.setdefault(row.problem, []).append(row)
    return groups


def _keys(path: Path) -> Iterator[tuple[int, Key]]:
    """Where each whole line begins, and its key."""
    decoder = msgspec.json.Decoder(TreeKey)
    place = 0
    try:
        handle = path.open("rb")
    except FileNotFoundError:
        return
    with handle:
        for number, line in enumerate(handle, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield place, decoder.decode(line).key
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                raise DataError(f"{path}:{number}: not a search tree ({error}); remove the line to go on") from None
            place += len(line)
