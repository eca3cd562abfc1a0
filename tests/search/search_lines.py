"""An engine whose i-th draw from the prompt is the i-th line, and a verifier that scores by what stands written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ponder.engines import ScriptedEngine
from ponder.engines.scripted import MARK
from ponder.search.seeds import draw_seed
from ponder.tasks import translate
from ponder.text import Tokenizer
from ponder.types import Completion, DoneEvent, Ledger, Problem, Request, Semantics, Trace


def readable() -> Problem:
    """A problem in the miniature's language; its grader knows that 07 and 7 are one answer."""
    problem = translate("(3+4)*5-6")
    assert problem is not None
    return problem


HARD = readable()


def lines(texts: Sequence[str], problem: Problem = HARD, seed: int = 0) -> ScriptedEngine:
    """Draw i from the prompt begins line i; what continues a beginning is the first line that begins so.

    A beginning is found with the end token it may carry left out, so a strategy can take an end away and go on.
    """
    place = {draw_seed(seed, problem.id, number): number for number in range(4096)}

    def script(text: str, drawn: int) -> str:
        begun = text.rpartition(MARK)[2]
        if begun:
            found = next((line for line in texts if line.startswith(begun)), None)
            assert found is not None, f"no line goes on from {begun!r}"
            return found[len(begun) :]
        return texts[place.get(drawn, 0) % len(texts)]

    return ScriptedEngine(script)


class Voiced(ScriptedEngine):
    """The lines, with the log-probability of each character; -0.1 for any other token."""

    def __init__(self, texts: Sequence[str], loudness: Mapping[str, float]) -> None:
        engine = lines(texts)
        super().__init__(engine._script)  # pyright: ignore[reportArgumentType]
        self.values = {self.tokenizer.encode(char)[0]: value for char, value in loudness.items()}

    def generate(
        self, requests: Sequence[Request], on_done: Callable[[DoneEvent], None] | None = None
    ) -> list[Completion]:
        found = super().generate(requests, on_done)
        return [replace(c, logprobs=tuple(self.values.get(i, -0.1) for i in c.token_ids)) for c in found]


@dataclass
class Marks:
    """Scores a trace by the answer it ends in; costs a verified token for each that it has not read before."""

    scores: Mapping[str, float | None]
    semantics: Semantics = "outcome"
    name: str = "marks"
    read: list[str | None] = field(default_factory=list[str | None])
    seen: set[tuple[int, ...]] = field(default_factory=set[tuple[int, ...]])
    spent: Ledger = Ledger()

    def score(self, traces: Sequence[Trace]) -> list[float | None]:
        self.read += [trace.answer for trace in traces]
        self.charge(traces)
        return [self.scores.get(trace.answer or "") for trace in traces]

    def charge(self, traces: Sequence[Trace]) -> None:
        """A prompt and a step cost their tokens once."""
        for trace in traces:
            fresh = 0 if trace.prompt_ids in self.seen else len(trace.prompt_ids)
            self.seen.add(trace.prompt_ids)
            self.spent += Ledger(verified=fresh + len(trace.token_ids) - trace.starts[-1])

    @property
    def ledger(self) -> Ledger:
        return self.spent


@dataclass
class Speaking(Marks):
    """As `Marks`, with words about every answer."""

    words: Mapping[str, str] = field(default_factory=dict[str, str])

    def feedback(self, traces: Sequence[Trace]) -> list[str]:
        return [self.words.get(trace.answer or "", "") for trace in traces]


def tagless() -> Tokenizer:
    """The miniature's vocabulary without think tags."""
    tokenizer = Tokenizer.mini()
    tokenizer.think_open = tokenizer.think_close = None
    return tokenizer
