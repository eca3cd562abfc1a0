"""Keys and values of running sequences: one slot per row, grown in length when needed.

Layout: k and v are contiguous tensors (L, R, K, T, H): layer, row slot, key-value head, position, head width, in the
precision of the model's matrices. Keys are stored rotated. Position t of slot r belongs to token t of the sequence in
that slot; what lies beyond a sequence's length is left over from others and never counts.
"""

from __future__ import annotations

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

    def reserve(self, capacity: int, rows: int | None = None) -> bool:
        """Make room for `capacity` positions (at least doubling) and `rows` slots, keeping contents; True if moved."""
        rows = max(rows or 0, self.rows)
        if capacity <= self.capacity and rows == self.rows:
            return False
        length = self.capacity if capacity <= self.capacity else _round(max(capacity, 2 * self.capacity), self.context)
        self.k, self.v = self._moved(self.k, rows, length), self._moved(self.v, rows, length)
        return True

    def _moved(self, old: Tensor, rows: int, length: int) -> Tensor:
        new = old.new_zeros((old.shape[0], rows, old.shape[2], length, old.shape[4]))
        new[:, : old.shape[1], :, : old.shape[3]] = old
        return new

    def copy_row(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one slot onto another."""
        self.k[:, target, :, :length] = self.k[:, source, :, :length]
        self.v[:, target, :, :length] = self.v[:, source, :, :length]


def _round(capacity: int, context: int) -> int:
    return min(-(-capacity // STEP) * STEP, context)
