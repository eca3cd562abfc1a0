"""`ponder submit`: which of many sampled programs to hand in, from sampling to the report.

A run directory goes through the stages sample, visible tests, inputs, outputs, learned scores, judge, report; each goes on
where it was stopped, and other weights, more samples or fewer submissions cost only what they add. `samples.jsonl` holds
the finished samples for `--stored`. Docs: docs/submit.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ponder import config as configs
from ponder.errors import ConfigError, DataError, RunError
from ponder.evals import measure, submission_problems, submission_report, submission_samples, submission_work
from ponder.evals.attempts import FILE, AttemptStore
from ponder.evals.settings import slug
from ponder.evals.submission_problems import Contest
from ponder.evals.submission_report import Outcome
from ponder.evals.submission_samples import Sample
from ponder.evals.submission_settings import GROWS, SubmitConfig, check
from ponder.evals.submission_work import Desk, Entry
from ponder.files import write_atomic
from ponder.progress import Progress
from ponder.runs import Run
from ponder.sandbox import Sandbox
from ponder.search import submit, submit_files, submit_tune
from ponder.search.options import read_options
from ponder.search.submit import Plan, Program
from ponder.types import Engine, Verifier

__all__ = ["SubmitConfig", "run", "show"]
SAMPLES = "samples.jsonl"


def run(config: SubmitConfig) -> dict[str, Any]:
    """Choose submissions for every problem and score them; returns the report's numbers."""
    check(config)
    if not config.task:
        return _offline(config)
    contests = submission_problems.read(
        config.task, config.split, config.limit, config.seed, read_options(config.task_options), config.cpu_seconds
    )
    files = {name: _programs(getattr(config, name)) for name in ("generator", "validators")}
    answers = submit_files.read_answers(config.stored) if config.stored else []
    engine = measure.open_engine(config.model, config.device, config.rows) if config.model else None
    tester = _tester(config, engine)
    verifier = _verifier(config, engine)
    with (
        Run.open(_folder(config), "submit", configs.to_dict(config), config.resume, GROWS) as opened,
        Sandbox(require=config.require, workers=config.workers) as box,
    ):
        desk = Desk(config, opened.path, box)
        if engine is not None:
            samples = _drawn(contests, config, engine, opened, desk)
        else:
            notes = desk.notes["public"]
            samples = submission_samples.take(contests, answers, config.stored, desk.shown, notes)
            contests = [contest for contest in contests if samples[contest.name]]
        samples = _scored(samples, config, verifier, engine, desk)
        identity = measure.weights_identity(tester.name, tester.path) if tester is not None else ""
        if tester is not None:
            submission_work.ask(contests, desk, tester, identity)
        outcomes = _chosen(contests, samples, config, desk, files, identity)
        _store(opened.path / SAMPLES, outcomes)
        return _report(config, outcomes, opened, box.level)


def _folder(config: SubmitConfig) -> str:
    source = slug(config.model or Path(config.stored).stem)
    task = slug(Path(config.task).stem if config.task else "stored")
    return config.out or f"runs/submit-{task}-{source}"


