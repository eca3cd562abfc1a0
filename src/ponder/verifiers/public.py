"""Public process models in the formats they were published in, reading text with a tokenizer of their own.

What differs between them is where the judgement of a step stands, and that is one `Convention`:

    qwen            Qwen2.5-Math-PRM: a two-label head, read at a tag token behind the step; softmax, second label
    math-shepherd   a language model, read at the tag behind the step: "+" against "-" as the next token
    rlhflow         a language model in conversation: each step is the user's turn, "+" or "-" the assistant's

The text is encoded again with the verifier's tokenizer, so boundaries of tokens may differ from the generator's; what was read
before is still not read again, since the prefix tree works on the verifier's own ids. Steps are blank-line paragraphs; think
tags are left out. A step can not forge a tag: the tag's text is removed from it and special tokens stay text.
Sources: the model cards of Qwen/Qwen2.5-Math-PRM-7B, peiyi9979/math-shepherd-mistral-7b-prm and
RLHFlow/Llama3.1-8B-PRM-Deepseek-Data; the conventions are exercised on small random models, not on those weights.
Not covered: Skywork's value head, models that need several forward passes per step.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ponder import models
from ponder.errors import CheckpointError, ConfigError, unknown
from ponder.models import heads
from ponder.text.tokenizer import THINK_CLOSE, THINK_OPEN, Tokenizer
from ponder.types import Ledger, Message, Semantics, Trace
from ponder.verifiers.trunk import Reading, Trunk, probabilities


@dataclass(frozen=True, slots=True)
class Convention:
    """How a process model is asked. `head`: a classification head, or two tokens of the vocabulary.

    `tag` is written behind every step and read there; `between` stands before the next step. `chat` "answer" puts the steps
    into the assistant's turn, "turns" gives each a user's turn answered by `positive`, "plain" uses no template.
    """

    head: Literal["score", "marker"]
    chat: Literal["answer", "turns", "plain"]
    semantics: Semantics
    tag: str = ""
    between: str = ""
    system: str = ""
    positive: str = "+"
    negative: str = "-"


BOXED = "Please reason step by step, and put your final answer within \\boxed{}."
CONVENTIONS: dict[str, Convention] = {
    "qwen": Convention("score", "answer", "correctness", tag="<extra_0>", system=BOXED),
    "math-shepherd": Convention("marker", "plain", "value", tag=" ки", between="\n"),
    "rlhflow": Convention("marker", "turns", "value"),
}


def steps_of(trace: Trace, convention: Convention) -> list[str]:
    """The paragraphs of what was written; never empty ones, so a trailing blank line adds no step."""
    text = trace.text.replace(THINK_OPEN, "").replace(THINK_CLOSE, "\n\n")
    tag = convention.tag.strip()
    text = text.replace(tag, "") if tag else text
    return [part.strip() for part in re.split(r"\n[ \t]*\n", text) if part.strip()] or [""]


def render(trace: Trace, convention: Convention, tokenizer: Tokenizer) -> tuple[int, ...]:
    """The ids after whose last one the judgement of the trace's last step stands."""
    steps = steps_of(trace, convention)
    question = next((m.content for m in reversed(trace.messages) if m.role == "user"), "")
    if convention.chat == "plain":
        body = convention.between.join(f"{step}{convention.tag}" for step in steps)
        return tuple(tokenizer.inner.encode(f"{question} {body}", add_special_tokens=True).ids)
    if convention.chat == "turns":
        turns: list[Message] = []
        for number, step in enumerate(steps):
            turns.append(Message("user", step if number else f"{question} {step}"))
            turns.append(Message("assistant", convention.positive.strip()))
        return tokenizer.render(turns[:-1])
    system = [Message("system", convention.system)] if convention.system else []
    ids = list(tokenizer.render([*system, Message("user", question)]))
    for number, step in enumerate(steps):
        between = convention.between if number else ""
        ids += [*tokenizer.encode(between + step, specials=False), *tokenizer.encode(convention.tag)]
    return tuple(ids)


