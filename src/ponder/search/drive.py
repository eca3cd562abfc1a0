"""The driver: runs what the strategies of many problems ask for, together, and keeps every budget.

Each round collects what all live searches ask for, draws all continuations in one engine call and scores all nodes in one
verifier call, so a beam over one problem and beams over a hundred keep the engine equally busy. The engine shares prefixes
by itself; nothing here copies a cache. A search ends when its strategy does or when its budget can not pay for what it asks;
then the answer is selected from the tree it has.

A child's draw is decided by the seed, the problem, and the child's place in the tree: neither the batch nor the order of
arrival changes it. Not covered: continuing one search while another's long expansion still runs (a round waits for all).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ponder.errors import ConfigError, PonderError, WorkError
from ponder.search.asks import Ask, Expand, Feedback, Score, Turn, Withdraw, Write, drawing
from ponder.search.job import Job
from ponder.search.reading import Reader
from ponder.search.solution import Solution
from ponder.search.tree import Node
from ponder.types import Completion, DoneEvent, Engine, Event, Ledger, Message, Request, Verifier

LIVE = 64  # searches kept going at once


@dataclass(slots=True)
class Draw:
    """One continuation to draw: `number` is the child it will be, `children` the list of the reply it goes into."""

    job: Job
    ask: Expand
    node: Node
    number: int
    children: list[Node]
    most: int  # tokens it may take
    capped: bool = False  # by the budget or the ask: the branch can go on


@dataclass(slots=True)
class Round:
    """What one round has to do, by kind; replies are filled in place."""

    draws: list[Draw] = field(default_factory=list[Draw])
    scores: list[tuple[Job, Score, list[float | None]]] = field(default_factory=list[Any])


class Driver:
    """Searches over one engine and at most one verifier. `overhead` is the time spent outside both."""

    def __init__(
        self, engine: Engine, verifier: Verifier | None = None, on_event: Callable[[Event], None] | None = None
    ) -> None:
        self.engine, self.on_event = engine, on_event
        self.engine_seconds = self.seconds = 0.0
        self._reader = Reader(verifier)

    @property
    def verifier_seconds(self) -> float:
        """Seconds the verifier took."""
        return self._reader.seconds

    @property
    def overhead(self) -> float:
        """Seconds of `run` that neither the engine nor the verifier took."""
        return self.seconds - self.engine_seconds - self.verifier_seconds

    def run(
        self,
        jobs: Iterable[Job],
        on_solution: Callable[[int, Solution], None] | None = None,
        live: int = LIVE,
        keep: bool = True,
    ) -> list[Solution]:
        """Search every job to its end, `live` at a time; solutions in the jobs' order, `on_solution` as each ends.

        `keep` False returns none of them, so that many trees need not stand in memory at once.
        Raises WorkError naming problem and step when the engine or the verifier fails; what had ended before has been
        handed to `on_solution`.
        """
        began = time.perf_counter()
        waiting = enumerate(jobs)
        solutions: dict[int, Solution] = {}
        running: dict[int, Job] = {}
        try:
            while True:
                _admit(running, waiting, live)
                if not running:
                    break
                self._round(_turn([job for job in running.values() if job.live]))
                for number, job in [(n, j) for n, j in running.items() if not j.live]:
                    del running[number]
                    solution = job.solution()
                    if keep:
                        solutions[number] = solution
                    if on_solution is not None:
                        on_solution(number, solution)
        finally:
            for job in running.values():
                job.close()
            self.seconds += time.perf_counter() - began
        return [solutions[number] for number in sorted(solutions)]

    def _round(self, jobs: Sequence[Job]) -> None:
        todo = Round()
        replies = [self._begin(job, job.asked, todo) for job in jobs]
        self._draw([draw for draw in todo.draws if draw.job.live])
        self._reader.score([part for part in todo.scores if part[0].live])
        for job, reply in zip(jobs, replies, strict=True):
            if job.live:
                job.send(reply)

    def _begin(self, job: Job, ask: Ask | None, todo: Round) -> Any:
        """Put an ask into the round; the reply object, still to be filled where it has to wait."""
        if not job.live:
            return []  # its budget ended at an earlier part of the same ask
        if isinstance(ask, tuple):
            return [self._begin(job, part, todo) for part in ask]
        if not isinstance(ask, Expand | Score | Write | Turn | Feedback | Withdraw):
            raise WorkError(f"{job.where()}: strategy '{job.name}' asked for {ask!r}, which is no request")
        job.check_owned(ask.nodes)
        if isinstance(ask, Expand):
            return [self._plan(job, ask, node, todo) for node in ask.nodes]
        if isinstance(ask, Score):
            reply: list[float | None] = []
            todo.scores.append((job, ask, reply))
            return reply
        if isinstance(ask, Withdraw):
            return job.tree.withdrawn.update(node.index for node in ask.nodes)
        if isinstance(ask, Write):
            return [job.write(node, ask.text, ask.drop) for node in ask.nodes if job.live]
        if isinstance(ask, Turn):
            return [self._turn(job, node, ask.text) for node in ask.nodes if job.live]
        return self._reader.feedback(job, ask)

    # ---- drawing

    def _plan(self, job: Job, ask: Expand, node: Node, todo: Round) -> list[Node]:
        if node.done:
            raise WorkError(f"{job.where(node)}: strategy '{job.name}' expands a branch that has ended")
        if ask.n < 1:
            raise ConfigError(f"{job.where(node)}: strategy '{job.name}' asks for {ask.n} continuations; at least 1")
        children: list[Node] = []
        most = job.room(node) if not isinstance(ask.until, int) else min(ask.until, job.room(node))
        first = job.reserve(node, ask.n)
        paused = ask.most is not None and ask.most < most
        most = ask.most if ask.most is not None and paused else most
        todo.draws += [Draw(job, ask, node, first + k, children, most, paused) for k in range(ask.n if most > 0 else 0)]
        return children

    def _draw(self, wanted: list[Draw]) -> None:
        """Draw in waves: nobody begins what its budget may not be able to end, unless nothing else is left."""
        while wanted:
            wave, wanted = _affordable(wanted)
            if not wave:
                return
            for draw, completion in zip(wave, self._generate(wave), strict=True):
                self._attach(draw, completion)

    def _generate(self, wave: Sequence[Draw]) -> list[Completion]:
        requests = [self._request(draw) for draw in wave]
        began = time.perf_counter()
        try:
            if self.on_event is None and all(draw.job.purse.deadline is None for draw in wave):
                done = self.engine.generate(requests)
            else:
                done = self._stream(wave, requests)
        except PonderError as error:
            raise type(error)(f"{wave[0].job.where(wave[0].node)}: {error}") from error
        except Exception as error:
            where = wave[0].job.where(wave[0].node)
            raise WorkError(
                f"{where}: engine '{self.engine.name}' failed ({type(error).__name__}: {error}); "
                "solutions finished before are kept"
            ) from error
        finally:
            seconds = time.perf_counter() - began
            self.engine_seconds += seconds
            for job in {id(draw.job): draw.job for draw in wave}.values():
                job.purse.spend(Ledger(seconds=seconds))
        if len(done) != len(wave):
            raise WorkError(f"engine '{self.engine.name}' returned {len(done)} completions for {len(wave)} requests")
        return done

    def _request(self, draw: Draw) -> Request:
        job, node = draw.job, draw.node
        prompt = node.prompt_ids + node.written if node.written else node.prompt_ids
        sampling = job.sampling_at(draw.ask, node, draw.number, draw.most)
        return Request(prompt, sampling, job.name_of(node, draw.number), job.problem.id)

    def _stream(self, wave: Sequence[Draw], requests: Sequence[Request]) -> list[Completion]:
        """As `generate`, with events passed on and requests cancelled when their job's time is up."""
        done: dict[int, Completion] = {}
        clocks = ((draw.job.purse.deadline, request.id) for draw, request in zip(wave, requests, strict=True))
        due = sorted(((at, name) for at, name in clocks if at is not None), reverse=True)  # the next one last
        for event in self.engine.stream(requests):
            if self.on_event is not None:
                self.on_event(event)
            if isinstance(event, DoneEvent):
                done[event.index] = event.completion
            while due and time.perf_counter() >= due[-1][0]:
                self.engine.cancel(due.pop()[1])
        return [done[index] for index in range(len(requests)) if index in done]

    def _attach(self, draw: Draw, completion: Completion) -> None:
        job, node = draw.job, draw.node
        if not completion.token_ids:
            if completion.finish == "cancelled":
                return
            raise WorkError(f"{job.where(node)}: engine '{self.engine.name}' returned an empty completion")
        draw.children.append(job.child(node, completion, draw.ask.until, draw.capped))

    def _turn(self, job: Job, node: Node, text: str) -> Node | None:
        """The conversation with this branch's answer and the user's next message, ready for the model; None without room."""
        said = job.completion(node)
        shown = said.answer if said.answer is not None else said.text
        messages = (*job.problem.messages, Message("assistant", shown.strip()), Message("user", text))
        prompt = self.engine.encode(messages, job.effort)
        return job.turn(node, prompt) if len(prompt) < self.engine.context else None