def _programs(paths: Sequence[str]) -> tuple[str, ...]:
    found: list[str] = []
    for path in paths:
        try:
            found.append(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: the program can not be read ({error})") from None
    return tuple(found)


def _tester(config: SubmitConfig, engine: Engine | None) -> Engine | None:
    if config.tester:
        return measure.open_engine(config.tester, config.device, config.rows)
    return engine if config.tests == "model" else None


def _verifier(config: SubmitConfig, engine: Engine | None) -> Verifier | None:
    if not config.verifier:
        return None
    from ponder import verifiers

    verifier = verifiers.load(config.verifier)
    fits: Any = getattr(verifier, "fits", None)
    if fits is not None and engine is not None:
        fits(engine)
    return verifier


def _drawn(
    contests: Sequence[Contest], config: SubmitConfig, engine: Engine, opened: Run, desk: Desk
) -> dict[str, list[Sample]]:
    store = AttemptStore(opened.path / FILE)
    before = engine.ledger
    identity = measure.weights_identity(engine.name, engine.path)
    try:
        return submission_samples.draw(contests, config, engine, identity, store, desk.shown)
    finally:
        opened.log({"ledger": msgspec.to_builtins(engine.ledger - before)})


def _scored(
    samples: dict[str, list[Sample]], config: SubmitConfig, verifier: Verifier | None, engine: Engine | None, desk: Desk
) -> dict[str, list[Sample]]:
    if verifier is None:
        return samples
    from ponder.evals.searching import verifier_identity

    identity = verifier_identity(config.verifier)
    with Progress() as progress:
        bar = progress.bar(f"score with {config.verifier}", sum(map(len, samples.values())))
        return {
            name: submission_samples.learned(rows, verifier, identity, engine, desk.notes["scores"], bar.advance)
            for name, rows in samples.items()
        }


def _chosen(
    contests: Sequence[Contest],
    samples: Mapping[str, list[Sample]],
    config: SubmitConfig,
    desk: Desk,
    files: Mapping[str, tuple[str, ...]],
    tester: str,
) -> list[Outcome]:
    found: list[Outcome] = []
    with Progress() as progress:
        bar, runs = progress.bar("choose", len(contests)), progress.bar("runs of programs")
        for contest in contests:
            entry = submission_work.prepare(contest, samples[contest.name], desk, files, tester, runs)
            found.append(_judged(contest, entry, config, desk))
            bar.advance(1, problem=contest.name[:24], solved=sum(bool(o.plan.solved) for o in found))
    return found


def _judged(contest: Contest, entry: Entry, config: SubmitConfig, desk: Desk) -> Outcome:
    every = (*entry.programs, *entry.blank)
    truth = submission_work.judged(contest, every, desk) if config.baselines else {}

    def judge(program: Program) -> Mapping[str, float]:
        if program.id not in truth:
            truth.update(submission_work.judged(contest, [program], desk))
        return truth.get(program.id, {})

    plan = _plan(entry, judge, config)
    return Outcome(entry, plan, truth)


def _plan(entry: Entry, judge: submit.Judge, config: SubmitConfig) -> Plan:
    plan = submit.choose(
        entry.subtasks,
        entry.programs,
        judge if config.feedback else None,
        config.weights.plain,
        config.submissions,
        config.seed,
    )
    if not config.feedback:
        for submission in plan.submissions:
            judge(submission.program)
    return plan


def _store(path: Path, outcomes: Sequence[Outcome]) -> None:
    path.unlink(missing_ok=True)
    for one in outcomes:
        entry = one.entry
        submit_files.write(path, (*entry.programs, *entry.blank), one.truth, entry.name, entry.subtasks)


# ---- stored samples, offline


def _offline(config: SubmitConfig) -> dict[str, Any]:
    """Choose among stored samples that carry their outputs; nothing is run."""
    if not submit_files.is_complete(config.stored):
        raise ConfigError(
            f"{config.stored}: these answers have not been run; name their problems too: ponder submit TASK_OR_FILE --stored …"
        )
    if config.verifier:
        raise ConfigError(
            "--verifier scores answers to known problems: name the task too, or store 'learned' in the rows"
        )
    problems = dict(list(submit_files.read_problems(config.stored).items())[: config.limit])
    outcomes: list[Outcome] = []
    for name, stored in problems.items():
        programs = tuple(p for p in stored.programs if p.code.strip())
        blank = tuple(p for p in stored.programs if not p.code.strip())
        entry = Entry(name, stored.subtasks, programs, blank)
        plan = _plan(entry, lambda p, truth=stored.truth: truth.get(p.id, {}), config)
        outcomes.append(Outcome(entry, plan, stored.truth))
    if not outcomes:
        raise DataError(f"{config.stored}: holds no stored programs")
    with Run.open(_folder(config), "submit", configs.to_dict(config), config.resume, GROWS) as opened:
        return _report(config, outcomes, opened, "none")


def _report(config: SubmitConfig, outcomes: Sequence[Outcome], opened: Run, level: str) -> dict[str, Any]:
    tuned = _tuned(config, outcomes)
    return submission_report.write(opened, config, outcomes, level, tuned)


def _tuned(config: SubmitConfig, outcomes: Sequence[Outcome]) -> submit_tune.HeldOut | None:
    """Weights by random search, scored on problems left out."""
    if not config.tune:
        return None
    whole = [o for o in outcomes if all(p.id in o.truth for p in o.entry.programs)]
    solved = [submit_tune.Solved.of(o.entry.subtasks, o.entry.programs, o.truth, config.seed) for o in whole]
    with Progress() as progress:
        bar = progress.bar("weights", config.tune + 1)
        return submit_tune.held_out(
            solved, config.tune, config.submissions, config.weights.plain, config.seed, told=bar.advance
        )


def render(path: Path) -> dict[str, Any]:
    """Write the page of a finished run again from its report.json; RunError where there is none."""
    try:
        found = msgspec.json.decode((path / submission_report.JSON).read_bytes(), type=dict[str, Any])
        write_atomic(path / submission_report.PAGE, submission_report.html(found).encode("utf-8"))
        return {**found, "headline": {"problems": found["problems"], "score": found["score"], "level": found["level"]}}
    except FileNotFoundError:
        raise RunError(f"{path}: these submissions have not finished; run 'ponder submit' again to go on") from None
    except (msgspec.DecodeError, msgspec.ValidationError, KeyError, TypeError) as error:
        where = path / submission_report.JSON
        raise RunError(f"{where}: damaged ({error}); run 'ponder submit' again to write it anew") from None


def show(result: Mapping[str, Any]) -> str:
    """The result for people."""
    return submission_report.show(result)
