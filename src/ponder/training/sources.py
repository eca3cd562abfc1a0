"""Where training examples come from: sources whose example number i is a pure function of the settings and i.

A source is described by plain JSON values (so that a worker process can open it, and a checkpoint needs only a number to
continue) and delivers blocks of `BLOCK` examples by block number. Kinds: `corpus` (the generated pretraining text, from
`ponder.tasks.corpus`), `mixture` (demonstrations of built-in tasks and rows of files, in exact proportion to their
weights). No torch here. Not covered: remote data sets, shuffling files larger than memory.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ponder.errors import ConfigError, DataError
from ponder.tasks.rows import Row, read_rows
from ponder.text.tokenizer import Tokenizer
from ponder.training.examples import Example, from_demonstration, from_messages, from_pieces
from ponder.types import EFFORTS, Message, Problem

BLOCK = 256
PERIOD = 1000
PROBLEM_KEYS = ("weight", "limit", "efforts", "task", "file", "prompt", "completion", "effort")


class Source(Protocol):
    """Endless examples by block number."""

    def block(self, number: int) -> list[Example]: ...


def random_for(*key: Any) -> random.Random:
    """A generator of its own for each key: what is drawn for one thing never depends on what was drawn for another."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "little"))


def load_tokenizer(name: str) -> Tokenizer:
    """The miniature's tokenizer for "mini", else that of a model folder."""
    return Tokenizer.mini() if name == "mini" else Tokenizer.load(name)


def open_source(spec: Mapping[str, Any]) -> Source:
    """The source described by `spec`: {"kind", "tokenizer", "seed", "context", and "mixture" or "data"}."""
    tokenizer = load_tokenizer(spec["tokenizer"])
    if spec["kind"] == "corpus":
        late = spec.get("anneal"), int(spec.get("anneal_from", 0))
        return Corpus(spec["mixture"], int(spec["seed"]), tokenizer, int(spec["context"]), *late)
    if spec["kind"] == "mixture":
        return Mixture(spec["data"], int(spec["seed"]), tokenizer, int(spec["context"]))
    raise ConfigError(f"unknown source kind '{spec['kind']}'; known: corpus, mixture")


class Corpus:
    """Generated pretraining text: example i is document i of (mixture, seed), from `anneal_from` on of (anneal, seed)."""

    def __init__(
        self,
        mixture: Mapping[str, float],
        seed: int,
        tokenizer: Tokenizer,
        context: int,
        anneal: Mapping[str, float] | None = None,
        anneal_from: int = 0,
    ) -> None:
        self.mixture, self.seed, self.tokenizer, self.context = mixture, seed, tokenizer, context
        self.anneal, self.anneal_from = anneal, anneal_from

    def block(self, number: int) -> list[Example]:
        from ponder.tasks import corpus

        numbers = range(number * BLOCK, (number + 1) * BLOCK)
        return [self._example(corpus.document(self._mixture(i), self.seed, i), i) for i in numbers]

    def _mixture(self, i: int) -> Mapping[str, float]:
        return self.anneal if self.anneal and i >= self.anneal_from else self.mixture

    def _example(self, pieces: Sequence[tuple[str, bool]], i: int) -> Example:
        return fits(from_pieces(pieces, self.tokenizer), self.context, f"corpus document {i}")


class Mixture:
    """Several sources in exact proportion to their weights; each walks through its own items in shuffled epochs."""

    def __init__(self, data: Sequence[Mapping[str, Any]], seed: int, tokenizer: Tokenizer, context: int) -> None:
        if not data:
            raise ConfigError("data is empty: name at least one task or file to learn from")
        self.seed, self.tokenizer, self.context = seed, tokenizer, context
        self.parts = [_part(entry, seed) for entry in data]
        self.order = schedule([float(entry.get("weight", 1.0)) for entry in data], seed)

    def block(self, number: int) -> list[Example]:
        return [self.example(i) for i in range(number * BLOCK, (number + 1) * BLOCK)]

    def example(self, i: int) -> Example:
        """Example i: which part, and which of that part's items, follow from i alone."""
        part, count = place(self.order, i)
        made, where = self.parts[part].make(count, self.tokenizer)
        return fits(made, self.context, where)


def schedule(weights: Sequence[float], seed: int) -> list[int]:
    """A fixed shuffled period of part numbers, each as often as its share says (largest remainders)."""
    total = sum(weights)
    if not weights or min(weights) < 0 or total <= 0:
        raise ConfigError(f"data weights must be at least 0 and not all 0, got {list(weights)}")
    exact = [w / total * PERIOD for w in weights]
    counts = [int(x) for x in exact]
    for j in sorted(range(len(exact)), key=lambda j: counts[j] - exact[j])[: PERIOD - sum(counts)]:
        counts[j] += 1
    order = [j for j, n in enumerate(counts) for _ in range(n)]
    random_for("mixture", seed).shuffle(order)
    return order


def place(order: Sequence[int], i: int) -> tuple[int, int]:
    """Which part item i of a schedule belongs to, and how many items of that part came before it."""
    rounds, at = divmod(i, len(order))
    part = order[at]
    return part, rounds * order.count(part) + order[:at].count(part)


