"""What is learned from: one `Example` per document, and the weights that make a loss a plain sum.

An example is token ids with per-token streams beside them, in numpy, so that the processes which make examples need no
torch. `weigh` is the only place where a loss is normalised: it divides by counts taken over *all* examples of an
optimiser step, so neither padding nor packing nor the split into micro-batches can change a loss or a gradient.
Not covered: images, per-token weights that differ inside one example (use several components instead).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from ponder.errors import DataError
from ponder.text.tokenizer import Tokenizer
from ponder.types import Demonstration, Effort, Message

CE, POLICY = 0, 1
COMPONENTS = {"ce": CE, "policy": POLICY}
Aggregation = Literal["token-mean", "sequence-mean", "fixed-length"]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Example:
    """One document: `token_ids[t]` and everything that describes token t itself.

    `trainable[t]` is true where token t is learned (never at t = 0: nothing precedes it). `component` says by which term:
    `CE` raises its log-probability, `POLICY` follows `advantage`. The three log-probability streams are those of the policy
    before this round of updates, of the reference model, and of the sampler that drew the token; None where there is none.

    `targets[t]` is what a scalar head should say of the text up to token t, NaN where nothing is asked, and
    `target_weights[t]` its share of the loss (`weigh_targets`); `features[t]` is what such a head reads besides (T, E).
    """

    token_ids: npt.NDArray[np.int32]
    trainable: npt.NDArray[np.bool_]
    component: int = CE
    weight: float = 1.0
    advantage: float | Floats = 0.0
    old_logprobs: Floats | None = None
    ref_logprobs: Floats | None = None
    sampler_logprobs: Floats | None = None
    targets: Floats | None = None
    target_weights: Floats | None = None
    features: Floats | None = None

    def __post_init__(self) -> None:
        assert self.token_ids.shape == self.trainable.shape and self.token_ids.ndim == 1
        assert not (len(self.trainable) and self.trainable[0]), (
            "the first token has nothing before it to predict it from"
        )

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def learned(self) -> int:
        """How many tokens carry loss."""
        return int(self.trainable.sum())


def example(prompt_ids: Sequence[int], completion_ids: Sequence[int]) -> Example:
    """An imitation example: the prompt is read, the completion is learned."""
    if not prompt_ids:
        prompt_ids, completion_ids = completion_ids[:1], completion_ids[1:]
    ids = np.array([*prompt_ids, *completion_ids], dtype=np.int32)
    trainable = np.zeros(len(ids), dtype=bool)
    trainable[len(prompt_ids) :] = True
    return Example(ids, trainable)


def from_messages(
    messages: Sequence[Message], completion: str, tokenizer: Tokenizer, effort: Effort | None = None
) -> Example:
    """Prompt rendered with its effort, then the completion's ids and the end token."""
    end = tokenizer.stop_ids[:1]
    return example(tokenizer.render(messages, effort), [*tokenizer.encode(completion), *end])


def from_demonstration(demonstration: Demonstration, tokenizer: Tokenizer) -> Example:
    """The example that imitates a task's demonstration."""
    d = demonstration
    return from_messages(d.problem.messages, d.text, tokenizer, d.effort)


def from_pieces(pieces: Sequence[tuple[str, bool]], tokenizer: Tokenizer) -> Example:
    """Text for pretraining, as (text, learned) pieces; the end token is learned with the last piece."""
    ids: list[int] = []
    trainable: list[bool] = []
    for text, learned in pieces:
        piece = tokenizer.encode(text)
        ids += piece
        trainable += [learned] * len(piece)
    end = list(tokenizer.stop_ids[:1])
    ids += end
    trainable += [bool(pieces) and pieces[-1][1]] * len(end)
    trainable[:1] = [False]
    return Example(np.array(ids, dtype=np.int32), np.array(trainable, dtype=bool))


def weigh(
    examples: Sequence[Example],
    aggregation: Aggregation = "token-mean",
    fixed_length: int = 0,
    coefficients: Sequence[float] = (1.0, 1.0),
) -> list[Example]:
    """Set each example's weight so that the loss of the whole set is the plain sum of weight x token loss.

    token-mean: 1 / (all learned tokens) (DAPO, equation 8). sequence-mean: 1 / (sequences x own length) (GRPO, equation 3
    of DeepSeekMath). fixed-length: 1 / (sequences x `fixed_length`) (Dr.GRPO). Counts are taken per component and over all
    `examples`, which must be one whole optimiser step. TRL calls the three dapo, grpo and dr_grpo; its bnpo is the
    token mean of each micro-batch separately, which this design makes impossible on purpose.
    """
    tokens, sequences = [0] * len(COMPONENTS), [0] * len(COMPONENTS)
    for e in examples:
        tokens[e.component] += e.learned
        sequences[e.component] += e.learned > 0
    if aggregation == "fixed-length" and fixed_length < 1:
        raise DataError("fixed-length aggregation needs the length to divide by (set max_tokens)")

    def weight(e: Example) -> float:
        if not e.learned:
            return 0.0
        c = coefficients[e.component]
        if aggregation == "token-mean" or e.component == CE:
            return c / tokens[e.component]
        return c / (sequences[e.component] * (e.learned if aggregation == "sequence-mean" else fixed_length))

    return [replace(e, weight=weight(e)) for e in examples]


def weigh_targets(examples: Sequence[Example], last_share: float = 0.0) -> list[Example]:
    """Set the weights of the targets so that they sum to 1 over the whole set, which must be one optimiser step.

    1 - `last_share` is spread evenly over all targets (Cobbe et al., arXiv 2110.14168: every token of every solution), and
    `last_share` evenly over the last target of each example (1: solutions are scored at their end alone).
    """
    asked = [e for e in examples if e.targets is not None and not np.isnan(e.targets).all()]
    total = sum(int((~np.isnan(e.targets)).sum()) for e in asked if e.targets is not None)
    weighed = {id(e): _target_weights(e, (1 - last_share) / total, last_share / len(asked)) for e in asked}
    return [replace(e, target_weights=weighed[id(e)]) if id(e) in weighed else e for e in examples]


def _target_weights(e: Example, each: float, last: float) -> Floats:
    assert e.targets is not None
    found = ~np.isnan(e.targets)
    weights = np.where(found, np.float32(each), np.float32(0))
    weights[np.flatnonzero(found)[-1]] += np.float32(last)
    return weights
