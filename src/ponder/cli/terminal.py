"""What a model wrote, made safe for a terminal."""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    """`text` with every character that does not print (control characters, escapes, marks of writing direction) spelled
    out, but for those in `keep`: no text can move the cursor, colour the screen or hide what stands before it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii") for c in text)


def shortened(text: str, width: int) -> str:
    """At most `width` characters of `text`, the cut marked."""
    return text if len(text) <= width else text[: width - 1] + "…"
