"""The whole recipe in miniature: imitation, then reinforcement learning, measured before and after, in one report.

Every value comes from a recipe (`recipes/quickstart-*.toml`): `[sft]` and `[grpo]` are the settings of `ponder train`,
`[eval]` those of `Measure` behind the headline, `[effort]` (optional) those of a second measurement, over effort levels,
perhaps on another task; `planted` says which weaknesses were put in on purpose. A stage whose result is there is
skipped, a stage cut short resumes from its own checkpoints, and the report is computed from files alone, so running the
same line again continues, and running it once more only renders.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from ponder import config as configs
from ponder.config import Config
from ponder.efforts import Level
from ponder.errors import ConfigError, unknown
from ponder.evals import measure, quickstart_report
from ponder.evals.attempts import FILE, AttemptStore
from ponder.evals.measure import Measure
from ponder.files import staged
from ponder.progress import Progress
from ponder.registry import locate
from ponder.runs import Run
from ponder.types import EFFORTS

STAGES = {"sft": "cold start (SFT)", "grpo": "reinforcement learning (GRPO)"}
SETTINGS = {"sft": "ponder.training.sft:SFTConfig", "grpo": "ponder.training.grpo:GRPOConfig"}
PRESETS = ("tiny", "small", "mini", "from-scratch")


class QuickstartConfig(Config):
    """`ponder quickstart`. `preset` is tiny, small, mini, from-scratch, or the path of a recipe of your own."""

    preset: str = "small"
    """tiny, small, mini, from-scratch, or the path of a recipe of your own."""
    from_scratch: bool = False
    """Short for --preset from-scratch: no pretrained base."""
    out: str = "runs/quickstart"
    """The run's directory; the same command goes on where it stopped."""
    seed: int = 0
    """Decides every draw."""
    problems: Annotated[int, Meta(ge=1)] | None = None
    """Held-out problems; the preset's number unless told."""
    threads: Annotated[int, Meta(ge=1)] | None = None
    """CPU threads; all cores unless told."""
    resume: bool | None = None
    """true: go on with a run that must be there; false: start anew, the earlier run moves aside; unset: go on if there is one."""


class Recipe(Config):
    """A quickstart recipe: settings by stage, and in plain words what was planted."""

    planted: list[str] = []
    sft: dict[str, Any] = {}
    grpo: dict[str, Any] = {}
    eval: Measure = Measure()
    effort: Measure | None = None

    @property
    def measures(self) -> list[Measure]:
        return [self.eval] if self.effort is None else [self.eval, self.effort]


def run(config: QuickstartConfig) -> dict[str, Any]:
    """Run or resume the whole recipe; returns the headline and where report and model are."""
    recipe = read_recipe(config)
    parts = [measure.prepare(settings, config.seed) for settings in recipe.measures]
    stages = {stage: stage_settings(stage, config, recipe) for stage in STAGES}
    record = {"preset": preset_name(config), "seed": config.seed, **configs.to_dict(recipe)}
    with Run.open(config.out, "quickstart", record, config.resume) as run:
        store = AttemptStore(run.path / FILE)
        finished = quickstart_report.is_finished(run.path)
        if finished:
            _say(f"{run.path}: this run is finished; writing its report again from the stored attempts")
        identities: dict[str, str] = {}
        for stage in () if finished else STAGES:
            folder = train(stage, stages[stage], run)
            name = quickstart_report.NAMES[stage]
            identities[name] = measure.weights_identity(name, folder)
            with timed(run, f"measure_{stage}"):
                label = quickstart_report.LABELS[name]
                measure.measure(name, label, lambda at=folder: _engine(at), parts, store, identities[name])
        if not finished:
            keep_model(run.path / "grpo" / "model", run.path / "model")
            run.write_json(quickstart_report.FINISHED, {"models": identities})
        report = quickstart_report.write(run.path)
    return {
        **report["headline"],
        "report": str(run.path / "report.html"),
        "model": str(run.path / "model"),
        "out": str(run.path),
    }


def preset_name(config: QuickstartConfig) -> str:
    return "from-scratch" if config.from_scratch else config.preset


def read_recipe(config: QuickstartConfig) -> Recipe:
    """The recipe a preset names, with the command's `problems` in it, measured under the limits it is trained with."""
    name = preset_name(config)
    if not name.endswith(".toml") and name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    path = configs.find_recipe(name if name.endswith(".toml") else f"quickstart-{name}")
    recipe = configs.load(Recipe, path)
    levels = {effort: level for effort, level in recipe.grpo.get("levels", {}).items() if effort in EFFORTS}
    limits = {
        effort: {k: v for k, v in level.items() if k in Level.__struct_fields__} for effort, level in levels.items()
    }
    overrides: dict[str, Any] = {}
    for table in ("eval", "effort"):
        settings: Measure | None = getattr(recipe, table)
        if settings is not None and not settings.levels:
            overrides[f"{table}.levels"] = limits
        if settings is not None and config.problems is not None:
            overrides[f"{table}.problems"] = config.problems
    return configs.load(Recipe, path, overrides)


def train(stage: str, settings: Any, run: Run) -> Path:
    """Run one training stage unless its model is there; returns the model's folder."""
    place = run.path / stage
    done = run.path / f"{stage}.json"
    if done.exists() and (place / "model" / "config.json").exists():
        _say(f"{STAGES[stage]}: done before")
        return place / "model"
    _say(STAGES[stage])
    with timed(run, stage):
        summary = _train(stage, settings)
    run.write_json(done.name, summary)
    return place / "model"


def stage_settings(stage: str, config: QuickstartConfig, recipe: Recipe) -> Any:
    """The settings of a training stage; ConfigError naming the recipe's table."""
    place = Path(config.out)
    values: dict[str, Any] = {**getattr(recipe, stage), "out": str(place / stage), "seed": config.seed}
    values |= {"threads": config.threads} if config.threads else {}
    values |= {"model": str(place / "sft" / "model")} if stage == "grpo" else {}
    try:
        return configs.load(locate(SETTINGS[stage]), None, values)
    except ConfigError as error:
        raise ConfigError(f"[{stage}] of the recipe: {error}") from None


def _train(stage: str, settings: Any) -> dict[str, Any]:
    from ponder.training import grpo, sft

    return sft.run(settings) if stage == "sft" else grpo.run(settings)


def _engine(folder: Path) -> Any:
    return measure.open_engine(str(folder))


def keep_model(source: Path, target: Path) -> None:
    """Copy the final model, effort limits included, into the run's `model` folder, all or nothing."""
    with staged(target) as temporary:
        shutil.copytree(source, temporary)


@contextmanager
def timed(run: Run, stage: str) -> Generator[None]:
    """Log how long a stage took, also when it is cut short; a resumed stage adds a row."""
    started = time.monotonic()
    try:
        yield
    finally:
        run.log({"stage": stage, "seconds": time.monotonic() - started})


def _say(text: str) -> None:
    with Progress() as progress:
        progress.note(text)


def show(result: Mapping[str, Any]) -> str:
    """The result for people: the table, effort levels, traces, and where to look."""
    return quickstart_report.terminal(Path(result["out"]))
