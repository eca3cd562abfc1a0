"""What graders share: making one from a name and options, and judging a bare reference."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

from ponder.errors import ConfigError, unknown
from ponder.graders import extract
from ponder.registry import Registry
from ponder.types import Completion, Grade, Problem

GRADERS = Registry(
    "grader",
    {
        "math": "ponder.graders.math:MathGrader",
        "number": "ponder.graders.plain:NumberGrader",
        "exact": "ponder.graders.plain:ExactGrader",
        "choice": "ponder.graders.choice:ChoiceGrader",
        "short": "ponder.graders.short:ShortGrader",
        "facts": "ponder.graders.facts:FactGrader",
        "code": "ponder.graders.code:CodeGrader",
        "literal": "ponder.graders.literal:LiteralGrader",
        "repair": "ponder.graders.repair:RepairGrader",
        "format": "ponder.graders.form:FormatGrader",
        "language": "ponder.graders.language:LanguageGrader",
        "length": "ponder.graders.form:LengthGrader",
        "weighted": "ponder.graders.weighted:WeightedGrader",
    },
    group="ponder.graders",
)


def make(name: str, **options: Any) -> Any:
    """The grader called `name` with `options`; fields of a grader's `policy` and `rule` may be given directly."""
    found: Any = GRADERS.get(name)
    if not isinstance(found, type):
        if options:
            raise ConfigError(f"grader '{name}' is a ready-made object and takes no options")
        return found
    if not dataclasses.is_dataclass(found):
        factory = cast(Any, found)
        return factory(**options)
    return _build(found, name, options)


def _build(cls: type[Any], name: str, options: Mapping[str, Any]) -> Any:
    nested = {f.name: f.default for f in dataclasses.fields(cls) if dataclasses.is_dataclass(f.default)}
    own = {f.name for f in dataclasses.fields(cls)}
    inner = {f.name: part for part, value in nested.items() for f in dataclasses.fields(value)}
    values: dict[str, Any] = {}
    changes: dict[str, dict[str, Any]] = {}
    for key, given in options.items():
        value: Any = tuple(cast("list[Any]", given)) if isinstance(given, list) else given
        if key in own:
            values[key] = value
        elif key in inner:
            changes.setdefault(inner[key], {})[key] = value
        else:
            raise unknown(f"option of grader '{name}'", key, {*own, *inner})
    for part, fields in changes.items():
        start: Any = values.get(part, nested[part])
        values[part] = dataclasses.replace(start, **fields)
    try:
        return cls(**values)
    except TypeError as error:
        raise ConfigError(f"grader '{name}': {error}") from None


def judge(grader: Any, reference: Any, completion: str | Completion) -> Grade:
    """Grade a completion (or its text) against a bare reference with any grader."""
    check = getattr(grader, "check", None)
    if check is not None:
        return check(reference, completion)
    return grader.grade(Problem.from_text("", reference), as_completion(completion))


def as_completion(completion: str | Completion) -> Completion:
    """Text as a completion without tokens, split at its think tags."""
    if isinstance(completion, Completion):
        return completion
    thinking, answer = extract.split(completion)
    return Completion((), (), "stop", text=completion, thinking=thinking, answer=answer)


def grade(name: str, *, reference: Any = None, completion: str | Completion, **options: Any) -> Grade:
    """What `completion` earns from the grader called `name`; unknown names and options are a `ConfigError`."""
    return judge(make(name, **options), reference, completion)
