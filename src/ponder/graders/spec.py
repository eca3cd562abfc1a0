"""What a code problem is checked with: the reference of the `code` grader, read.

    {"entry": "f", "cases": [[[1], 2], [[5], {"by": 2}, 6]]}    calls: arguments, keyword arguments if any, expected value
    {"stdin": [["1 2\\n", "3\\n"]]}                              programs: what they read, what they must print
    {"asserts": "assert f(1) == 2"}                             a test text, as `asserts` reads it; `entry` names candidate

Beside one of these: `visible` (a mapping of the same keys: the tests the question shows; the others are hidden), `types`,
`tolerance`, `unordered` (see `same`), `prompt` (the text that a bare body completes), `preamble` (put before the program),
`setup` (what the test text needs: imports, helpers), `beside` (run after the program, for arguments built from its classes),
`collect` (iterators are made lists), `cpu_seconds` and `memory_mb` (instead of the grader's).
`language` (python; cpp or c with `stdin` alone) is that of the program, and of `preamble` and `prompt`.
`entry` may be `Class.method`. Calls and programs are compared under "strict", test texts under "python", unless `types` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from ponder.errors import nearest
from ponder.graders import asserts
from ponder.graders.asserts import Case, Script
from ponder.graders.same import TYPES, Policy
from ponder.sandbox import languages

KINDS = ("cases", "stdin", "asserts")
KEYS = (
    *KINDS, "entry", "visible", "types", "tolerance", "unordered", "prompt", "preamble", "setup", "beside", "collect",
    "cpu_seconds", "memory_mb", "language",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tests:
    """Tests of one audience. `text` keeps the asserts as they were given."""

    cases: tuple[Case, ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()
    script: Script = Script(())
    text: str = ""
    policy: Policy = Policy()


@dataclass(frozen=True, slots=True)
class Spec:
    """A reference as it is used."""

    hidden: Tests
    visible: Tests | None = None
    entry: str = ""
    prompt: str = ""
    preamble: str = ""
    setup: str = ""
    beside: str = ""
    collect: bool = False
    cpu_seconds: float | None = None
    memory_mb: int | None = None
    language: str = ""
    """What the reference says; empty where it says nothing, which is the grader's choice."""


def read(reference: object) -> Spec:
    """The reference, checked; `ValueError` in words for one that can not be used."""
    if not isinstance(reference, Mapping):
        raise ValueError("a code problem's reference is a mapping with cases, stdin or asserts")
    given = cast("Mapping[str, Any]", reference)
    for key in given:
        if key not in KEYS:
            near = nearest(str(key), KEYS)
            raise ValueError(f"unknown entry '{key}'" + (f"; did you mean '{near}'?" if near else ""))
    texts = {k: _text(given, k) for k in ("entry", "prompt", "preamble", "setup", "beside")}
    visible = given.get("visible")
    if visible is not None and not isinstance(visible, Mapping):
        raise ValueError("'visible' is a mapping of tests")
    seen = _tests({**_shared(given), **cast("Mapping[str, Any]", visible)}, texts) if visible else None
    tests, language = _tests(given, texts), _language(given)
    if language not in ("", "python") and not tests.outputs:
        raise ValueError(f"a program in {language} is tested by 'stdin', what it reads and prints")
    return Spec(
        tests,
        seen,
        **texts,
        collect=given.get("collect") is True,
        cpu_seconds=_above(given, "cpu_seconds"),
        memory_mb=int(_above(given, "memory_mb") or 0) or None,
        language=language,
    )


def _language(given: Mapping[str, Any]) -> str:
    word = _text(given, "language").lower()
    found = languages.named(word) if word else ""
    if found is None:
        raise ValueError(f"'language' is one of python, {', '.join(languages.LANGUAGES)}, found {word[:20]!r}")
    return found


def shown_tests(reference: object) -> dict[str, Any] | None:
    """The tests that the question itself shows, as a reference of their own (no hidden test in it); None where there are none."""
    if not isinstance(reference, Mapping):
        return None
    given = cast("Mapping[str, Any]", reference)
    visible = given.get("visible")
    if not isinstance(visible, Mapping) or not visible:
        return None
    around = {key: value for key, value in given.items() if key not in (*KINDS, "visible")}
    return {**around, **cast("Mapping[str, Any]", visible)}


def _shared(given: Mapping[str, Any]) -> dict[str, Any]:
    return {k: given[k] for k in ("types", "tolerance", "unordered") if k in given}


def _text(given: Mapping[str, Any], key: str) -> str:
    value = given.get(key, "")
    if not isinstance(value, str):
        raise ValueError(f"'{key}' should be a text")
    return value


def _above(given: Mapping[str, Any], key: str) -> float | None:
    value = given.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"'{key}' should be a number above 0")
    return float(value)


def _tests(given: Mapping[str, Any], texts: Mapping[str, str]) -> Tests:
    kinds = [k for k in KINDS if given.get(k)]
    if len(kinds) != 1:
        raise ValueError(f"give one of {', '.join(KINDS)}; found {' and '.join(kinds) or 'none'}")
    policy = _policy(given, kinds[0])
    if kinds[0] == "stdin":
        return Tests(outputs=tuple(_pair(p) for p in _list(given["stdin"], "stdin")), policy=policy)
    if kinds[0] == "asserts":
        text = _joined(given["asserts"])
        script = asserts.read(text, texts["entry"], bool(texts["beside"]))
        return Tests(script.cases, script=replace(script, cases=()), text=text, policy=policy)
    if not texts["entry"]:
        raise ValueError("'cases' need 'entry', the name of the function")
    return Tests(tuple(_case(c, texts["entry"]) for c in _list(given["cases"], "cases")), policy=policy)


def _policy(given: Mapping[str, Any], kind: str) -> Policy:
    types = given.get("types", "python" if kind == "asserts" else "strict")
    if types not in TYPES:
        raise ValueError(f"'types' is one of {', '.join(TYPES)}, found {str(types)[:20]!r}")
    unordered = given.get("unordered", False)
    if not isinstance(unordered, bool):
        raise ValueError("'unordered' is true or false")
    return Policy(types, _above(given, "tolerance") or 0.0, unordered)


def _joined(value: object) -> str:
    if isinstance(value, str):
        return value
    lines = _list(value, "asserts")
    if not all(isinstance(line, str) for line in lines):
        raise ValueError("'asserts' is a text or a list of texts")
    return "\n".join(cast("list[str]", lines))


def _list(value: object, key: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"'{key}' should be a list")
    return list(cast("list[Any]", value))


def _pair(value: object) -> tuple[str, str]:
    pair = _list(value, "stdin")
    if len(pair) != 2 or not all(isinstance(part, str) for part in pair):
        raise ValueError("an entry of 'stdin' is a pair of texts: input, expected output")
    return pair[0], pair[1]


def _case(value: object, entry: str) -> Case:
    parts = _list(value, "cases")
    if len(parts) not in (2, 3):
        raise ValueError("a case is [arguments, expected] or [arguments, keyword arguments, expected]")
    kwargs: Any = parts[1] if len(parts) == 3 else dict[str, Any]()
    if not isinstance(kwargs, Mapping):
        raise ValueError("the keyword arguments of a case are a mapping")
    return Case(entry, tuple(_list(parts[0], "arguments")), dict(cast("Mapping[str, Any]", kwargs)), parts[-1])
