"""Scores without a reference: outcome and process models, judges, confidence, tests, and any Python function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ponder.errors import CheckpointError, ConfigError
from ponder.registry import Registry
from ponder.types import Verifier

VERIFIERS = Registry(
    "verifier",
    {"confidence": "ponder.verifiers.confidence:Confidence", "tests": "ponder.verifiers.tests:UnitTests"},
    "ponder.verifiers",
)
JUDGES = {"judge": "answer", "judge-step": "step"}
PUBLIC = ("qwen", "math-shepherd", "rlhflow")  # formats of public process models (verifiers.public)


def load(spec: str, **options: Any) -> Verifier:
    """The verifier `spec` names: a folder that ponder trained or a public reward model, a built-in name, or `module:attr`.

    `judge:MODEL` and `judge-step:MODEL` ask an engine about answers and about steps. A `module:attr` may be a verifier, a
    class of them, or a function to score with (`verifiers.function`).

    `qwen:FOLDER`, `math-shepherd:FOLDER` and `rlhflow:FOLDER` read public process models, each in its own way.

    `PROCESS+OUTCOME` is a pair: the first scores states inside the tree, the second finished answers. A run's directory
    stands for the model in it. A folder that has a built-in verifier's name is meant by `./NAME`.
    """
    inner, plus, leaf = spec.partition("+")
    if Path(spec).is_dir() and spec not in VERIFIERS.entries:  # `tests` is a verifier even beside a folder of tests
        return _folder(Path(spec), **options)
    if plus and inner and leaf:
        from ponder.verifiers.pair import PairVerifier

        return PairVerifier(load(inner, **options), load(leaf, **options))
    scheme, _, model = spec.partition(":")
    if scheme in PUBLIC and Path(model).is_dir():
        return _folder(Path(model), **{"convention": scheme, **options})
    if "/" in (model if scheme in PUBLIC else spec) and (":" not in spec or scheme in PUBLIC):
        raise CheckpointError(
            f"{spec}: no such folder; give what `ponder train outcome | process` wrote, or a known name"
        )
    if scheme in JUDGES and model:
        from ponder.verifiers.judge import Judge

        return Judge.load(model, **{"kind": JUDGES[scheme], **options})
    return _made(VERIFIERS.get(spec), spec, options)


def _made(found: Any, spec: str, options: dict[str, Any]) -> Verifier:
    """What a name stands for: a verifier, a class to make one of, or a function to score with."""
    if isinstance(found, type):
        try:
            return found(**options)
        except TypeError as error:
            raise ConfigError(f"verifier '{spec}': {error}") from None
    if isinstance(found, Verifier):
        return found
    from ponder.verifiers.function import FunctionVerifier

    named: dict[str, Any] = {"name": spec, **options}
    return FunctionVerifier(found, **named)


def _folder(folder: Path, **options: Any) -> Verifier:
    """The verifier in a folder, or in the model of a run's directory."""
    from ponder.models import model_in

    name, folder = folder.name, model_in(folder)
    if options.get("convention"):
        from ponder.verifiers import public

        return public.load(folder, **{"name": name, **options})
    from ponder.verifiers import headed

    return headed.load(folder, **{"name": name, **options})
