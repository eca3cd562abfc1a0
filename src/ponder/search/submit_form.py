"""What running one program of a problem on one generated input means, and when two outputs are the same.

A problem's programs read standard input, or define a function that is called. For a function an input is the text of a list of
arguments as Python writes them, `[[1, 2], 'ab']` (with keywords: `{'args': [...], 'kwargs': {...}}`), read by the scanner that
`literal` uses, never evaluated; an output is the returned value as canonical text: equal texts where the grader of the problem
would call the values the same. Only the visible tests are looked at: their inputs are the seeds of further ones, and nothing of
the hidden ones is kept here but how values are compared.

Not covered: a tolerance is no equivalence, so numbers are rounded to it and near ones may still be told apart; arguments that
only exist beside the program (objects of its classes).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from ponder.graders import spec
from ponder.graders.asserts import Case
from ponder.graders.literal import value_of
from ponder.graders.programs import adapted, joined
from ponder.graders.same import Policy
from ponder.sandbox.jobs import Job, Limits, Result
from ponder.search.submit import Output, plain
from ponder.types import content_hash

KEPT = 200
CPU_SECONDS = 2.0
MEMORY_MB = 512


@dataclass(frozen=True, slots=True)
class Form:
    """How the programs of a problem are run. `entry` "" is standard input; `seeds` are the inputs of the visible tests."""

    entry: str = ""
    seeds: tuple[str, ...] = ()
    prompt: str = ""
    preamble: str = ""
    name: str = ""
    collect: bool = False
    policy: Policy = Policy()
    limits: Limits = Limits()

    @classmethod
    def of(cls, reference: object, cpu_seconds: float = CPU_SECONDS) -> Form:
        """The form of a `code` reference; `ValueError` in words for one that can not be used."""
        found = spec.read(reference)
        tests = found.visible or found.hidden
        cpu = found.cpu_seconds or cpu_seconds
        cases = tests.cases or found.hidden.cases
        names = tests.script.names or found.hidden.script.names
        entry = found.entry or (cases[0].entry if cases else next(iter(names), ""))
        seeds = () if found.visible is None else found.visible.outputs or found.visible.cases
        texts = [seed[0] if isinstance(seed, tuple) else arguments_text(seed) for seed in seeds]
        return cls(
            entry="" if found.hidden.outputs else entry,
            seeds=tuple(dict.fromkeys(text for text in texts if text is not None)),
            prompt=found.prompt,
            preamble=found.preamble,
            name=found.entry,
            collect=found.collect,
            policy=tests.policy,
            limits=Limits(cpu, max(10.0, 2 * cpu), found.memory_mb or MEMORY_MB),
        )

    def job(self, code: str, text: str) -> Job | None:
        """The run of a program on an input; None for a text that is no list of arguments."""
        program = "\n".join(p for p in (self.preamble, joined(code, self.prompt, self.name)) if p)
        if not self.entry:
            return Job(program, "stdin", stdin=text, limits=self.limits)
        given = arguments(text)
        if given is None:
            return None
        body, entry = adapted(program, self.entry, self.collect, self.policy.types == "python")
        return Job(body, "call", entry, given[0], given[1], limits=self.limits)

    def output(self, result: Result, whole: bool = False) -> Output:
        """What a run showed, as it is compared and kept: unless `whole`, a long text is its beginning and its hash."""
        if result.status != "ok":
            kind = "timeout" if result.status == "timeout" else "infra" if result.status == "infra" else "error"
            return Output(kind)
        text = written(result.value, self.policy) if self.entry else printed(result.stdout, self.policy)
        return Output("ok", text if whole else short(text))


STDIN = Form()
"""Programs that read an input and print, and are compared as texts: generators and validators are run so."""


def short(text: str) -> str:
    """The text, or of a long one the beginning and the hash of the whole."""
    return text if len(text) <= KEPT else f"{text[:KEPT]}… {len(text)} characters, {content_hash(text)}"


def arguments(text: str) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The arguments a text spells, positional and by keyword; None for any other text. Safe for text of any origin."""
    found = value_of(text)
    value: Any = None if found is None else found.value
    if isinstance(value, list):
        return tuple(cast("list[Any]", value)), {}
    if isinstance(value, dict) and set(cast("dict[Any, Any]", value)) == {"args", "kwargs"}:
        args, kwargs = cast("dict[str, Any]", value)["args"], cast("dict[str, Any]", value)["kwargs"]
        if isinstance(args, list) and isinstance(kwargs, dict) and all(isinstance(k, str) for k in cast(Any, kwargs)):
            return tuple(cast("list[Any]", args)), cast("dict[str, Any]", kwargs)
    return None


