"""Arithmetic expressions over whole numbers, parsed by hand: `+ - *` and parentheses, nothing else.

One shunting-yard pass with static limits, so hostile text costs linear time and can not recurse. Model text is never
given to Python's own evaluator. Not covered: division, unary minus, names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LENGTH = 400
_TOKEN = re.compile(r"\s*(\d{1,9}|[-+*()×·−])")
_PRECEDENCE = {"+": 1, "-": 1, "*": 2}
_SAME = {"×": "*", "·": "*", "−": "-"}


@dataclass(frozen=True, slots=True)
class Binary:
    """One operation; `value` is computed when the node is made."""

    op: str
    left: Node
    right: Node
    value: int


@dataclass(frozen=True, slots=True)
class Number:
    value: int


Node = Binary | Number


def apply(op: str, left: int, right: int) -> int:
    """The value of `left op right` for op in + - *."""
    if op == "+":
        return left + right
    return left - right if op == "-" else left * right


def parse(text: str) -> Node | None:
    """The expression tree of `text`, or None when it is not one (or longer than 400 characters)."""
    tokens = _tokens(text)
    if tokens is None:
        return None
    output: list[Node] = []
    stack: list[str] = []
    expect_value = True
    for token in tokens:
        if token.isdigit():
            if not expect_value:
                return None
            output.append(Number(int(token)))
            expect_value = False
        elif token == "(":
            if not expect_value:
                return None
            stack.append(token)
        elif token == ")":
            if expect_value or not _close(output, stack):
                return None
        else:
            if expect_value:
                return None
            while stack and stack[-1] != "(" and _PRECEDENCE[stack[-1]] >= _PRECEDENCE[token]:
                _reduce(output, stack.pop())
            stack.append(token)
            expect_value = True
    if expect_value or "(" in stack:
        return None
    while stack:
        _reduce(output, stack.pop())
    return output[0] if len(output) == 1 and abs(output[0].value) < 10**30 else None


def leaves(node: Node) -> list[int]:
    """The numbers of the expression, left to right."""
    found: list[int] = []
    todo = [node]
    while todo:
        top = todo.pop()
        if isinstance(top, Number):
            found.append(top.value)
        else:
            todo += [top.right, top.left]
    return found


def normal_form(node: Node) -> str:
    """A string equal for expressions that differ only in the order of sums and products: `(5+3)*2` → `(2*(3+5))`."""
    done: list[str] = []
    todo: list[Node | str] = [node]
    while todo:
        top = todo.pop()
        if isinstance(top, Number):
            done.append(str(top.value))
        elif isinstance(top, Binary):
            todo += [top.op, top.right, top.left]
        else:
            right, left = done.pop(), done.pop()
            if top != "-":
                left, right = sorted((left, right))
            done.append(f"({left}{top}{right})")
    return done[0]


def _tokens(text: str) -> list[str] | None:
    text = text.strip()
    if not text or len(text) > MAX_LENGTH:
        return None
    tokens, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            return None
        tokens.append(_SAME.get(match[1], match[1]))
        at = match.end()
    return tokens


def _close(output: list[Node], stack: list[str]) -> bool:
    while stack and stack[-1] != "(":
        _reduce(output, stack.pop())
    return bool(stack) and stack.pop() == "("


def _reduce(output: list[Node], op: str) -> None:
    right, left = output.pop(), output.pop()
    output.append(Binary(op, left, right, apply(op, left.value, right.value)))
