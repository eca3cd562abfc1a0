"""Only plain values pass, whatever bytes arrive."""

from __future__ import annotations

import contextlib
import math
from collections import Counter, OrderedDict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.sandbox.codec import Refused, decode, encode

keys = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats(allow_nan=False)
plain = st.recursive(
    keys | st.complex_numbers(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
        | st.sets(keys, max_size=4)
        | st.frozensets(keys, max_size=4)
    ),
    max_leaves=12,
)


@given(plain)
@settings(max_examples=100, deadline=None)
def test_what_goes_in_comes_out_with_its_types(value: Any) -> None:
    again = decode(encode(value, 1 << 20))
    assert repr(again) == repr(value) or again == value
    assert type(again) is type(value)


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_a_value_or_refused(data: bytes) -> None:
    with contextlib.suppress(Refused):
        decode(data)


class Always(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


@pytest.mark.parametrize(
    "value", [object(), Always(3), Counter("a"), OrderedDict(), range(3), len, [Always()], {1: object()}]
)
def test_anything_but_exact_types_is_refused(value: Any) -> None:
    with pytest.raises(Refused):
        encode(value, 1000)


def test_nan_surrogates_and_signed_zero_survive() -> None:
    again = decode(encode([math.nan, -0.0, "\ud800", True, 1], 1000))
    assert math.isnan(again[0]) and math.copysign(1, again[1]) == -1
    assert again[2:] == ["\ud800", True, 1] and again[3] is True


def test_size_depth_and_self_reference_are_bounded() -> None:
    loop: list[Any] = []
    loop.append({"x": (loop,)})
    deep: Any = []
    for _ in range(1000):
        deep = [deep]
    wide: Any = [0]
    for _ in range(60):
        wide = [wide, wide]  # 2 ** 60 elements once written out
    for value in (loop, deep, wide, "x" * 2000, b"x" * 2000, 1 << 20_000, list(range(2000))):
        with pytest.raises(Refused):
            encode(value, 1000)


def test_keys_made_to_collide_are_refused() -> None:
    prime = (1 << 61) - 1
    with pytest.raises(Refused, match="collide"):
        decode(encode({k * prime for k in range(1000)}, 1 << 20))
    assert decode(encode(set(range(5000)), 1 << 20)) == set(range(5000))
