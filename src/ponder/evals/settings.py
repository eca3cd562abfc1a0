"""The settings of `ponder eval`, and what they mean for a measurement."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ponder import efforts
from ponder.config import Config
from ponder.efforts import Level
from ponder.errors import ConfigError
from ponder.evals.measure import Measure
from ponder.search.options import read_options
from ponder.types import EFFORTS, Effort

Count = Annotated[int, Meta(ge=1)]
DEFAULT_TOKENS = 256
FINISHED = "finished.json"
DEFAULT_ATTEMPTS = 16
SEARCH = ("strategy", "n", "options", "select", "verifier", "budget")
GROWS = ("attempts", "limit", "regrade", "resume", "out", "rows", *SEARCH)
"""What may differ when the same run goes on: a run holds any number of strategies on the same problems and sampling."""


class EvalConfig(Config):
    """`ponder eval TASK`: `limit` held-out problems, each tried `attempts` times at each effort, or searched by a strategy.

    Without `max_tokens` and `levels` the model's own table of effort limits holds, and 256 tokens where it has none.
    """

    task: str = ""
    """Name of a task, benchmark or file reader."""
    task_options: tuple[str, ...] = ()
    """The task's own options as NAME=VALUE, such as numbers=[4] highest=20."""
    model: str = "mini"
    """A shipped name, a run, a Hugging Face folder, or scripted:FILE."""
    attempts: Count | None = None
    """Sampled completions per problem and effort, 16 unless told; with a strategy, searches per problem, 1 unless told."""
    limit: Count = 200
    """Held-out problems."""
    strategy: str = ""
    """Search every problem with this strategy instead of sampling: vote, best_of_n, beam, …"""
    n: Annotated[int, Meta(ge=1, le=65_536)] | None = None
    """The strategy's samples or branches; its own number unless told."""
    options: tuple[str, ...] = ()
    """The strategy's other options as NAME=VALUE, such as width=4 stepwise=true."""
    select: str = ""
    """Which answer to take: vote, weighted, best, likelihood, …; the strategy's own rule unless told."""
    verifier: str = ""
    """What scores the strategy's branches: a folder, a built-in name, or module:attr."""
    budget: Count | None = None
    """Most tokens a search may forward: its prompt, what it draws, what its verifier reads; no limit unless told."""
    efforts: tuple[Effort, ...] = ("medium",)
    """Effort levels to measure."""
    split: Literal["dev", "test"] = "test"
    """dev was watched in training, test was not."""
    greedy: bool = True
    """Also one completion at temperature 0."""
    temperature: Annotated[float, Meta(gt=0, le=10)] = 1.0
    """Of the samples."""
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Smallest set of tokens with this much probability."""
    max_tokens: Count | None = None
    """Most tokens per completion; the model's own limits unless told."""
    levels: dict[Effort, Level] = {}
    seed: int = 0
    """Decides every draw."""
    out: str = ""
    """The run's directory; runs/eval-TASK-… unless told."""
    regrade: bool = False
    """Grade the stored completions again and draw none."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes CUDA where there is one."""
    rows: Count | None = None
    """Completions in flight; as many as memory allows unless told."""
    resume: bool | None = None
    """true: go on with a run that must be there; false: start anew, the earlier run moves aside; unset: go on if there is one."""

    @property
    def tries(self) -> int:
        """Attempts per problem."""
        return self.attempts or (1 if self.strategy else DEFAULT_ATTEMPTS)

    @property
    def headline(self) -> Effort:
        """The effort whose numbers stand in front: medium where it is measured."""
        return "medium" if "medium" in self.efforts or not self.efforts else self.efforts[-1]


def check(config: EvalConfig) -> None:
    """ConfigError when a search is set up without a strategy."""
    given = [name for name in SEARCH[1:] if getattr(config, name) not in (None, "", ())]
    if given and not config.strategy:
        flag = given[0]
        raise ConfigError(f"--{flag} belongs to a search: name a strategy too (--strategy vote), or leave --{flag} out")


def settings_of(config: EvalConfig) -> Measure:
    """The measurement an `EvalConfig` asks for."""
    return Measure(
        task=config.task,
        options=read_options(config.task_options),
        split=config.split,
        problems=config.limit,
        attempts=config.tries,
        efforts=config.efforts,
        headline=config.headline,
        greedy=config.greedy,
        temperature=config.temperature,
        top_p=config.top_p,
        max_tokens=config.max_tokens or DEFAULT_TOKENS,
        levels=config.levels,
    )


def resolved(config: EvalConfig, folder: str | None) -> EvalConfig:
    """`config` with the effort limits of the model in `folder`, unless it sets its own."""
    if config.max_tokens is not None or config.levels or folder is None:
        return config
    table = efforts.read(folder)
    return msgspec.structs.replace(config, levels={effort: table[effort] for effort in EFFORTS if effort in table})


def slug(text: str) -> str:
    """A name as part of a folder's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-") or "model"
