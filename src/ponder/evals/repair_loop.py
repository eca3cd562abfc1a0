"""The repair loop: see the program and what fails, edit, run the visible tests, hear what failed, until they pass.

    files = the buggy program
    for turn in 1 .. turns:
        answer = model(conversation)
        edits in it:   all of them made in memory, or none and the reason told
        DONE, or no edits twice in a row: stop
        run the visible tests on the files; all pass after an edit: stop
        tell what failed

Only valid patches (`repair_patch`) are judged: by all tests, hidden and visible, with the strict grader of code. The loop never
sees the hidden tests. All conversations advance together, one engine call and one batch of tests a round.

A draw is decided by the seed of its try and its turn, whatever else runs. Parsing happens in the sandbox: what a model wrote is
not parsed here. What the program printed or returned goes back into the conversation as data, short and in a fence.
Not covered: tools other than edits and tests, summaries of long conversations; a try ends where its context is full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal

from ponder.errors import DataError, WorkError
from ponder.evals.repair_patch import faults
from ponder.graders import edits
from ponder.graders.code import CodeGrader, shared
from ponder.graders.edits import FORMAT, EditError
from ponder.graders.repair import completion_of
from ponder.search.seeds import draw_seed
from ponder.tasks.repairs import TESTS, Instance
from ponder.types import Completion, Effort, Engine, Finish, Grade, Message, Request, Sampling

Ended = Literal["passed", "done", "silent", "turns", "budget", "context", "infra"]
LIVE = 64
SHOWN = 1000


@dataclass(frozen=True, slots=True)
class Limits:
    """What a try may use: turns, and sampled tokens over all of them (None: no limit)."""

    turns: int = 6
    budget: int | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: what the model said (the thinking apart), the edits made by it, what it was told."""

    said: str
    thinking: str | None
    finish: Finish
    tokens: int
    prompt: int
    edits: int
    told: str
    passed: int | None = None
    total: int | None = None


@dataclass(slots=True)
class Try:
    """One attempt at one instance, under way or ended. `visible`: do the visible tests pass, as last run?"""

    instance: Instance
    number: int
    seed: int
    files: Mapping[str, str]
    messages: tuple[Message, ...]
    turns: list[Turn] = field(default_factory=list[Turn])
    completions: list[Completion] = field(default_factory=list[Completion])
    prompts: tuple[int, ...] = ()
    visible: bool | None = None
    valid: bool = False
    fault: str = "the program was not changed"
    ended: Ended | None = None
    grade: Grade | None = None

    @property
    def decoded(self) -> int:
        """Tokens sampled so far."""
        return sum(turn.tokens for turn in self.turns)


