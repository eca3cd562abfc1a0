"""From problems to graded groups of completions, and from those to training examples.

A group is one problem, asked once per sample at one effort. Groups whose rewards are all alike teach nothing: they are
dropped and replaced by fresh problems for a stated number of rounds (DAPO's dynamic sampling, arXiv 2503.14476, eq. 11, which
refills without end). Grades of None leave their sample out of the group, counted by reason, never as a zero.
Not covered: samplers in other processes, partial rollouts, curricula.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ponder.errors import DataError
from ponder.training import advantages
from ponder.training.examples import POLICY, Example
from ponder.types import EFFORTS, Completion, Effort, Engine, Grade, Problem, Request, Sampling


@dataclass(frozen=True, slots=True)
class Sample:
    """A completion with what each reward part gave it; `reward` None when any part could not be graded."""

    completion: Completion
    grades: Mapping[str, Grade]
    reward: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """The samples of one problem."""

    problem: Problem
    effort: str
    samples: list[Sample]

    @property
    def rewards(self) -> list[float | None]:
        return [s.reward for s in self.samples]


@dataclass(slots=True)
class Rollout:
    """What one step sampled: the groups to learn from, all groups for the metrics, and where the time went."""

    kept: list[Group] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    rounds: int = 0
    cursor: int = 0
    seconds_sampling: float = 0.0
    seconds_grading: float = 0.0


@dataclass(frozen=True, slots=True)
class Ask:
    """One problem to sample: its number in the stream, its effort and how to sample at that effort."""

    number: int
    problem: Problem
    effort: str
    grader: Any
    sampling: Sampling


class Rewards:
    """A weighted sum of named parts: `task` is the task's own grader, other names are graders (with options in a table).

    A part of weight 0 is graded and logged, and pays nothing. Programs graded before are remembered (`graders.memory`).
    """

    def __init__(self, parts: Mapping[str, Any]) -> None:
        from ponder.graders import make
        from ponder.graders.memory import Memory

        self.memory = Memory()
        self.weights: dict[str, float] = {}
        self.graders: dict[str, Any] = {}
        for name, value in parts.items():
            options = dict(value) if isinstance(value, Mapping) else {"weight": value}
            self.weights[name] = float(options.pop("weight", 1.0))
            if name != "task":
                self.graders[name] = make(options.pop("grader", name), **options)

    def __call__(self, grader: Any, problem: Problem, completion: Completion) -> Sample:
        return self.many([(grader, problem, completion)])[0]

    def many(self, asked: Sequence[tuple[Any, Problem, Completion]]) -> list[Sample]:
        """A sample for each (task's grader, problem, completion); what one grader judges goes to it in one call."""
        grades: list[dict[str, Grade]] = [{} for _ in asked]
        for name in self.weights:
            graders = [grader if name == "task" else self.graders[name] for grader, _, _ in asked]
            for grader in {id(g): g for g in graders}.values():
                mine = [i for i, g in enumerate(graders) if g is grader]
                for i, grade in zip(mine, self.memory.grade(grader, [asked[i][1:] for i in mine]), strict=True):
                    grades[i][name] = grade
        return [self._sample(completion, found) for (_, _, completion), found in zip(asked, grades, strict=True)]

    def _sample(self, completion: Completion, grades: Mapping[str, Grade]) -> Sample:
        scores = {
            name: grade.score for name, grade in grades.items() if self.weights[name]
        }  # a part may only be watched
        missing = any(score is None for score in scores.values())
        reward = None if missing else sum(self.weights[n] * float(s) for n, s in scores.items() if s is not None)
        return Sample(completion, grades, reward)


def collect(
    engine: Engine,
    ask: Callable[[int], Ask],
    rewards: Rewards,
    *,
    problems: int,
    group_size: int,
    cursor: int,
    refill_rounds: int,
    seed_of: Callable[[int, int], int],
) -> Rollout:
    """Sample until `problems` groups have something to teach or the refill rounds are used up.

    `ask(n)` is problem n of the stream, taken from `cursor` on; `seed_of(n, g)` seeds its sample g, so what is drawn depends
    neither on the batch nor on the round.
    """
    rollout = Rollout(cursor=cursor)
    while rollout.rounds <= refill_rounds and len(rollout.kept) < problems:
        wanted = problems - len(rollout.kept)
        asks = [ask(n) for n in range(rollout.cursor, rollout.cursor + wanted)]
        rollout.cursor += wanted
        rollout.rounds += 1
        groups = sample(engine, asks, rewards, group_size, seed_of, rollout)
        rollout.groups += groups
        rollout.kept += [g for g in groups if not advantages.uniform(g.rewards)]
    return rollout


def sample(
    engine: Engine,
    asks: Sequence[Ask],
    rewards: Rewards,
    count: int,
    seed_of: Callable[[int, int], int],
    clock: Rollout,
) -> list[Group]:
    """`count` graded completions for each of `asks`, all in one engine call."""
    requests: list[Request] = []
    started = time.monotonic()
    for a in asks:
        prompt = engine.encode(a.problem.messages, as_effort(a.effort))
        if len(prompt) + a.sampling.max_tokens > engine.context:
            raise DataError(
                f"problem {a.problem.id}: its prompt of {len(prompt)} tokens and max_tokens = {a.sampling.max_tokens}"
                f" do not fit the model's context of {engine.context}"
            )
        for g in range(count):
            sampling = a.sampling.with_seed(seed_of(a.number, g))
            requests.append(Request(prompt, sampling, id=f"{a.number}/{g}", problem_id=a.problem.id))
    completions = engine.generate(requests)
    middle = time.monotonic()
    owners = [a for a in asks for _ in range(count)]
    samples = rewards.many([(a.grader, a.problem, c) for a, c in zip(owners, completions, strict=True)])
    groups = [Group(a.problem, a.effort, samples[i * count : (i + 1) * count]) for i, a in enumerate(asks)]
    clock.seconds_sampling += middle - started
    clock.seconds_grading += time.monotonic() - middle
    return groups


def as_effort(effort: str) -> Effort | None:
    """The effort to render, None for the level called "none"."""
    return effort if effort in EFFORTS else None  # type: ignore[return-value]


def to_examples(
    groups: Sequence[Group], estimator: advantages.Estimator, mask_truncated: bool = False
) -> list[Example]:
    """One policy example per graded sample: prompt and forced tokens masked, the advantage on every sampled token."""
    examples: list[Example] = []
    for group in groups:
        for s, advantage in zip(group.samples, advantages.advantages(group.rewards, estimator), strict=True):
            c = s.completion
            if advantage is None or not c.token_ids or (mask_truncated and c.finish == "length"):
                continue
            start = len(c.prompt_ids)
            ids = np.array([*c.prompt_ids, *c.token_ids], dtype=np.int32)
            trainable = np.zeros(len(ids), dtype=bool)
            trainable[start:] = ~np.array(c.forced, dtype=bool) if c.forced else True
            sampler = np.zeros(len(ids), dtype=np.float32)
            sampler[start:] = c.logprobs
            if trainable.any():
                examples.append(Example(ids, trainable, POLICY, advantage=float(advantage), sampler_logprobs=sampler))
    return examples


def statistics(rollout: Rollout, group_size: int) -> dict[str, float]:
    """Numbers of one step's rollout, over all groups sampled, dropped ones included."""
    samples = [s for g in rollout.groups for s in g.samples]
    graded = [s.reward for s in samples if s.reward is not None]
    lengths = [len(s.completion.token_ids) for s in samples]
    n = max(1, len(samples))
    row = {
        "reward": sum(graded) / max(1, len(graded)),
        "length": sum(lengths) / n,
        "truncated_share": sum(s.completion.finish == "length" for s in samples) / n,
        "forced_share": sum(any(s.completion.forced) for s in samples) / n,
        "zero_variance_share": sum(advantages.uniform(g.rewards) for g in rollout.groups) / max(1, len(rollout.groups)),
        "groups": len(rollout.kept),
        "refill_rounds": rollout.rounds - 1,
        "ungraded": len(samples) - len(graded),
        "seconds_sampling": rollout.seconds_sampling,
        "seconds_grading": rollout.seconds_grading,
        "completion_tokens": sum(lengths),
    }
    for name in samples[0].grades if samples else ():
        scores = [s.grades[name].score for s in samples]
        known = [float(x) for x in scores if x is not None]
        row[f"reward_{name}"] = sum(known) / max(1, len(known))
    row |= hacks([s.grades[name] for s in samples for name in s.grades])
    levels = {g.effort for g in rollout.groups}
    for effort in sorted(levels) if len(levels) > 1 else ():
        mine = [s for g in rollout.groups if g.effort == effort for s in g.samples]
        known = [s.reward for s in mine if s.reward is not None]
        row[f"reward_{effort}"] = sum(known) / max(1, len(known))
        row[f"length_{effort}"] = sum(len(s.completion.token_ids) for s in mine) / len(mine)
    return row


def hacks(grades: Sequence[Grade]) -> dict[str, float]:
    """hack_rate, and over how many grades (`hack_decided`), where a permissive twin ran; nothing where none did."""
    from ponder.graders.permissive import hack_rate

    found = hack_rate(grades)
    return {} if found.rate is None else {"hack_rate": found.rate, "hack_decided": found.decided}


def reasons(rollout: Rollout) -> dict[str, int]:
    """Why samples could not be graded, by count."""
    grades = [g for group in rollout.groups for s in group.samples for g in s.grades.values()]
    return dict(Counter(g.reason or g.outcome for g in grades if g.score is None))


def rows(rollout: Rollout, step: int, limit: int) -> list[dict[str, Any]]:
    """A few samples of a step for reading: the first of each of the first groups."""
    return [
        {
            "step": step, "problem": g.problem.text, "effort": g.effort, "text": s.completion.text, "reward": s.reward,
            "outcome": {name: grade.outcome for name, grade in s.grades.items()}, "finish": s.completion.finish,
            "tokens": len(s.completion.token_ids), "group_rewards": g.rewards,
        }
        for g in rollout.groups[:limit]
        for s in g.samples[:1]
    ]  # fmt: skip
