"""Scores without a reference: outcome and process models, judges, confidence, tests, and any Python function."""

from __future__ import annotations

from typing import Any

from ponder.registry import Registry
from ponder.types import Verifier

VERIFIERS = Registry("verifier", {}, "ponder.verifiers")


def load(spec: str, **options: Any) -> Verifier:
    """The verifier `spec` names: a folder that ponder trained or a public reward model, a built-in name, or `module:attr`."""
    return VERIFIERS.get(spec)(**options)
