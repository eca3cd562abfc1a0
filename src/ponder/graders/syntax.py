"""Tokens → a small expression tree, by recursive descent with a nesting limit.

Nodes are tuples: ("num", Fraction) ("sym", name) ("add", *terms) ("mul", *factors) ("neg", x) ("div", a, b)
("pow", base, exponent) ("fn", name, *args) ("pct", x) ("deg", x) ("inf",) and, at the top, ("list", *items)
("seq", open, close, *items) ("set", *items) ("union", *items) ("rel", ops, *sides) ("matrix", rows) ("text", words)
("unit", x, unit) ("ratio", *items) ("base", digits, base) ("pm", minus, plus).
Rules where notation is ambiguous: 3\\frac12 and "3 1/2" are mixed numbers; \\frac12 is one half; a comma followed by
exactly three digits groups them unless inside brackets; f, g and h before a bracket are functions, other letters are
factors.
Not covered: integrals, sums, limits, set builders, logic.
"""

from __future__ import annotations

from fractions import Fraction

from ponder.graders.lexer import Limit, NotMath, tokens
from ponder.graders.primary import END, MAX_ITEMS, Node, Primaries, literal

MAX_POSTFIX = 4
MAX_TOKENS = 600
_RELATIONS = {"=", "<", ">", "<=", ">=", "!=", "in", "~"}


def parse(text: str) -> Node:
    """The tree of an answer; raises `NotMath` or `Limit`."""
    found = tokens(text)
    if not found:
        raise NotMath("nothing to read")
    if len(found) > MAX_TOKENS:
        raise Limit("too many symbols")
    if all(kind in ("word", "sep") or (kind == "op" and t in "-'") for kind, t in found) and found[0][0] == "word":
        return ("text", " ".join(t.lower() for _, t in found))
    parser = _Parser(found)
    node = parser.items()
    if parser.peek() != END:
        raise NotMath(f"unexpected '{parser.peek()[1]}'")
    return node


