"""One batch of problems: draw solutions, cut them into steps, label the steps in the way that was asked for.

Everything random follows from the seed and the problem, so batches can be of any size and in any order. A solution drawn
twice is kept once; one without text is passed over; an engine that returns no token at all is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ponder.errors import ConfigError, WorkError
from ponder.text.steps import cut, step_ids
from ponder.types import Effort, Engine, Ledger, Problem, Sampling, Split
from ponder.verifiers.judge import Judge
from ponder.verifiers.labels import bisect, consensus, exact, judged, rollout
from ponder.verifiers.labels.book import Counts
from ponder.verifiers.labels.rollout import Place, Roller, Rollout, Solved
from ponder.verifiers.labels.steps import segment
from ponder.verifiers.samples import LabelKind, LabelledSample

How = Literal["exact", "rollout", "bisect", "judge", "consensus"]
HOWS: tuple[How, ...] = ("exact", "rollout", "bisect", "judge", "consensus")
Labels = list[float | None]


@dataclass(slots=True)
class Work:
    """How to label. `sampling` gives a problem's limits from its prompt's length; `kind` None is what `how` gives by itself.

    `meaning` False cuts steps where a search cuts them (blank lines), True where the text has them. `split` is where the
    problems come from; None is what their hashes say.
    """

    engine: Engine
    task: Any
    how: How
    sampling: Callable[[int], Sampling]
    samples: int = 8
    rollouts: int = 8
    searches: int = 8
    soft: bool = False
    kind: LabelKind | None = None
    judge: Judge | None = None
    effort: Effort | None = None
    seed: int = 0
    meaning: bool = True
    split: Split | None = None
    counts: Counts = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        if self.how == "exact" and not hasattr(self.task, "steps"):
            raise ConfigError(f"task '{self.task.name}' knows no exact labels; label it by rollout, bisect or a judge")
        if self.how in ("judge", "consensus") and self.judge is None:
            raise ConfigError(f"labels by {self.how} need a judge: give --judge MODEL")
        own = self.own_kind()
        if self.kind not in (None, own) and self.how != "exact":
            raise ConfigError(f"labels by {self.how} are of kind '{own}'; only exact labels can be of either kind")

    def own_kind(self) -> LabelKind:
        """What the labels mean."""
        if self.how == "exact":
            return self.kind or "correctness"
        return "value" if self.how in ("rollout", "bisect") else "correctness"

    @property
    def ledger(self) -> Ledger:
        """Everything spent so far; a judge's tokens stand under `verified`."""
        if self.judge is None:
            return self.engine.ledger
        own = self.judge.raw if self.judge.engine is self.engine else Ledger()  # its engine counted these as its own
        return self.engine.ledger - own + self.judge.ledger

    def source(self) -> str:
        """Who labelled, in a few words."""
        rolled = f"{'soft' if self.soft else 'hard'} {self.rollouts}"
        judge = self.judge.name.removeprefix("judge:") if self.judge is not None else ""
        names = {"exact": "exact", "judge": f"judge {judge}", "consensus": f"consensus {rolled} {judge}"}
        return names.get(self.how, f"{self.how}-{rolled}")

    def label(self, problems: Sequence[Problem]) -> list[LabelledSample]:
        """The labelled samples of `problems`; `counts` grows by what was met."""
        prompts = {p.id: self.engine.encode(p.messages, self.effort) for p in problems}
        draw = self._roller(prompts, self.samples)
        drawn = draw([Place(p, prompts[p.id]) for p in problems])
        solved = [
            Solved(p, prompts[p.id], r, self._cut(r.token_ids))
            for p, mine in zip(problems, drawn, strict=True)
            for r in self._kept(p, mine)
        ]
        if self.how == "bisect":
            made = self._bisect(problems, prompts, solved)
        else:
            made = list(zip(solved, self._labels(solved, prompts), strict=True))
        rows = [self._row(s, labels) for s, labels in made]
        self._count(problems, rows)
        return rows

    def _roller(self, prompts: dict[str, tuple[int, ...]], k: int) -> Roller:
        return Roller(self.engine, self.task.grader, lambda p: self.sampling(len(prompts[p.id])), k, self.seed)

    def _cut(self, token_ids: Sequence[int]) -> tuple[int, ...]:
        if self.meaning:
            return segment(self._tokenizer, token_ids)
        return cut(token_ids, step_ids(self._tokenizer))

    @property
    def _tokenizer(self) -> Any:
        return getattr(self.engine, "tokenizer", None)

    def _kept(self, problem: Problem, drawn: Sequence[Rollout]) -> list[Rollout]:
        """Those with text, each once."""
        kept: dict[tuple[int, ...], Rollout] = {}
        for r in drawn:
            if not r.token_ids:
                raise WorkError(f"problem {problem.id}: engine '{self.engine.name}' returned an empty completion")
            if not self._tokenizer.decode(r.token_ids, specials=False).strip():
                self._add("empty", 1)
            elif r.token_ids in kept:
                self._add("repeats", 1)
            else:
                kept[r.token_ids] = r
        return list(kept.values())

    def _labels(self, solved: Sequence[Solved], prompts: dict[str, tuple[int, ...]]) -> list[Labels]:
        if self.how == "exact":
            stepper, answers, kind = self.task.steps, getattr(self.task, "answer_steps", None), self.own_kind()
            return [exact.labels(stepper, s.problem, self.texts(s), _answered(s), kind, answers) for s in solved]
        judged_labels = self._judged(solved) if self.how in ("judge", "consensus") else []
        if self.how == "judge":
            return judged_labels
        roll = self._roller(prompts, self.rollouts)
        rolled = rollout.labels(solved, roll, self.soft)
        if self.how == "rollout":
            return rolled
        for a, b in zip(rolled, judged_labels, strict=True):
            same, both = consensus.agreement(a, b)
            self._add("agreed", same)
            self._add("compared", both)
        return [consensus.labels(a, b) for a, b in zip(rolled, judged_labels, strict=True)]

    def _judged(self, solved: Sequence[Solved]) -> list[Labels]:
        assert self.judge is not None
        attempts = [
            judged.Attempt(s.problem.messages, tuple(self.texts(s)), _answered(s), s.problem.id) for s in solved
        ]
        return judged.labels(attempts, self.judge)

    def _bisect(
        self, problems: Sequence[Problem], prompts: dict[str, tuple[int, ...]], solved: Sequence[Solved]
    ) -> list[tuple[Solved, Labels]]:
        """Right solutions as they are, and every wrong one that was searched."""
        settings = bisect.Bisect(searches=self.searches)
        mine = {p.id: [s for s in solved if s.problem.id == p.id] for p in problems}
        searches = [
            bisect.search(Place(p, prompts[p.id]), self._cut, settings, [s.rollout for s in mine[p.id]])
            for p in problems
            if mine[p.id]
        ]
        trees = iter(bisect.drive(searches, self._roller(prompts, self.rollouts)))
        made: list[tuple[Solved, Labels]] = []
        for p in problems:
            if not mine[p.id]:
                continue
            tree = next(trees)
            self._add("searches", len(tree.found))
            right = [s for s in mine[p.id] if s.rollout.correct is True and not self.soft]
            made.extend((s, [1.0 for _ in s.starts]) for s in right)
            for found in tree.found:
                whole = Solved(p, prompts[p.id], found.rollout, found.starts)
                made.append((whole, bisect.labels(found, tree, self.soft)))
        return made

    def texts(self, solved: Solved) -> list[str]:
        """The text of each step, think tags spelled out, the end token not."""
        ids = solved.rollout.token_ids
        stop = set(self._tokenizer.stop_ids)
        if ids and ids[-1] in stop:
            ids = ids[:-1]
        lengths = [len(self._tokenizer.decode(ids[:start])) for start in solved.starts]
        whole = self._tokenizer.decode(ids)
        return [whole[a:b] for a, b in zip(lengths, [*lengths[1:], len(whole)], strict=True)]

    def _row(self, solved: Solved, labels: Labels) -> LabelledSample:
        r = solved.rollout
        return LabelledSample(
            problem=solved.problem.id,
            messages=solved.problem.messages,
            task=self.task.name,
            effort=self.effort,
            prompt_ids=solved.prompt_ids,
            token_ids=r.token_ids,
            logprobs=r.logprobs,
            starts=solved.starts,
            labels=tuple(labels),
            kind=self.own_kind(),
            correct=r.correct,
            finished=r.finish == "stop",
            source=self.source(),
            model=self.engine.name,
            split=self.split or solved.problem.split,
        )

    def _count(self, problems: Sequence[Problem], rows: Sequence[LabelledSample]) -> None:
        self._add("problems", len(problems))
        for name, value in tally(rows).items():
            self._add(name, value)

    def _add(self, name: str, value: float) -> None:
        self.counts[name] = self.counts.get(name, 0) + value


def _answered(solved: Solved) -> bool | None:
    """Whether the answer is right; None for a solution that was cut off or could not be graded."""
    return solved.rollout.correct if solved.rollout.finish == "stop" else None


def tally(rows: Sequence[LabelledSample]) -> Counts:
    """Counts of samples, steps, and labels; `positive` are the labels' sum, so soft labels count by their share."""
    labels = [label for row in rows for label in row.labels]
    known = [label for label in labels if label is not None]
    return {
        "samples": len(rows),
        "correct": sum(row.correct is True for row in rows),
        "steps": len(labels),
        "labelled": len(known),
        "positive": sum(known),
    }
