"""Monte-Carlo labels: can the answer still be right after this step? Finish the solution from there K times and look.

    soft(prefix) = right / K                 hard(prefix) = 1 if right > 0 else 0

Math-Shepherd (Wang et al. 2024, arXiv 2312.08935; its soft and hard estimation). The label of a step is the estimate of
the prefix that ends with it; the last step of a finished solution is not estimated: it is 1 if the answer is right and 0
if not. What a rollout earned is said by the task's grader on the whole completion, never by looking for the reference in its
text. Rollouts that could not be graded count for nothing; a step all of whose rollouts could not be graded is not labelled.

Cost: each prefix of S steps K times to its end, so about K S L / 2 tokens decoded for a solution of L tokens; its prompt and
its steps are computed once where the engine shares prefixes. Departure: with `witness`, hard labels of a right solution are 1
without a rollout, since the solution itself is one that went through its steps and came out right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ponder.engines.write import assemble, opens
from ponder.errors import ConfigError, PonderError, WorkError
from ponder.graders.memory import grade_all
from ponder.types import Completion, Engine, Finish, Grader, Problem, Request, Sampling

CHUNK = 4096  # requests of one engine call


@dataclass(frozen=True, slots=True)
class Place:
    """A problem with the beginning of a solution, to be finished from there; `drawn` are its log-probabilities."""

    problem: Problem
    prompt_ids: tuple[int, ...]
    written: tuple[int, ...] = ()
    drawn: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Rollout:
    """A whole solution, its beginning included. `correct` is None when it could not be graded."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    correct: bool | None
    finish: Finish = "stop"


@dataclass(frozen=True, slots=True)
class Estimate:
    """How many of the graded rollouts from a place were right."""

    right: int
    graded: int

    @property
    def soft(self) -> float | None:
        """The share that was right."""
        return self.right / self.graded if self.graded else None

    @property
    def hard(self) -> float | None:
        """1 if any was right."""
        return float(self.right > 0) if self.graded else None


def estimate(rollouts: Sequence[Rollout]) -> Estimate:
    """The estimate that rollouts from one place amount to."""
    graded = [r.correct for r in rollouts if r.correct is not None]
    return Estimate(sum(graded), len(graded))


Roll = Callable[[Sequence[Place]], list[list[Rollout]]]
"""What finishes places: a list of rollouts for each."""


