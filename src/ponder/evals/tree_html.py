"""One search as HTML: a picture of its tree, and its branches as nested lists, the chosen one marked.

A step's colour is the verifier's score from red (0) over to green (1), grey without one; exact labels of the task stand in
the text as in traces. Steps that follow each other without a fork are one list item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ponder.evals.page import brief, piece, text, whole

SHORT = 160  # characters of a step that stand open
DEEPEST = 150  # nested forks
PICTURE_NODES = 400


def search_block(view: Mapping[str, Any], label: str, picture: bool = False, is_open: bool = False) -> str:
    """A search to open: the problem and its outcome in the summary, the tree inside."""
    mark = "correct" if view["outcome"] == "correct" else ""
    answer = "no answer" if view["answer"] is None else view["answer"]
    counts = f"{view['right']} of {view['branches']} branches right, {view['forwarded']:,} tokens forwarded"
    counts += ", ended by the budget" if view["ended"] == "budget" else ""
    counts += "" if view["attempt"] == 0 else f", attempt {view['attempt']}"
    head = (
        f'<code class="ask">{brief(view["problem"]["text"])}</code> <span class="count">{text(label)}</span> '
        f'<span class="badge {mark}">{text(view["outcome"])}</span> <code>{brief(answer)}</code>'
    )
    reference = view["problem"].get("reference")
    known = "" if reference is None else f" Reference: <code>{brief(reference, 300)}</code>."
    left = f' <span class="count">{view["left_out"]} more nodes are in trees.jsonl.</span>' if view["left_out"] else ""
    asked = whole(view["problem"]["text"])
    drawn = _picture(view) if picture and not view["flat"] else ""
    return (
        f'<details class="search"{" open" if is_open else ""}><summary>{head}</summary>'
        f'{asked}<p class="count">{text(counts)}.{known}{left}</p>{drawn}<div class="tree">{_lists(view)}</div></details>'
    )


def _lists(view: Mapping[str, Any]) -> str:
    children = _children(view["nodes"])
    root = view["nodes"][0]["index"]
    return _fork(children.get(root, []), children, 0)


def _children(nodes: Sequence[Mapping[str, Any]]) -> dict[int, list[Mapping[str, Any]]]:
    found: dict[int, list[Mapping[str, Any]]] = {}
    for node in nodes:
        if node["parent"] is not None:
            found.setdefault(node["parent"], []).append(node)
    return found


def _fork(nodes: Sequence[Mapping[str, Any]], children: Mapping[int, Sequence[Mapping[str, Any]]], depth: int) -> str:
    if not nodes:
        return ""
    if depth > DEEPEST:
        return '<p class="count">Deeper forks are in trees.jsonl.</p>'
    return "<ul>" + "".join(_item(node, children, depth) for node in nodes) + "</ul>"


def _item(node: Mapping[str, Any], children: Mapping[int, Sequence[Mapping[str, Any]]], depth: int) -> str:
    """A run of steps without a fork, then the fork."""
    run = [node]
    while len(below := children.get(run[-1]["index"], [])) == 1 and below[0]["chosen"] == run[-1]["chosen"]:
        run.append(below[0])
    chosen = ' class="onpath"' if node["chosen"] else ""
    steps = "".join(_step(step) for step in run)
    return f"<li{chosen}>{steps}{_fork(children.get(run[-1]['index'], []), children, depth + 1)}</li>"


def _step(node: Mapping[str, Any]) -> str:
    shown = "".join(piece(one) for one in node["pieces"])
    length = sum(len(one["text"]) for one in node["pieces"])
    notes = [name for name in ("forced", "withdrawn") if node.get(name)]
    said = "".join(f'<span class="count">{name}</span>' for name in notes)
    body = f"<pre>{shown}</pre>" if shown else ""
    if length > SHORT:
        end = node.get("end")
        opening = brief(end["answer"] if end is not None and end["answer"] else node["pieces"][0]["text"][:60])
        body = f"<details><summary><code>{opening}</code></summary>{body}</details>"
    return f'<div class="step"{_colour(node)}>{body}{said}{_score(node)}{_end(node)}</div>'


def _colour(node: Mapping[str, Any]) -> str:
    score = node.get("score")
    return "" if score is None else f' style="--s:{score:.3f}"'


def _score(node: Mapping[str, Any]) -> str:
    if "score" not in node:
        return ""
    return f'<span class="score">{"–" if node["score"] is None else format(node["score"], ".2f")}</span>'


def _end(node: Mapping[str, Any]) -> str:
    end = node.get("end")
    if end is None:
        return ""
    mark = "correct" if end["outcome"] == "correct" else ""
    reason = f' title="{text(end["reason"])}"' if end["reason"] else ""
    return f'<span class="badge {mark}"{reason}>{text(end["outcome"])}</span>'


# ---- the picture


def _picture(view: Mapping[str, Any]) -> str:
    """The tree from left to right: a dot per step in its score's colour, finished branches ringed by their outcome."""
    nodes = view["nodes"]
    if len(nodes) > PICTURE_NODES:
        return ""
    places = _places(nodes)
    wide, high = 1 + max(x for x, _ in places.values()), 1 + max(y for _, y in places.values())
    step, row = max(12, min(46, 900 // wide)), 15 if high <= 24 else 9
    at = {index: (10 + x * step, 10 + y * row) for index, (x, y) in places.items()}
    ordered = sorted(nodes, key=lambda node: node["chosen"])
    lines = "".join(_line(node, at) for node in ordered if node["parent"] is not None)
    dots = "".join(_dot(node, *at[node["index"]]) for node in ordered)
    box = f"0 0 {20 + (wide - 1) * step} {20 + (high - 1) * row:.0f}"
    width = 20 + (wide - 1) * step
    return (
        f'<div class="picture"><svg viewBox="{box}" width="{width}" role="img" '
        f'aria-label="search tree">{lines}{dots}</svg></div>'
    )


def _places(nodes: Sequence[Mapping[str, Any]]) -> dict[int, tuple[int, float]]:
    """Depth and row of every node: leaves take rows from top to bottom, a parent stands in the middle of its children."""
    children = _children(nodes)
    depth = {nodes[0]["index"]: 0}
    for node in nodes[1:]:  # parents come before children
        depth[node["index"]] = depth[node["parent"]] + 1
    rows: dict[int, float] = {}
    order = [nodes[0]]
    preorder: list[Mapping[str, Any]] = []
    while order:
        node = order.pop()
        preorder.append(node)
        order += reversed(children.get(node["index"], []))
    leaf = 0
    for node in preorder:
        if node["index"] not in children:
            rows[node["index"]] = leaf
            leaf += 1
    for node in reversed(preorder):
        below = [rows[child["index"]] for child in children.get(node["index"], [])]
        if below:
            rows[node["index"]] = (below[0] + below[-1]) / 2
    return {index: (depth[index], rows[index]) for index in depth}


def _line(node: Mapping[str, Any], at: Mapping[int, tuple[float, float]]) -> str:
    (x1, y1), (x2, y2) = at[node["parent"]], at[node["index"]]
    chosen = ' class="onpath"' if node["chosen"] else ""
    middle = (x1 + x2) / 2
    return f'<path{chosen} d="M{x1:.0f} {y1:.1f}C{middle:.0f} {y1:.1f} {middle:.0f} {y2:.1f} {x2:.0f} {y2:.1f}"/>'


def _dot(node: Mapping[str, Any], x: float, y: float) -> str:
    said = "".join(one["text"] for one in node["pieces"])[:200]
    score = node.get("score")
    end = node.get("end")
    ring = "" if end is None else " right" if end["outcome"] == "correct" else " wrong"
    shown = said if score is None else f"{score:.2f}  {said}"
    colour = "" if score is None else f' style="--s:{score:.3f}"'
    return (
        f'<circle class="dot{ring}" cx="{x:.0f}" cy="{y:.1f}" r="{4.5 if end is not None else 3.5}"{colour}>'
        f"<title>{text(shown)}</title></circle>"
    )
