"""Which column of a row holds what, and the problem that makes.

Design: names may be nested with dots; what a user leaves out is guessed from the usual names in the first row. Every
value is checked where it is read, and a complaint names `path:line`, the column and what was found there.
Not covered: weights between rows, tools or documents in messages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

from ponder.errors import DataError, unknown
from ponder.tasks.rows import Row, kind
from ponder.types import Message, Problem

ColumnMap = Mapping[str, str | Sequence[str] | None]
KEYS = ("question", "messages", "reference", "completion", "id", "tags")
GUESSES: Mapping[str, tuple[str, ...]] = {
    "question": ("question", "problem", "prompt", "input", "text"),
    "messages": ("messages", "conversation"),
    "reference": ("reference", "answer", "final_answer", "target", "expected"),
}


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column holds what. Names may be nested with dots (`meta.answer`, `choices.0`); a list of names for
    `question` is joined by a blank, for `tags` gives one tag each. `reference` None: problems without a reference."""

    question: tuple[str, ...] = ()
    messages: str = ""
    reference: str = ""
    completion: str = ""
    id: str = ""
    tags: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: ColumnMap, row: Row) -> Columns:
        """The map a user gave, completed by the usual names found in the first row."""
        for key in given:
            if key not in KEYS:
                raise unknown("entry in the column map", key, KEYS)
        chosen = {key: _names(value) for key, value in given.items()}
        for key, names in GUESSES.items():
            taken = {"question", "messages"} & chosen.keys() if key != "reference" else {"reference"} & chosen.keys()
            found = next((n for n in names if n in row.data), None)
            if not taken and found is not None:
                chosen[key] = (found,)
        if not chosen.get("question") and not chosen.get("messages"):
            raise missing(row, "question", "question")
        if "reference" not in chosen:
            raise missing(row, "reference", "answer")
        one = {key: (chosen.get(key) or ("",))[0] for key in ("messages", "reference", "completion", "id")}
        return cls(question=chosen.get("question", ()), tags=chosen.get("tags", ()), **one)

    def problem(self, row: Row, task: str, template: str, copy: int = 1) -> tuple[Problem, str]:
        """The problem a row describes and, where mapped, the completion it shows; `copy` tells repeats apart."""
        if self.messages:
            messages = _messages(row, self.messages)
            key = "\n".join(f"{m.role}: {m.content}" for m in messages)
        else:
            key = " ".join(_text(row, path, "question") for path in self.question)
            messages = (Message("user", template.replace("{question}", key)),)
        reference = None
        if self.reference:
            try:
                reference = reference_of(_look(row, self.reference, "reference"))
            except ValueError as error:
                if isinstance(error, DataError):
                    raise
                raise DataError(f"{row.where}: column '{self.reference}' is no reference: {error}") from None
        tags: dict[str, Any] = {}
        for path in self.tags:
            value = _look(row, path, "tags")
            tags |= cast(dict[str, Any], value) if isinstance(value, dict) else {path.split(".")[-1]: value}
        if self.id:
            tags["source_id"] = _look(row, self.id, "id")
        canonical = " ".join(key.split()) + (f" (copy {copy})" if copy > 1 else "")
        completion = _text(row, self.completion, "completion") if self.completion else ""
        return Problem(messages, reference, task, tags, canonical), completion


def _names(value: str | Sequence[str] | None) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


def missing(row: Row, key: str, column: str) -> DataError:
    have = ", ".join(map(str, row.data)) or "none"
    return DataError(f"{row.where}: no column '{column}'; the row has: {have}. Name one with columns={{'{key}': '…'}}")


def _look(row: Row, path: str, key: str) -> Any:
    """The value of a column, by its plain name first, then along the dots."""
    if path in row.data:
        return row.data[path]
    value: Any = row.data
    for part in path.split("."):
        if isinstance(value, Mapping) and part in value:
            value = cast(Mapping[str, Any], value)[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(cast(list[Any], value)):
            value = cast(list[Any], value)[int(part)]
        else:
            raise missing(row, key, path)
    return value


def _text(row: Row, path: str, key: str) -> str:
    value = _look(row, path, key)
    if not isinstance(value, str):
        raise DataError(f"{row.where}: column '{path}' should hold a text, found {kind(value)}")
    if not value.strip():
        raise DataError(f"{row.where}: column '{path}' is empty")
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise DataError(f"{row.where}: column '{path}' holds half a character (a lone surrogate)")
    return value.strip()


def _messages(row: Row, path: str) -> tuple[Message, ...]:
    value = _look(row, path, "messages")
    wrong = f"{row.where}: column '{path}' should be a list of {{role, content}} objects that ends with the user"
    if not isinstance(value, list) or not value:
        raise DataError(wrong)
    messages: list[Message] = []
    for turn in cast(list[Any], value):
        if not isinstance(turn, Mapping):
            raise DataError(wrong)
        part = Row(row.where, cast(Mapping[str, Any], turn))
        messages.append(Message(_text(part, "role", "messages"), _text(part, "content", "messages")))
    if messages[-1].role != "user":
        raise DataError(f"{wrong}; it ends with '{messages[-1].role}'")
    return tuple(messages)


def reference_of(value: Any) -> Any:
    """A reference as graders read it: numbers and truth values as text, lists and objects as they are.

    Whole floats lose their `.0`, others keep every digit without an exponent. Raises `ValueError` for what can not be
    a reference: nothing, an empty text, NaN, infinity, other types.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (float, Decimal)):
        if not math.isfinite(value):
            raise ValueError(f"'{value}' is not a finite number")
        return str(int(value)) if value == int(value) else format(Decimal(str(value)), "f")
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, (list, dict)) and value:
        return cast(Any, value)
    raise ValueError("empty" if value in ("", [], {}, None) or isinstance(value, str) else f"{kind(value)}")
