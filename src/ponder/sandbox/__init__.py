"""Running work that can not be trusted: hostile code (`Sandbox`), and our own functions that may never end (`pool`)."""

from ponder.sandbox.box import Sandbox
from ponder.sandbox.jobs import Job, Kind, Level, Limits, Result, Status

__all__ = ["Job", "Kind", "Level", "Limits", "Result", "Sandbox", "Status"]
