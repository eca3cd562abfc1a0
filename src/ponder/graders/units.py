"""Unit words in one spelling: plurals, common synonyms, squares and cubes. No conversion: 1 m is not 100 cm."""

from __future__ import annotations

from ponder.graders.lexer import NotMath

_PLURAL = {
    "feet": "ft", "foot": "ft", "inches": "in", "inch": "in", "meter": "m", "metre": "m", "centimeter": "cm",
    "mile": "mi", "centimetre": "cm", "millimeter": "mm", "kilometer": "km", "kilometre": "km", "dollar": "$",
    "usd": "$", "degree": "deg", "hour": "hr", "hrs": "hr", "minute": "min", "second": "sec", "s": "sec", "h": "hr",
    "gram": "g", "kilogram": "kg", "pound": "lb", "lbs": "lb", "ounce": "oz", "liter": "l", "litre": "l",
    "yard": "yd", "cent": "cent", "percent": "percent", "percentage": "percent", "pct": "percent", "per": "/", "radian": "rad",
    "L": "l", "mph": "mi / hr", "sq": "square", "cu": "cubic",
}  # fmt: skip
_HEDGES = frozenset(
    ["maybe", "perhaps", "probably", "possibly", "likely", "guess", "wrong", "false", "incorrect", "not", "no", "never"]
)


def canonical(text: str) -> str:
    """The spelling by which units are compared."""
    if not _HEDGES.isdisjoint(text.lower().split()):
        raise NotMath("words that doubt or deny the answer")
    words: list[str] = []
    for word in text.split():
        word = word if len(word) == 1 else word.lower()
        word = (
            _PLURAL.get(word)
            or _PLURAL.get(word.removesuffix("s"))
            or (word.removesuffix("s") if len(word) > 3 else word)
        )
        if word == "squared" or word == "cubed":
            word = "^2" if word == "squared" else "^3"
        words.append(word)
    if words and words[0] in ("square", "cubic") and len(words) > 1:
        words = [*words[1:], "^2" if words[0] == "square" else "^3"]
    return " ".join(words)
