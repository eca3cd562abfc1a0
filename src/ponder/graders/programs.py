"""The program in a completion: the last fenced block of the answer, else the whole answer.

A block marked with the language that is asked for goes before blocks without a mark or of another language. One pass over
the lines. Nothing of the text is parsed here: what a model wrote meets Python's parser only in the sandbox.
"""

from __future__ import annotations

import re
import warnings

from ponder.graders import extract
from ponder.sandbox import languages
from ponder.types import Completion

FENCE = "```"
ADAPTER = """

def _ponder_plain(value):
    for base in (dict, list, tuple, set, frozenset, str, float, int):
        if isinstance(value, base):
            if base is dict:
                return {{_ponder_plain(k): _ponder_plain(v) for k, v in dict.items(value)}}
            if base in (list, tuple, set, frozenset):
                return base(_ponder_plain(v) for v in base.__iter__(value))
            return value if type(value) in (base, bool) else base(value)
    return value

def _ponder_entry(*args, **kwargs):
    owner = globals().get({owner!r})
    aim = getattr(owner(), {name!r}) if owner is not None else globals()[{name!r}]
    value = aim(*args, **kwargs)
    value = list(value) if {collect!r} and hasattr(value, "__next__") else value
    return _ponder_plain(value) if {plain!r} else value
"""


def program_of(completion: str | Completion, language: str = "python") -> str | None:
    """The text of the program in `language`; None when the thinking never closed or nothing stands after it."""
    region = extract.parts(completion)[1]
    if region is None:
        return None
    marks = languages.fences(language)
    blocks = _blocks(region, marks)
    marked = [text for tag, text in blocks if tag in marks]
    text = marked[-1] if marked else blocks[-1][1] if blocks else region.strip("\n")
    return text if text.strip() else None


def _blocks(text: str, marks: tuple[str, ...]) -> list[tuple[str, str]]:
    """(language, content) of the fenced blocks; one that never closes reaches to the end."""
    found: list[tuple[str, str]] = []
    tag, indent, inside = "", 0, list[str]()
    opened = False
    for line in text.split("\n"):
        bare = line.strip()
        before, fence, word = bare.rpartition(FENCE)
        if not opened and fence and (not before or word.strip().lower() in marks):
            tag, indent, inside, opened = word.strip().lower(), len(line) - len(line.lstrip()), [], True
        elif opened and bare == FENCE:
            found.append((tag, "\n".join(inside)))
            opened = False
        elif opened:
            inside.append(line[indent:] if not line[:indent].strip() else line)
    if opened:
        found.append((tag, "\n".join(inside)))
    return found


def joined(program: str, prompt: str, entry: str) -> str:
    """What is run: the program after the prompt it completes.

    A program that defines `entry` itself runs as it is, after the prompt where that is whole (its imports and helpers are
    then there); one that does not is the body that the prompt was left open for.
    """
    name = re.escape(entry.partition(".")[0])
    whole = re.search(rf"^(?:async[ \t]+def|def|class)[ \t]+{name}\b|^{name}[ \t]*=", program, re.MULTILINE)
    if not prompt:
        return program
    if whole and (not _parses(prompt) or "__future__" in program):
        return program
    return f"{prompt.rstrip()}\n{program}" if not whole else f"{prompt}\n{program}"


def adapted(program: str, entry: str, collect: bool = False, plain: bool = False) -> tuple[str, str]:
    """(program, name to call): a method `Class.name` is called on a fresh object, `collect` makes iterators lists, `plain`
    makes objects of subclasses (Counter, namedtuple) what they derive from."""
    owner, dot, name = entry.rpartition(".")
    if not (dot or collect or plain):
        return program, entry
    return program + ADAPTER.format(owner=owner, name=name, collect=collect, plain=plain), "_ponder_entry"


def _parses(prompt: str) -> bool:
    """Whether a prompt (from the data, not from a model) is whole by itself."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(prompt, "<prompt>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
