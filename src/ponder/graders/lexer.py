"""Answer text → tokens, for the LaTeX and plain notation people and models write answers in.

Design: cosmetics (spacing commands, delimiters, Unicode look-alikes) are removed by linear substitutions, then one
regular expression cuts tokens. A token is (kind, text): num, sym, word, cmd, op, sub, unit, sep, open, close, env.
Whatever is left over is a `NotMath`. Nothing is evaluated here.
"""

from __future__ import annotations

import re

Token = tuple[str, str]
MAX_CHARS = 2_000
MAX_DIGITS = 1_000
GROUP = "\x01"  # a thousands separator that can not be a list comma


class NotMath(Exception):
    """The text is not in the notation read here."""


class Limit(Exception):
    """The text is readable but exceeds a static limit (length, nesting, digits, powers, terms)."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


GREEK = _words(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau upsilon"
    " phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell hbar"
)
FUNCTIONS = _words(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh exp ln log lg max min gcd lcm floor ceil abs"
)
WORDS = _words("yes no true false odd even none all neither both never always")
UNITS = _words(
    "cm mm km dm nm in ft yd mi kg mg lb lbs oz ml kl hr hrs min mins sec secs ms mph kph kmh deg pct cent cents rad usd eur"
)
LETTER_UNITS = frozenset("mgshlLNJWVAK")
_UNICODE = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "×": "*", "·": "*", "⋅": "*", "∙": "*", "∗": "*", "÷": "/", "∕": "/", "⁄": "/",
        "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∈": r"\in ", "≈": r"\approx ", "±": r"\pm ",
        "∞": r"\infty ", "π": r"\pi ", "√": r"\sqrt ", "°": r"^\circ ", "∘": r"\circ ", "∅": r"\emptyset ",
        "ℝ": r"\mathbb{R}", "²": "^2", "³": "^3", "½": r"\frac12 ", "¼": r"\frac14 ", "¾": r"\frac34 ",
        "⅓": r"\frac13 ", "⅔": r"\frac23 ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "λ": r"\lambda ", "φ": r"\phi ",
        "，": ",",
        "。": ".", "（": "(", "）": ")", "：": ":", "’": "'", "\u2009": " ", "\u202f": " ", "\u00a0": " ", "\x00": " ",
        "\x01": " ", "€": r"\text{ eur }", "£": r"\text{ gbp }", "₀": "_0", "₁": "_1", "₂": "_2", "₃": "_3",
    }
)  # fmt: skip
_SUBSTITUTIONS = [
    (re.compile(r"\{,\}|,\s{0,3}\\!\s{0,3}|\\!,"), GROUP),
    (re.compile(r"(?<=\d)\\,(?=\d{3})"), GROUP),
    (re.compile(r"\\+\s*$"), ""),
    (re.compile(r"\\(?:left|right|[bB]igg?[lrm]?)(?![a-zA-Z])"), ""),
    (re.compile(r"(?<!\\)\\(?:[!,;: ]|quad\b|qquad\b|displaystyle\b|textstyle\b|limits\b|hfill\b|thinspace\b)"), " "),
    (re.compile(r"\\(?:dfrac|tfrac|cfrac)(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"(?<!\\)\\[()\[\]]|~"), " "),
]
_TEXT = re.compile(
    r"\\(?:text|mbox|textbf|textit|textrm|textsf|mathrm|mathbf|mathit|operatorname|hbox|rm|bf)\s*\*?\s*\{([^{}]*)\}"
)
_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<sci>(?:\d+\.?\d*|\.\d+)[eE][+-]?\d+(?![\d.]))"
    r"|(?P<num>(?:[1-9]\d{0,2}(?:[,\x01]\d{3})+(?!\d)|\d+(?!\d))(?:\.\d*)?|\.\d+)"
    r"|(?P<env>\\(?:begin|end)\s*\{[a-zA-Z]+\*?\})"
    r"|(?P<row>\\\\)"
    r"|(?P<cmd>\\[a-zA-Z]+|\\[{}%$#&|])"
    r"|(?P<letters>[A-Za-z]+)"
    r"|(?P<op>\*\*|<=|>=|!=|==|[-+*/^_=<>!%|:,;&'])"
    r"|(?P<open>[(\[{])|(?P<close>[)\]}])"
)
_SPACED = re.compile(r"(?<![\d.,/^_])[1-9]\d{0,2}(?: \d{3})+(?![\d/]| ?/)")
_UNGROUPED = re.compile(r"\d{1,3}(?:\x01\d{3})+|\d+")
_SEPARATORS = {"and", "or"}
_COMMAND_OPS = {
    "times": "*", "cdot": "*", "ast": "*", "div": "/", "le": "<=", "leq": "<=", "leqslant": "<=", "ge": ">=",
    "geq": ">=", "geqslant": ">=", "lt": "<", "gt": ">", "ne": "!=", "neq": "!=", "pm": "+-", "cup": "cup", "in": "in",
    "approx": "~", "%": "%", "mid": "|", "vert": "|", "lvert": "|", "rvert": "|", "colon": ":", "&": "&", "equiv": "=",
    "land": ",",
}  # fmt: skip


def tokens(text: str) -> list[Token]:
    """Tokens of an answer; `NotMath` for foreign characters, `Limit` for oversized text."""
    if len(text) > MAX_CHARS:
        raise Limit("text is longer than any answer read here")
    text = text.translate(_UNICODE)
    text, currency = _dollars(text)
    if "\\" in text or "{" in text or "~" in text:
        for pattern, replacement in _SUBSTITUTIONS:
            text = pattern.sub(replacement, text)
    if " " in text:
        text = _SPACED.sub(lambda m: m.group().replace(" ", GROUP), text)
    out: list[Token] = [("unit", "$")] if currency else []
    position = 0
    for match in _TEXT.finditer(text):
        _lex(text[position : match.start()], out, prose=False)
        _lex(match.group(1), out, prose=True)
        position = match.end()
    _lex(text[position:] if position else text, out, prose=False)
    while out and out[-1] in (("op", ","), ("op", ";")):
        out.pop()
    return out


def _dollars(text: str) -> tuple[str, bool]:
    """Math delimiters away; True when an unpaired or escaped leading dollar is a currency sign."""
    if "$" not in text:
        return text, False
    text = text.replace("\\$", r"\usd ")
    count = text.count("$")
    return text.replace("$", " "), count % 2 == 1 and text.lstrip("-+ ").startswith("$")


def _lex(text: str, out: list[Token], prose: bool) -> None:
    position, end = 0, len(text)
    depth = sum((t[0] == "open" and t[1] != "{") - (t[0] == "close" and t[1] != "}") for t in out) if out else 0
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            if text[position] == "." and (not text[position:].strip(" .)") or text[position - 1 : position].isalpha()):
                position += 1  # a final full stop, or that of an abbreviation
                continue
            raise NotMath(f"unexpected character {text[position]!r}")
        kind, value = match.lastgroup or "", match.group()
        position = match.end()
        if kind == "letters":
            _letters(value, out, prose, text, position)
        elif kind == "cmd":
            depth += _command(value, out)
        elif kind == "num":
            if depth > 0 and "," in value:  # inside brackets a plain comma separates
                value = (_UNGROUPED.match(value) or match).group()
                position = match.start() + len(value)
            _number(value, out)
        elif kind == "open" or kind == "close":
            if value not in "{}":
                depth += 1 if kind == "open" else -1
            out.append((kind, value))
        elif kind == "op":
            out.append(("op", {"**": "^", "==": "="}.get(value, value)))
        elif kind != "space":
            if kind == "sci":
                _check_exponent(value)
            out.append(("op", "row") if kind == "row" else (kind, value))


def _number(value: str, out: list[Token]) -> None:
    if len(value) > MAX_DIGITS:
        raise Limit("number has too many digits")
    out.append(("num", value.replace(",", "").replace(GROUP, "")))


def _check_exponent(value: str) -> None:
    exponent = value.lower().partition("e")[2].lstrip("+-0")
    if len(value) > MAX_DIGITS or len(exponent) > 4 or int(exponent or 0) > 2_000:
        raise Limit("exponent is too large")


def _letters(value: str, out: list[Token], prose: bool, text: str, end: int) -> None:
    lower = value.lower()
    if lower in _SEPARATORS:
        out.append(("sep", lower))
    elif value == "x" and not prose and out and out[-1][0] == "num" and _digit_follows(text, end):
        out.append(("op", "*"))
    elif lower in FUNCTIONS and not prose and lower != "min":
        out.append(("cmd", lower))
    elif value in GREEK or lower in ("pi", "sqrt", "infty", "inf", "infinity"):
        out.append(("cmd", {"inf": "infty", "infinity": "infty"}.get(lower, value if value in GREEK else lower)))
    elif lower == "min" and end < len(text) and text[end] == "(":
        out.append(("cmd", "min"))
    elif len(value) == 1:
        previous = out[-1] if out else ("", "")
        after_value = previous[0] in ("num", "close", "unit") or previous == ("word", "per")
        out.append(("word" if prose and value in LETTER_UNITS and after_value else "sym", value))
    elif prose or _is_word(value, lower, out):
        out.append(("word", value))
    else:
        out.extend(("sym", letter) for letter in value)


def _digit_follows(text: str, end: int) -> bool:
    return end < len(text) and (text[end].isdigit() or (text[end] == " " and text[end + 1 : end + 2].isdigit()))


def _is_word(value: str, lower: str, out: list[Token]) -> bool:
    if len(value) >= 4 or lower in WORDS or (len(value) == 3 and value[0].isupper() and value[1:].islower()):
        return True
    after = bool(out) and out[-1][0] in ("num", "close", "word", "unit")
    return (lower in UNITS and after) or bool(out and out[-1][0] == "word")


def _command(value: str, out: list[Token]) -> int:
    """Append the token of a command; returns the change of bracket depth."""
    name = value[1:]
    if name == "{":
        out.append(("open", "\\{"))
        return 1
    if name == "}":
        out.append(("close", "\\}"))
        return -1
    if name in ("$", "usd"):
        out.append(("unit", "$"))
    elif name in _COMMAND_OPS:
        out.append(("op", _COMMAND_OPS[name]))
    elif name in ("lbrace", "rbrace"):
        out.append(("open", "\\{") if name == "lbrace" else ("close", "\\}"))
        return 1 if name == "lbrace" else -1
    else:
        out.append(("cmd", name))
    return 0