class _Parser(Primaries):
    def items(self) -> Node:
        found = self.comma_separated()
        return found[0] if len(found) == 1 else ("list", *found)

    def comma_separated(self) -> list[Node]:
        found = [self.item()]
        while self.peek() in (("op", ","), ("op", ";")) or self.peek()[0] == "sep":
            self.next()
            if self.peek()[0] == "sep":
                self.next()
            found.append(self.item())
            if len(found) > MAX_ITEMS:
                raise Limit("too many items")
        return found

    def item(self) -> Node:
        self.deeper()
        sides, ops = [self.union()], list[str]()
        while self.peek()[0] == "op" and self.peek()[1] in _RELATIONS:
            ops.append(self.next()[1])
            sides.append(self.union())
        self.depth -= 1
        return ("rel", tuple(ops), *sides) if ops else sides[0]

    def union(self) -> Node:
        parts = [self.ratio()]
        while self.accept("op", "cup"):
            parts.append(self.ratio())
        return parts[0] if len(parts) == 1 else ("union", *parts)

    def ratio(self) -> Node:
        parts = [self.quantity()]
        while self.accept("op", ":"):
            parts.append(self.quantity())
        return parts[0] if len(parts) == 1 else ("ratio", *parts)

    def quantity(self) -> Node:
        """A sum with an optional currency sign before it or unit words after it."""
        if self.peek()[0] == "word":
            return self.named_text()
        minus = self.peek() == ("op", "-") and self.peek(1)[0] == "unit"
        if minus:
            self.next()
        currency = self.next()[1] if self.peek()[0] == "unit" else ""
        value = self.sum()
        if minus:
            value = ("neg", value)
        unit = self.unit_words()
        if currency:
            unit = f"{currency} {unit}".strip()
        return ("unit", value, unit) if unit else value

    def named_text(self) -> Node:
        words: list[str] = []
        while self.peek()[0] in ("word", "sym", "num"):
            words.append(self.next()[1].lower())
        return ("text", " ".join(words))

    def unit_words(self) -> str:
        words: list[str] = []
        while True:
            kind, text = self.peek()
            if kind in ("word", "unit"):
                words.append(self.next()[1])
            elif not words:
                return ""
            elif (kind, text) == ("op", "^"):
                self.next()
                words.append("^" + self.small_exponent())
            elif (kind, text) == ("op", "/") and self.peek(1)[0] in ("word", "sym"):
                self.next()
                words += ["/", self.next()[1]]
            elif kind == "sym" and words[-1] in ("per", "/"):
                words.append(self.next()[1])
            else:
                return " ".join(words)

    def small_exponent(self) -> str:
        braces = self.accept("open", "{")
        kind, text = self.next()
        if kind != "num":
            raise NotMath("a unit's exponent must be a number")
        if braces:
            self.expect("close", "}")
        return text

    def sum(self) -> Node:
        self.deeper()
        sign = self.sign() or "+"
        terms: list[Node] = []
        while sign:
            term = self.term()
            terms.append(term if sign == "+" else ("neg", term) if sign == "-" else ("pm", term))
            sign = self.sign()
        self.depth -= 1
        return terms[0] if len(terms) == 1 else ("add", *terms)

    def sign(self) -> str:
        """The next run of signs as one: "", "+", "-" or "+-"."""
        read: list[str] = []
        while self.peek()[0] == "op" and self.peek()[1] in ("+", "-", "+-"):
            read.append(self.next()[1])
        if "+-" in read:
            return "+-"
        return ("-" if read.count("-") % 2 else "+") if read else ""

    def term(self) -> Node:
        above, below = [self.factor()], list[Node]()
        while True:
            if self.accept("op", "*"):
                above.append(self.factor())
            elif self.peek() == ("op", "/") and self.peek(1)[0] != "word":
                self.next()
                below.append(self.factor())
            elif not self.starts_factor():
                break
            elif not below:
                above[-1:] = self.beside(above[-1])
            else:
                above.append(self.factor())
        top = above[0] if len(above) == 1 else ("mul", *above)
        if not below:
            return top
        return ("div", top, below[0] if len(below) == 1 else ("mul", *below))

    def beside(self, left: Node) -> tuple[Node, ...]:
        """What `left` and the factor written next to it mean: a mixed number, or two factors."""
        whole = left[0] == "num" and left[1].denominator == 1
        if self.peek()[0] == "num":
            if whole and self.peek(1) == ("op", "/") and self.peek(2)[0] == "num":
                top = self.next()[1]
                self.next()
                return (_mixed(left[1], literal(top), literal(self.next()[1])),)
            raise NotMath("two numbers side by side")
        right = self.factor()
        if whole and right[0] == "frac" and _is_proper(right):
            return (_mixed(left[1], right[1][1], right[2][1]),)
        return (left, right)

    def starts_factor(self) -> bool:
        kind, text = self.peek()
        if kind == "op":
            return text == "|" and self.bars == 0
        if kind == "cmd":
            return text not in ("circ", "degree", "infty", "to", "rfloor", "rceil")
        if kind == "env":
            return text.startswith("\\begin")
        return kind in ("num", "sci", "sym") or (kind == "open" and text in "({")

    def factor(self) -> Node:
        sign = self.sign()
        if sign:
            node = self.factor()
            return node if sign == "+" else ("neg" if sign == "-" else "pm", node)
        base = self.postfix(self.primary())
        if self.peek() == ("op", "^"):
            self.next()
            if self.degree_mark():
                return self.postfix(("deg", base))
            self.deeper()
            exponent = self.factor()
            self.depth -= 1
            return self.postfix(("pow", base, exponent))
        return base

    def degree_mark(self) -> bool:
        if self.accept("cmd", "circ"):
            return True
        if self.peek() == ("open", "{") and self.peek(1) == ("cmd", "circ") and self.peek(2) == ("close", "}"):
            self.at += 3
            return True
        return False

    def postfix(self, node: Node) -> Node:
        for _ in range(MAX_POSTFIX):
            if self.accept("op", "!"):
                node = ("fn", "factorial", node)
            elif self.accept("op", "%"):
                node = ("pct", node)
            elif self.accept("cmd", "degree"):
                node = ("deg", node)
            elif self.peek() == ("op", "_") and node[0] == "num":
                self.next()
                node = ("base", node[1], self.argument())
            else:
                return node
        raise Limit("too many marks after one number")


def _is_proper(node: Node) -> bool:
    top, bottom = node[1], node[2]
    return top[0] == bottom[0] == "num" and top[1].denominator == bottom[1].denominator == 1 and 0 < top[1] < bottom[1]


def _mixed(whole: Fraction, top: Fraction, bottom: Fraction) -> Node:
    if bottom == 0 or top.denominator != 1 or bottom.denominator != 1 or not 0 < top < bottom:
        raise NotMath("two numbers side by side")
    return ("num", whole + top / bottom)
