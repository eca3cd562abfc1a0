"""Inputs made by changing the visible ones, for problems that have neither a generator nor a model to write one.

    numbers     n ± 1, 0, 1, -n, 2 n, another of the same length
    texts       a character dropped, doubled, swapped, put in, another; turned round, empty, twice
    lists       an item dropped, doubled, swapped, changed; sorted, turned round, empty, twice
    arguments   one taken from another input

Printed inputs are changed by token and by line; where a number says how long the next line is, both change together. Nobody
promises that such an input is valid: `submit_tests` asks the candidates themselves. After the type-aware mutation of EvalPlus
(Liu et al. 2023, arXiv 2305.01210). Not covered: constraints between arguments.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Any, cast

from ponder.search.submit_form import arguments, text_of
from ponder.search.submit_inputs import Input, distinct

TRIES = 20
CHANGES = 3
LONGEST_LIST = 2000
_NUMBER = re.compile(r"-?\d{1,300}")
_LETTERS = ("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", "()[]{}<>", " _-.,:;!?")


def mutants(seeds: Sequence[str], count: int, seed: int = 0, calls: bool = False) -> list[Input]:
    """Up to `count` different inputs made from `seeds` (not among them); `calls`: they are lists of arguments."""
    rng = random.Random(f"submit/inputs/{seed}/{len(seeds)}/{seeds[0] if seeds else ''}")
    change = _call if calls else _lines
    made: dict[str, None] = {}
    for number in range(TRIES * count if seeds else 0):
        text = change(rng, seeds[number % len(seeds)], seeds)
        if text is not None and text not in seeds:
            made[text] = None
        if len(made) >= count:
            break
    return distinct(made, count)


# ---- arguments


def _call(rng: random.Random, text: str, seeds: Sequence[str]) -> str | None:
    given, other = arguments(text), arguments(rng.choice(seeds))
    if given is None or other is None:
        return None
    args, kwargs = list(given[0]), dict(given[1])
    slots: list[Any] = [*range(len(args)), *kwargs]
    if not slots:
        return None
    for _ in range(rng.randint(1, CHANGES)):
        slot = rng.choice(slots)
        if isinstance(slot, int):
            own = slot < len(other[0]) and rng.random() < 0.15
            args[slot] = other[0][slot] if own else changed(rng, args[slot])
        else:
            kwargs[slot] = changed(rng, kwargs[slot])
    return text_of(tuple(args), kwargs)


def changed(rng: random.Random, value: Any) -> Any:
    """A plain value of the same type, a little different where the type allows."""
    kind = cast("type[Any]", type(value))
    if kind is bool:
        return not value
    if kind is int:
        return _integer(rng, value)
    if kind is float:
        return rng.choice([0.0, 1.0, -value, value * 2, value / 2, value + 1, round(value)])
    if kind is str:
        return _text(rng, value)
    if kind is list or kind is tuple:
        items: list[Any] = _items(rng, list(cast("list[Any]", value)))
        return items if kind is list else tuple(items)
    if kind is dict:
        return _pairs(rng, cast("dict[Any, Any]", value))
    if kind is set:
        members = sorted(cast("set[Any]", value), key=repr)
        return {v for v in _items(rng, members) if v.__hash__ is not None}
    return value


def _integer(rng: random.Random, value: int) -> int:
    digits = len(str(abs(value))) if value.bit_length() < 1000 else 300
    near = [value + 1, value - 1, 0, 1, 2, -value, value * 2, value // 2]
    alike = rng.randint(0, 10**digits) * (-1 if value < 0 else 1)
    return rng.choice([*near, alike, alike, rng.randint(0, 10)])


def _text(rng: random.Random, value: str) -> str:
    if not value:
        return rng.choice(["a", " ", "0", "ab"])
    at, to = rng.randrange(len(value)), rng.randrange(len(value))
    pool = next((p for p in _LETTERS if value[at] in p), value)
    letters = list(value)
    letters[at], letters[to] = letters[to], letters[at]
    return rng.choice(
        [
            value[:at] + value[at + 1 :],
            value[: at + 1] + value[at:],
            value[:at] + rng.choice(pool) + value[at + 1 :],
            value[:at] + value[to] + value[at + 1 :],
            value[:at] + rng.choice(pool) + value[at:],
            "".join(letters),
            value[::-1],
            value[:at],
            (value + value)[:LONGEST_LIST],
            value.swapcase(),
        ]
    )


def _items(rng: random.Random, items: list[Any]) -> list[Any]:
    if not items:
        return items
    at, to = rng.randrange(len(items)), rng.randrange(len(items))
    swapped = list(items)
    swapped[at], swapped[to] = swapped[to], swapped[at]
    ways: list[Callable[[], list[Any]]] = [
        lambda: [*items[:at], changed(rng, items[at]), *items[at + 1 :]],
        lambda: [*items[:at], changed(rng, items[at]), *items[at + 1 :]],
        lambda: [changed(rng, v) for v in items],
        lambda: items[:at] + items[at + 1 :],
        lambda: items[: at + 1] + items[at:],
        lambda: [*items[:at], items[to], *items[at + 1 :]],
        lambda: [*items, changed(rng, items[at])],
        lambda: swapped,
        lambda: items[::-1],
        lambda: _in_order(items),
        lambda: (items + items)[:LONGEST_LIST],
        lambda: items[:at],
    ]
    return rng.choice(ways)()


def _in_order(items: list[Any]) -> list[Any]:
    try:
        return sorted(items)
    except TypeError:
        return items[::-1]


def _pairs(rng: random.Random, value: dict[Any, Any]) -> dict[Any, Any]:
    if not value:
        return value
    key = rng.choice(list(value))
    if rng.random() < 0.3:
        return {k: v for k, v in value.items() if k != key}
    return {**value, key: changed(rng, value[key])}


# ---- printed inputs


def _lines(rng: random.Random, text: str, others: Sequence[str]) -> str:
    lines = [line.split(" ") for line in text.rstrip("\n").split("\n")]
    for _ in range(rng.randint(1, CHANGES)):
        at = rng.randrange(len(lines))
        counted = [i for i in range(len(lines) - 1) if _counts(lines[i], lines[i + 1])]
        if counted and rng.random() < 0.4:
            _resize(rng, lines, rng.choice(counted))
        elif len(lines[at]) > 1 and rng.random() < 0.3 and (at - 1) not in counted:
            lines[at] = _items(rng, lines[at]) if rng.random() < 0.3 else rng.sample(lines[at], len(lines[at]))
        else:
            place = rng.randrange(len(lines[at]))
            if at not in counted:
                lines[at][place] = _token(rng, lines[at][place])
    return "\n".join(" ".join(line) for line in lines) + "\n"


def _counts(head: Sequence[str], line: Sequence[str]) -> bool:
    """Does the first number of a line say how many tokens the next one has?"""
    return head[0] == str(len(line))


def _resize(rng: random.Random, lines: list[list[str]], at: int) -> None:
    row = lines[at + 1]
    if len(row) > 1 and rng.random() < 0.5:
        row = row[: rng.randint(1, len(row) - 1)]
    else:
        row = [*row, *(_token(rng, rng.choice(row)) for _ in range(rng.randint(1, max(2, len(row)))))]
    row = row[:LONGEST_LIST]
    lines[at] = [str(len(row)), *lines[at][1:]]
    lines[at + 1] = row


def _token(rng: random.Random, token: str) -> str:
    if _NUMBER.fullmatch(token):
        return str(_integer(rng, int(token)))
    return _text(rng, token) if token else token
