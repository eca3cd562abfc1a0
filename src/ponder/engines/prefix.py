"""A radix tree of token prefixes and their keys and values, so that whoever shares a prefix never computes it twice.

Each node holds a run of tokens and their keys and values (L, K, t, H). Nodes in use are pinned by a count; unpinned leaves
are dropped, least recently used first, when the tree outgrows its capacity (in tokens). A node is cut in two where a new
sequence departs from it.

Shapes: L layers, K key-value heads, t tokens of a node, H head width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(slots=True, eq=False)
class Node:
    """A run of tokens below its parent."""

    tokens: tuple[int, ...]
    k: Tensor | None
    v: Tensor | None
    parent: Node | None = None
    children: dict[int, Node] = field(default_factory=dict)
    pins: int = 0
    used: int = 0


@dataclass(frozen=True, slots=True)
class Match:
    """The longest known prefix of a sequence: `pieces` are (node, tokens of it that match), `length` their sum."""

    pieces: tuple[tuple[Node, int], ...]
    length: int


class PrefixTree:
    """Prefixes → keys and values, up to `capacity` tokens (pinned ones may exceed it)."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.tokens = 0
        self.root = Node((), None, None)
        self._clock = 0

    def match(self, tokens: Sequence[int]) -> Match:
        """The longest prefix of `tokens` in the tree."""
        tokens = tuple(tokens)
        self._clock += 1
        pieces: list[tuple[Node, int]] = []
        node, at = self.root, 0
        while at < len(tokens) and (child := node.children.get(tokens[at])) is not None:
            shared = common(child.tokens, tokens, at)
            child.used = self._clock
            pieces.append((child, shared))
            at += shared
            if shared < len(child.tokens):
                break
            node = child
        return Match(tuple(pieces), at)

    def insert(self, tokens: Sequence[int], k: Tensor, v: Tensor) -> Node:
        """Add `tokens`, whose keys and values are `k[:, :, :len(tokens)]` (copied); the node at its end."""
        tokens = tuple(tokens)
        found = self.match(tokens)
        node = self.root
        if found.pieces:
            node, shared = found.pieces[-1]
            if shared < len(node.tokens):
                node = self._cut(node, shared)
        if found.length < len(tokens):
            start, end = found.length, len(tokens)
            leaf = Node(tokens[start:], k[:, :, start:end].clone(), v[:, :, start:end].clone(), node, used=self._clock)
            node.children[tokens[start]] = leaf
            self.tokens += end - start
            node = leaf
        return node

    def _cut(self, node: Node, at: int) -> Node:
        """Split `node` before its token `at`; the new upper half. The lower half stays the same object, pins and all."""
        assert node.parent is not None
        assert node.k is not None
        assert node.v is not None
        upper = Node(
            node.tokens[:at], node.k[:, :, :at].clone(), node.v[:, :, :at].clone(), node.parent, used=node.used
        )
        node.parent.children[node.tokens[0]] = upper
        upper.children[node.tokens[at]] = node
        node.tokens, node.k, node.v, node.parent = node.tokens[at:], node.k[:, :, at:], node.v[:, :, at:], upper
        return upper

    def pin(self, node: Node) -> None:
        """Keep `node`, and with it everything above, until `unpin`."""
        node.pins += 1

    def unpin(self, node: Node) -> None:
        node.pins -= 1
        assert node.pins >= 0

    def trim(self) -> None:
        """Drop least recently used leaves until the tree fits; to nine tenths, so that it need not be done each time."""
        if self.tokens <= self.capacity:
            return
        goal = self.capacity * 9 // 10
        while self.tokens > goal:
            idle = sorted((n for n in self._nodes() if not n.children and not n.pins), key=lambda n: n.used)
            if not idle:
                return
            for node in idle:
                self._drop(node)
                if self.tokens <= goal:
                    return

    def _drop(self, node: Node) -> None:
        assert node.parent is not None
        del node.parent.children[node.tokens[0]]
        node.parent = None
        self.tokens -= len(node.tokens)

    def clear(self) -> None:
        """Forget everything."""
        self.root, self.tokens = Node((), None, None), 0

    def _nodes(self) -> Iterator[Node]:
        stack = list(self.root.children.values())
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.children.values())


def common(run: Sequence[int], tokens: Sequence[int], at: int = 0) -> int:
    """How many tokens of `run` agree with `tokens` from position `at` on."""
    most = min(len(run), len(tokens) - at)
    if tuple(run[:most]) == tuple(tokens[at : at + most]):
        return most
    for i in range(most):
        if run[i] != tokens[at + i]:
            return i
    raise AssertionError("unreachable")
