"""What an effort level means for a model: how many tokens it may think and write. One table per model.

The table travels with the weights as `efforts.json`, so sampling in training, in evaluation and when answering a user obeys
the same limits. No torch here. Not covered: search budgets per level (a level is one completion).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from ponder.config import Config
from ponder.errors import CheckpointError
from ponder.types import Sampling

FILE = "efforts.json"


class Level(Config):
    """How to sample at one effort: at most `think_budget` thinking tokens (None: no limit of its own) and `max_tokens` in
    all, of which `answer_reserve` are kept for the answer."""

    max_tokens: Annotated[int, Meta(ge=1)] = 256
    """Most tokens in all."""
    think_budget: Annotated[int, Meta(ge=0)] | None = None
    """Most thinking tokens; then the engine closes the thinking."""
    answer_reserve: Annotated[int, Meta(ge=0)] = 0
    """Tokens of max_tokens that thinking may not use."""

    def sampling(self, temperature: float = 1.0, top_p: float = 1.0, seed: int = 0) -> Sampling:
        """The sampling that obeys this level."""
        return Sampling(
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            max_tokens=self.max_tokens,
            think_budget=self.think_budget,
            answer_reserve=self.answer_reserve,
        )


Levels = Mapping[str, Level]


def read(folder: str | Path) -> dict[str, Level]:
    """The table in a model folder; empty when there is none. CheckpointError when it can not be read."""
    path = Path(folder) / FILE
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Level])
    except msgspec.DecodeError as error:
        raise CheckpointError(f"{path}: not a table of effort levels ({error})") from None


def write(folder: str | Path, levels: Levels) -> None:
    """Put the table into a model folder."""
    plain = {
        name: Level(max_tokens=v.max_tokens, think_budget=v.think_budget, answer_reserve=v.answer_reserve)
        for name, v in levels.items()
    }
    path = Path(folder) / FILE
    path.write_bytes(msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n")