class Problems:
    """The endless training problems of one task: number n is decided by (task, seed, n) alone.

    A task that can make problems from a generator (`make`) gives a fresh one every time unless `limit` asks for that many
    fixed ones; other tasks walk through their training split in shuffled epochs.
    """

    def __init__(self, entry: Mapping[str, Any], seed: int) -> None:
        from ponder import tasks

        options = {k: v for k, v in entry.items() if k not in PROBLEM_KEYS}
        self.name, self.seed = str(entry["task"]), seed
        self.task: Any = tasks.get(self.name, **options)
        self.fixed: list[Problem] = []
        if "limit" in entry or not hasattr(self.task, "make"):
            self.fixed = self.task.problems("train", entry.get("limit"), seed)
            if not self.fixed:
                raise DataError(f"task '{self.name}' has no training problems")
        self.shuffled = Shuffled(len(self.fixed), (self.name, seed))

    def draw(self, count: int) -> tuple[Problem, random.Random]:
        """Problem number `count`, and the generator to go on with for whatever else is drawn for it."""
        rng = random_for("problem", self.name, self.seed, count)
        if self.fixed:
            return self.fixed[self.shuffled[count]], rng
        while True:
            problem = self.task.make(rng)
            if problem is not None and problem.split == "train":
                return problem, rng


class TaskPart:
    """Demonstrations of a task's training problems; effort and wording drawn anew each time."""

    def __init__(self, entry: Mapping[str, Any], seed: int) -> None:
        self.problems = Problems(entry, seed)
        if not hasattr(self.problems.task, "demonstrate"):
            raise ConfigError(f"task '{entry['task']}' has no demonstrations to imitate; use a file with completions")
        self.efforts = list(entry.get("efforts", EFFORTS))

    def make(self, count: int, tokenizer: Tokenizer) -> tuple[Example, str]:
        problem, rng = self.problems.draw(count)
        demonstration = self.problems.task.demonstrate(problem, rng.choice(self.efforts), rng)
        return from_demonstration(demonstration, tokenizer), f"task {self.problems.name}, problem {problem.id}"


class FilePart:
    """Rows of a file: prompt and completion columns, or messages ending with the assistant's. All are checked at once."""

    def __init__(self, entry: Mapping[str, Any], seed: int) -> None:
        self.path = Path(str(entry["file"]))
        self.columns = {k: str(entry.get(k, k)) for k in ("prompt", "completion", "effort")}
        rows = itertools.islice(read_rows(self.path), entry.get("limit"))
        self.rows = [usable(row, self.columns) for row in rows]
        if not self.rows:
            raise DataError(f"{self.path}: no rows")
        self.shuffled = Shuffled(len(self.rows), (Path(self.path).name, seed))

    def make(self, count: int, tokenizer: Tokenizer) -> tuple[Example, str]:
        row = self.rows[self.shuffled[count]]
        messages, completion = conversation(row.data, self.columns, row.where)
        effort = row.data.get(self.columns["effort"])
        return from_messages(messages, completion, tokenizer, effort if effort in EFFORTS else None), row.where


def _part(entry: Mapping[str, Any], seed: int) -> TaskPart | FilePart:
    if ("task" in entry) == ("file" in entry):
        raise ConfigError(f"a data entry names either task or file, got {dict(entry)}")
    check_entry(entry)
    return TaskPart(entry, seed) if "task" in entry else FilePart(entry, seed)


def check_entry(entry: Mapping[str, Any]) -> None:
    """ConfigError for a weight, limit or effort that can not be used; the task or file checks the rest."""
    weight, limit, efforts = entry.get("weight", 1.0), entry.get("limit"), entry.get("efforts", EFFORTS)
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise ConfigError(f"data.weight {weight!r} is not allowed: expected a number from 0")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ConfigError(f"data.limit {limit!r} is not allowed: expected int from 1")
    if not isinstance(efforts, list | tuple) or not efforts or not {*map(str, efforts)} <= {*EFFORTS}:
        raise ConfigError(f"data.efforts {efforts!r} is not allowed: expected a list taken from {', '.join(EFFORTS)}")


class Shuffled:
    """Position k of an endless walk over n items: every epoch a fresh permutation, each decided by the key alone."""

    def __init__(self, n: int, key: tuple[Any, ...]) -> None:
        self.n, self.key = n, key
        self._epoch, self._order = -1, list[int]()

    def __getitem__(self, k: int) -> int:
        epoch, at = divmod(k, self.n)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, list(range(self.n))
            random_for("shuffle", *self.key, epoch).shuffle(self._order)
        return self._order[at]


def usable(item: Row | DataError, columns: Mapping[str, str]) -> Row:
    """The row itself; DataError naming its line when it is broken or holds nothing to learn."""
    if isinstance(item, DataError):
        raise item
    conversation(item.data, columns, item.where)
    return item


def conversation(row: Mapping[str, Any], columns: Mapping[str, str], where: str) -> tuple[list[Message], str]:
    """Messages to read and the completion to learn."""
    if "messages" in row:
        try:
            turns = [Message(str(m["role"]), str(m["content"])) for m in row["messages"]]
        except (TypeError, KeyError):
            raise DataError(f"{where}: messages must be a list of objects with role and content") from None
        if len(turns) < 2 or turns[-1].role != "assistant":
            raise DataError(f"{where}: messages must end with the assistant's turn to learn")
        prompt, completion = turns[:-1], turns[-1].content
    else:
        missing = [columns[k] for k in ("prompt", "completion") if not isinstance(row.get(columns[k]), str)]
        if missing:
            raise DataError(f"{where}: no text in '{missing[0]}'; the row has {', '.join(sorted(row)) or 'no columns'}")
        prompt, completion = [Message("user", row[columns["prompt"]])], row[columns["completion"]]
    if not completion.strip():
        raise DataError(f"{where}: the completion is empty")
    return prompt, completion


def fits(made: Example, context: int, where: str) -> Example:
    """The example itself, or DataError when it is longer than the model's context."""
    if len(made) > context:
        raise DataError(f"{where}: {len(made)} tokens do not fit the context of {context}")
    return made
