"""What an effort level means for a model. Two tables travel with the weights.

`efforts.json` says how many tokens one completion may think and write at the levels the model was trained at (low, medium,
high), so sampling in training, in evaluation and when answering a user obeys the same limits. `operating.json` says what a
user's level, none to xhigh, stands for: a strategy with its settings and what it was measured to bring, per task
(`ponder calibrate` writes it). No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ponder.config import Config
from ponder.errors import CheckpointError, unknown
from ponder.types import Effort, Sampling

FILE = "efforts.json"
OPERATING = "operating.json"
NAMES = ("none", "minimal", "low", "medium", "high", "xhigh")
"""The levels a user may ask for, by rising cost."""


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


class OperatingPoint(Config):
    """What a level runs, and what that was measured to bring on problems not used to choose it."""

    strategy: str
    """Name of the search strategy."""
    n: Annotated[int, Meta(ge=1)] | None = None
    """Its samples or branches; its own number where None."""
    options: dict[str, Any] = {}
    """Its other settings."""
    effort: Effort | None = None
    """The level of thinking asked of the model itself."""
    select: str = ""
    """How the answer is chosen; the strategy's own way where empty."""
    verifier: str = ""
    """The verifier that scores, where one is needed."""
    temperature: Annotated[float, Meta(ge=0)] = 1.0
    """Of the samples."""
    budget: Annotated[int, Meta(ge=1)] | None = None
    """Most forwarded tokens per problem."""
    accuracy: float | None = None
    """Share of fresh problems solved."""
    interval: tuple[float, float] | None = None
    """95 % interval of that over problems."""
    tokens: float | None = None
    """Tokens forwarded per problem: prompt, written, read by the verifier."""
    seconds: float | None = None
    """Wall-clock seconds per problem with many problems at once."""
    latency: float | None = None
    """Seconds one problem takes alone."""


class OperatingTable(Config):
    """The levels of one task, by rising cost; a level that is not there would have bought nothing."""

    levels: dict[str, OperatingPoint]
    """Level name -> what it runs."""
    model: str = ""
    """The weights that were measured."""
    options: dict[str, Any] = {}
    """Settings of the task."""
    problems: int = 0
    """Fresh problems behind each accuracy."""
    verdict: str = ""
    """What the measurement found, in a sentence."""


class Operating(Config):
    """All tables of a model; `default` names the task whose table serves other problems."""

    default: str
    """The task calibrated last."""
    tasks: dict[str, OperatingTable]
    """Task name -> its table."""


def operating(folder: str | Path) -> Operating | None:
    """The operating points in a model folder, None when it was never calibrated. CheckpointError when unreadable."""
    path = Path(folder) / OPERATING
    try:
        return msgspec.json.decode(path.read_bytes(), type=Operating)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: not a table of operating points ({error}); calibrate again") from None


def operating_point(folder: str | Path, level: str, task: str = "") -> tuple[str, OperatingPoint] | None:
    """What `level` stands for in a model folder: the level's name and what to run. None where nothing was calibrated.

    `task` "" or one that was not calibrated takes the default table. A level the table lacks is served by the nearest it
    has, the cheaper of two, whose name is returned. ConfigError: a level nobody knows.
    """
    if level not in NAMES:
        raise unknown("effort", level, NAMES)
    found = operating(folder)
    table = None if found is None else found.tasks.get(task) or found.tasks.get(found.default)
    levels = {} if table is None else {name: point for name, point in table.levels.items() if name in NAMES}
    if not levels:
        return None
    wanted = NAMES.index(level)
    name = min(levels, key=lambda n: (abs(NAMES.index(n) - wanted), NAMES.index(n)))
    return name, levels[name]
