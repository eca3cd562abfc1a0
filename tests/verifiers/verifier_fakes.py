"""What the tests of verifiers and labels share: traces of text, a task of letters, an engine that answers by a function."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tokenizers

from ponder.engines import ScriptedEngine
from ponder.errors import WorkError
from ponder.text import Tokenizer
from ponder.types import Completion, Grade, Ledger, Message, Problem, Request, Split, Trace

MARK = "<|assistant|>"


def trace(question: str, text: str, **more: Any) -> Trace:
    """A finished attempt that is all answer."""
    ids = tuple(range(1, 1 + max(1, len(text))))
    given = {"text": text, "answer": text, "finished": True, "problem_id": "p1", **more}
    return Trace((Message("user", question),), (1, 2), ids, **given)


class Letters:
    """Right is a completion without an "x": a line with one can not be made good again."""

    name = "letters"

    @property
    def grader(self) -> Letters:
        return self

    def grade(self, problem: Problem, completion: Completion) -> Grade:
        if "?" in completion.text:
            return Grade(None, "error", reason="could not be graded")
        return Grade(0.0, "wrong") if "x" in completion.text else Grade(1.0, "correct")

    def problems(self, split: Split, limit: int | None = None, seed: int = 0) -> list[Problem]:
        found = (Problem.from_text(f"letters {n}") for n in range(100 * (limit or 10)))
        return [p for p in found if p.split == split][: limit or 10]


def letters(steps: int = 6, odds: float = 0.3) -> Callable[[str, int], str]:
    """A script that writes `steps` lines "a", each spoilt with probability `odds` by the request's seed."""

    def say(text: str, seed: int) -> str:
        rng = random.Random(seed)
        begun = text.rpartition(MARK)[2]
        lines = ["x" if rng.random() < odds else "a" for _ in range(steps - begun.count("\n"))]
        return "\n".join(lines) + "<|end|>"

    return say


def letters_engine(steps: int = 6, odds: float = 0.3, **options: Any) -> ScriptedEngine:
    return ScriptedEngine(letters(steps, odds), **options)


@dataclass
class Oracle:
    """An engine that answers the whole prompt by a function of its text; log-probabilities per token as told."""

    reply: Callable[[str, int], str]
    logprob: float = -0.25
    name: str = "oracle"
    path: str | None = None
    context: int = 100_000
    tokenizer: Any = None
    calls: int = 0
    spent: Ledger = Ledger()

    def encode(self, messages: Sequence[Message], effort: Any = None) -> tuple[int, ...]:
        return tuple(ord(c) for c in messages[-1].content)

    def generate(self, requests: Sequence[Request], on_done: Any = None) -> list[Completion]:
        self.calls += 1
        done: list[Completion] = []
        for r in requests:
            text = self.reply("".join(map(chr, r.prompt_ids)), r.sampling.seed)
            ids = tuple(ord(c) for c in text)
            done.append(Completion(ids, (self.logprob,) * len(ids), "stop", text, None, text, r.prompt_ids))
            self.spent += Ledger(prefilled=len(r.prompt_ids), decoded=len(ids))
        return done

    def stream(self, requests: Sequence[Request]) -> Any:
        raise NotImplementedError

    def cancel(self, request_id: str) -> None:
        raise NotImplementedError

    def logprobs(self, token_ids: Sequence[Sequence[int]]) -> list[list[float]]:
        raise WorkError("not asked for")

    @property
    def ledger(self) -> Ledger:
        return self.spent


class Characters:
    """A tokenizer of one token per character."""

    stop_ids: tuple[int, ...] = ()

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(map(chr, ids))


def byte_pairs() -> Any:
    """A vocabulary with ".\\n\\n" and " two" as tokens, among single characters."""
    words = ["<|end|>", ".\n\n", " two", *map(chr, range(32, 127)), "\n", "é"]
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<|end|>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"\.\n\n| two|[\s\S]"), "isolated")
    inner.decoder = tokenizers.decoders.Fuse()
    return Tokenizer(inner, "{{ messages[-1].content }}", {"eos_token": "<|end|>"})
