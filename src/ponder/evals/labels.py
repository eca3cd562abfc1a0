"""Short names for things that differ in some of many settings: each says only what tells it from the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def labels(names: Sequence[str], facts: Sequence[Mapping[str, Any]]) -> list[str]:
    """`names`, and where several are equal those of their `facts` that differ among them: `beam n=4`, `beam n=16`."""
    found = list(names)
    for name in set(names):
        same = [i for i, other in enumerate(names) if other == name]
        told = {key: [facts[i].get(key) for i in same] for key in dict.fromkeys(k for i in same for k in facts[i])}
        apart = [key for key, values in told.items() if any(value != values[0] for value in values)]
        for i in same if len(same) > 1 else ():
            words = [_word(key, facts[i].get(key)) for key in apart]
            found[i] = " ".join([name, *[word for word in words if word]])
    return found


def _word(key: str, value: Any) -> str:
    if value in (None, "", False):
        return ""
    if value is True:
        return key
    return (
        str(value)
        if key in ("select", "verifier", "weights")
        else f"{key} {value}"
        if key == "effort"
        else f"{key}={value}"
    )


def scored_by(verifier: str) -> dict[str, str]:
    """A verifier as facts: the last part of its name, or of both names of a pair, and the digests of its weights."""
    parts = [part.partition("@") for part in verifier.split("+")]
    names = [name.rstrip("/").rsplit("/", 1)[-1].rsplit(":", 1)[-1] for name, _, _ in parts]
    return {"verifier": "+".join(names), "weights": "+".join(digest for _, _, digest in parts if digest)}
