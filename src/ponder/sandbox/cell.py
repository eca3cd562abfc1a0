"""The cell of level L3: a worker's own users, mounts, processes, network, hosts and message queues (Linux namespaces).

Entered once per worker, before anything hostile runs: a new root with read-only binds of the system's programs and
libraries and of the Python installation, null, zero and urandom, and one folder of memory to write in, held to a size.
The worker is process 1 of the cell, so no signal of a sample reaches it and one call ends all that a sample left.
Two ways lead in: our own calls, which need no program, and bubblewrap, for systems that let only such programs make user
namespaces. There is no /proc and no network interface that is up. What a cell can not do is tried before it is used.
Not covered: a limit on the memory of all processes together (see `usage`); kernels that forbid both ways; compilers
outside of /usr. Standard library only: the worker loads it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import sys
import sysconfig
from typing import Literal

Way = Literal["namespaces", "bubblewrap"]
WAYS: tuple[Way, ...] = ("namespaces", "bubblewrap")
SCRATCH, SCRATCH_MB, FILES = "/scratch", 256, 50_000
USER = 1000
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SETTINGS = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime")
_NEW = 0x10000000 | 0x00020000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x04000000  # user mount pid net ipc uts
_BIND, _PRIVATE, _RECURSIVE, _READ_ONLY, _REMOUNT = 1 << 12, 1 << 18, 1 << 14, 1, 1 << 5
_NOSUID, _NODEV = 2, 4
_LIBC = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def programs() -> list[str]:
    """The folders a cell shows and may execute from: the system's and the Python installation's, none inside another."""
    python = {sys.base_prefix, os.path.realpath(sys.base_prefix), sysconfig.get_path("stdlib")}
    found: list[str] = [*SYSTEM]
    for path in sorted(python, key=len):
        if not any(_inside(path, other) for other in found):
            found.append(path)
    return [path for path in found if os.path.lexists(path)]


def shown() -> list[str]:
    """Everything a cell shows of the machine, read-only: `programs`, a few settings, and the code of the worker itself."""
    here = os.path.dirname(os.path.realpath(__file__))
    found = [*programs(), *(path for path in SETTINGS if os.path.lexists(path))]
    return found if any(_inside(here, path) for path in found) else [*found, here]


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def command(way: Way) -> list[str]:
    """What is put before the worker's command line: nothing, or bubblewrap with all that makes the cell."""
    if way == "namespaces":
        return []
    tool = shutil.which("bwrap")
    if tool is None:
        raise OSError("bubblewrap is not installed (apt-get install bubblewrap)")
    words = [tool, "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    words += ["--uid", str(USER), "--gid", str(USER), "--cap-drop", "ALL", "--hostname", "cell"]
    words += ["--die-with-parent", "--as-pid-1"]
    for path in shown():
        words += ["--symlink", os.readlink(path), path] if os.path.islink(path) else ["--ro-bind", path, path]
    for device in DEVICES:
        words += ["--dev-bind", device, device]
    if not _crowded():
        words += ["--symlink", SCRATCH, "/tmp"]
    words += ["--size", str(SCRATCH_MB << 20), "--perms", "0700", "--tmpfs", SCRATCH]
    return [*words, "--remount-ro", "/", "--chdir", SCRATCH, "--"]


def _crowded() -> bool:
    """Whether something that is shown lies below /tmp, which then can not lead to the scratch folder."""
    return any(_inside(path, "/tmp") for path in shown())


def settle(place: str, way: str) -> str:
    """In a new worker: go into a cell, or be in the one bubblewrap made, and see that it holds; its scratch folder."""
    if way == "namespaces":
        enter(place)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # process 1 is deaf to all signals that it does not handle
    os.chdir(SCRATCH)
    if found := leaks():
        raise OSError(f"in the cell one can {', '.join(found)}")
    return SCRATCH


def enter(place: str) -> None:
    """Make a cell and go in, by way of the empty folder `place`; returns in its first process, without privileges."""
    kept = _unshare()
    _mount(None, "/", None, _RECURSIVE | _PRIVATE)
    _build(place)
    _checked(_LIBC.sethostname(b"cell", 4), "the host's name")
    first = os.fork()
    if first:
        os.closerange(0, 4096)
        os.waitpid(first, 0)
        os._exit(0)
    os.setsid()
    os.chdir(SCRATCH)
    if kept:
        os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    powers = (ctypes.c_uint32 * 6)()
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _checked(_LIBC.capset(header, powers), "giving up all capabilities")
    _checked(_LIBC.prctl(1, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0), "prctl")  # die with the process outside


def _unshare() -> bool:
    """Into new namespaces; whether there is a user 0 inside beside `USER`.

    Root gives the cell a user of the machine that nobody else is; others, and a root that may not, give it themselves.
    """
    mine, other = (os.getuid(), os.getgid()), 0x70000000 + os.getpid()
    outside, helper, (ask, tell) = os.getpid(), 0, os.pipe()
    if os.getuid() == 0:
        helper = os.fork()
        if helper == 0:
            os.close(tell)
            os._exit(_name_users(outside, mine, other) if os.read(ask, 1) else 1)
    _checked(_LIBC.unshare(_NEW), "new namespaces")
    os.write(tell, b"+")
    os.close(tell)
    os.close(ask)
    if helper and os.waitpid(helper, 0)[1] == 0:
        return True
    _write("/proc/self/setgroups", "deny")
    for name, number in zip(("uid_map", "gid_map"), mine, strict=True):
        _write(f"/proc/self/{name}", f"{USER} {number} 1\n")
    return False


def _name_users(process: int, mine: tuple[int, int], other: int) -> int:
    """Write the users of `process`, from outside of its namespaces, where root still is root; 0 when that was allowed."""
    try:
        for name, number in zip(("uid_map", "gid_map"), mine, strict=True):
            _write(f"/proc/{process}/{name}", f"0 {number} 1\n{USER} {other} 1\n")
    except OSError:
        return 1
    return 0


def _write(path: str, text: str) -> None:
    handle = os.open(path, os.O_WRONLY)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str = "") -> None:
    words = [None if word is None else word.encode() for word in (source, target, kind, options)]
    _checked(_LIBC.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]), f"mounting {target}")