def _admit(running: dict[int, Job], waiting: Iterator[tuple[int, Job]], live: int) -> None:
    while len(running) < live:
        found = next(waiting, None)
        if found is None:
            return
        number, job = found
        running[number] = job
        job.start()


def _turn(jobs: list[Job]) -> list[Job]:
    """Whose turn it is: those that want to draw wait until no other wants anything else, so that their draws stay one batch."""
    return [job for job in jobs if job.asked is not None and not drawing(job.asked)] or jobs


def _affordable(wanted: list[Draw]) -> tuple[list[Draw], list[Draw]]:
    """What can be drawn now, and what has to wait until it is known what that took; draws nobody can pay for vanish."""
    wave: list[Draw] = []
    later: list[Draw] = []
    planned: dict[int, Ledger] = {}
    for draw in wanted:
        job, node = draw.job, draw.node
        if job.budget is None:
            wave.append(draw)
            continue
        before = planned.get(id(job))
        stem = len(node.prompt_ids) + len(node.written)
        room = job.purse.most(stem + draw.most, before or Ledger())
        if before is None and 1 <= room < draw.most:
            draw.most, draw.capped = int(room), True
        if draw.most <= room:
            planned[id(job)] = (before or Ledger()) + job.purse.priced(Ledger(decoded=draw.most), draw.most, stem)
            wave.append(draw)
        elif before is not None:
            later.append(draw)
        else:
            job.exhaust()
    return wave, later
