"""Compiling the kernel on first use with the machine's own C compiler, once per machine and version.

The library is kept in the user's cache folder under a name that is a hash of the sources, the compiler's version and the
processor's features, and put there by renaming, so processes that start together do not disturb one another. A folder that
can not be written, or that others can write, is passed over for a temporary one. Whatever goes wrong ends in `None` and one
note: the torch path does the same work. PONDER_NATIVE=0 switches all of this off.

Not covered: Windows, cross-compiling.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ponder.files import cache_folder, ours

FOLDER = Path(__file__).parent
SOURCES = ("vector.h", "matrix.h", "attention.h", "draw.h", "pool.h", "decode.c")
BASE_FLAGS = ("-O3", "-std=gnu11", "-shared", "-fPIC", "-pthread", "-Wno-psabi")
TUNING = (("-march=native",), ("-mcpu=native",), ())  # the first that the compiler understands
PATIENCE = 120  # seconds a compiler may take


class BuildError(Exception):
    """Why there is no kernel, in one line."""


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernel, or None after one note on standard error (none when switched off)."""
    if os.environ.get("PONDER_NATIVE", "1") == "0":
        return None
    try:
        return build()
    except (BuildError, OSError) as error:
        print(f"ponder: decoding without the native kernel ({error})", file=sys.stderr)  # noqa: T201
        return None


def build() -> ctypes.CDLL:
    """Find or make the library and load it. BuildError or OSError when that fails."""
    if sys.platform == "win32":
        raise BuildError("it is not built on Windows")
    compiler = find_compiler()
    name = f"native-{_key(compiler)}.so"
    folder = cache_folder()
    if folder is not None and ours(folder / name):
        try:
            return declare(ctypes.CDLL(str(folder / name)))
        except (OSError, AttributeError):  # cut short or foreign: made anew below
            pass
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="ponder-native-") as temporary:
            _compile(compiler, Path(temporary) / name)
            return declare(ctypes.CDLL(str(Path(temporary) / name)))  # stays loaded without its file
    _compile(compiler, folder / name)
    return declare(ctypes.CDLL(str(folder / name)))


def find_compiler() -> str:
    """The C compiler: $CC, cc, gcc or clang."""
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise BuildError("no C compiler found: install gcc or clang, or set PONDER_NATIVE=0")


def _key(compiler: str) -> str:
    told = hashlib.blake2b(digest_size=12)
    for name in SOURCES:
        told.update((FOLDER / name).read_bytes())
    told.update(repr((BASE_FLAGS, TUNING)).encode())
    told.update(_run([compiler, "--version"]).encode())
    told.update(_processor().encode())
    return told.hexdigest()


def _processor() -> str:
    """What code for this very processor depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    kept = {line for line in lines if line.startswith(("flags", "Features", "model", "vendor_id", "cpu family"))}
    return "\n".join([platform.machine(), platform.processor(), *sorted(kept)])


def _compile(compiler: str, target: Path) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".tmp-", suffix=".so")
    os.close(handle)
    made = Path(name)
    try:
        for number, tuning in enumerate(TUNING):
            command = [compiler, *BASE_FLAGS, *tuning, str(FOLDER / "decode.c"), "-o", str(made), "-lm"]
            try:
                _run(command)
                break
            except BuildError:
                if number == len(TUNING) - 1:
                    raise
        made.chmod(0o700)
        made.replace(target)
    finally:
        made.unlink(missing_ok=True)


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{command[0]}: {error}") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        told = next((line for line in lines if "error" in line), lines[-1] if lines else f"exit {done.returncode}")
        raise BuildError(f"{command[0]} failed: {told}")
    return done.stdout


def declare(library: ctypes.CDLL) -> ctypes.CDLL:
    """State the signatures. AttributeError when the library is not ours."""
    integer, pointer = ctypes.c_int64, ctypes.c_void_p
    signatures: dict[str, tuple[list[type], type | None]] = {
        "ponder_has_dot": ([], integer),
        "ponder_new": ([integer], pointer),
        "ponder_free": ([pointer], None),
        "ponder_packed_bytes": ([integer] * 3, integer),
        "ponder_pack": ([pointer, pointer, integer, integer, integer, integer], None),
        "ponder_step": ([pointer] * 5 + [integer, pointer, pointer, integer, integer, pointer], integer),
        "ponder_draw": ([pointer, integer, integer] + [pointer] * 5, integer),
    }
    for name, (arguments, result) in signatures.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    return library
