"""Which seed a draw gets: decided by the search's seed, the problem, and the place in its tree."""

from __future__ import annotations

import hashlib


def draw_seed(seed: int, place: str, number: int) -> int:
    """The seed of draw `number` at `place` (problem id and path): the first draws of a larger n are those of a smaller one."""
    digest = hashlib.sha256(f"{seed}/{place}/{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
