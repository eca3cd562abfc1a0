"""Pieces of a page: text that can not become markup, shares, cells of a table."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ponder.evals.figures import Figure

HIDDEN = {*range(0x80, 0xA0), 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF}
"""Characters that change how others are shown and show nothing themselves."""


def text(value: Any) -> str:
    """Escaped for HTML; control characters are shown as their pictures or numbers, so that none acts on the page."""
    return html.escape("".join(map(_visible, str(value))), quote=True)


def _visible(c: str) -> str:
    code = ord(c)
    if c in "\n\t" or 0x20 <= code < 0x7F:
        return c
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return f"\u27e8U+{code:04X}\u27e9" if code in HIDDEN or 0xD800 <= code < 0xE000 else c


def page(title: str, sections: Iterable[str]) -> str:
    """A whole page around its sections, style inline."""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(section for section in sections if section)
        + "\n</main>\n</body>\n</html>\n"
    )


def prose(value: Any) -> str:
    """Our own sentences, escaped, with numbers kept on the line of their unit."""
    return text(value).replace(" %", "\u00a0%").replace(" tokens", "\u00a0tokens")


def percent(value: float) -> str:
    """`61.2 %`."""
    return f"{100 * value:.1f} %"


def cell(value: Mapping[str, float] | None) -> str:
    """A share with its interval underneath."""
    if value is None:
        return "–"
    return f"<b>{percent(value['mean'])}</b><small>{100 * value['low']:.1f} – {100 * value['high']:.1f}</small>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that scrolls sideways; `head` are texts, `rows` hold HTML."""
    top = "".join(f"<th>{text(column)}</th>" for column in head)
    body = "".join("<tr>" + "".join(f"<td>{entry}</td>" for entry in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def brief(value: Any, most: int = 100) -> str:
    """One line of a text that may be long or have many: what goes into a summary to click on."""
    line = " ".join(str(value).split())
    return text(line if len(line) <= most else line[: most - 1] + "…")


def whole(value: Any) -> str:
    """A text of several lines with its layout (a program); empty for one that a summary shows whole."""
    long = "\n" in str(value).strip() or len(str(value)) > 100
    return f'<pre class="program">{text(value)}</pre>' if long else ""


def thinking(pieces: Iterable[Mapping[str, Any]]) -> str:
    """Labelled pieces of thinking, wrong ones with the reason."""
    shown = "".join(piece(one) for one in pieces)
    return f'<pre class="thinking">{shown or "<i>no thinking</i>"}</pre>'


def piece(one: Mapping[str, Any]) -> str:
    """A piece of thinking, coloured where the task's exact label is known."""
    shown = text(one["text"])
    if "sound" not in one:
        return shown
    if not one["sound"]:
        reason = f'<span class="because">✗ {text(one["reason"])}</span>' if one["reason"] else ""
        return f'<span class="unsound">{shown}</span>{reason}'
    return f'<span class="{"lost" if one["alive"] is False else "sound"}">{shown}</span>'


def figure_grid(figures: Iterable[Figure]) -> str:
    """Figures side by side, each with how to read it."""
    shown = "\n".join(
        f'<figure role="img" aria-label="{text(f.title)}"><h3>{text(f.title)}</h3>\n{f.svg}\n'
        f"<figcaption>{prose(f.caption)}</figcaption></figure>"
        for f in figures
    )
    return f'<div class="figures">\n{shown}\n</div>' if shown else ""
