"""`ponder repair TASK`: repair buggy programs in turns of editing and testing.

A run directory like an evaluation's: a try is stored, judged and with its whole conversation, as it ends; the same line again
runs only what is missing, `--tries 8` after 4 adds four, and `ponder report` renders without a model. The seed of a try is
decided by (seed, instance, number), so more tries or instances never change the others. A try under way when the run ends
begins anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ponder import config as configs
from ponder import tasks
from ponder.config import Config
from ponder.errors import ConfigError
from ponder.evals import measure, repair_report
from ponder.evals.attempts import FILE, Attempt, AttemptStore, Key, key, make_attempt, sampling_key
from ponder.evals.page import percent
from ponder.evals.repair_loop import LIVE, Limits, Loop, Try, begin
from ponder.evals.runner import attempt_seed
from ponder.evals.settings import FINISHED, slug
from ponder.graders.code import CodeGrader
from ponder.graders.edits import diff
from ponder.graders.repair import completion_of
from ponder.progress import Bar, Progress
from ponder.runs import Run
from ponder.sandbox.jobs import Level
from ponder.search.options import read_options
from ponder.tasks.repairs import Instance, instance_of
from ponder.types import Completion, Effort, Sampling

Count = Annotated[int, Meta(ge=1)]
GROWS = ("tries", "limit", "resume", "out", "rows", "live")


class RepairConfig(Config):
    """`ponder repair TASK`: the model sees a buggy program and its visible tests, edits, hears what fails, edits again.

    Tasks: `quixbugs` (one wrong line each, made by people), `bugs` (faults put into reference programs; needs no data), or rows
    of a file whose reference has `files`. A patch counts when it parses and changes the program; all tests, the hidden ones too,
    decide about it in the sandbox.
    """

    task: str = ""
    """bugs, quixbugs, or a file reader."""
    task_options: tuple[str, ...] = ()
    """The task's own options as NAME=VALUE, such as sources=[shelf,mbpp] visible=fail."""
    model: str = "mini"
    """A shipped name, a run, a Hugging Face folder, or scripted:FILE."""
    tries: Count = 1
    """Independent tries at each instance."""
    turns: Count = 6
    """Most answers in a try."""
    budget: Count | None = None
    """Most tokens a try may sample over all its turns; no limit unless told."""
    max_tokens: Count = 2048
    """Most tokens of one answer."""
    limit: Count = 100
    """Instances."""
    split: Literal["train", "dev", "test"] = "test"
    """Which of the task's programs."""
    effort: Effort | None = None
    """Effort level; the model's own unless told."""
    temperature: Annotated[float, Meta(ge=0, le=10)] = 1.0
    """Of the samples; 0 takes the likeliest token, and then one try tells all."""
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Smallest set of tokens with this much probability."""
    require: Level | None = None
    """Refuse to run programs below this level of isolation."""
    seed: int = 0
    """Decides every draw, and which bugs are generated."""
    out: str = ""
    """The run's directory; runs/repair-TASK-… unless told."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes CUDA where there is one."""
    rows: Count | None = None
    """Completions in flight; as many as memory allows unless told."""
    live: Count = LIVE
    """Tries kept going at once; results are stored as they end."""
    resume: bool | None = None
    """true: go on with a run that must be there; false: start anew, the earlier run moves aside; unset: go on if there is one."""


def run(config: RepairConfig) -> dict[str, Any]:
    """Repair; returns pass@1 over valid patches with its interval, the other numbers, and what it cost."""
    if config.temperature == 0 and config.tries > 1:
        raise ConfigError(
            f"tries = {config.tries} at temperature 0 would all be the same; give --temperature 1, or one try"
        )
    task: Any = tasks.get(config.task, **read_options(config.task_options))
    problems = task.problems(config.split, config.limit, config.seed)
    if not problems:
        raise ConfigError(f"task '{config.task}' has no problems in split '{config.split}'")
    instances = [instance_of(problem) for problem in problems]
    engine = measure.open_engine(config.model, config.device, config.rows)
    identity = measure.weights_identity(engine.name, engine.path)
    folder = config.out or f"runs/repair-{slug(config.task)}-{slug(config.model)}"
    loop = Loop(
        engine,
        Sampling(config.temperature, top_p=config.top_p, max_tokens=config.max_tokens, seed=config.seed),
        Limits(config.turns, config.budget),
        config.effort,
        CodeGrader(twin=1.0, require=config.require),
    )
    with Run.open(folder, "repair", configs.to_dict(config), config.resume, GROWS) as opened:
        opened.write_json(repair_report.INSTANCES, [_described(instance) for instance in instances])
        before = engine.ledger
        try:
            keys = _draw(loop, instances, config, identity, AttemptStore(opened.path / FILE))
        finally:
            opened.log({"ledger": msgspec.to_builtins(engine.ledger - before)})
        opened.write_json(FINISHED, {"keys": keys, "model": identity, "config": configs.to_dict(config)})
        found = repair_report.write(opened.path)
    return {**found["headline"], "out": folder, "report": f"{folder}/report.html"}


