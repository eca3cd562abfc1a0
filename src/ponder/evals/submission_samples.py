"""The samples that submissions are chosen from: drawn with an engine into the attempt store, or read from a file.

Each becomes a program with the verdicts of the visible tests; the store's attempts are graded by these alone, so that no hidden
verdict lies where choosing could read it. A sample without a program stays in the count (random choice may draw it) and is never
submitted. Learned scores come from any verifier; one that reads token ids needs samples that were drawn here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ponder.errors import ConfigError, DataError
from ponder.evals.attempts import Attempt, AttemptStore
from ponder.evals.runner import Plan, evaluate
from ponder.evals.submission_problems import Contest, Part
from ponder.evals.submission_settings import SubmitConfig
from ponder.evals.submission_store import Notes
from ponder.graders.code import CodeGrader
from ponder.graders.programs import program_of
from ponder.progress import Progress
from ponder.search.solve import default_effort
from ponder.search.submit import Program
from ponder.search.submit_files import Answer
from ponder.text.steps import cut, step_ids
from ponder.types import Completion, Engine, Grade, Problem, Sampling, Trace, Verifier, content_hash

CHUNK = 64


@dataclass(frozen=True, slots=True)
class Sample:
    """An answer as a program of a part (`program.code` "" where it holds none), and what it was drawn as, if it was."""

    program: Program
    part: Part
    text: str
    attempt: Attempt | None = None


@dataclass(slots=True)
class Shown:
    """A grader that knows visible tests only; equal programs are run once."""

    grader: CodeGrader
    known: dict[tuple[str, str | None], Grade] = field(default_factory=dict[tuple[str, "str | None"], Grade])

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        name = (problem.id, program_of(completion))
        if name not in self.known or self.known[name].score is None:
            self.known[name] = self.grader.check(problem.reference, completion)
        return self.known[name]


@dataclass(frozen=True, slots=True)
class Sampled:
    """The part of a task that sampling needs."""

    name: str
    grader: Shown


def verdicts(grade: Grade, form_shows: bool) -> tuple[bool | None, ...]:
    """What a grade of the visible tests says of each, in no particular order; () where the question shows none."""
    if grade.outcome == "unparsed":
        return (False,)
    if not form_shows:
        return ()
    if grade.score is None:
        return (None,)
    passed, total = int(grade.parts.get("passed", 0)), int(grade.parts.get("total", 0))
    return (True,) * passed + (False,) * (total - passed)


def shows(part: Part) -> bool:
    """Does the question of a part show tests?"""
    return bool(part.problem.reference.get("visible"))


def draw(
    contests: Sequence[Contest],
    config: SubmitConfig,
    engine: Engine,
    model: str,
    store: AttemptStore,
    grader: CodeGrader,
) -> dict[str, list[Sample]]:
    """By contest, the samples of every part; those in the store are not drawn again."""
    effort = config.effort or default_effort(engine)
    problems = tuple(part.problem for contest in contests for part in contest.parts)
    sampling = Sampling(
        temperature=config.temperature, top_p=config.top_p, max_tokens=config.max_tokens, seed=config.seed
    )
    plan = Plan(problems, config.samples, (effort,), sampling)
    task: Any = Sampled(f"{problems[0].task}, visible tests", Shown(grader))
    with Progress() as progress:
        bar = progress.bar(f"sample {config.model}", plan.total)
        rows = evaluate(engine, task, plan, store, model=model, bar=bar).rows
    found: dict[str, list[Sample]] = {contest.name: [] for contest in contests}
    parts = [(contest, part) for contest in contests for part in contest.parts]
    for i, row in enumerate(rows):
        contest, part = parts[i // config.samples]
        code = program_of(row.completion())
        public = verdicts(Grade(row.score, row.outcome, row.parts), shows(part))
        name = f"{contest.name}/{part.subtask.name}/{row.attempt}"
        program = Program(name, part.subtask.name, code or "", public if code else (False,))
        found[contest.name].append(Sample(program, part, row.completion_text, row))
    return found


def take(
    contests: Sequence[Contest], answers: Sequence[Answer], path: str, grader: CodeGrader, notes: Notes
) -> dict[str, list[Sample]]:
    """By contest, the stored answers with the verdicts of the visible tests; DataError for an answer to no problem."""
    found: dict[str, list[Sample]] = {contest.name: [] for contest in contests}
    names = {name: contest for contest in contests for name in _names(contest)}
    for answer in answers:
        contest = names.get(answer.problem)
        if contest is None:
            continue
        part = _part(contest, answer, path)
        number = len(found[contest.name])
        name = f"{contest.name}/{part.subtask.name}/{number}"
        program = Program(name, part.subtask.name, answer.code or "", learned=answer.learned)
        found[contest.name].append(Sample(program, part, answer.text))
    if not any(found.values()):
        there = ", ".join(list(names)[:3])
        first = f"its first is to '{answers[0].problem}'" if answers else "it holds none"
        raise DataError(f"{path}: no answer is to one of these problems ({there}, …); {first}")
    _run_visible([s for samples in found.values() for s in samples], grader, notes)
    return {
        name: [replace(s, program=replace(s.program, public=_public(s, notes))) for s in samples]
        for name, samples in found.items()
    }


def _names(contest: Contest) -> list[str]:
    return [contest.name, *(part.problem.id for part in contest.parts)]


def _part(contest: Contest, answer: Answer, path: str) -> Part:
    if not answer.subtask and len(contest.parts) == 1:
        return contest.parts[0]
    for part in contest.parts:
        if part.subtask.name == answer.subtask:
            return part
    known = ", ".join(part.subtask.name for part in contest.parts)
    raise DataError(f"{path}: an answer to '{contest.name}' names subtask '{answer.subtask}'; there are {known}")


def _key(sample: Sample) -> str:
    return f"{sample.part.problem.id}/{content_hash(sample.program.code)}"


def _public(sample: Sample, notes: Notes) -> tuple[bool | None, ...]:
    if not sample.program.code:
        return (False,)
    return tuple(notes.known.get(_key(sample), (None,))) if shows(sample.part) else ()


def _run_visible(samples: Sequence[Sample], grader: CodeGrader, notes: Notes) -> None:
    todo = {_key(s): s for s in samples if s.program.code and shows(s.part) and _key(s) not in notes.known}
    if not todo:
        return
    with Progress() as progress:
        bar = progress.bar("visible tests", len(todo))
        keys = list(todo)
        for start in range(0, len(keys), CHUNK):
            part = keys[start : start + CHUNK]
            grades = grader.check_many([(todo[k].part.problem.reference, in_fence(todo[k].program.code)) for k in part])
            notes.add({k: verdicts(g, True) for k, g in zip(part, grades, strict=True) if g.score is not None})
            bar.advance(len(part))


def in_fence(code: str) -> str:
    """A program as an answer."""
    return f"```python\n{code}\n```"


# ---- learned scores


def learned(
    samples: Sequence[Sample],
    verifier: Verifier,
    identity: str,
    engine: Engine | None,
    notes: Notes,
    told: Callable[[int], None],
) -> list[Sample]:
    """The samples with the verifier's score of each; equal texts of a problem are scored once."""
    reads_tokens = getattr(verifier, "reads", "text") == "tokens"
    if reads_tokens and (engine is None or any(s.attempt is None for s in samples)):
        raise ConfigError(
            f"verifier '{identity}' reads token ids, and stored samples have none; "
            "sample with --model, or take one that reads text"
        )
    names = [f"{identity}/{s.part.problem.id}/{content_hash(s.text)}" for s in samples]
    todo = {name: s for name, s in zip(names, samples, strict=True) if name not in notes.known}
    keys = list(todo)
    told(len(samples) - len(keys))
    for start in range(0, len(keys), CHUNK):
        part = keys[start : start + CHUNK]
        scores = verifier.score(traces([todo[k] for k in part], engine, reads_tokens))
        notes.add(dict(zip(part, scores, strict=True)))
        told(len(part))
    return [
        replace(s, program=replace(s.program, learned=notes.known[name]))
        for name, s in zip(names, samples, strict=True)
    ]


