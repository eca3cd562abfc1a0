"""The batch every algorithm fills and every loss reads: per-token streams, and nothing that names an algorithm.

Shapes: B rows, T tokens, N learned tokens of a batch in row-major order.

Two laws, stated here once. (1) `x_BT[b, t]` describes token t itself: its log-probability, its advantage, whether it is
learned; position 0 of a document is never learned. (2) Masks are positive: `trainable_BT` is true where a token counts.
A third follows from `examples.weigh`: a loss is the plain sum of weight x token loss, so batches add up.

Rows are made by first-fit-decreasing packing (several documents per row, told apart by `segments_BT`) or by padding (one
document per row, rows of like length together). Packing saves padding, padding needs no segment mask; both give the
same loss. Not covered: splitting one document over rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ponder.training.examples import CE, Example

if TYPE_CHECKING:
    from ponder.training.shared import Shared

WORTHWHILE = 1024  # tokens of padding-free work that one more forward and backward pass costs, roughly
PADDING = -1  # segment of tokens that belong to no document


@dataclass(frozen=True, slots=True)
class Batch:
    """Per-token streams, all (B, T). `packed` says that some row holds more than one document; `shared` that the forward
    pass computes prompts once for all their rows. The last three are there only for scalar heads: what the head should say
    (counted where its weight is above 0), that weight, and what it reads besides (B, T, E)."""

    tokens_BT: Tensor
    positions_BT: Tensor
    segments_BT: Tensor
    trainable_BT: Tensor
    component_BT: Tensor
    weight_BT: Tensor
    advantage_BT: Tensor
    old_logprobs_BT: Tensor
    ref_logprobs_BT: Tensor
    sampler_logprobs_BT: Tensor
    packed: bool = False
    shared: Shared | None = None
    target_BT: Tensor | None = None
    target_weight_BT: Tensor | None = None
    features_BTE: Tensor | None = None

    def to(self, device: str | torch.device) -> Batch:
        """The same batch on another device."""
        if self.tokens_BT.device == torch.device(device):
            return self
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {n: x.to(device, non_blocking=True) if isinstance(x, Tensor) else x for n, x in own.items()}
        return Batch(**{**moved, "shared": self.shared.to(device) if self.shared else None})

    def learned(self, stream_BT: Tensor) -> Tensor:
        """The N values of a stream at learned tokens."""
        return stream_BT[self.trainable_BT]

    @property
    def sequence_N(self) -> Tensor:  # noqa: N802 - a stream, named by its shape
        """Which document (0, 1, …) each learned token belongs to."""
        B = self.segments_BT.shape[0]
        rows_B1 = torch.arange(B, device=self.segments_BT.device)[:, None]
        keys_BT = rows_B1 * (self.segments_BT.max() + 2) + self.segments_BT
        return torch.unique(self.learned(keys_BT), return_inverse=True)[1]


Row = list[Example]


def pack(examples: Sequence[Example], row_tokens: int) -> list[Row]:
    """First-fit-decreasing: rows of at most `row_tokens` tokens (a longer document gets a row of its own)."""
    rows: list[Row] = []
    room: list[int] = []
    first = 0  # rows before this one are full
    for e in sorted(examples, key=len, reverse=True):
        n = len(e)
        while first < len(rows) and room[first] < 4:
            first += 1
        for r in range(first, len(rows)):
            if room[r] >= n:
                rows[r].append(e)
                room[r] -= n
                break
        else:
            rows.append([e])
            room.append(row_tokens - n)
    return rows


def build(rows: Sequence[Row], pad_id: int = 0, shape: tuple[int, int] = (0, 0), shared: Shared | None = None) -> Batch:
    """One batch from rows of documents, padded at the end to the longest row, and to at least `shape` (B, T)."""
    longest = max(sum(len(e) for e in row) for row in rows)
    B, T = max(len(rows), shape[0]), max(longest, shape[1])
    tokens, positions = np.full((B, T), pad_id, dtype=np.int64), np.zeros((B, T), dtype=np.int64)
    segments, component = np.full((B, T), PADDING, dtype=np.int64), np.full((B, T), CE, dtype=np.int64)
    trainable = np.zeros((B, T), dtype=bool)
    weight, advantage, old, ref, sampler = np.zeros((5, B, T), dtype=np.float32)
    for b, row in enumerate(rows):
        start = 0
        for s, e in enumerate(row):
            at = (b, slice(start, start + len(e)))
            tokens[at], positions[at], segments[at] = e.token_ids, np.arange(len(e)), s
            trainable[at], component[at], weight[at], advantage[at] = e.trainable, e.component, e.weight, e.advantage
            for stream, values in ((old, e.old_logprobs), (ref, e.ref_logprobs), (sampler, e.sampler_logprobs)):
                if values is not None:
                    stream[at] = values
            start += len(e)
    streams = (tokens, positions, segments, trainable, component, weight, advantage, old, ref, sampler)
    packed = bool(shape[0]) or any(len(row) > 1 for row in rows)
    heads = _head_streams(rows, B, T)
    return Batch(*(torch.from_numpy(x) for x in streams), packed=packed, shared=shared, **heads)


def _head_streams(rows: Sequence[Row], B: int, T: int) -> dict[str, Tensor]:
    """The streams of scalar heads, nothing when no example has targets."""
    every = [e for row in rows for e in row]
    if all(e.targets is None for e in every):
        return {}
    wide = next((e.features.shape[1] for e in every if e.features is not None), 0)
    target, weight = np.zeros((2, B, T), dtype=np.float32)
    features = np.zeros((B, T, wide), dtype=np.float32)
    for b, row in enumerate(rows):
        start = 0
        for e in row:
            at = (b, slice(start, start + len(e)))
            if e.targets is not None and e.target_weights is not None:
                target[at], weight[at] = np.nan_to_num(e.targets), e.target_weights
            if e.features is not None:
                features[at] = e.features
            start += len(e)
    streams = {"target_BT": target, "target_weight_BT": weight, **({"features_BTE": features} if wide else {})}
    return {name: torch.from_numpy(x) for name, x in streams.items()}


def micro_batches(
    examples: Sequence[Example], micro_tokens: int, row_tokens: int | None = None, pad_id: int = 0, fixed: bool = False
) -> Iterator[Batch]:
    """Split one step's examples into batches of at most `micro_tokens` tokens, padding included (a row at least).

    `row_tokens` packs documents into rows of that many tokens; None pads instead, with rows of like length together.
    `fixed` (packing only) pads rows to multiples of `row_tokens` and batches with empty rows, so that a compiled model meets
    few shapes.
    """
    assert row_tokens or not fixed, "fixed shapes need packing"
    for rows, longest in plan(examples, micro_tokens, row_tokens, row_tokens if fixed and row_tokens else 1):
        yield build(rows, pad_id, (micro_tokens // longest, longest) if fixed else (0, 0))


def plan(
    examples: Sequence[Example], micro_tokens: int, row_tokens: int | None = None, unit: int = 1
) -> Iterator[tuple[list[Row], int]]:
    """Which rows go together, and how long the longest of them is, rounded up to a multiple of `unit`."""
    rows = pack(examples, row_tokens) if row_tokens else [[e] for e in examples]
    group: list[Row] = []
    longest = 0
    for row in sorted(rows, key=lambda row: -sum(len(e) for e in row)):
        length = -(-sum(len(e) for e in row) // unit) * unit
        if group and ((len(group) + 1) * longest > micro_tokens or _wasteful(length, longest, len(group))):
            yield group, longest
            group, longest = [], 0
        group.append(row)
        longest = max(longest, length)
    if group:
        yield group, longest


def _wasteful(length: int, longest: int, rows: int) -> bool:
    """Better a new batch: this row would be a quarter padding and the batch is already big enough to be worth its overhead."""
    return length < 0.75 * longest and rows * longest >= WORTHWHILE
