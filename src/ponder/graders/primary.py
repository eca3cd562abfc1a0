"""The smallest parts of an answer: numbers, symbols, brackets, commands, functions, matrices.

`Primaries` reads them from a token list; what stands around them (sums, lists, relations) is its subclass in `syntax`.
"""

from __future__ import annotations

from abc import abstractmethod
from fractions import Fraction
from typing import Any

from ponder.graders.lexer import FUNCTIONS, GREEK, Limit, NotMath, Token

Node = tuple[Any, ...]
MAX_DEPTH = 60
MAX_ITEMS = 64
END: Token = ("end", "")


class Primaries:
    """A cursor over tokens, and the reading of primaries at it."""

    def __init__(self, found: list[Token]) -> None:
        self.tokens = [*found, END, END, END]  # no look-ahead goes further than two
        self.at = 0
        self.depth = 0
        self.bars = 0

    def peek(self, ahead: int = 0) -> Token:
        return self.tokens[self.at + ahead]

    def next(self) -> Token:
        token = self.tokens[self.at]
        if token is not END:
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

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Limit("nested too deeply")

    @abstractmethod
    def comma_separated(self) -> list[Node]: ...

    @abstractmethod
    def item(self) -> Node: ...

    @abstractmethod
    def sum(self) -> Node: ...

    @abstractmethod
    def factor(self) -> Node: ...

    @abstractmethod
    def beside(self, left: Node) -> tuple[Node, ...]: ...

    @abstractmethod
    def starts_factor(self) -> bool: ...

    def primary(self) -> Node:
        kind, text = self.next()
        if kind == "num":
            return ("num", literal(text))
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
                if self.next() == END:
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


def literal(text: str) -> Fraction:
    return Fraction(int(text)) if text.isdigit() else Fraction("0" + text if text[0] == "." else text.rstrip("."))
