"""A world of single-letter steps, so that a whole search tree can be written down and worked by hand.

A branch is a word: letters are steps of thinking, a digit at the end is the answer. `steps[word]` lists what may follow, one for
each draw in turn. "ab7" stands for the completion "<think>a;b;</think>7".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ponder.engines import ScriptedEngine
from ponder.engines.scripted import MARK
from ponder.search import Driver, Solution, make_job
from ponder.search.tree import Tree
from ponder.tasks import translate
from ponder.types import Ledger, Problem, Request, Semantics, Trace


def readable(text: str) -> Problem:
    problem = translate(text)
    assert problem is not None
    return problem


HARD = readable("(3+4)*5-6")


def written(word: str) -> str:
    """The completion that a word stands for."""
    parts = ["<think>"] if word else []
    parts += [f"</think>{c}" if c.isdigit() else f"{c};" for c in word]
    return "".join(parts)


def word_of(text: str) -> str:
    """The word that a completion stands for."""
    for mark in ("<think>", "</think>", ";", "<|end|>"):
        text = text.replace(mark, "")
    return text


class World(ScriptedEngine):
    """Draw number k behind a branch is entry k of its list (modulo its length); what follows a step is the first entry of
    the next list, and so on to the end; where nothing is listed, that is 0."""

    def __init__(self, steps: Mapping[str, Sequence[str]]) -> None:
        super().__init__({"*": "1"})
        self.steps = steps
        self.calls: list[list[str]] = []

    def _find(self, text: str, request: Request) -> str:
        begun = word = word_of(text.rpartition(MARK)[2])
        choices = self.steps.get(word, "0")
        number = int(request.id.rpartition("/")[2])
        word += choices[number % len(choices)]
        while not word[-1].isdigit():
            word += self.steps.get(word, "0")[0]
        return written(word)[len(written(begun)) :]

    def generate(self, requests: Sequence[Request], on_done: Any = None) -> Any:
        self.calls.append([request.id for request in requests])
        return super().generate(requests, on_done)


@dataclass
class Paths:
    """Scores a branch by its word (0.5 unless told), and charges every token of it that is new."""

    scores: Mapping[str, float | None]
    semantics: Semantics = "value"
    name: str = "paths"
    spent: Ledger = Ledger()
    seen: set[tuple[int, ...]] = field(default_factory=set[tuple[int, ...]])
    read: list[list[str]] = field(default_factory=list[list[str]])

    def score(self, traces: Sequence[Trace]) -> list[float | None]:
        words = [word_of(trace.text) for trace in traces]
        self.read.append(words)
        for trace in traces:
            self.charge(trace)
        return [self.scores.get(word, 0.5) for word in words]

    def charge(self, trace: Trace) -> None:
        ids = trace.prompt_ids + trace.token_ids
        known = next((k for k in range(len(ids), 0, -1) if ids[:k] in self.seen), 0)
        self.seen.update(ids[:k] for k in range(known + 1, len(ids) + 1))
        self.spent += Ledger(verified=len(ids) - known)

    @property
    def ledger(self) -> Ledger:
        return self.spent


def explore(
    strategy: str, steps: Mapping[str, Sequence[str]], scores: Mapping[str, float | None], **more: Any
) -> Solution:
    """Search the world for `HARD`."""
    semantics: Semantics = more.pop("semantics", "value")
    verifier = Paths(scores, semantics)
    engine = World(steps)
    settings = {name: more.pop(name) for name in ("n", "seed", "budget", "select") if name in more}
    job = make_job(HARD, engine, strategy, verifier=verifier, max_tokens=64, options=more, **settings)
    return Driver(engine, verifier).run([job])[0]


def words(tree: Tree) -> list[str]:
    """The word of every node, in the order they were made."""
    from ponder.text import Tokenizer

    decode = Tokenizer.mini().decode
    return [word_of(decode(node.written)) for node in tree.nodes[1:]]


def ends(solution: Solution) -> list[str]:
    """The word of every candidate."""
    return [word_of(completion.text) for completion in solution.completions]