def traces(samples: Sequence[Sample], engine: Engine | None, with_logprobs: bool) -> list[Trace]:
    """What a verifier sees of samples; log-probabilities are computed again, at temperature 1, where it reads tokens."""
    prompts: dict[str, tuple[int, ...]] = {}
    ids: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    for s in samples:
        key = s.part.problem.id
        if engine is not None and s.attempt is not None and key not in prompts:
            prompts[key] = engine.encode(s.part.problem.messages, s.attempt.effort)
        ids.append((prompts.get(key, ()), s.attempt.tokens if s.attempt is not None else ()))
    rows: list[list[float]] = [[] for _ in ids]
    if engine is not None and with_logprobs:
        rows = engine.logprobs([p + t for p, t in ids])
    tokenizer: Any = getattr(engine, "tokenizer", None)
    ends = step_ids(tokenizer) if tokenizer is not None else ()
    return [
        Trace(
            messages=s.part.problem.messages,
            prompt_ids=prompt,
            token_ids=tokens,
            logprobs=tuple(row[len(prompt) :]),
            starts=cut(tokens, ends),
            text=s.text,
            thinking=None if s.attempt is None else s.attempt.thinking,
            answer=s.text if s.attempt is None else s.attempt.answer,
            finished=True,
            problem_id=s.part.problem.id,
        )
        for s, (prompt, tokens), row in zip(samples, ids, rows, strict=True)
    ]
