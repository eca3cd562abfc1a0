"""Keys and values of running sequences: one slot per row, grown in length when needed.

Layout: k and v are contiguous tensors (L, R, K, T, H): layer, row slot, key-value head, position, head width, in the
precision of the model's matrices. Keys are stored rotated. Position t of slot r belongs to token t of the sequence in
that slot; what lies beyond a sequence's length is left over from others and never counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ponder.models.config import ModelConfig

STEP = 64  # slots grow in multiples of this many positions


class KV:
    """Slots for `rows` sequences of up to `capacity` tokens; `reserve` makes them longer or more."""

    def __init__(
        self,
        config: ModelConfig,
        rows: int,
        capacity: int = 0,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> None:
        self.context = config.context
        shape = (config.layers, rows, config.kv_heads, _round(capacity, config.context), config.head)
        self.k = torch.zeros(shape, dtype=dtype, device=device)
        self.v = torch.zeros(shape, dtype=dtype, device=device)

    @property
    def rows(self) -> int:
        return self.k.shape[1]

    @property
    def capacity(self) -> int:
        return self.k.shape[3]

    @property
    def bytes_per_token(self) -> int:
        layers, _, heads, _, width = self.k.shape
        return 2 * layers * heads * width * self.k.element_size()

    def release(self) -> None:
        """Give the slots' memory back; contents are lost."""
        self.k, self.v = self.k[:, :, :, :0].clone(), self.v[:, :, :, :0].clone()

    def reserve(self, capacity: int, rows: int | None = None) -> bool:
        """Make room for `capacity` positions (growing by an eighth or more) and `rows` slots; True if contents moved."""
        rows = max(rows or 0, self.rows)
        if capacity <= self.capacity and rows == self.rows:
            return False
        length = (
            self.capacity if capacity <= self.capacity else _round(max(capacity, self.capacity * 9 // 8), self.context)
        )
        self.k, self.v = self._moved(self.k, rows, length), self._moved(self.v, rows, length)
        return True

    def _moved(self, old: Tensor, rows: int, length: int) -> Tensor:
        new = old.new_zeros((old.shape[0], rows, old.shape[2], length, old.shape[4]))
        new[:, : old.shape[1], :, : old.shape[3]] = old
        return new

    def move(self, sources: Sequence[int], targets: Sequence[int], length: int) -> None:
        """Copy the first `length` positions of slots onto others (disjoint sets of slots)."""
        for x in (self.k, self.v):
            x[:, targets, :, :length] = x[:, sources, :, :length]

    def fill(self, targets: Sequence[int], start: int, k: Tensor, v: Tensor) -> None:
        """Write keys and values (L, K, t, H) to positions `start` … `start + t` of every slot in `targets`."""
        end = start + k.shape[2]
        first, count = targets[0], len(targets)
        run = list(targets) == list(range(first, first + count))
        where = slice(first, first + count) if run else list(targets)  # a slice is copied several times faster
        self.k[:, where, :, start:end] = k[:, None]
        self.v[:, where, :, start:end] = v[:, None]


def _round(capacity: int, context: int) -> int:
    return min(-(-capacity // STEP) * STEP, context)
