"""The optional native kernel for a CPU: C compiled on first use, called through ctypes; torch does the same without it."""

from ponder.engines.native.build import BuildError, library
from ponder.engines.native.stepper import NativeStepper, supports

__all__ = ["BuildError", "NativeStepper", "library", "supports"]