class Roller:
    """Finishes places with `engine`, `k` times each, all together; equal places are finished once.

    `sampling` is that of a whole solution: its limits hold from the prompt on. A draw's seed follows from `seed`, the
    problem, what is written, and its number, so neither order nor batch changes it. `decoded` counts what was drawn.
    """

    def __init__(
        self,
        engine: Engine,
        grader: Grader,
        sampling: Sampling | Callable[[Problem], Sampling],
        k: int = 8,
        seed: int = 0,
    ) -> None:
        if k < 1:
            raise ConfigError(f"rollouts = {k}: at least 1")
        self.engine, self.grader, self.k, self.seed = engine, grader, k, seed
        self.sampling: Callable[[Problem], Sampling] = sampling if callable(sampling) else lambda _: sampling
        self.tokenizer: Any = getattr(engine, "tokenizer", None)
        if self.tokenizer is None:
            raise ConfigError(f"engine '{engine.name}' has no tokenizer, so solutions can not be continued from a step")
        self.decoded = 0

    def __call__(self, places: Sequence[Place]) -> list[list[Rollout]]:
        """The rollouts from each place. A place that has ended, or has no room left, is its own only rollout."""
        made: dict[tuple[str, tuple[int, ...]], list[Rollout]] = {}
        waiting: list[tuple[Place, Request]] = []
        ended: list[tuple[Place, Completion]] = []
        for place in places:
            key = (place.problem.id, place.written)
            if key in made:
                continue
            made[key] = []
            finish = self._ended(place)
            if finish is not None:
                ended.append((place, Completion((), (), finish)))
            else:
                waiting += [(place, self._request(place, number)) for number in range(self.k)]

        def keep(finished: Sequence[tuple[Place, Completion]]) -> None:
            for (place, _), rollout in zip(finished, self._rollouts(finished), strict=True):
                made[place.problem.id, place.written].append(rollout)

        keep(ended)
        for start in range(0, len(waiting), CHUNK):
            part = waiting[start : start + CHUNK]
            done = self._generate(part)
            self.decoded += sum(len(completion.token_ids) for completion in done)
            keep([(place, completion) for (place, _), completion in zip(part, done, strict=True)])
        return [made[place.problem.id, place.written] for place in places]

    def _generate(self, part: Sequence[tuple[Place, Request]]) -> list[Completion]:
        try:
            done = self.engine.generate([request for _, request in part])
        except PonderError:
            raise
        except Exception as error:
            raise WorkError(
                f"problem {part[0][0].problem.id}: engine '{self.engine.name}' failed ({type(error).__name__}: {error})"
            ) from error
        if len(done) != len(part):
            raise WorkError(f"engine '{self.engine.name}' returned {len(done)} completions for {len(part)} requests")
        return done

    def _ended(self, place: Place) -> Finish | None:
        if place.written and place.written[-1] in self.tokenizer.stop_ids:
            return "stop"
        whole = self.sampling(place.problem).max_tokens
        room = min(whole - len(place.written), self.engine.context - len(place.prompt_ids) - len(place.written))
        return None if room > 0 else "length"

    def _request(self, place: Place, number: int) -> Request:
        whole, used = self.sampling(place.problem), len(place.written)
        name = f"{self.seed}/{place.problem.id}/{number}/{','.join(map(str, place.written))}"
        digest = hashlib.sha256(name.encode()).digest()
        budget, reserve = whole.think_budget, whole.answer_reserve
        room = whole.max_tokens - used
        if used:
            thought = self._thought(place)
            if thought is None:
                budget, reserve = None, 0  # the thinking is over
            else:
                budget = None if budget is None else max(0, budget - thought)
                reserve = min(reserve, room - 1)
        sampling = replace(
            whole,
            seed=int.from_bytes(digest[:8], "big") >> 1,
            max_tokens=room,
            think_budget=budget,
            answer_reserve=reserve,
        )
        label = f"{place.problem.id}/{digest.hex()[:12]}"
        return Request(place.prompt_ids + place.written, sampling, label, place.problem.id)

    def _thought(self, place: Place) -> int | None:
        """Thinking tokens so far, None outside the thinking."""
        starts = place.written[0] == self.tokenizer.think_open
        if not (starts or opens(self.tokenizer, place.prompt_ids)) or self.tokenizer.think_close in place.written:
            return None
        return len(place.written) - starts

    def _rollouts(self, finished: Sequence[tuple[Place, Completion]]) -> list[Rollout]:
        """The rollouts that what was drawn behind each place completes, graded together."""
        whole = [(place.problem, self._whole(place, rest)) for place, rest in finished]
        return [
            Rollout(done.token_ids, done.logprobs, None if grade.score is None else grade.correct, done.finish)
            for (_, done), grade in zip(whole, grade_all(self.grader, whole), strict=True)
        ]

    def _whole(self, place: Place, rest: Completion) -> Completion:
        """The solution that starts with what is written at `place` and goes on with the tokens of `rest`."""
        return assemble(
            self.tokenizer,
            place.prompt_ids,
            place.written + rest.token_ids,
            place.drawn + rest.logprobs if len(place.drawn) == len(place.written) else (),
            (),
            rest.finish,
            opened=opens(self.tokenizer, place.prompt_ids),
            problem_id=place.problem.id,
        )


@dataclass(frozen=True, slots=True)
class Solved:
    """A whole solution of a problem: where its steps begin and whether its answer is right."""

    problem: Problem
    prompt_ids: tuple[int, ...]
    rollout: Rollout
    starts: tuple[int, ...]

    def prefixes(self) -> list[Place]:
        """The places after each step but the last."""
        whole = self.rollout
        return [
            Place(self.problem, self.prompt_ids, whole.token_ids[:cut], whole.logprobs[:cut]) for cut in self.starts[1:]
        ]


def labels(
    solutions: Sequence[Solved], roll: Roll, soft: bool = False, witness: bool = True
) -> list[list[float | None]]:
    """A label per step of each solution; all prefixes of all solutions are finished in one call."""
    certain = [witness and not soft and s.rollout.correct is True for s in solutions]
    places = [place for s, sure in zip(solutions, certain, strict=True) if not sure for place in s.prefixes()]
    rolled = iter(roll(places) if places else [])
    found: list[list[float | None]] = []
    for solution, sure in zip(solutions, certain, strict=True):
        if sure:
            found.append([1.0] * len(solution.starts))
            continue
        guesses = [estimate(next(rolled)) for _ in solution.starts[1:]]
        correct = solution.rollout.correct
        found.append([*(g.soft if soft else g.hard for g in guesses), None if correct is None else float(correct)])
    return found
