"""Asking a judge about every step, in the words that the reflective rules read (`reflective`).

Each step is one question: the prompts of one solution begin alike, so an engine that shares prefixes reads every step once
and the question once per step. What counts as a reply is decided by `fenced`: one word of five at the very end, behind a code
that no judged text can hold. With several votes the most frequent word counts; a tie, or no readable vote, is no judgement.
Cost: S replies per vote for S steps, and about S (S + 1) / 2 steps read by an engine that shares nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ponder.types import Completion, Message
from ponder.verifiers.fenced import code_for, conversation, region, spoken, verdict
from ponder.verifiers.judge import RULES, Judge
from ponder.verifiers.labels import reflective

QUESTION = (
    "Look at step {number} alone, given the steps before it. Answer with one of these words:\n"
    "sound: it is right, and so is everything it uses\n"
    "error: it makes a mistake of its own\n"
    "builds: it makes no new mistake but uses something that was wrong\n"
    "corrects: it notices an earlier mistake and puts it right\n"
    "new: it drops what was wrong and opens a sound new approach\n"
    "End your reply with a line of exactly this form, with the word you chose:\n[{code} verdict] sound"
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A solution as a judge reads it: the question, the steps' texts, and whether the answer is right (None: not known)."""

    messages: tuple[Message, ...]
    steps: tuple[str, ...]
    correct: bool | None
    problem_id: str = ""


def prompts(attempt: Attempt, seed: int) -> tuple[str, list[str]]:
    """The code, and the question about each step; each begins with the whole of the one before up to its step."""
    question = conversation(attempt.messages)
    code = code_for(seed, question, ("".join(attempt.steps),))
    shown = f"{RULES.format(code=code)}\n\n{region(code, 'question', question)}"
    asked: list[str] = []
    for number, step in enumerate(attempt.steps, 1):
        shown += region(code, f"step {number}", step)
        asked.append(f"{shown}[{code} end]\n\n{QUESTION.format(number=number, code=code)}")
    return code, asked


def labels(attempts: Sequence[Attempt], judge: Judge) -> list[list[float | None]]:
    """A label per step of each solution by the reflective rules; blank steps are not asked about and have none."""
    asked: list[tuple[str, str]] = []
    places: list[tuple[int, int, str]] = []
    for i, attempt in enumerate(attempts):
        code, texts = prompts(attempt, judge.seed)
        for j, text in enumerate(texts):
            if attempt.steps[j].strip():
                asked.append((text, f"{attempt.problem_id}/step/{j}"))
                places.append((i, j, code))
    words: list[list[str | None]] = [[None] * len(attempt.steps) for attempt in attempts]
    for (i, j, code), replies in zip(places, judge.ask(asked, judge.votes), strict=True):
        words[i][j] = elected(replies, code)
    return [
        reflective.labels(reflective.read(said), attempt.correct) for said, attempt in zip(words, attempts, strict=True)
    ]


def elected(replies: Sequence[Completion], code: str) -> str | None:
    """The most frequent verdict; None without one, or when two are as frequent."""
    votes = Counter(word for reply in replies if (word := verdict(spoken(reply), code, reflective.WORDS)) is not None)
    ranked = votes.most_common(2)
    if not ranked or (len(ranked) == 2 and ranked[0][1] == ranked[1][1]):
        return None
    return ranked[0][0]
