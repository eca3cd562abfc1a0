"""The tree that a search leaves behind: immutable nodes, in the order they were made, and the scores they got.

A node is a span of tokens: a step, a whole answer, or words the strategy put in. Its text is decoded from the tokens of its
branch and never encoded again. Everything decided after exploring (which answer, which verifier, which k) is a function of
this tree, so it can be decided again without a new token; `plain` and `read` carry it to disk and back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ponder.types import Finish


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One span of a branch; nodes are compared by identity.

    `written` are all tokens of the branch since its prompt, the last `span` of them this node's own; `drawn` their
    log-probabilities (0 where the strategy wrote them). `finish` is None while the branch can go on. `index` numbers the
    nodes of a tree as they were made, `number` the children of a node, `place` is the path of numbers. `forced`: the
    strategy wrote the span. `dropped` tokens of the parent were taken away. `opened` and `thought`: is the branch inside
    its thinking after this span, and how many thinking tokens has it?
    """

    parent: Node | None
    index: int
    number: int
    prompt_ids: tuple[int, ...]
    written: tuple[int, ...] = ()
    drawn: tuple[float, ...] = ()
    span: int = 0
    finish: Finish | None = None
    forced: bool = False
    dropped: int = 0
    opened: bool = False
    thought: int = 0
    depth: int = 0
    place: str = ""
    fresh: bool = True
    starts: tuple[int, ...] = ()

    @property
    def done(self) -> bool:
        """Has the branch ended?"""
        return self.finish is not None

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The tokens of this span."""
        return self.written[len(self.written) - self.span :]

    @property
    def logprobs(self) -> tuple[float, ...]:
        """Log-probabilities of this span's tokens."""
        return self.drawn[len(self.drawn) - self.span :]

    @property
    def branch(self) -> tuple[Node, ...]:
        """The nodes from the root's child to this one; empty for the root."""
        nodes: list[Node] = []
        node = self
        while node.parent is not None:
            nodes.append(node)
            node = node.parent
        return tuple(reversed(nodes))

    @property
    def turn(self) -> tuple[Node, ...]:
        """The part of `branch` that belongs to its own prompt: all of it unless the strategy took a new turn."""
        nodes: list[Node] = []
        node = self
        while node.parent is not None:
            nodes.append(node)
            if node.fresh:
                break
            node = node.parent
        return tuple(reversed(nodes))

    @property
    def logprob(self) -> float:
        """Sum of the log-probabilities of everything the model wrote on this branch."""
        return sum(self.drawn)


@dataclass(slots=True, eq=False)
class Tree:
    """All nodes of one problem, the root first, and each node's score by its index (absent: never scored; None: abstained).

    `withdrawn` are the indices of ended branches that the strategy does not put forward as answers.
    """

    nodes: list[Node] = field(default_factory=list[Node])
    scores: dict[int, float | None] = field(default_factory=dict[int, float | None])
    withdrawn: set[int] = field(default_factory=set[int])
    _children: dict[int, int] = field(default_factory=dict[int, int])

    @property
    def root(self) -> Node:
        return self.nodes[0]

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def add(
        self,
        parent: Node | None,
        prompt_ids: tuple[int, ...],
        written: tuple[int, ...] = (),
        drawn: tuple[float, ...] = (),
        span: int = 0,
        finish: Finish | None = None,
        forced: bool = False,
        dropped: int = 0,
        opened: bool = False,
        thought: int = 0,
    ) -> Node:
        """A new node under `parent`, numbered."""
        number, place, depth, fresh = 0, "", 0, True
        if parent is not None:
            number = self._children.get(parent.index, 0)
            self._children[parent.index] = number + 1
            place, depth = f"{parent.place}.{number}", parent.depth + 1
            fresh = prompt_ids is not parent.prompt_ids and prompt_ids != parent.prompt_ids
        at = len(written) - span
        starts = () if parent is None or fresh else parent.starts
        if starts and starts[-1] >= at:  # some were dropped
            starts = tuple(start for start in starts if start < at)
        if span:
            starts = (*starts, at)
        node = Node(
            parent, len(self.nodes), number, prompt_ids, written, drawn, span, finish, forced, dropped, opened, thought,
            depth, place, fresh, starts,
        )  # fmt: skip
        self.nodes.append(node)
        return node

    def owns(self, node: Node) -> bool:
        """Is `node` of this tree?"""
        return 0 <= node.index < len(self.nodes) and self.nodes[node.index] is node

    def born(self, node: Node) -> int:
        """How many children `node` has so far."""
        return self._children.get(node.index, 0)

    def finished(self) -> list[Node]:
        """The ends of branches that ended and were not withdrawn, in the order they were made."""
        return [node for node in self.nodes if node.done and node.index not in self.withdrawn]

    def path_scores(self, node: Node) -> list[float]:
        """The scores along the branch of `node` since its last turn, those that were given."""
        found: list[float] = []
        at: Node | None = node
        while at is not None:
            score = self.scores.get(at.index)
            if score is not None:
                found.append(score)
            at = None if at.fresh else at.parent
        found.reverse()
        return found

    def last_score(self, node: Node) -> float | None:
        """The last of `path_scores`."""
        at: Node | None = node
        while at is not None:
            score = self.scores.get(at.index)
            if score is not None:
                return score
            at = None if at.fresh else at.parent
        return None

    @property
    def tokens(self) -> int:
        """The tree's own size: every prompt once, and every span once."""
        return sum(node.span + (len(node.prompt_ids) if node.fresh else 0) for node in self.nodes)


def plain(tree: Tree) -> dict[str, Any]:
    """The tree as JSON: a row per node, parents before children."""
    rows: list[dict[str, Any]] = []
    for node in tree:
        row: dict[str, Any] = {
            "parent": None if node.parent is None else node.parent.index,
            "tokens": list(node.token_ids),
            "logprobs": [round(x, 6) for x in node.logprobs],
            "finish": node.finish,
        }
        if node.parent is not None and node.fresh:
            row["prompt"] = list(node.prompt_ids)
        if node.forced or node.dropped:
            row |= {"forced": node.forced, "dropped": node.dropped}
        if node.index in tree.withdrawn:
            row["withdrawn"] = True
        if node.index in tree.scores:
            row["score"] = tree.scores[node.index]
        rows.append(row)
    return {"prompt": list(tree.root.prompt_ids), "nodes": rows}


def read(row: Mapping[str, Any]) -> Tree:
    """The tree of `plain`; thinking states are not restored, since nothing is drawn from it again."""
    tree = Tree()
    prompt: tuple[int, ...] = tuple(row["prompt"])
    for index, line in enumerate(row["nodes"]):
        at: int | None = line["parent"]
        parent = None if at is None else tree.nodes[at]
        fresh = parent is None or "prompt" in line
        ids: tuple[int, ...] = tuple(line["tokens"])
        logprobs: tuple[float, ...] = tuple(line["logprobs"])
        dropped: int = line.get("dropped", 0)
        written: tuple[int, ...] = () if parent is None or fresh else parent.written
        drawn: tuple[float, ...] = () if parent is None or fresh else parent.drawn
        keep = len(written) - dropped
        tree.add(
            parent,
            prompt_ids=prompt if parent is None else tuple(line.get("prompt", parent.prompt_ids)),
            written=written[:keep] + ids,
            drawn=drawn[:keep] + logprobs,
            span=len(ids),
            finish=line["finish"],
            forced=line.get("forced", False),
            dropped=dropped,
        )
        if line.get("withdrawn", False):
            tree.withdrawn.add(index)
        if "score" in line:
            tree.scores[index] = line["score"]
    return tree
