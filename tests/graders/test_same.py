"""Comparison of plain values: types, tolerance, order, and values made to break it."""

from __future__ import annotations

from typing import Any

import pytest

from ponder.graders.same import TYPES, Policy, same, same_output, shown, shown_apart

NAN = float("nan")
EQUAL: list[tuple[Any, Any, str]] = [  # want, got, the policies under which they are the same
    (1, 1, "spj"), (1, True, "p"), (1, 1.0, "pj"), (True, 1, "p"), (0, False, "p"), (0.0, -0.0, "spj"), (NAN, NAN, "sj"),
    ("1", 1, ""), ("a", "a", "spj"), (b"a", "a", ""), (None, 0, ""), (1 + 0j, 1, "p"), ((), (), "spj"),
    ((1, 2), (1, 2.0), "pj"), ((1, (2,)), (1, (True,)), ""), (10**400, float("inf"), ""), (2**63, float(2**63), "pj"),
]  # fmt: skip


@pytest.mark.parametrize("types", TYPES)
def test_scalars(types: Any) -> None:
    assert [pair for *pair, marks in EQUAL if same(*pair, Policy(types)) != (types[0] in marks)] == []


@pytest.mark.parametrize("types", TYPES)
def test_containers(types: Any) -> None:
    def equal(want: Any, got: Any) -> bool:
        return same(want, got, Policy(types))

    assert equal([1, [2]], [1, [2]])
    assert equal({"a": [1]}, {"a": [1]})
    assert equal({1, 2}, {2, 1})
    assert equal([1], (1,)) == (types == "json")
    assert equal({1: 2}, {True: 2}) == (types == "python")
    assert equal({1: 2}, {"1": 2}) == (types == "json")
    assert equal({1, 0}, {True, False}) == (types == "python")
    assert equal({1}, frozenset({1})) == (types == "python")
    assert equal({(1, NAN)}, {(1, NAN)})
    assert not equal([1, 2], [1])
    assert not equal({"a": 1}, {"b": 1})
    assert not equal({1}, {2})


def test_a_value_of_another_type_equals_nothing() -> None:
    class Anything(int):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

    for types in TYPES:
        for policy in (Policy(types), Policy(types, unordered=True)):
            assert not same(1, Anything(1), policy)
            assert not same([1], [Anything(1)], policy)
            assert not same({1}, {Anything(1)}, policy)
            assert not same({1: 1}, {Anything(1): 1}, policy)


def test_tolerance() -> None:
    near = Policy(tolerance=1e-6)
    assert same(0.333333333, 1 / 3, near)
    assert same([1e9], [1e9 + 1], near)
    assert not same(1e-9, 1e-5, near)
    assert not same(1.0, NAN, near)
    assert not same(float("inf"), 1e300, near)
    assert not same(1, 1.0, near)
    assert same(1, 1.0000001, Policy("json", 1e-6))
    assert not same(0, False, Policy("json", 2))
    assert not same(10**400, 1.5, Policy("json", 1e-6))


def test_order() -> None:
    bag = Policy(unordered=True)
    assert same([3, 1, 1], [1, 3, 1], bag)
    assert not same([3, 1, 1], [3, 3, 1], bag)
    assert not same([1, 0], [True, False], bag)
    assert same([[1, 2], {"a": 1}], [{"a": 1}, [1, 2]], bag)
    assert not same([[1, 2]], [[2, 1]], bag)
    assert same([1.0, 2.0], [2.0000001, 1.0], Policy(tolerance=1e-6, unordered=True))
    assert not same([1.0, 1.0], [1.0, 2.0], Policy(tolerance=1e-6, unordered=True))


def test_deep_values_are_not_the_same_rather_than_an_error() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert not same(deep, [deep])
    assert "too large" in shown(deep)
    assert "too large" in shown(10**10_000)
    assert len(shown("x" * 10**6)) == 120


def test_output() -> None:
    assert same_output("1 2\n3\n", "1 2 \r\n3\n\n\n")
    assert not same_output("1 2", "1  2")
    assert not same_output("1", "1\n2")
    assert not same_output("a", "A")
    assert same_output("a\nb", "b\na\n", Policy(unordered=True))
    assert same_output("x 0.5", "x 0.50000001", Policy(tolerance=1e-6))
    assert not same_output("x 0.5", "x nan", Policy(tolerance=1e-6))
    assert not same_output("0.5", "0.50000001")


def test_long_values_are_shown_where_they_differ() -> None:
    words = [f"word {n}" for n in range(60)]
    want, got = shown_apart(words, [*words[:50], "WORD 50", *words[51:]])
    assert "'word 50'" in want and "'WORD 50'" in got and "'word 48'" in want
    assert len(want) == len(got) == 120 and want[0] == want[-1] == got[0] == got[-1] == "…"
    assert shown_apart(words, [0, *words]) == (shown(words), shown([0, *words]))  # they differ at once
    want, got = shown_apart("x" * 300, "x" * 299)
    assert (len(want), got) == (43, "…" + "x" * 40 + "'")
    assert shown_apart([1], [2]) == ("[1]", "[2]")
    assert shown_apart(1, 10**10_000)[1] == "a int too large to print"
    assert shown_apart(words, words)[0].startswith("…")
