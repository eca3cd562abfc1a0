"""Running work that can not be trusted: hostile code (`Sandbox`, or `RemoteSandbox` on other machines), and our own functions
that may never end (`pool`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ponder.sandbox.box import Sandbox
from ponder.sandbox.jobs import Job, Kind, Level, Limits, Result, Status

if TYPE_CHECKING:
    from ponder.sandbox.remote import RemoteSandbox

__all__ = ["Job", "Kind", "Level", "Limits", "RemoteSandbox", "Result", "Sandbox", "Status"]


def __getattr__(name: str) -> Any:
    """`RemoteSandbox` brings asyncio and ssl, which only its users should wait for."""
    if name == "RemoteSandbox":
        from ponder.sandbox.remote import RemoteSandbox

        return RemoteSandbox
    raise AttributeError(f"module 'ponder.sandbox' has no attribute '{name}'")
