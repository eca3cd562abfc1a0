"""The optional native kernel for a CPU: C compiled on first use, called through ctypes; torch does the same without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ponder.engines.native.build import BuildError, library
from ponder.engines.native.stepper import NativeStepper, supports
from ponder.engines.stepper import Stepper, TorchStepper
from ponder.errors import ConfigError, unknown
from ponder.models import KV, Transformer

Choice = Literal["auto", "torch", "native"] | Callable[[Transformer, KV], Stepper]
KINDS = ("auto", "torch", "native")


def make_stepper(choice: Choice, model: Transformer, kv: KV) -> Stepper:
    """The stepper by name or by its constructor. "auto" is the kernel where there is one for this model, else torch.

    ConfigError for an unknown name, and for "native" where that can not be had.
    """
    if callable(choice):
        return choice(model, kv)
    if choice not in KINDS:
        raise unknown("stepper", choice, KINDS)
    possible = choice != "torch" and supports(model) and library() is not None
    if choice == "native" and not possible:
        raise ConfigError(
            "the native kernel needs a CPU, fp32 or bf16, and a C compiler; use stepper 'auto' or 'torch'"
        )
    return NativeStepper(model, kv) if possible else TorchStepper(model, kv)


__all__ = ["BuildError", "Choice", "NativeStepper", "library", "make_stepper", "supports"]
