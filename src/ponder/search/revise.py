"""Sequential self-correction: answer, hear what is wrong with it, answer again.

    node = answer(question)
    for round in 1 .. n-1:
        if score(node) >= enough: stop                        # only with a verifier
        said = feedback(node) or the fixed request            # the verifier's words, or "check your answer"
        node = answer(question, node's answer, said)          # a fresh turn of the conversation
        stop if it says the same as the answer before
    return the best-scored answer, without scores the last one

Self-Refine (Madaan et al. 2023, arXiv 2303.17651) when the words come from the model itself, Reflexion (Shinn et al. 2023,
arXiv 2303.11366) when they come from tests or tools. Departures: a turn holds the question, the last answer and the words
about it, not all earlier rounds, so its prompt does not grow; the best of all rounds is given, not always the last. Without
anything that knows better than the model, asking again need not help and can spoil a right answer (Huang et al. 2023,
arXiv 2310.01798): measure it against `vote` at equal tokens.

Cost of r answers: sum over rounds of P_r + L, where P_r is the prompt with the answer and the words about it; a
verifier reads each answer once, and what its words cost is its own affair. Nothing runs in parallel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ponder.errors import ConfigError
from ponder.search.asks import End, Expand, Explore, Feedback, Score, Turn, View
from ponder.search.tree import Node

REQUEST = "Check your answer. If it is wrong, correct it; if it is right, give it again."


@dataclass(frozen=True, slots=True)
class Revise:
    """Up to `n` answers, the first one included; `request` is asked where no verifier has words. A score of `enough` ends
    it."""

    n: int = 4
    request: str = REQUEST
    enough: float = 0.9
    select: str = "ranked"
    needs_verifier: bool = False

    def __post_init__(self) -> None:
        if not self.request:
            raise ConfigError("revise.request is empty; say what to do with the answer")
        if not 0.0 <= self.enough <= 1.0:
            raise ConfigError(f"revise.enough = {self.enough}: a score from 0 to 1")

    def explore(self, root: Node, view: View) -> Explore:
        answers: list[Node] = []
        (kids,) = yield Expand((root,), 1, "end")
        while kids:
            node: Node = kids[0]
            answers.append(node)
            if view.semantics is not None:
                yield Score((node,))
                value = view.value(node)
                if value is not None and value >= self.enough:
                    return _notes(answers, "satisfied")
            if _repeats(answers, view):
                return _notes(answers, "repeated")
            if len(answers) >= self.n:
                break
            said = (yield Feedback((node,)))[0] if view.speaks else ""
            (fresh,) = yield Turn((node,), said or self.request)
            if fresh is None:
                return _notes(answers, "context")
            (kids,) = yield Expand((fresh,), 1, "end")
        return _notes(answers, "rounds")

    def weigh(self, ends: Sequence[End]) -> list[float | None]:
        """The scores; without any, the later the heavier."""
        if any(end.score is not None for end in ends):
            return [end.score for end in ends]
        return [float(number) for number in range(len(ends))]


def _repeats(answers: Sequence[Node], view: View) -> bool:
    """Is the last answer the one before it?"""
    if len(answers) < 2:
        return False
    before, now = view.answers(answers[-2:])
    return now is not None and before == now


def _notes(answers: Sequence[Node], why: str) -> dict[str, object]:
    return {"answers": len(answers), "stopped": why}
