"""Keep the labels on which rollouts and a judge agree; drop the rest.

Zhang et al. 2025 (arXiv 2501.07301): rollouts err where a wrong step is lucky, judges where they are talked over;
what both say is worth more than either. Soft labels count as 1 from `bar` on. A step that either left open stays open.
"""

from __future__ import annotations

from collections.abc import Sequence


def labels(rolled: Sequence[float | None], judged: Sequence[float | None], bar: float = 0.5) -> list[float | None]:
    """The first list's labels where both stand on the same side of `bar`, None elsewhere; as long as both are."""
    return [
        a if a is not None and b is not None and (a >= bar) == (b >= bar) else None
        for a, b in zip(rolled, judged, strict=True)
    ]


def agreement(rolled: Sequence[float | None], judged: Sequence[float | None], bar: float = 0.5) -> tuple[int, int]:
    """On how many steps the two agree, of how many that both labelled."""
    both = [(a >= bar) == (b >= bar) for a, b in zip(rolled, judged, strict=True) if a is not None and b is not None]
    return sum(both), len(both)
