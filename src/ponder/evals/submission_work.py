"""The stages of `ponder submit` after sampling: inputs, outputs, learned scores, hidden verdicts, all resumed from the run.

    replies.jsonl   what the tester wrote              outputs.jsonl   what each program did with each input
    inputs.jsonl    the inputs of every part            scores.jsonl    what the verifier thinks
    public.jsonl    visible tests of stored answers     judged.jsonl    the hidden tests, read by the judge and the report only

What could not be run for the sandbox's own trouble is in none of them, so the same line tries it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from ponder.evals.runner import attempt_seed, fitted
from ponder.evals.submission_problems import Contest, Part
from ponder.evals.submission_samples import CHUNK, Sample, in_fence
from ponder.evals.submission_settings import SubmitConfig
from ponder.evals.submission_store import Notes, Remembered
from ponder.graders.code import CodeGrader
from ponder.progress import Bar, Progress
from ponder.sandbox import Sandbox
from ponder.search import submit_tests
from ponder.search.solve import default_effort
from ponder.search.submit import Program, Subtask, keep
from ponder.search.submit_inputs import Boxed, with_outputs
from ponder.search.submit_tests import Ask, Found, Wanted
from ponder.tasks.programs import FENCED
from ponder.types import DoneEvent, Engine, Message, Request, Sampling, content_hash

ASKED_TOKENS = 2048
ENDING = FENCED.partition("{question}")[2]
NOTES = ("replies", "inputs", "public", "scores", "judged")


@dataclass(frozen=True, slots=True)
class Entry:
    """A contest with all that choosing may know: subtasks with their inputs, programs, how the inputs came about.

    `blank` are the samples without a program, which only the random baseline can draw.
    """

    name: str
    subtasks: tuple[Subtask, ...]
    programs: tuple[Program, ...]
    blank: tuple[Program, ...] = ()
    found: Mapping[str, Found] | None = None


class Desk:
    """The sandbox, the graders and the notes of one run."""

    def __init__(self, config: SubmitConfig, folder: Path, box: Sandbox) -> None:
        self.config, self.box = config, box
        self.notes = {name: Notes(folder / f"{name}.jsonl") for name in NOTES}
        self.outputs = Notes(folder / "outputs.jsonl", merge=True)
        self.judge = self._grader(tests="all", partial=config.partial)
        self.shown = self._grader(tests="visible", partial=True)

    def _grader(self, **options: Any) -> CodeGrader:
        return CodeGrader(require=self.config.require, cpu_seconds=self.config.cpu_seconds, sandbox=self.box, **options)


# ---- asking a model for tests


def ask(contests: Sequence[Contest], desk: Desk, tester: Engine, identity: str) -> None:
    """Have the tester write generators, inputs and validators for every part that has none; replies are kept as they come."""
    notes, wanted = desk.notes["replies"], _questions(contests, desk.config)
    missing = {key: found for key, found in wanted.items() if f"{identity}/{key}" not in notes.known}
    if not missing:
        return
    effort = desk.config.effort or default_effort(tester)
    keys, requests = list(missing), list[Request]()
    for key, (part, kind, number) in missing.items():
        text = submit_tests.prompt(kind, part.problem.text.removesuffix(ENDING), part.form, number)
        prompt = tester.encode((Message("user", text),), effort)
        sampling = Sampling(max_tokens=ASKED_TOKENS, seed=attempt_seed(desk.config.seed, key, effort, number))
        requests.append(Request(prompt, fitted(tester, sampling, part.problem, len(prompt)), key))
    with Progress() as progress:
        bar = progress.bar("tests asked for", len(requests))

        def done(event: DoneEvent) -> None:
            if event.completion.finish != "cancelled":
                said = event.completion
                notes.add({f"{identity}/{keys[event.index]}": said.answer if said.answer is not None else said.text})
                bar.advance(1)

        tester.generate(requests, done)


def _questions(contests: Sequence[Contest], config: SubmitConfig) -> dict[str, tuple[Part, Ask, int]]:
    found: dict[str, tuple[Part, Ask, int]] = {}
    for part in (part for contest in contests for part in contest.parts):
        asks: dict[Ask, int] = {}
        if not part.generators and not config.generator:
            asks |= {"generator": config.generators, "inputs": 1}
        if not part.validators and not config.validators:
            asks |= {"validator": config.checks}
        found |= {
            f"{part.problem.id}/{kind}/{n}": (part, kind, n) for kind, count in asks.items() for n in range(count)
        }
    return found


# ---- inputs, outputs


def prepare(
    contest: Contest, samples: Sequence[Sample], desk: Desk, files: Mapping[str, tuple[str, ...]], tester: str, bar: Bar
) -> Entry:
    """Generate the inputs of every part and run its programs on them, and on those of the parts it includes."""
    programs = [s.program for s in samples if s.program.code]
    blank = tuple(s.program for s in samples if not s.program.code)
    kept = {
        part.subtask.name: keep([p for p in programs if p.subtask == part.subtask.name])[0] for part in contest.parts
    }
    found = {
        part.subtask.name: _inputs(part, kept[part.subtask.name], desk, files, tester, bar) for part in contest.parts
    }
    known: dict[str, Program] = {}
    for part in contest.parts:
        name = part.subtask.name
        own = {one.id: one for n in (name, *part.subtask.includes) for one in found[n].inputs}
        done = with_outputs(_called(part, desk, bar), kept[name], list(own.values()))
        known |= {p.id: p for p in done}
    subtasks = tuple(
        replace(part.subtask, inputs=tuple(one.id for one in found[part.subtask.name].inputs)) for part in contest.parts
    )
    return Entry(contest.name, subtasks, tuple(known.get(p.id, p) for p in programs), blank, found)


def _inputs(
    part: Part, kept: Sequence[Program], desk: Desk, files: Mapping[str, tuple[str, ...]], tester: str, bar: Bar
) -> Found:
    config = desk.config
    mutate = config.tests == "mutate"
    wanted = Wanted(
        config.inputs,
        () if mutate else (*part.generators, *files["generator"]),
        (*part.validators, *files["validators"]),
        share=config.share,
        seed=config.seed,
    )
    if tester and not mutate:
        replies = desk.notes["replies"].known
        asked: dict[str, Ask] = {key: kind for key, (_, kind, _) in _questions([Contest("", (part,))], config).items()}
        got: list[tuple[Ask, str]] = [(kind, str(replies[f"{tester}/{key}"])) for key, kind in asked.items()]
        wanted = submit_tests.from_replies(got, wanted)
    key = f"{part.problem.id}/{content_hash(msgspec.to_builtins(wanted))}"
    notes = desk.notes["inputs"]
    if key not in notes.known:
        if not config.inputs:
            return Found((), "none")
        printed = Boxed(desk.box, whole=True, told=bar.advance)
        made = submit_tests.inputs_for(part.form, wanted, printed, _called(part, desk, bar), [p.code for p in kept])
        notes.add({key: msgspec.to_builtins(made)})
    return msgspec.convert(notes.known[key], Found)


def _called(part: Part, desk: Desk, bar: Bar) -> Remembered:
    limits = part.form.limits
    about = f"{part.problem.id}/{limits.cpu_seconds:g}/{limits.memory_mb}"
    return Remembered(Boxed(desk.box, part.form, told=bar.advance), desk.outputs, about, bar.advance)


# ---- hidden verdicts


def judged(contest: Contest, programs: Sequence[Program], desk: Desk) -> dict[str, dict[str, float]]:
    """By program and subtask, the share its tests give it; a program with any subtask that could not be judged is left out."""
    notes = desk.notes["judged"]
    how = "partial" if desk.config.partial else "whole"
    keys = {(p.code, part.subtask.name): _key(part, p.code, how) for p in programs for part in contest.parts}
    todo = {key: (contest.part(name), code) for (code, name), key in keys.items() if code and key not in notes.known}
    waiting = list(todo)
    for start in range(0, len(waiting), CHUNK):
        part = waiting[start : start + CHUNK]
        grades = desk.judge.check_many([(todo[k][0].problem.reference, in_fence(todo[k][1])) for k in part])
        notes.add({key: grade.score for key, grade in zip(part, grades, strict=True) if grade.score is not None})
    found: dict[str, dict[str, float]] = {}
    for p in programs:
        shares = {part.subtask.name: _share(notes, keys[p.code, part.subtask.name], p) for part in contest.parts}
        known = {name: share for name, share in shares.items() if share is not None}
        if len(known) == len(shares):
            found[p.id] = known
    return found


def _key(part: Part, code: str, how: str) -> str:
    return f"{part.problem.id}/{how}/{content_hash(code)}"


def _share(notes: Notes, key: str, program: Program) -> float | None:
    return notes.known.get(key) if program.code else 0.0
