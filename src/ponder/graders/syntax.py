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
from typing import Any

from ponder.graders.lexer import FUNCTIONS, GREEK, Limit, NotMath, Token, tokens

Node = tuple[Any, ...]
MAX_DEPTH = 60
MAX_POSTFIX = 4
MAX_TOKENS = 600
MAX_ITEMS = 64
_RELATIONS = {"=", "<", ">", "<=", ">=", "!=", "in", "~"}
_END: Token = ("end", "")


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
    if parser.peek() != _END:
        raise NotMath(f"unexpected '{parser.peek()[1]}'")
    return node


class _Parser:
    def __init__(self, found: list[Token]) -> None:
        self.tokens = [*found, _END, _END, _END]  # no look-ahead goes further than two
        self.at = 0
        self.depth = 0
        self.bars = 0

    def peek(self, ahead: int = 0) -> Token:
        return self.tokens[self.at + ahead]

    def next(self) -> Token:
        token = self.tokens[self.at]
        if token is not _END:
            self.at += 1
        return token

    def accept(self, kind: str, text: str) -> bool:
        token = self.tokens[self.at]
        if token[0] == kind and token[1] == text:
            self.at += 1
            return True
        return False

    def expect(self, kind: str, text: str) -> None:
        if not self.accept(kind, text):
            raise NotMath(f"expected '{text}' before '{self.peek()[1] or 'the end'}'")

    # -- lists, relations, unions, units ---------------------------------------------------------------------------

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

    # -- sums, products, powers ------------------------------------------------------------------------------------

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

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Limit("nested too deeply")

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
                return (_mixed(left[1], _literal(top), _literal(self.next()[1])),)
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

    # -- primaries -------------------------------------------------------------------------------------------------

    def primary(self) -> Node:
        kind, text = self.next()
        if kind == "num":
            return ("num", _literal(text))
        if kind == "sci":
            return ("num", Fraction(text))
        if kind == "sym":
            return self.symbol(text)
        if kind == "cmd":
            return self.command(text)
        if kind == "open":
            return self.bracketed(text)
        if kind == "env":
            return self.matrix(text)
        if (kind, text) == ("op", "|"):
            return self.absolute("|")
        raise NotMath(f"unexpected '{text or 'end'}'")

    def symbol(self, name: str) -> Node:
        if self.accept("op", "_"):
            name += "_" + self.subscript()
        while self.accept("op", "'"):
            name += "'"
        if name in ("f", "g", "h") and self.peek() == ("open", "("):
            self.next()
            args = self.comma_separated()
            self.expect("close", ")")
            return ("fn", name, *args)
        return ("sym", name)

    def subscript(self) -> str:
        if self.accept("open", "{"):
            text = ""
            while not self.accept("close", "}"):
                kind, part = self.next()
                if kind not in ("num", "sym", "word", "op"):
                    raise NotMath("a subscript must be letters and digits")
                text += part
            return text
        kind, text = self.next()
        if kind not in ("num", "sym", "word"):
            raise NotMath("a subscript must be letters and digits")
        return text

    def command(self, name: str) -> Node:
        if name == "frac":
            return ("frac", self.argument(single=True), self.argument(single=True))
        if name == "sqrt":
            index: Node | None = None
            if self.accept("open", "["):
                index = self.sum()
                self.expect("close", "]")
            inner = self.argument()
            return ("root", inner, index or ("num", Fraction(2)))
        if name in ("binom", "dbinom", "tbinom"):
            return ("fn", "binomial", self.argument(single=True), self.argument(single=True))
        if name == "infty":
            return ("inf",)
        if name == "emptyset" or name == "varnothing":
            return ("set",)
        if name == "mathbb":
            return ("sym", "mathbb" + self.subscript())
        if name == "overline" or name == "bar":
            return ("bar", self.argument())
        if name in ("lfloor", "lceil"):
            inner = self.sum()
            self.expect("cmd", "r" + name[1:])
            return ("fn", name[1:], inner)
        if name in FUNCTIONS:
            return self.function(name)
        if name in ("angle", "triangle", "measuredangle"):
            return ("sym", name + "".join(self.next()[1] for _ in range(3) if self.peek()[0] == "sym"))
        if name in GREEK or name == "pi":
            return self.symbol(name)
        raise NotMath(f"unknown command '{name}'")

    def function(self, name: str) -> Node:
        power: Node | None = None
        if name == "log" and self.accept("op", "_"):
            base = self.argument()
            inner = self.function_argument()
            return ("fn", "log", inner, base)
        if self.accept("op", "^"):
            power = self.argument()
        args = self.function_argument(many=name in ("max", "min", "gcd", "lcm"))
        node: Node = ("fn", name, *args[1:]) if args[0] == "args" else ("fn", name, args)
        if power == ("neg", ("num", Fraction(1))):
            return ("fn", "arc" + name, args)
        return ("pow", node, power) if power else node

    def function_argument(self, many: bool = False) -> Node:
        if many and self.accept("open", "("):
            args = self.comma_separated()
            self.expect("close", ")")
            return ("args", *args)
        if self.peek()[0] == "open" and self.peek()[1] in "({":
            return self.argument()
        self.deeper()
        factors = [self.factor()]
        while self.starts_factor() and self.peek()[0] != "open" and self.peek()[1] not in FUNCTIONS:
            factors[-1:] = self.beside(factors[-1])
        self.depth -= 1
        return factors[0] if len(factors) == 1 else ("mul", *factors)

    def argument(self, single: bool = False) -> Node:
        """A braced group or the next primary; with `single`, one digit of a number, as LaTeX reads \\frac12."""
        kind, text = self.peek()
        if kind == "open" and text in "({":
            self.next()
            node = self.item()
            self.expect("close", ")" if text == "(" else "}")
            return node
        if single and kind == "num" and len(text) > 1 and text.isdigit():
            self.tokens[self.at] = ("num", text[1:])
            return ("num", Fraction(int(text[0])))
        if kind == "op" and text == "-":
            return self.factor()
        return self.primary()

    def bracketed(self, opening: str) -> Node:
        closing = {"{": "}", "\\{": "\\}"}.get(opening)
        if opening == "\\{" and self.accept("close", "\\}"):
            return ("set",)
        bars, self.bars = self.bars, 0
        found = self.comma_separated()
        self.bars = bars
        kind, text = self.next()
        if kind != "close" or (closing or text) != text or (closing is None and text not in ")]"):
            raise NotMath(f"'{opening}' is not closed")
        if opening == "\\{" or (opening == "{" and len(found) > 1):
            return ("set", *found)
        if len(found) == 1 and (opening, text) in (("(", ")"), ("{", "}"), ("[", "]")):
            if opening == "[":
                return ("seq", "[", "]", found[0])
            return ("div", *found[0][1:]) if found[0][0] == "frac" else found[0]
        return ("seq", opening, text, *found)

    def absolute(self, closing: str) -> Node:
        self.bars += 1
        inner = self.sum()
        self.bars -= 1
        self.expect("op", closing)
        return ("fn", "abs", inner)

    def matrix(self, text: str) -> Node:
        name = text.partition("{")[2].rstrip("}")
        if not text.startswith("\\begin") or name not in ("pmatrix", "bmatrix", "vmatrix", "matrix", "array"):
            raise NotMath(f"unknown environment '{text}'")
        if name == "array" and self.accept("open", "{"):
            while not self.accept("close", "}"):
                if self.next() == _END:
                    raise NotMath("the array is not closed")
        rows: list[list[Node]] = [[]]
        while True:
            rows[-1].append(self.sum())
            kind, text = self.next()
            if (kind, text) == ("op", "row") and self.peek()[0] != "env":
                rows.append([])
            elif (kind, text) == ("op", "row"):
                self.next()
                break
            elif kind == "env":
                break
            elif (kind, text) != ("op", "&"):
                raise NotMath("the matrix is not closed")
        if len({len(row) for row in rows}) != 1 or sum(len(row) for row in rows) > MAX_ITEMS:
            raise NotMath("rows of different lengths, or too many entries")
        return ("fn", "det", ("matrix", rows)) if name == "vmatrix" else ("matrix", rows)


def _literal(text: str) -> Fraction:
    return Fraction(int(text)) if text.isdigit() else Fraction("0" + text if text[0] == "." else text.rstrip("."))


def _is_proper(node: Node) -> bool:
    top, bottom = node[1], node[2]
    return top[0] == bottom[0] == "num" and top[1].denominator == bottom[1].denominator == 1 and 0 < top[1] < bottom[1]


def _mixed(whole: Fraction, top: Fraction, bottom: Fraction) -> Node:
    if bottom == 0 or top.denominator != 1 or bottom.denominator != 1 or not 0 < top < bottom:
        raise NotMath("two numbers side by side")
    return ("num", whole + top / bottom)