def arguments_text(case: Case) -> str | None:
    """The input that a case is; None where its arguments have no text that reads back as they are."""
    if case.expression:
        return None
    return text_of(case.args, case.kwargs)


def text_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    """Arguments as an input's text; None where it would not read back as they are (nan, objects, too long)."""
    value: Any = {"args": list(args), "kwargs": dict(kwargs)} if kwargs else list(args)
    text = written(value, Policy(), in_order=True)
    found = value_of(text)
    return text if found is not None and written(found.value, Policy(), in_order=True) == text else None


def written(value: Any, policy: Policy, in_order: bool = False) -> str:
    """A plain value as canonical text under a policy: as Python writes it, keys and sets sorted (`in_order`: keys as they are).

    "json" writes tuples as lists and whole floats as integers, "python" whole floats and truth values as integers.
    """
    if policy.unordered and not in_order and type(value) in (list, tuple):
        parts = sorted(_written(v, policy, in_order) for v in value)
        return f"[{', '.join(parts)}]"
    return _written(value, policy, in_order)


def _written(value: Any, policy: Policy, in_order: bool) -> str:
    kind = cast("type[Any]", type(value))
    loose = policy.types != "strict"
    if kind is bool and policy.types == "python":
        value, kind = int(value), int
    if kind is float or (kind is int and policy.tolerance):
        return _number(value, policy, loose)
    if kind is int:
        return str(value) if value.bit_length() < 1000 else hex(value)
    if kind is list or kind is tuple:
        parts = [_written(v, policy, in_order) for v in value]
        if kind is list or policy.types == "json":
            return f"[{', '.join(parts)}]"
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
    if kind is dict:
        keys = [_key(k, policy, in_order) for k in value]
        pairs = [f"{k}: {_written(v, policy, in_order)}" for k, v in zip(keys, value.values(), strict=True)]
        return f"{{{', '.join(pairs if in_order else sorted(pairs))}}}"
    if kind is set or kind is frozenset:
        parts = sorted(_written(v, policy, in_order) for v in value)
        text = f"{{{', '.join(parts)}}}" if parts else "set()"
        return text if kind is set or policy.types == "python" else f"frozenset({text})"
    return repr(value)


def _key(value: Any, policy: Policy, in_order: bool) -> str:
    if policy.types == "json" and type(value) is int:
        value = str(value)
    return _written(value, policy, in_order)


def _number(value: Any, policy: Policy, loose: bool) -> str:
    if not -1e300 < value < 1e300:  # also nan
        return repr(value) if type(value) is float else hex(value)
    if policy.tolerance:
        return repr(rounded(float(value), policy.tolerance))
    return str(int(value)) if loose and value == int(value) else repr(value + 0.0)  # there is no -0.0


def rounded(value: float, tolerance: float) -> float:
    """The number to the digits that the tolerance leaves, relative to max(1, |value|)."""
    digits = max(0, math.floor(-math.log10(tolerance)))
    scale = max(0, math.floor(math.log10(abs(value)))) if value else 0
    return round(value, digits - scale) + 0.0


def printed(text: str, policy: Policy) -> str:
    """Printed text as it is compared: blanks at ends apart, in any order or with numbers rounded where the problem says so."""
    text = plain(text.replace("\r\n", "\n"))
    if policy.tolerance:
        text = "\n".join(" ".join(_token(t, policy.tolerance) for t in line.split()) for line in text.split("\n"))
    return "\n".join(sorted(text.split("\n"))) if policy.unordered else text


def _token(token: str, tolerance: float) -> str:
    try:
        number = float(token)
    except ValueError:
        return token
    return repr(rounded(number, tolerance)) if -1e300 < number < 1e300 else token
