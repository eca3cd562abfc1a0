"""The settings of `ponder submit`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from ponder.config import Config
from ponder.errors import ConfigError
from ponder.search.submit import Weights
from ponder.types import Effort

Count = Annotated[int, Meta(ge=1)]
Weight = Annotated[float, Meta(ge=0, le=1000)]
GROWS = (
    "samples", "limit", "submissions", "weights", "weights.size", "weights.errors", "weights.learned", "weights.repeat",
    "verifier", "tune", "partial", "baselines", "feedback", "out", "rows", "device", "workers", "resume",
)  # fmt: skip


class RankWeights(Config):
    """What each term of a cluster's rank weighs."""

    size: Weight = 1.0
    """The cluster's share of the programs that pass the public tests."""
    errors: Weight = 1.0
    """Taken off for the share of generated inputs on which it fails."""
    learned: Weight = 1.0
    """The mean score of the verifier, 0 to 1."""
    repeat: Weight = 1.0
    """Taken off for every submission it already had."""

    @property
    def plain(self) -> Weights:
        return Weights(self.size, self.errors, self.learned, self.repeat)


class SubmitConfig(Config):
    """`ponder submit TASK_OR_FILE`: sample many programs for each problem, choose at most 50 of them, and say what they earn.

    Programs that pass the visible tests run on generated inputs, those with the same outputs form a cluster, clusters are
    ranked, and submissions go round the subtasks. `--stored FILE` takes programs that are there already: those that an
    earlier run wrote (samples.jsonl) need no task and nothing is run; answers of others ({"task_id", "completion"}) do.
    """

    task: str = ""
    """A task whose problems have tests (humaneval, mbpp, livecodebench), or a file of such problems."""
    task_options: tuple[str, ...] = ()
    """The task's own options as NAME=VALUE, such as path=problems.jsonl."""
    model: str = ""
    """Who writes the programs: a model folder, a shipped name, scripted:FILE."""
    stored: str = ""
    """A file of stored samples instead of a model."""
    samples: Annotated[int, Meta(ge=1, le=100_000)] = 200
    """Programs sampled per problem, or per subtask where there are subtasks."""
    limit: Count = 50
    """Problems."""
    submissions: Annotated[int, Meta(ge=1, le=50)] = 50
    """Most submissions per problem."""
    inputs: Annotated[int, Meta(ge=0, le=256)] = 40
    """Generated inputs per problem or subtask; 0 for none."""
    tests: Literal["auto", "model", "mutate"] = "auto"
    """Who makes inputs: model writes generators and validators, mutate changes the visible inputs; auto takes the given
    programs, else the model of --tester, else mutation."""
    tester: str = ""
    """Engine that writes generators and validators; with --tests model the one of --model unless told."""
    generators: Annotated[int, Meta(ge=1, le=64)] = 4
    """Generators the tester writes per problem, in four styles by turns."""
    checks: Annotated[int, Meta(ge=0, le=64)] = 8
    """Validators the tester writes per problem."""
    generator: tuple[str, ...] = ()
    """Files of programs that read a seed and print an input, used for every problem."""
    validators: tuple[str, ...] = ()
    """Files of programs that read an input and print valid or invalid, used for every problem."""
    share: Annotated[float, Meta(gt=0, le=1)] = 0.75
    """Share of the validators that must call an input valid."""
    verifier: str = ""
    """Learned score of a program: a folder, a built-in name, or module:attr."""
    weights: RankWeights = RankWeights()
    tune: Annotated[int, Meta(ge=0, le=10_000)] = 0
    """Also search so many random weights on these problems, and say what they are worth on problems left out."""
    feedback: bool = True
    """Does the contest say after each submission what it earned? A solved subtask is then left alone."""
    partial: bool = False
    """Score the share of a subtask's tests that pass, instead of all or nothing."""
    baselines: bool = True
    """Judge all samples, for the comparison with random choice; otherwise only what is submitted."""
    split: Literal["train", "dev", "test"] = "test"
    """Which problems of a task."""
    temperature: Annotated[float, Meta(gt=0, le=10)] = 1.0
    """Of the samples."""
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Smallest set of tokens with this much probability."""
    max_tokens: Count = 2048
    """Most tokens per sample, within the model's context."""
    effort: Effort | None = None
    """How long to think; medium where the model knows efforts."""
    require: Literal["L1", "L2"] | None = None
    """Refuse to run programs below this level of isolation."""
    cpu_seconds: Annotated[float, Meta(gt=0, le=600)] = 2.0
    """Processor time of one run, where the problem sets none."""
    workers: Annotated[int, Meta(ge=1, le=256)] = 2
    """Programs run at a time."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Decides samples, inputs and ties."""
    out: str = ""
    """The run's directory; runs/submit-TASK-MODEL unless told."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes CUDA where there is one."""
    rows: Count | None = None
    """Completions in flight; as many as memory allows unless told."""
    resume: bool | None = None
    """true: go on with a run that must be there; false: start anew; unset: go on if there is one."""


def check(config: SubmitConfig) -> None:
    """ConfigError when the settings contradict each other."""
    if not config.task and not config.stored:
        raise ConfigError("give a task or a file of problems with --model, or samples with --stored FILE")
    if config.model and config.stored:
        raise ConfigError("--model samples programs and --stored reads them; give one of the two")
    if config.task and not (config.model or config.stored):
        raise ConfigError(f"who writes programs for '{config.task}'? give --model, or samples with --stored FILE")
    if config.tests == "model" and not (config.tester or config.model):
        raise ConfigError("--tests model: give --tester, the engine that writes generators and validators")
    if config.tests == "mutate" and (config.generator or config.tester):
        raise ConfigError("--tests mutate takes neither --generator nor --tester; leave one of them out")
