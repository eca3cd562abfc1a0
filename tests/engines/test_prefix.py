"""The prefix tree against a dictionary of all prefixes."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.engines.prefix import PrefixTree, common

Runs = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=10), min_size=1, max_size=12)


def keys(tokens: list[int]) -> torch.Tensor:
    """(1, 1, t, 1): the value at t is a hash of the prefix that ends there."""
    values = [float(hash(tuple(tokens[: i + 1])) % 9973) for i in range(len(tokens))]
    return torch.tensor(values).view(1, 1, -1, 1)


def gather(tree: PrefixTree, tokens: list[int]) -> list[float]:
    pieces = [node.k[0, 0, :n, 0] for node, n in tree.match(tokens).pieces]  # type: ignore[index]
    return torch.cat(pieces).tolist() if pieces else []


@settings(max_examples=50, deadline=None)
@given(Runs, Runs)
def test_it_finds_exactly_the_longest_known_prefix_and_its_values(
    known: list[list[int]], asked: list[list[int]]
) -> None:
    tree = PrefixTree(10**6)
    prefixes = {()}
    for run in known:
        tree.insert(run, keys(run), -keys(run))
        prefixes |= {tuple(run[:i]) for i in range(len(run) + 1)}
    assert tree.tokens == len(prefixes) - 1
    for run in asked + known:
        longest = max(i for i in range(len(run) + 1) if tuple(run[:i]) in prefixes)
        found = tree.match(run)
        assert found.length == longest
        assert gather(tree, run) == keys(run)[0, 0, :longest, 0].tolist()
        assert all(torch.equal(node.v, -node.k) for node, _ in found.pieces)  # type: ignore[operator, arg-type]


@settings(max_examples=30, deadline=None)
@given(Runs, st.integers(0, 40))
def test_trimming_keeps_to_the_capacity_and_what_is_left_is_right(known: list[list[int]], capacity: int) -> None:
    tree = PrefixTree(capacity)
    for run in known:
        tree.insert(run, keys(run), keys(run))
        tree.trim()
        assert tree.tokens <= capacity
    assert tree.tokens == sum(len(node.tokens) for node in tree._nodes())
    for run in known:
        found = gather(tree, run)
        assert found == keys(run)[0, 0, : len(found), 0].tolist()


def test_the_least_recently_used_goes_first_and_the_pinned_stays() -> None:
    tree = PrefixTree(20)
    runs = [[i] * 6 for i in range(3)]
    nodes = [tree.insert(run, keys(run), keys(run)) for run in runs]
    tree.match(runs[0])
    tree.insert([9] * 6, keys([9] * 6), keys([9] * 6))
    tree.trim()
    assert [tree.match(run).length for run in runs] == [6, 0, 6]
    tree.pin(nodes[2])
    for i in range(10, 14):
        tree.insert([i] * 6, keys([i] * 6), keys([i] * 6))
        tree.trim()
    assert tree.match(runs[2]).length == 6
    assert tree.match(runs[0]).length == 0
    tree.unpin(nodes[2])


def test_a_pin_survives_a_cut_above_it() -> None:
    tree = PrefixTree(6)
    node = tree.insert([1, 2, 3, 4], keys([1, 2, 3, 4]), keys([1, 2, 3, 4]))
    tree.pin(node)
    tree.insert([1, 2, 7, 8], keys([1, 2, 7, 8]), keys([1, 2, 7, 8]))
    tree.insert([5, 5, 5], keys([5, 5, 5]), keys([5, 5, 5]))
    tree.trim()
    assert tree.match([1, 2, 3, 4]).length == 4


def test_values_are_copied_not_borrowed() -> None:
    tree, k = PrefixTree(100), keys([1, 2, 3])
    tree.insert([1, 2, 3], k, k)
    k.zero_()
    assert gather(tree, [1, 2, 3]) == keys([1, 2, 3])[0, 0, :, 0].tolist()


def test_common() -> None:
    assert common((1, 2, 3), (1, 2, 4)) == 2
    assert common((1, 2), (0, 1, 2, 3), at=1) == 2
    assert common((), (1,)) == 0
