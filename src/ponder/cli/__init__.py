"""The command line: parse, then import, then dispatch. `ponder --help` imports nothing but the table of commands.

With --json standard output carries one JSON object and nothing else: whatever else a command prints goes to standard
error. Exit codes: 0 done, 1 the work failed, 2 the input was wrong, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from ponder.cli.table import COMMANDS, GROUPS, Command, group_overview, members, overview

SWITCHES = ("--json", "--quiet", "--debug")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; every failure is one line on standard error."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given or os.environ.get("PONDER_DEBUG") == "1"
    command: Command | None = None
    try:
        name, command, rest = find(given)
        return dispatch(name, command, rest) if command else _help(name)
    except KeyboardInterrupt:
        return _interrupted(command, given)
    except SystemExit as stop:
        return _emitted(stop.code if isinstance(stop.code, int) else 0)
    except BrokenPipeError as error:
        return _reader_gone() if {"-h", "--help"} & set(given) else _fail(f"a pipe broke: {error}", 1)
    except Exception as error:  # noqa: BLE001 (the last boundary: one line for the user, a traceback on request)
        from ponder.errors import PonderError

        if debug:
            import traceback

            traceback.print_exc()
        if isinstance(error, PonderError):
            return _fail(str(error), error.exit_code)
        hint = "" if debug else " (--debug shows where)"
        return _fail(f"{type(error).__name__}: {error}{hint}", 1)


def find(arguments: Sequence[str]) -> tuple[str, Command | None, list[str]]:
    """Split off the command: its name, its row, the rest. The row is None when only help is asked for."""
    words = list(arguments)
    if not words or words[0] in ("-h", "--help", "help", "--version"):
        return words[0] if words else "--help", None, []
    name, rest = words[0], words[1:]
    if name in GROUPS and members(name):
        if not rest or rest[0] in ("-h", "--help"):
            return name, None, rest
        name, rest = f"{name} {rest[0]}", rest[1:]
    if name not in COMMANDS:
        from ponder.errors import unknown

        raise unknown("command", name, [*COMMANDS, *(group for group in GROUPS if members(group))])
    return name, COMMANDS[name], rest


def dispatch(name: str, command: Command, arguments: Sequence[str]) -> int:
    """Parse the settings, import the work, run it, print its result."""
    os.environ.setdefault(
        "OMP_WAIT_POLICY", "passive"
    )  # waiting threads sleep: spinning ones take the core from others
    from ponder.cli.parse import parse
    from ponder.registry import locate

    as_json = "--json" in arguments
    _set_quiet("--quiet" in arguments)
    config = parse(name, command, [word for word in arguments if word not in SWITCHES])
    run = locate(command.run, f"command '{name}'")
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        result: dict[str, Any] = run(config)
    if as_json:
        from ponder.files import encode

        _emit(encode(result).decode())
    elif command.show:
        _emit(locate(command.show)(result))
    if result.get("interrupted") is True:
        return 130
    return 1 if result.get("ok") is False else 0


def _help(name: str) -> int:
    if name in GROUPS:
        return _emit(group_overview(name))
    from importlib.metadata import version

    return _emit(f"ponder {version('ponder')}" if name == "--version" else overview(version("ponder")))


def _set_quiet(quiet: bool) -> None:
    from ponder.progress import set_quiet

    set_quiet(quiet)


def _emit(text: str) -> int:
    """Print to standard output; a reader that has gone (`| head`) is not an error."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        return _reader_gone()
    return 0


def _emitted(code: int) -> int:
    """`code`, once what was printed has reached its reader or the reader has gone."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_gone()
    return code


def _reader_gone() -> int:
    """Send the rest of standard output nowhere, so that the interpreter does not complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _fail(message: str, code: int) -> int:
    print(f"ponder: {' '.join(message.split())}", file=sys.stderr)
    return code


def _interrupted(command: Command | None, arguments: Sequence[str]) -> int:
    again = f"; what is finished is saved, go on with: ponder {shlex.join(arguments)}"
    return _fail("interrupted" + (again if command is not None and command.resumes else ""), 130)
