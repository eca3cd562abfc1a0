"""What a `ponder submit` run has found out, kept so that the same line goes on: facts by key, outputs by program and input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ponder.files import append_line, read_rows
from ponder.search.submit import Output
from ponder.search.submit_inputs import Run, Runner
from ponder.types import content_hash

SAVED = 256


class Notes:
    """Facts by key in a JSONL file, appended as they are found; `merge`: facts of one key are mappings that add up."""

    def __init__(self, path: Path, merge: bool = False) -> None:
        self.path, self.merge = path, merge
        self.known: dict[str, Any] = {}
        for row in read_rows(path):
            self._take(row["key"], row["value"])

    def add(self, facts: Mapping[str, Any]) -> None:
        """Keep facts, in one write."""
        if facts:
            rows = [msgspec.json.encode({"key": key, "value": value}) for key, value in facts.items()]
            append_line(self.path, b"\n".join(rows))
            for key, value in facts.items():
                self._take(key, value)

    def _take(self, key: str, value: Any) -> None:
        self.known[key] = {**self.known.get(key, {}), **value} if self.merge else value


class Remembered:
    """A runner that asks another one only for runs nobody made before; what could not be run is not remembered.

    `about` names the problem and its limits. `told` hears how many of the runs are settled.
    """

    def __init__(self, runner: Runner, notes: Notes, about: str, told: Callable[[int], None] | None = None) -> None:
        self.runner, self.notes, self.about, self.told = runner, notes, about, told
        self.names: dict[str, str] = {}

    def __call__(self, runs: Sequence[Run]) -> list[Output]:
        found: dict[Run, Output] = {}
        missing: list[Run] = []
        for run in dict.fromkeys(runs):
            known = self._known(run)
            if known is None:
                missing.append(run)
            else:
                found[run] = known
        if self.told is not None and found:
            self.told(len(found))
        for start in range(0, len(missing), SAVED):
            part = missing[start : start + SAVED]
            outputs = dict(zip(part, self.runner(part), strict=True))
            found |= outputs
            self._save(outputs)
        return [found[run] for run in runs]

    def _known(self, run: Run) -> Output | None:
        held = self.notes.known.get(self._key(run), {}).get(self._name(run.text))
        return None if held is None else Output(held[0], held[1])

    def _save(self, outputs: Mapping[Run, Output]) -> None:
        rows: dict[str, dict[str, list[str]]] = {}
        for run, output in outputs.items():
            if output.status != "infra":
                rows.setdefault(self._key(run), {})[self._name(run.text)] = [output.status, output.text]
        self.notes.add(rows)

    def _key(self, run: Run) -> str:
        return f"{self.about}/{self._name(run.code)}"

    def _name(self, text: str) -> str:
        if text not in self.names:
            self.names[text] = content_hash(text)
        return self.names[text]