@dataclass(frozen=True, slots=True)
class Loop:
    """Runs tries on an engine. `grader` judges what ended; its `level` and `require` hold for the visible tests too."""

    engine: Engine
    sampling: Sampling
    limits: Limits = Limits()
    effort: Effort | None = None
    grader: CodeGrader = field(default_factory=lambda: CodeGrader(twin=1.0))

    def run(self, tries: Iterable[Try], on_end: Callable[[Sequence[Try]], None], live: int = LIVE) -> None:
        """Take every try to its end, `live` at a time; `on_end` gets those that ended in a round, judged.

        Raises DataError when the question of an instance fills the model's context.
        """
        waiting, running = iter(tries), list[Try]()
        while True:
            running += islice(waiting, live - len(running))
            if not running:
                return
            self._round(running)
            over = [one for one in running if one.ended is not None]
            running = [one for one in running if one.ended is None]
            self._judge(over)
            on_end(over)

    # ---- a round

    def _round(self, running: Sequence[Try]) -> None:
        asked = [(one, request) for one in running if (request := self._request(one)) is not None]
        answers = self.engine.generate([request for _, request in asked])
        edited = list[tuple[Try, Completion, int]]()
        for (one, _), answer in zip(asked, answers, strict=True):
            if answer.finish in ("cancelled", "error"):
                raise WorkError(f"instance {one.instance.problem.id}: the engine ended a turn with '{answer.finish}'")
            made = self._hear(one, answer)
            if made:
                edited.append((one, answer, made))
        self._test(edited)
        for one in running:
            if one.ended is None and len(one.turns) >= self.limits.turns:
                one.ended = "turns"

    def _request(self, one: Try) -> Request | None:
        prompt = self.engine.encode(one.messages, self.effort)
        most = min(self.sampling.max_tokens, self.engine.context - len(prompt))
        if most < 1 and not one.turns:
            raise DataError(
                f"instance {one.instance.problem.id}: its question of {len(prompt)} tokens fills the model's context of"
                f" {self.engine.context}; repair needs a model with a longer one"
            )
        if most < 1:
            one.ended = "context"
            return None
        if self.limits.budget is not None:
            most = min(most, self.limits.budget - one.decoded)
            if most < 1:
                one.ended = "budget"
                return None
        place = f"{one.instance.problem.id}/{len(one.turns)}"
        one.prompts = prompt
        sampling = replace(self.sampling, max_tokens=most, seed=draw_seed(one.seed, place, one.number))
        return Request(prompt, sampling, f"{place}/{one.number}", one.instance.problem.id)

    def _hear(self, one: Try, answer: Completion) -> int:
        """Make the edits of an answer; how many were made. Where none was, the turn ends here."""
        text = answer.answer if answer.answer is not None or answer.thinking is not None else answer.text
        if text is None:
            self._tell(one, answer, "Your thinking did not end, so there is no answer. " + FORMAT)
            return 0
        try:
            found = edits.read(text, list(one.files))
            if found:
                one.files = edits.apply(one.files, found)
                return len(found)
        except EditError as error:
            again = "\n\n".join(f"{name} reads:\n{fenced(body, len(body))}" for name, body in one.files.items())
            self._tell(one, answer, f"No edit was made: {error}.\n\n{again}")
            return 0
        if edits.says_done(text):
            one.ended = "done"
        elif one.turns and not one.turns[-1].edits:
            one.ended = "silent"
        self._tell(one, answer, "" if one.ended else "Your answer holds no edit. " + FORMAT)
        return 0

    def _tell(
        self,
        one: Try,
        answer: Completion,
        told: str,
        made: int = 0,
        passed: int | None = None,
        total: int | None = None,
    ) -> None:
        """Close the turn: what was said, and what the next one begins with."""
        said = answer.answer if answer.answer is not None or answer.thinking is not None else answer.text
        turn = Turn(
            said or "",
            answer.thinking,
            answer.finish,
            len(answer.token_ids),
            len(one.prompts),
            made,
            told,
            passed,
            total,
        )
        one.turns.append(turn)
        one.completions.append(answer)
        one.messages = (*one.messages, Message("assistant", (said or "").strip()), Message("user", told))

    # ---- running

    def _test(self, edited: Sequence[tuple[Try, Completion, int]]) -> None:
        """Parse the edited programs and run their visible tests."""
        box = self.grader.sandbox if self.grader.sandbox is not None else shared(self.grader.level, self.grader.require)
        found = faults(box, [(one.instance.files, one.files) for one, _, _ in edited])
        ready = list[tuple[Try, Completion, int]]()
        for (one, answer, made), why in zip(edited, found, strict=True):
            one.valid, one.visible, one.fault = why == "", None, why or ""
            if why is None:
                one.ended, one.fault = "infra", "the sandbox could not parse the patch"
                self._tell(one, answer, "", made)
            elif not one.valid:
                self._tell(one, answer, f"The edit was made, but {why}.", made)
            elif not one.instance.has_visible:
                one.ended = "done"
                self._tell(one, answer, "", made)
            else:
                ready.append((one, answer, made))
        grader = replace(self.grader, tests="visible", partial=True, twin=0.0)
        grades = grader.check_many([_pair(one) for one, _, _ in ready])
        for (one, answer, made), grade in zip(ready, grades, strict=True):
            self._told(one, answer, made, grade)

    def _told(self, one: Try, answer: Completion, made: int, grade: Grade) -> None:
        if grade.score is None:
            one.ended, one.fault = "infra", grade.reason
            self._tell(one, answer, "", made)
            return
        one.visible = grade.correct
        passed, total = grade.parts.get("passed"), grade.parts.get("total")
        if grade.correct:
            one.ended = "passed"
            self._tell(one, answer, "", made, passed, total)
            return
        told = f"The edit was made. {passed} of {total} tests in {TESTS} pass. The first that fails:\n{fenced(grade.reason)}"
        self._tell(one, answer, told, made, passed, total)

    def _judge(self, over: Sequence[Try]) -> None:
        """The verdicts of all tests on valid patches."""
        fit = [one for one in over if one.valid and one.ended != "infra"]
        for one, grade in zip(fit, self.grader.check_many([_pair(one) for one in fit]), strict=True):
            one.grade = grade
        for one in over:
            if one.ended == "infra":
                one.grade = Grade(None, "error", reason=f"not judged: {one.fault}")
            elif not one.valid:
                one.grade = Grade(0.0, "unparsed", reason=f"no valid patch: {one.fault}")


def begin(instance: Instance, number: int, seed: int) -> Try:
    """A try that has not begun."""
    return Try(instance, number, seed, dict(instance.files), instance.messages)


def fenced(text: str, most: int = SHOWN) -> str:
    """Text as data in a fence it can not close: no line of it begins with one as long."""
    shown = text if len(text) <= most else text[:most] + "…"
    shown = "".join(c if c in "\n\t" or c.isprintable() else "?" for c in shown).rstrip("\n")
    fence = "```"
    while fence in shown:
        fence += "`"
    return f"{fence}\n{shown}\n{fence}"


def _pair(one: Try) -> tuple[object, Completion]:
    return one.instance.reference, completion_of(one.files, one.instance.entry)
