"""What tries to break a level before it is believed: code in a sample, and at L3 a command beside it.

A probe says what it could do that it should not; nothing said means that the level held. The worker of a cell has tried
more before these run, while no other layer was on (`cell.leaks`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ponder.sandbox.jobs import Job, Level, Limits, Result

PROBE = """
import ctypes, fcntl, os, socket
def probe(secret, target):
    leaks = []
    def attempt(name, action):
        try:
            action()
            leaks.append(name)
        except OSError:
            pass
    def child():
        pid = os.fork()
        if pid == 0:
            os._exit(0)
    def call(*numbers):
        if ctypes.CDLL(None, use_errno=True).syscall(*numbers) < 0:
            raise OSError(ctypes.get_errno())
    attempt("read a file", lambda: open(secret).close())
    attempt("write a file", lambda: os.close(os.open(secret, os.O_WRONLY | os.O_APPEND)))
    attempt("cut a file", lambda: os.truncate(secret, 0))
    attempt("delete a file", lambda: os.unlink(secret))
    attempt("list the root folder", lambda: os.listdir("/"))
    attempt("read /proc", lambda: open("/proc/self/status").close())
    attempt("open a TCP socket", lambda: socket.socket().close())
    attempt("open a UDP socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close())
    attempt("open a unix socket", lambda: socket.socket(socket.AF_UNIX).close())
    attempt("signal its parent", lambda: os.kill(os.getppid(), 0))
    attempt("signal the caller", lambda: os.kill(target, 0))
    attempt("signal everyone", lambda: os.kill(-1, 0))
    attempt("have the kernel signal its parent", lambda: fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid()))
    attempt("fork", child)
    unshare = 272 if os.uname().machine == "x86_64" else 97
    attempt("make a user namespace", lambda: call(unshare, 0x10000000))
    attempt("execute a program", lambda: os.execv("/bin/true", ["true"]))
    return leaks
"""

COMMAND = """
import ctypes, os, socket, sys
secret, target = sys.argv[1], int(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
def attempt(name, action):
    try:
        if action() is not False:
            print(name)
    except OSError:
        pass
def call(function, *arguments):
    if function(*arguments) < 0:
        raise OSError(ctypes.get_errno())
attempt("read a file", lambda: open(secret).close())
attempt("see a file", lambda: os.path.exists(secret))
attempt("see a home folder", lambda: bool(os.listdir("/home")))
attempt("see accounts", lambda: os.path.exists("/etc/passwd"))
attempt("read /proc", lambda: os.path.exists("/proc/self"))
attempt("signal the caller", lambda: os.kill(target, 0))
attempt("signal process 1", lambda: os.kill(1, 9) or False)
attempt("see a network interface", lambda: len(socket.if_nameindex()) > 1)
attempt("open a socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close())
attempt("mount", lambda: call(libc.mount, b"none", b"/scratch", b"tmpfs", 0, None))
attempt("make a user namespace", lambda: call(libc.unshare, 0x10000000))
attempt("trace a process", lambda: call(libc.ptrace, 16, 1, 0, 0))
attempt("write to the system", lambda: open("/usr/left", "w").close())
attempt("write to the root folder", lambda: open("/left", "w").close())
attempt("be root", lambda: os.setuid(0))
os.waitpid(os.fork() or os._exit(0), 0)
"""


def jobs(level: Level, secret: str) -> list[Job]:
    """The probes of a level; `secret` is a file that they should not reach."""
    code, limits = PROBE if level != "L1" else "def probe(secret, target): return []", Limits(cpu_seconds=5)
    found = [Job(code, "call", "probe", (secret, os.getpid()), limits=limits)]
    if level == "L3":
        words = (os.path.realpath(sys.executable), "-S", "-c", COMMAND, secret, str(os.getpid()))
        found.append(Job("", "command", args=words, limits=limits))
    return found


def judge(results: Sequence[Result]) -> str:
    """What was possible, in a line; empty when nothing was."""
    said: list[str] = []
    for result in results:
        if result.status != "ok":
            return f"{result.status}: {result.error or result.stderr[-200:]}"
        said += result.value if result.value is not None else result.stdout.splitlines()
    return f"code could {', '.join(said)}" if said else ""
