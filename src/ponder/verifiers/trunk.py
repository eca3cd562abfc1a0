"""Reading token sequences incrementally: what was read before is never read again.

Keys and values of everything read stand in a prefix tree (`engines.prefix`), so reading a sequence runs its new tokens alone
(`Transformer.extend`); sequences of different lengths run together. Of sequences that share a new beginning up to a cut (the
end of the prompt, the end of a step) one goes first and the others find it in the tree. What is returned is the hidden state
at the last token; it is kept, so reading a sequence again costs nothing. `ledger.verified` counts the tokens that were run.
Not covered: sharing keys and values with the generator's engine, which has other weights.

Shapes: B rows, T new tokens, D width, L layers.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ponder.engines.prefix import PrefixTree, common
from ponder.errors import ConfigError, DataError
from ponder.models.cast import for_sampling
from ponder.models.kv import KV
from ponder.models.transformer import Transformer
from ponder.types import Ledger

CACHE_BYTES = 256 << 20  # the prefix tree's default size
SLOT_BYTES = 128 << 20  # keys and values of sequences that run together
BATCH_TOKENS = 8192  # new tokens run together, padding included
CHUNK_TOKENS = 512  # longest piece of a sequence run at once
REMEMBERED_BYTES = 64 << 20  # last hidden states that are kept

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """Tokens to read, and the places (rising, the length last) up to which others may share them."""

    ids: Ids
    cuts: tuple[int, ...]


class Trunk:
    """A `Transformer` that reads; `cache_tokens` None is 256 MiB worth of keys and values."""

    def __init__(
        self,
        model: Transformer,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        cache_tokens: int | None = None,
    ) -> None:
        self.config, self.device = model.config, torch.device(device)
        self.model = for_sampling(model, self.device, dtype)
        self.kv = KV(model.config, rows=1, dtype=dtype, device=self.device)
        self.tree = PrefixTree(CACHE_BYTES // self.kv.bytes_per_token if cache_tokens is None else cache_tokens)
        self.ledger = Ledger()
        self._ends: OrderedDict[Ids, Tensor] = OrderedDict()

    def read(self, sequences: Sequence[Reading]) -> Tensor:
        """Hidden states (B, D), fp32, at the last token of each sequence. DataError for ids or lengths that do not fit."""
        began = time.perf_counter()
        found: dict[Ids, Tensor] = {}
        pending: dict[Ids, Reading] = {}
        for sequence in sequences:
            self._check(sequence.ids)
            if sequence.ids in self._ends:
                found[sequence.ids] = self._ends[sequence.ids]
                self._ends.move_to_end(sequence.ids)
            else:
                pending[sequence.ids] = sequence
        waiting = [pending[ids] for ids in sorted(pending)]
        while waiting:
            wave, waiting = self._wave(waiting)
            found |= self._run([sequence.ids for sequence in wave])
        self.ledger = self.ledger + Ledger(seconds=time.perf_counter() - began)
        if not sequences:
            return torch.zeros(0, self.config.width)
        return torch.stack([found[sequence.ids] for sequence in sequences])

    def unread(self, ids: Ids) -> int:
        """How many tokens reading `ids` would run now: all that no earlier reading shares, at least the last."""
        return 0 if ids in self._ends else len(ids) - self._known(ids)

    def forget(self) -> None:
        """Drop everything read so far."""
        self.tree.clear()
        self._ends.clear()

    def _check(self, ids: Ids) -> None:
        if not ids:
            raise DataError("an empty sequence can not be scored")
        if len(ids) > self.config.context:
            raise DataError(f"{len(ids)} tokens do not fit the verifier's context of {self.config.context}")
        if max(ids) >= self.config.vocab_size or min(ids) < 0:
            raise DataError(f"token id {max(ids)} is outside the verifier's vocabulary of {self.config.vocab_size}")

    def _wave(self, waiting: Sequence[Reading]) -> tuple[list[Reading], list[Reading]]:
        """Those (of sorted sequences) to read now, and those that share a new beginning with one of these."""
        now, later = [waiting[0]], list[Reading]()
        for sequence in waiting[1:]:
            agreed = common(now[-1].ids, sequence.ids)
            at = bisect_right(sequence.cuts, agreed)
            shared = sequence.cuts[at - 1] if at else 0
            known = self.tree.match(sequence.ids[:shared]).length if shared and self.tree.capacity else shared
            (later if shared > known else now).append(sequence)
        return now, later

    def _run(self, wave: Sequence[Ids]) -> dict[Ids, Tensor]:
        """Read what is new of each sequence, in batches of similar length."""
        new = {ids: len(ids) - self._known(ids) for ids in wave}
        found: dict[Ids, Tensor] = {}
        batch: list[Ids] = []
        for ids in sorted(wave, key=lambda ids: new[ids]):
            longest = max(map(len, (*batch, ids)))
            tokens = (len(batch) + 1) * min(new[ids], CHUNK_TOKENS)
            if batch and (tokens > BATCH_TOKENS or (len(batch) + 1) * longest * self.kv.bytes_per_token > SLOT_BYTES):
                found |= self._batch(batch)
                batch = []
            batch.append(ids)
        return found | self._batch(batch)

    def _known(self, ids: Ids) -> int:
        """How many tokens of `ids` stand in the tree; the last one is run in any case."""
        return min(self.tree.match(ids).length, len(ids) - 1)

    def _batch(self, batch: Sequence[Ids]) -> dict[Ids, Tensor]:
        """Fill slots from the tree, run the new tokens in pieces, and put them into the tree."""
        kv, starts = self.kv, [self._known(ids) for ids in batch]
        kv.reserve(max(map(len, batch)), len(batch))
        for row, (ids, start) in enumerate(zip(batch, starts, strict=True)):
            at = 0
            for node, length in self.tree.match(ids[:start]).pieces:
                assert node.k is not None
                assert node.v is not None
                kv.fill([row], at, node.k[:, :, :length], node.v[:, :, :length])
                at += length
        ends_BD = self._forward(batch, starts)
        for row, (ids, start) in enumerate(zip(batch, starts, strict=True)):
            if self.tree.capacity:
                self.tree.insert(ids, kv.k[:, row], kv.v[:, row])
            self._remember(ids, ends_BD[row].clone())
            length, new = len(ids), len(ids) - start
            attended = (length * (length + 1) - start * (start + 1)) // 2
            flops = self.config.flops(new, attended, sampled=0)
            self.ledger = self.ledger + Ledger(cached=start, verified=new, flops=flops)
        self.tree.trim()
        return dict(zip(batch, ends_BD, strict=True))

    def _forward(self, batch: Sequence[Ids], known: Sequence[int]) -> Tensor:
        """Hidden states (B, D) at the last tokens; `known` tokens of each row are in its slot."""
        starts = torch.tensor(known)
        left = torch.tensor([len(ids) for ids in batch]) - starts
        width = int(left.max())
        tokens_BT = torch.zeros(len(batch), width, dtype=torch.int64)
        for line, ids, start in zip(tokens_BT, batch, known, strict=True):
            line[: len(ids) - start] = torch.tensor(ids[start:])
        ends_BD = torch.zeros(len(batch), self.config.width)
        for at in range(0, width, CHUNK_TOKENS):
            lengths = (left - at).clamp(0, CHUNK_TOKENS)
            rows = (lengths > 0).nonzero()[:, 0]
            piece = tokens_BT[rows, at : at + int(lengths.max())]
            places = [x.to(self.device) for x in (piece, rows, starts[rows] + at, lengths[rows])]
            hidden_BTD = self.model.extend(places[0], self.kv, places[1], places[2], places[3])
            final = (left[rows] - at) <= CHUNK_TOKENS
            last = hidden_BTD[torch.arange(len(rows)), lengths[rows] - 1].float().cpu()
            ends_BD[rows[final]] = last[final]
        return ends_BD

    def _remember(self, ids: Ids, end_D: Tensor) -> None:
        self._ends[ids] = end_D
        if len(self._ends) * self.config.width * 4 > REMEMBERED_BYTES:
            self._ends.popitem(last=False)


def probabilities(log_odds_N: Any, name: str) -> list[float]:
    """Log-odds as probabilities; ConfigError when they are no numbers."""
    values: list[float] = log_odds_N.double().tolist()
    if not all(math.isfinite(z) for z in values):
        raise ConfigError(
            f"verifier '{name}' gives scores that are no numbers: its weights are damaged; train it again"
        )
    return [0.5 * (1.0 + math.tanh(0.5 * z)) for z in values]
