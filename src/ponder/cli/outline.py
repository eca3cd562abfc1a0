"""A search tree as rows for JSON, and as an indented outline for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ponder.cli.terminal import printable, shortened
from ponder.search.solution import Solution
from ponder.search.tree import Node

WIDTH = 100


def rows(solution: Solution, tokenizer: Any) -> list[dict[str, Any]]:
    """A row per node, each parent before its children, children in the order they were made.

    `text` is the node's own span; without a tokenizer only the ends have one. `dropped` tokens of the parent were taken away.
    """
    tree = solution.tree
    children: dict[int, list[Node]] = {}
    for node in tree:
        if node.parent is not None:
            children.setdefault(node.parent.index, []).append(node)
    ends = {node.index: number for number, node in enumerate(solution.ends)}

    def row(node: Node) -> dict[str, Any]:
        end = ends.get(node.index)
        if tokenizer is not None:
            text = str(tokenizer.decode(node.token_ids))
        else:
            text = "" if end is None else solution.completions[end].text
        return {
            "place": node.place,
            "depth": node.depth,
            "text": text,
            "tokens": node.span,
            "score": tree.scores.get(node.index),
            "finish": node.finish,
            "forced": node.forced,
            "dropped": node.dropped,
            "withdrawn": node.index in tree.withdrawn,
            "answer": None if end is None else solution.candidates[end].answer,
            "chosen": end is not None and end == solution.chosen,
        }

    return [row(node) for node in _walk(tree.root, children) if node.parent is not None]


def _walk(root: Node, children: Mapping[int, Sequence[Node]]) -> Iterator[Node]:
    """Depth first, without recursion: a chain may be thousands of nodes long."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(children.get(node.index, ())))


def outline(found: Sequence[Mapping[str, Any]], width: int = WIDTH) -> str:
    """One line per node: indent, score, text, and what there is to say about it; control characters spelled out."""
    return "\n".join(_line(row, width) for row in found)


def _line(row: Mapping[str, Any], width: int) -> str:
    score = "    -" if row["score"] is None else f"{row['score']:5.2f}"
    text = shortened(printable(row["text"]), width)
    return f"{'  ' * (row['depth'] - 1)}{score}  {text}{''.join(f'  [{note}]' for note in _notes(row))}"


def _notes(row: Mapping[str, Any]) -> Iterator[str]:
    if row["dropped"]:
        yield f"in place of {row['dropped']} tokens"
    if row["forced"]:
        yield "written by the strategy"
    if row["withdrawn"]:
        yield "withdrawn"
    elif row["finish"] not in (None, "stop"):
        yield str(row["finish"])
    if row["chosen"]:
        yield "the answer"