def _build(place: str) -> None:
    """The new root at `place`, and the machine's own root gone from sight."""
    _mount("cell", place, "tmpfs", _NOSUID | _NODEV, "size=1m,mode=755")
    for path in (*shown(), *DEVICES):
        _show(path, place + path)
    os.mkdir(place + SCRATCH)
    if not os.path.lexists(place + "/tmp"):
        os.symlink(SCRATCH, place + "/tmp")
    options = f"size={SCRATCH_MB}m,nr_inodes={FILES},mode=700,uid={USER},gid={USER}"
    _mount("scratch", place + SCRATCH, "tmpfs", _NOSUID | _NODEV, options)
    os.chdir(place)
    _checked(_LIBC.syscall({"x86_64": 155}.get(os.uname().machine, 41), b".", b"."), "changing the root")
    _checked(_LIBC.umount2(b".", 2), "leaving the old root")
    os.chdir("/")
    _mount(None, "/", None, _REMOUNT | _BIND | _READ_ONLY | _NOSUID | _NODEV)


def _show(path: str, at: str) -> None:
    """One file or folder of the machine, read-only, with all that is mounted in it; a link stays one."""
    os.makedirs(os.path.dirname(at), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), at)
        return
    if os.path.isdir(path):
        os.makedirs(at, exist_ok=True)
    else:
        os.close(os.open(at, os.O_CREAT | os.O_WRONLY))
    _mount(path, at, None, _BIND | _RECURSIVE)
    bits = _READ_ONLY | _NOSUID | (0 if path in DEVICES else _NODEV)
    attributes = (ctypes.c_uint64 * 4)(bits, 0, 0, 0)
    arguments = (-100, at.encode(), 0x8000, attributes, ctypes.c_size_t(32))
    _checked(_LIBC.syscall(442, *arguments), f"making {path} read-only")


def leaks() -> list[str]:
    """What a cell should not be able to do, tried in its first process before any other layer is put on."""
    found: list[str] = []
    if os.getpid() != 1:
        found.append("be another process than 1")
    if [name for _, name in socket.if_nameindex() if name != "lo"]:
        found.append("see a network interface")
    tops = {path.split("/")[1] for path in (*shown(), *DEVICES, SCRATCH, "/tmp")}
    found += [f"see /{name}" for name in sorted(set(os.listdir("/")) - tops)]

    def mount() -> None:
        _mount("none", SCRATCH, "tmpfs", 0)

    def make(path: str) -> None:
        os.mkdir(path)
        os.rmdir(path)

    tries = {
        "signal a process outside": lambda: os.kill(-1, 0),
        "mount": mount,
        "write to its root": lambda: make("/left"),
        "write to the system": lambda: make("/usr/left"),
        "be root": lambda: os.setuid(0),
    }
    for name, action in tries.items():
        with contextlib.suppress(OSError):
            action()
            found.append(name)
    return found
