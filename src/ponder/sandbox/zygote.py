"""The clean process that forks samples: `python -S -s -P -B zygote.py FD LEVEL SCRATCH [WAY [PACKAGE…]]`.

It is executed, never forked from the process that knows answers, and it never sees a job: code, input and reply travel
in files that the parent hands over and only the sample reads. What the zygote says about a sample (how it ended, its
processor time) leaves by a socket the sample does not have, with a token it read only after the sample was forked.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import select
import signal
import socket
import struct
import sys
import time
from typing import Any

REQUEST = struct.Struct("=ddQQQI")  # cpu seconds, wall seconds, memory, file size, value bytes, mode
ANSWER = struct.Struct("=idii")  # wait status, cpu seconds, why, clean
TOKEN = 16
ENDED, CPU, WALL, SETUP, SPACE = 0, 1, 2, 3, 4
LOOK_SECONDS = 0.05  # how often a running sample is looked at, at least
FORK_TRIES = 3
CORES = os.cpu_count() or 1
HELPED = (2, 3)  # modes in which processes of the sample's own do the work: a compiler, a command
CLEAN_SECONDS = 5.0  # well within the time the parent waits beyond the limits
PRELOADED = (
    "math cmath re collections itertools functools heapq bisect string random typing operator copy decimal fractions "
    "statistics datetime json io array queue threading time dataclasses enum abc contextlib textwrap types atexit"
)


def preload(packages: list[str]) -> None:
    """Import what many programs need, and packages given by where they lie. What would run after each fork (new locks, a
    new random seed) is left out: this process has one thread, and all samples draw the same random numbers."""
    register = os.register_at_fork

    def forget(**_: Any) -> None:
        pass

    os.register_at_fork = forget
    try:
        for path in packages:
            if os.path.dirname(path) not in sys.path:
                sys.path.append(os.path.dirname(path))
        for name in (*PRELOADED.split(), *(os.path.basename(path).split(".")[0] for path in packages)):
            __import__(name)
    finally:
        os.register_at_fork = register
    sys.modules["random"].__dict__["seed"](0)


def sibling(name: str) -> Any:
    """A file of this folder as a module, without this folder on the path."""
    full = f"ponder_sandbox_{name}"
    spec = importlib.util.spec_from_file_location(full, os.path.join(os.path.dirname(__file__), f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module
    spec.loader.exec_module(module)
    return module


class Zygote:
    """One sample at a time."""

    def __init__(self, control: socket.socket, level: str, scratch: str, packages: list[str]) -> None:
        sibling("codec")
        self.confine, self.filters, self.harness = sibling("confine"), sibling("filters"), sibling("harness")
        self.emptying, self.clock = sibling("scratch"), sibling("clock")
        self.native = sibling("native") if level == "L3" else None
        self.control, self.level, self.scratch = control, level, scratch
        self.program = self.filters.build()
        self.become, self.denied = self.filters.build(become=True), self.filters.deny()
        self.ready, self.mark = os.pipe()
        os.set_blocking(self.ready, False)
        self.user, self.read_all, self.processes = self._user()
        confine = self.confine
        confine.prctl(confine.PR_SET_SUBREAPER)
        confine.prctl(confine.PR_SET_DUMPABLE, 0)
        self.folder = self.emptying.open_folder(scratch)
        os.fchdir(self.folder)
        if level != "L1":
            confine.check_filters(self.program)
            if self.user is not None:  # no signal leaves a sample at L2, so the zygote can be of the same user
                confine.drop(self.user, self.read_all)
                self.user = None
            confine.prctl(confine.PR_SET_DUMPABLE, 0)
            programs: list[str] = sibling("cell").programs() if level == "L3" else []
            opened = [*packages, *(f"{path}.libs" for path in packages)]
            listed = {os.path.dirname(path) for path in (os.path.realpath(os.__file__), *packages)}
            confine.fence([*self._readable(), *opened], scratch, sorted(listed), programs)

    def _user(self) -> tuple[int | None, bool, int]:
        """Who the samples are: as root a user of their own; and how many processes that user may have."""
        import resource

        if os.getuid() != 0:
            return None, False, resource.getrlimit(resource.RLIMIT_NPROC)[0] if sys.platform == "darwin" else 4096
        user = 0x70000000 + os.getpid()
        try:
            os.chown(self.scratch, user, user)
            private = not self.confine.readable_by(user, os.__file__)
        except OSError:  # a user namespace without such users
            return None, False, 4096
        return user, private, 64

    @staticmethod
    def _readable() -> list[str]:
        standard, base = os.path.dirname(os.path.realpath(os.__file__)), os.path.join(sys.base_prefix, "lib")
        found = {os.path.join(standard, name) for name in os.listdir(standard) if name != "site-packages"}
        found |= {os.path.join(base, name) for name in os.listdir(base) if name.startswith("libpython")}
        system = {"/usr/lib", "/lib", "/lib64", "/usr/lib64", "/usr/share/zoneinfo", "/etc/localtime"}
        return sorted(found | system | {"/dev/null", "/dev/zero", "/dev/urandom"})

    def loop(self) -> None:
        while True:
            head, files, _, _ = socket.recv_fds(self.control, REQUEST.size, 5)
            if len(head) != REQUEST.size or len(files) not in (4, 5):
                return
            cpu, wall, memory, size, value, mode = REQUEST.unpack(head)
            pid = _fork()
            if pid == 0:
                self._sample(files, cpu, memory, size, value, mode)
            for descriptor in files:
                os.close(descriptor)
            token = self.control.recv(TOKEN, socket.MSG_WAITALL)
            answer = self._supervise(pid, cpu, wall, mode) if pid is not None else (0, 0.0, SETUP)
            self.control.sendall(token + ANSWER.pack(*answer, self._clean()))

    def _sample(self, files: list[int], cpu: float, memory: int, size: int, value: int, mode: int) -> None:
        """In the child; never returns."""
        try:
            confine = self.confine
            os.setpgid(0, 0)  # in the session of the zygote, which has no terminal
            self.control.close()
            os.close(self.ready)
            os.close(self.folder)
            if self.user is not None:
                confine.drop(self.user, self.read_all)
                confine.prctl(confine.PR_SET_DUMPABLE, 0)
            confine.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL)  # after the change of user, which clears it
            confine.cap(cpu, memory, size, self.processes)
            if mode and self.native is not None:
                self.native.prepare(mode, confine, self.scratch)
            if self.level != "L1":
                program = (self.program, self.become, self.denied, self.denied)[mode]
                confine.filter_calls(self.filters.bind(program, os.getpid()))
            os.write(self.mark, b"+")
            os.close(self.mark)
            if mode and self.native is not None:
                self.native.serve(mode, self.harness.take, files, self.scratch)
            self.harness.serve(*files, value)
        finally:
            os._exit(0)

    def _supervise(self, pid: int, cpu: float, wall: float, mode: int) -> tuple[int, float, int]:
        """Wait for the sample, or end it: wait status, processor seconds, why."""
        why, used, ended = ENDED, 0.0, None
        clock, handle = self.clock.Clock(wall, whole=mode in HELPED), _handle(pid)
        pause = min(max(cpu / CORES, 0.002), wall, LOOK_SECONDS if handle is not None else 0.0005)
        try:
            while (ended := _ended(pid, handle, self.control, pause)) is None:
                used = self.clock.processor_seconds(pid)
                left, late = cpu - used, clock.left(used)
                why = CPU if left <= 0 else WALL if late <= 0 else SPACE if self._full() else ENDED
                if why != ENDED:
                    break
                longest = LOOK_SECONDS if handle is not None else min(pause * 1.5, 0.02)
                pause = min(max(left / CORES, 0.002), late, longest)
        finally:
            _kill(pid, reaped=handle is None and ended is not None)
            if handle is not None:
                os.close(handle)
        status, usage = ended or os.wait4(pid, 0)[1:]
        used = max(used, usage.ru_utime + usage.ru_stime) + self._sweep()
        try:
            os.read(self.ready, 64)
        except BlockingIOError:
            why = SETUP
        return status, used, CPU if why == ENDED and used > cpu else why

    def _sweep(self) -> float:
        """End what the sample left behind: at L1 it may fork, and its orphans come to us. Their processor seconds at L3."""
        if self.native is not None:
            return self.native.sweep()
        for _ in range(2000):
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    for child in _children():
                        _kill(child)
                    time.sleep(0.001)
            except ChildProcessError:
                break
        return 0.0

    def _full(self) -> bool:
        return self.level != "L3" and self.emptying.over(self.folder)  # at L3 the folder has a size of its own

    def _clean(self) -> int:
        """Empty the scratch folder; 0 when that failed and this zygote should be replaced."""
        try:
            clean = self.emptying.empty(self.folder, CLEAN_SECONDS)
            os.utime(self.folder, (0, 0))  # its times would tell the next sample something
        except OSError:
            return 0
        return int(clean)


def _fork() -> int | None:
    """`os.fork`; None when there is no room for a process, after some tries."""
    for attempt in range(FORK_TRIES):
        try:
            return os.fork()
        except OSError:
            time.sleep(0.02 * (attempt + 1))
    return None


def _handle(pid: int) -> int | None:
    """A descriptor that shows the end of a child; None where the system has no such thing."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _ended(pid: int, handle: int | None, control: socket.socket, pause: float) -> tuple[Any, ...] | None:
    """Not None once the sample has ended, None after `pause` seconds; ends all when the parent is gone.

    With a handle the sample is not yet waited for, so that its number stays taken; else its wait status and usage."""
    poll = select.poll()
    poll.register(control, 0)
    if handle is not None:
        poll.register(handle, select.POLLIN)
    events = dict(poll.poll(pause * 1000))
    if control.fileno() in events:
        _kill(pid)
        os._exit(0)
    if handle is None:
        found, *ended = os.wait4(pid, os.WNOHANG)
        return tuple(ended) if found else None
    return () if handle in events else None


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def _kill(pid: int, reaped: bool = False) -> None:
    for send in (os.killpg,) if reaped else (os.kill, os.killpg):
        try:
            send(pid, signal.SIGKILL)
        except OSError:
            continue


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    level, scratch = sys.argv[2], sys.argv[3]
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    packages = sys.argv[5:]
    try:
        preload(packages)
        os.environ.clear()
        if level == "L3":
            scratch = sibling("cell").settle(scratch, sys.argv[4])
        zygote = Zygote(control, level, scratch, packages)
    except (OSError, ImportError) as error:
        control.sendall(f"-{error}"[:200].encode())
        return
    sys.argv[:] = [""]
    gc.collect()
    gc.freeze()
    control.sendall(b"+")
    zygote.loop()


if __name__ == "__main__":
    main()
