"""Engines: what turns token prefixes into completions. `load` makes one from a word on the command line."""

from ponder.engines.load import ENGINES, load
from ponder.engines.local import LocalEngine
from ponder.engines.scripted import ScriptedEngine

__all__ = ["ENGINES", "LocalEngine", "ScriptedEngine", "load"]