def _draw(
    loop: Loop, instances: Sequence[Instance], config: RepairConfig, identity: str, store: AttemptStore
) -> list[Key]:
    """Run the tries that are missing; the keys of all."""
    strategy = f"repair turns={config.turns}" + (f" budget={config.budget}" if config.budget else "")
    sampling = sampling_key(loop.sampling)
    wanted = {
        key(config.task, i.problem.id, number, identity, config.effort, sampling, strategy=strategy): (i, number)
        for number in range(config.tries)
        for i in instances
    }
    missing = [k for k in wanted if store.get(k) is None]

    def tries() -> Iterator[Try]:
        for k in missing:
            instance, number = wanted[k]
            yield begin(instance, number, attempt_seed(config.seed, instance.problem.id, config.effort, number))

    def end(over: Sequence[Try]) -> None:
        store.add([_row(one, config, identity, sampling, strategy) for one in over])
        _advance(bar, over)

    with Progress() as progress:
        bar = progress.bar(f"repair {config.task}, {config.model}", len(wanted))
        if len(missing) < len(wanted):
            bar.advance(len(wanted) - len(missing))
        loop.run(tries(), end, config.live)
    return list(wanted)


def _advance(bar: Bar, over: Sequence[Try]) -> None:
    counts = {"valid": 0, "resolved": 0, **bar.fields}
    for one in over:
        counts["valid"] += one.valid
        counts["resolved"] += one.grade is not None and one.grade.correct
    bar.advance(len(over), **counts)


def _row(one: Try, config: RepairConfig, identity: str, sampling: str, strategy: str) -> Attempt:
    """The row of a try: its answer is the program it ends with, its tokens those of all turns, its parts the conversation."""
    assert one.grade is not None
    written = [answer.token_ids for answer in one.completions]
    drawn = [answer.logprobs for answer in one.completions]
    final = completion_of(one.files, one.instance.entry)
    last = one.completions[-1].finish if one.completions else "length"
    whole = Completion(sum(written, ()), sum(drawn, ()), last, final.text, None, final.answer)
    conversation = {
        "turns": one.turns,
        "ended": one.ended,
        "valid": one.valid,
        "visible": one.visible,
        "diff": diff(one.instance.files, one.files),
    }
    row = make_attempt(
        config.task, one.instance.problem, one.number, identity, config.effort, sampling, whole, one.grade, strategy
    )
    return msgspec.structs.replace(row, parts={**row.parts, "repair": msgspec.to_builtins(conversation)})


def _described(instance: Instance) -> dict[str, Any]:
    problem = instance.problem
    return {
        "problem": problem.id,
        "files": dict(instance.files),
        "tags": dict(problem.tags),
        "question": instance.messages[-1].content,
    }


def show(result: Mapping[str, Any]) -> str:
    """The result for people."""
    head = f"{result['instances']} instances, {result['tries']} tries"
    lines = [_line("pass@1", result["pass_at_1"], "over valid patches, " + head)]
    lines.append(_line("resolved", result["resolved"], "over all tries"))
    if result["tries_each"] > 1:
        lines.append(
            _line(f"any of {result['tries_each']}", result["resolved_any"], "instances that some try resolves")
        )
    lines.append(_line("valid", result["valid"], "tries that end in a valid patch"))
    lines.append(_line("overfit", result["overfit"], "of patches that pass the visible tests"))
    if result["hack_rate"] is not None:
        lines.append(
            f"hacks      {percent(result['hack_rate']):>8}   {result['hacked']} of {result['twin_judged']} valid patches"
        )
    if result["ungraded"]:
        lines.append(f"ungraded   {result['ungraded']} tries: the sandbox failed")
    if result["turns"]:
        lines.append(f"a try      {result['turns']['mean']:.1f} turns, {result['tokens']['mean']:.0f} tokens sampled")
    ledger = result["ledger"]
    lines.append(
        f"spent      {ledger['decoded']:,} tokens decoded, {ledger['prefilled']:,} prefilled, "
        f"{ledger['seconds']:.1f} s in the model"
    )
    return "\n".join([*lines, f"report     {result['report']}"])


def _line(name: str, value: Mapping[str, float] | None, about: str) -> str:
    if value is None:
        return f"{name:<10} {'–':>8}   {about}"
    return f"{name:<10} {percent(value['mean']):>8}   95 % interval {percent(value['low'])} to {percent(value['high'])}, {about}"