class PublicVerifier:
    """A `Verifier` on a published process model; reads texts."""

    reads = "text"

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        convention: Convention,
        *,
        name: str = "public",
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        cache_tokens: int | None = None,
    ) -> None:
        self.name, self.tokenizer, self.convention = name, tokenizer, convention
        self.semantics: Semantics = convention.semantics
        self.model = model.to(device)
        trunk = model.trunk if convention.head == "score" else model
        self.trunk = Trunk(trunk, device=device, dtype=dtype, cache_tokens=cache_tokens)
        self._marks = _marks(convention, tokenizer, trunk.config.vocab_size, name)

    @torch.no_grad()
    def score(self, traces: Sequence[Trace]) -> list[float | None]:
        """The probability of each trace's last step."""
        rendered = [render(trace, self.convention, self.tokenizer) for trace in traces]
        hidden_ND = self.trunk.read([Reading(ids, (len(ids),)) for ids in rendered]).to(self.trunk.device)
        if not rendered:
            return []
        return [*probabilities(self._logits(hidden_ND), self.name)]

    @property
    def ledger(self) -> Ledger:
        """Tokens of its own tokenizer that were run, under `verified`."""
        return self.trunk.ledger

    def cost(self, trace: Trace) -> int:
        """Tokens that scoring this trace would run."""
        return self.trunk.unread(render(trace, self.convention, self.tokenizer))

    def flops(self, tokens: int, attended: int) -> float:
        """What running `tokens` that attend to `attended` positions takes."""
        return self.trunk.config.flops(tokens, attended, sampled=0)

    def _logits(self, hidden_ND: Tensor) -> Tensor:
        if self.convention.head == "score":
            return self.model.logits(hidden_ND)
        logits_NV = self.model.head(hidden_ND)
        return logits_NV[:, self._marks[0]] - logits_NV[:, self._marks[1]]


def _marks(convention: Convention, tokenizer: Tokenizer, vocab_size: int, name: str) -> tuple[int, int]:
    """The token ids of "right" and "wrong"; (0, 0) for a classification head. ConfigError when they can not be used."""
    if convention.tag and convention.head == "score" and len(tokenizer.encode(convention.tag)) != 1:
        raise ConfigError(
            f"verifier '{name}': '{convention.tag}' is not one token of its vocabulary; another convention?"
        )
    if convention.head == "score":
        return 0, 0
    found = [tokenizer.encode(mark)[-1] for mark in (convention.positive, convention.negative)]
    if found[0] == found[1] or max(found) >= vocab_size:
        raise ConfigError(
            f"verifier '{name}': '{convention.positive}' and '{convention.negative}' are no tokens of its own"
        )
    return found[0], found[1]


def load(
    folder: Path,
    *,
    convention: str | Convention,
    device: str = "cpu",
    dtype: str = "fp32",
    name: str = "",
    **fields: Any,
) -> PublicVerifier:
    """The process model in `folder`, asked by a convention's name or value; `fields` replace some of its fields."""
    if isinstance(convention, str):
        if convention not in CONVENTIONS:
            raise unknown("convention of process models", convention, CONVENTIONS)
        convention = CONVENTIONS[convention]
    cache = {"cache_tokens": fields.pop("cache_tokens")} if "cache_tokens" in fields else {}
    for field in fields:
        if field not in Convention.__slots__:
            raise unknown("field of a convention", field, Convention.__slots__)
    convention = replace(convention, **fields)
    if heads.is_headed(folder) != (convention.head == "score"):
        kind = "no classification head" if convention.head == "score" else "a classification head"
        raise CheckpointError(f"{folder}: this model has {kind}; choose another convention ({', '.join(CONVENTIONS)})")
    precision = {"fp32": torch.float32, "bf16": torch.bfloat16}.get(dtype)
    if precision is None:
        raise ConfigError(f"verifier precision '{dtype}': fp32 or bf16")
    model = heads.load(folder)[0] if convention.head == "score" else models.load(folder)
    options: dict[str, Any] = {"name": name or folder.name, "device": device, "dtype": precision, **cache}
    return PublicVerifier(model, Tokenizer.load(folder), convention, **options)
