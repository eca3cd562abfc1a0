"""What a report shows of a search: its nodes with texts, scores, exact step labels, and the chosen branch. JSON values only.

Exact labels come from the task, which reads the thinking of a whole branch; each is laid on the node in whose text it
begins. Where a strategy took tokens away a branch's text is not the sum of its nodes', and such nodes carry no labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ponder.evals.traces import Stepper, pieces, problem_json
from ponder.evals.trees import TreeRow
from ponder.search.tree import Node, Tree
from ponder.text.tokenizer import THINK_CLOSE, THINK_OPEN
from ponder.types import Problem, Step

LONGEST = 2000  # characters of one node
MOST_NODES = 300


def view(row: TreeRow, problem: Problem, steps: Stepper | None) -> dict[str, Any]:
    """One search. Of a tree with very many nodes the first `MOST_NODES` and the chosen branch."""
    tree = row.tree()
    given = row.given
    chosen = {node.index for node in tree.nodes[given.node].branch} if given is not None else set[int]()
    labelled = _labelled(row, tree, problem, steps)
    kept = [n for n in tree if n.index < MOST_NODES or n.index in chosen]
    known = {node.index for node in kept}
    ends = {end.node: end for end in row.ends}
    nodes = [_node(row, node, tree, labelled, node.index in chosen) for node in kept if _has(node, known)]
    for node in nodes:
        end = ends.get(node["index"])
        if end is not None:
            node["end"] = {"answer": _cut(end.answer or ""), "outcome": end.outcome, "reason": end.reason}
    return {
        "problem": problem_json(problem),
        "strategy": row.strategy,
        "effort": row.effort or "none",
        "attempt": row.attempt,
        "outcome": "unparsed" if given is None else given.outcome,
        "answer": None if given is None or given.answer is None else _cut(given.answer),
        "branches": len(row.ends),
        "right": sum(row.correct),
        "ended": row.ended,
        "flat": row.flat,
        "forwarded": row.ledger.forwarded,
        "decoded": row.ledger.decoded,
        "left_out": len(tree) - len(nodes),
        "nodes": nodes,
    }


def _has(node: Node, known: set[int]) -> bool:
    return node.parent is None or node.parent.index in known


def _node(
    row: TreeRow, node: Node, tree: Tree, labelled: dict[int, list[dict[str, Any]]], chosen: bool
) -> dict[str, Any]:
    stored = row.nodes[node.index]
    found: dict[str, Any] = {
        "index": node.index,
        "parent": None if node.parent is None else node.parent.index,
        "chosen": chosen,
        "tokens": node.span,
        "pieces": _short(labelled.get(node.index) or [{"text": stored.get("text", "")}]),
    }
    if node.index in tree.scores:
        found["score"] = tree.scores[node.index]
    marks = {name: True for name in ("forced", "dropped", "withdrawn") if stored.get(name)}
    return found | marks


def _short(parts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    left, kept = LONGEST, list[dict[str, Any]]()
    for part in parts:
        if left <= 0:
            break
        text = part["text"]
        kept.append(part | {"text": text if len(text) <= left else text[:left] + " […]"})
        left -= len(text)
    return kept


def _cut(text: str, most: int = 200) -> str:
    return text if len(text) <= most else text[:most] + " […]"


def _labelled(row: TreeRow, tree: Tree, problem: Problem, steps: Stepper | None) -> dict[int, list[dict[str, Any]]]:
    """The labelled pieces of each node, from the first leaf whose branch holds it."""
    if steps is None:
        return {}
    found: dict[int, list[dict[str, Any]]] = {}
    for leaf in _leaves(tree)[:MOST_NODES]:
        branch = leaf.branch
        if any(part.dropped or part.fresh for part in branch):
            continue
        texts = [row.nodes[part.index].get("text", "") for part in branch]
        whole = "".join(texts)
        for part, cut in zip(branch, _split(_pieces(whole, row.opened, problem, steps), texts), strict=True):
            found.setdefault(part.index, cut)
    return found


def _leaves(tree: Tree) -> list[Node]:
    return [node for node in tree if node.parent is not None and not tree.born(node)]


def _pieces(whole: str, opened: bool, problem: Problem, steps: Stepper) -> list[dict[str, Any]]:
    """The whole branch in pieces: think tags and answer as they are, the thinking cut where labelled steps begin and end."""
    if not opened and not whole.startswith(THINK_OPEN):
        return [{"text": whole}]
    head = THINK_OPEN if whole.startswith(THINK_OPEN) else ""
    thinking, mark, rest = whole.removeprefix(head).partition(THINK_CLOSE)
    labels: Sequence[Step] = steps(problem, thinking) if thinking else []
    outer = [{"text": head}] if head else []
    return [*outer, *pieces(thinking, labels), *([{"text": mark + rest}] if mark else [])]


def _split(parts: Sequence[dict[str, Any]], texts: Sequence[str]) -> list[list[dict[str, Any]]]:
    """The pieces shared out over texts that follow each other; a piece's reason stands where it begins."""
    queue = [dict(part) for part in parts]
    found: list[list[dict[str, Any]]] = []
    for text in texts:
        own: list[dict[str, Any]] = []
        left = len(text)
        while left > 0 and queue:
            part = queue[0]
            taken = part["text"][:left]
            own.append(part | {"text": taken})
            left -= len(taken)
            part["text"] = part["text"][len(taken) :]
            if "reason" in part:
                part["reason"] = ""
            if not part["text"]:
                queue.pop(0)
        found.append(own)
    return found
