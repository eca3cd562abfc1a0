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
    if value in (None, ""):
        return ""
    return str(value) if key in ("select", "verifier") else f"{key} {value}" if key == "effort" else f"{key}={value}"


def short(verifier: str) -> str:
    """The last part of a verifier's name."""
    return verifier.rsplit("/", 1)[-1].rsplit(":", 1)[-1]
