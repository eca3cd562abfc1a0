"""What a process gives up before it runs untrusted code: limits, privileges, files, system calls.

Pure ctypes, no root needed. `fence` (Landlock) is applied once in the zygote and inherited by every sample; `bind`
(limits, user, no new privileges, seccomp) in every sample. Standard library only: the worker loads it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import sys
from collections.abc import Sequence

LINUX = sys.platform == "linux"
_LIBC = ctypes.CDLL(None, use_errno=True)
_PRCTL = _LIBC["prctl"] if LINUX else None
if _PRCTL is not None:
    _PRCTL.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_SECCOMP = 1, 4, 8, 22
PR_SET_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38
_READ = (1 << 2) | (1 << 3)
_RIGHTS = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF, 5: 0xFFFF}
NOBODY = 65534


class ConfineError(OSError):
    """A layer that this system does not give."""


class _Program(ctypes.Structure):
    _fields_ = [("size", ctypes.c_ushort), ("code", ctypes.c_char_p)]


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("rights", ctypes.c_uint64), ("folder", ctypes.c_int32)]


def _checked(result: int, what: str) -> int:
    if result < 0:
        raise ConfineError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def prctl(option: int, value: int = 1) -> None:
    """prctl(2) with one argument; nothing where there is no such thing."""
    if _PRCTL is not None and _PRCTL(option, value, 0, 0, 0) < 0:
        _checked(-1, f"prctl {option}")


def fence(readable: Sequence[str], scratch: str, listed: Sequence[str] = (), programs: Sequence[str] = ()) -> None:
    """Landlock, for this process and its children: `readable` can be read, `listed` listed, only `scratch` changed.

    With `programs` (folders) these can be read and executed, and so can what is put into `scratch`."""
    if not LINUX:
        raise ConfineError("Landlock needs Linux")
    version = _checked(_LIBC.syscall(444, None, ctypes.c_size_t(0), 1), "Landlock")
    rights = _RIGHTS[min(version, 5)]
    rules = _Ruleset(rights, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    handle = _checked(_LIBC.syscall(444, ctypes.byref(rules), ctypes.c_size_t(size), 0), "Landlock rules")
    for path in readable:
        _allow(handle, path, _READ if os.path.isdir(path) else _READ & 4 | (2 if path == os.devnull else 0))
    for path in programs:
        _allow(handle, path, _READ | 1)
    for path in listed:
        _allow(handle, path, 1 << 3)
    _allow(handle, scratch, rights if programs else rights & ~1)  # but for execution
    prctl(PR_SET_NO_NEW_PRIVS)
    _checked(_LIBC.syscall(446, handle, 0), "Landlock restriction")
    os.close(handle)


def _allow(handle: int, path: str, rights: int) -> None:
    try:
        folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what does not exist need not be allowed
    rule = _Beneath(rights, folder)
    try:
        _checked(_LIBC.syscall(445, handle, 1, ctypes.byref(rule), 0), f"Landlock rule for {path}")
    finally:
        os.close(folder)


def cap(cpu: float, memory: int, file_size: int, processes: int) -> None:
    """The resource limits of one sample. The clock of the zygote is finer; RLIMIT_CPU is the second line."""
    _limit(resource.RLIMIT_CPU, int(cpu) + 2)
    _limit(resource.RLIMIT_FSIZE, file_size)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, 64)
    for name, value in (("RLIMIT_AS", memory), ("RLIMIT_NPROC", processes)):
        if hasattr(resource, name):
            with contextlib.suppress(ValueError, OSError):  # macOS knows RLIMIT_AS and refuses it
                _limit(getattr(resource, name), value)


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def drop(user: int, read_all: bool) -> None:
    """From root to `user`. With `read_all` keep the one capability to read files (a private Python installation)."""
    if read_all:
        prctl(PR_SET_KEEPCAPS)
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    if read_all and LINUX:
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        bits = 1 << 2  # CAP_DAC_READ_SEARCH
        data = (ctypes.c_uint32 * 6)(bits, bits, 0, 0, 0, 0)
        _checked(_LIBC.capset(header, data), "capset")


def readable_by(user: int, path: str) -> bool:
    """Whether `user` could read `path`, tried in a child."""
    pid = os.fork()
    if pid == 0:
        try:
            drop(user, False)
            os.close(os.open(path, os.O_RDONLY))
            os._exit(0)
        except BaseException:  # noqa: BLE001
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def check_filters(program: bytes | None) -> None:
    """`ConfineError` where `filter_calls` would fail, told by what an empty program is refused for."""
    if program is None or _PRCTL is None:
        raise ConfineError("no system call filter is known for this machine")
    if _PRCTL(PR_SET_SECCOMP, 2, 0, 0, 0) == 0 or ctypes.get_errno() != errno.EFAULT:
        raise ConfineError("this kernel has no seccomp filters")


def filter_calls(program: bytes | None) -> None:
    """seccomp: the last step, after which only the listed system calls are left."""
    if program is None or not LINUX:
        raise ConfineError("no system call filter for this machine")
    prctl(PR_SET_NO_NEW_PRIVS)
    struct = _Program(len(program) // 8, program)
    assert _PRCTL is not None
    _checked(_PRCTL(PR_SET_SECCOMP, 2, ctypes.addressof(struct), 0, 0), "seccomp")
