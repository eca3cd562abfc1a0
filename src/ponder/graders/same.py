"""Whether a value a program gave is the value that was expected: decided here, on plain data, never by the program.

`types` says what else than the value counts:

    strict   the exact types: 1 is neither True nor 1.0, a list is not a tuple, {1: 2} is not {True: 2}
    json     as JSON sees it: a tuple is a list, 1 is 1.0 (but not True), keys of objects are text
    python   what `==` says of plain values: True == 1 == 1.0, a list is not a tuple, a set is a frozenset

NaN equals NaN except under "python". `tolerance` t holds for numbers outside sets and keys: |want - got| <= t max(1, |want|).
`unordered` forgives the order of the outermost list. Values of any other type equal nothing.
Not covered: an order forgiven further inside, near numbers in sets.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

Types = Literal["strict", "json", "python"]
TYPES: tuple[Types, ...] = ("strict", "json", "python")
SHOWN = 120
BEFORE, AFTER = 40, 40  # characters around the first difference of long values
_PLAIN: tuple[type[Any], ...] = (
    type(None), bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset,
)  # fmt: skip
_ALIKE: Mapping[Types, Mapping[type[Any], str]] = {
    "strict": {},
    "json": {int: "number", float: "number", tuple: "list"},
    "python": {bool: "number", int: "number", float: "number", complex: "number", frozenset: "set"},
}
_KINDS = {types: {t: alike.get(t, t.__name__) for t in _PLAIN} for types, alike in _ALIKE.items()}


@dataclass(frozen=True, slots=True)
class Policy:
    """What is forgiven; nothing unless said."""

    types: Types = "strict"
    tolerance: float = 0.0
    unordered: bool = False


def same(want: Any, got: Any, policy: Policy = Policy()) -> bool:
    """Whether `got` is `want` under the policy; never raises for plain values."""
    try:
        if policy.unordered and type(want) in (list, tuple) and _kind(want, policy) == _kind(got, policy):
            return _same_bag(want, got, policy)
        return _same(want, got, policy)
    except (RecursionError, OverflowError):
        return False


def same_output(want: str, got: str, policy: Policy = Policy()) -> bool:
    """Whether printed text is what was expected, up to blanks at the ends of lines and empty lines at the end."""
    wanted, given = _lines(want), _lines(got)
    if len(wanted) != len(given):
        return False
    if policy.unordered:
        return Counter(wanted) == Counter(given)
    return all(a == b or _same_line(a, b, policy.tolerance) for a, b in zip(wanted, given, strict=True))


def shown(value: Any) -> str:
    """The value as short text, whatever its size."""
    return _window(_text(value), 0)


def shown_apart(want: Any, got: Any) -> tuple[str, str]:
    """Both values as short texts that show where they first differ, however far inside; "…" stands for what is left out."""
    wanted, given = _text(want), _text(got)
    shorter = min(len(wanted), len(given))
    first = next((i for i in range(shorter) if wanted[i] != given[i]), shorter)
    start = 0 if first <= SHOWN - AFTER else first - BEFORE
    return _window(wanted, start), _window(given, start)


def _text(value: Any) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):  # more digits than Python prints, or too deep
        return f"a {type(value).__name__} too large to print"


def _window(text: str, start: int) -> str:
    """At most SHOWN characters of `text` from `start` on."""
    if start:
        text = "…" + text[start:]
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _kind(value: Any, policy: Policy) -> str | None:
    return _KINDS[policy.types].get(cast("type[Any]", type(value)))


def _same(want: Any, got: Any, policy: Policy) -> bool:
    kind = _kind(want, policy)
    if kind is None or kind != _kind(got, policy):
        return False
    if type(want) in (int, float, complex, bool):
        return _same_number(want, got, policy)
    if type(want) in (list, tuple):
        return len(want) == len(got) and all(_same(a, b, policy) for a, b in zip(want, got, strict=True))
    if type(want) is dict:
        return _same_dict(cast("dict[Any, Any]", want), cast("dict[Any, Any]", got), policy)
    if type(want) in (set, frozenset):
        return len(want) == len(got) and {_key(v, policy) for v in want} == {_key(v, policy) for v in got}
    return want == got


def _same_number(want: Any, got: Any, policy: Policy) -> bool:
    if want == got:
        return True
    if want != want and got != got:
        return policy.types != "python"
    if not policy.tolerance or type(want) is bool or type(got) is bool:
        return False
    gap = abs(want - got)
    return math.isfinite(gap) and gap <= policy.tolerance * max(1.0, abs(want))


def _same_dict(want: dict[Any, Any], got: dict[Any, Any], policy: Policy) -> bool:
    if len(want) != len(got):
        return False
    given = {_name(k, policy): v for k, v in got.items()}
    return len(given) == len(want) and all(
        (name := _name(k, policy)) in given and _same(v, given[name], policy) for k, v in want.items()
    )


def _name(key: Any, policy: Policy) -> Any:
    """A dict's key as it is compared."""
    if policy.types == "json" and type(key) is int and key.bit_length() < 1000:
        key = str(key)
    return _key(key, policy)


def _key(value: Any, policy: Policy) -> Any:
    """A hashable stand-in: equal for values that are the same under the policy, without tolerance."""
    kind = _kind(value, policy)
    if type(value) in (list, tuple):
        return kind, tuple(_key(v, policy) for v in value)
    if type(value) in (set, frozenset):
        return kind, frozenset(_key(v, policy) for v in value)
    if type(value) is dict:
        pairs = cast("dict[Any, Any]", value).items()
        return kind, frozenset((_name(k, policy), _key(v, policy)) for k, v in pairs)
    if kind is None:
        return object()
    return (kind, "nan") if value != value and policy.types != "python" else (kind, value)


def _same_bag(want: Sequence[Any], got: Sequence[Any], policy: Policy) -> bool:
    if len(want) != len(got):
        return False
    if not policy.tolerance:
        return Counter(_key(v, policy) for v in want) == Counter(_key(v, policy) for v in got)
    left = list(got)
    for value in want:
        place = next((i for i, other in enumerate(left) if _same(value, other, policy)), None)
        if place is None:
            return False
        left.pop(place)
    return True


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _same_line(want: str, got: str, tolerance: float) -> bool:
    if not tolerance:
        return False
    wanted, given = want.split(), got.split()
    return len(wanted) == len(given) and all(
        a == b or _near(a, b, tolerance) for a, b in zip(wanted, given, strict=True)
    )


def _near(want: str, got: str, tolerance: float) -> bool:
    try:
        a, b = float(want), float(got)
    except ValueError:
        return False
    return math.isfinite(a) and abs(a - b) <= tolerance * max(1.0, abs(a))
