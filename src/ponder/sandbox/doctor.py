"""Which levels hold here, and what hostile programs come to: `ponder doctor --sandbox`.

The attacks in Python run at the level that is the default here; where cells hold, compiled programs, sources and commands
attack at L3.
"""

from __future__ import annotations

from typing import Any

from ponder.errors import ConfigError
from ponder.sandbox.box import Sandbox, held
from ponder.sandbox.jobs import Job, Level, Limits, Result, Status
from ponder.sandbox.languages import language
from ponder.sandbox.probes import PROBE
from ponder.sandbox.shared import Runs

LIMITS = Limits(cpu_seconds=0.5, wall_seconds=2.0, output_bytes=10_000, value_bytes=10_000)
NEIGHBOUR = Job("def f(x): return x + len([x]) - 1", "call", "f", (41,), limits=Limits())
ATTACKS: dict[str, tuple[str, Status]] = {
    "never ends": ("while True: pass", "timeout"),
    "sleeps": ("import time\ntime.sleep(60)", "timeout"),
    "swallows every exception": ("while True:\n try:\n  while True: pass\n except BaseException: pass", "timeout"),
    "allocates 100 GB": ("x = bytearray(100 << 30)", "memory"),
    "floods its output": ("while True: print('x' * 1000)", "output"),
    "returns too much": ("def f(): return 'x' * (1 << 20)", "refused"),
    "returns an object equal to everything": (
        "class E:\n def __eq__(self, other): return True\ndef f(): return E()",
        "refused",
    ),
    "returns a list that holds itself": ("a = []\na.append(a)\ndef f(): return a", "refused"),
    "leaves with exit code 0": ("import os\nos._exit(0)", "exited"),
    "breaks the builtins": ("import builtins\nbuiltins.len = None\nraise SystemExit", "exited"),
    "writes to every descriptor": (
        "import os\nfor n in range(64):\n try: os.write(n, b'T' * 40)\n except OSError: pass\nos._exit(0)",
        "refused",
    ),
}

HEADERS = ("cstdio", "cstring", "fcntl.h", "initializer_list", "sys/socket.h", "unistd.h")
CPP = "".join(f"#include <{name}>\n" for name in HEADERS)
REACH = """int main() {
  int n = 0;
  for (auto path : {"/etc/passwd", "/proc/self/status", "/usr", "/", "/root", "/home"}) n += open(path, O_RDONLY) >= 0;
  for (int f : {AF_INET, AF_UNIX, AF_NETLINK}) n += socket(f, SOCK_DGRAM, 0) >= 0;
  for (int fd = 3; fd < 64; fd++) n += fcntl(fd, F_GETFD) >= 0;
  return n;
}"""
NATIVE: dict[str, tuple[str, Status]] = {
    "never ends": ("int main() { for (volatile int i = 0;; i = 0); }", "timeout"),
    "allocates 100 GB": (
        "int main(int n, char **) { auto *volatile p = new char[(100ULL << 30) + n]; p[5] = 1; }",
        "memory",
    ),
    "recurses without end": ("int f(volatile int n) { return f(n + 1) + n; } int main() { return f(0); }", "exited"),
    "floods its output": ('int main() { for (;;) puts("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"); }', "output"),
    "forks without end": ("int main() { for (;;) if (fork() < 0) return 1; }", "exited"),
    "looks for files, sockets, descriptors": (REACH, "ok"),
    "includes a file of the machine": ('#include "/etc/passwd"\nint main() {}', "compile"),
    "unfolds templates without end": ("template <int N> struct A { A<N + 1> a; };\nA<0> a;\nint main() {}", "compile"),
}
COMMANDS: dict[str, tuple[str, Status]] = {
    "forks without end": ("f() { f | f & }; f; while :; do :; done", "timeout"),
    "leaves processes": ("for i in 1 2 3; do setsid sh -c 'while :; do sleep 1; done' & done", "ok"),
    "reads what is not its own": (
        '[ -z "$(cat /etc/passwd /etc/shadow /proc/*/environ /root/.??* 2>/dev/null)" ]',
        "ok",
    ),
}


def report(remote: str | None = None) -> dict[str, Any]:
    """The level that held with a row per layer and attack; `ok` is False when an attack had another end than it should.

    `remote`: attack the pools at these addresses instead of this machine's sandbox.
    """
    if remote is not None:
        return _elsewhere(remote)
    checks = [_layer("L1"), _layer("L2"), _layer("L3")]
    if not checks[0]["ok"]:
        return {"ok": False, "level": None, "checks": checks}
    for check in checks:
        check["ok"] = True  # a lower level is a finding, not a failure
    with Sandbox(workers=1) as box:
        checks += [_attack(box, name, _called(code), status) for name, (code, status) in ATTACKS.items()]
        level = box.level
    if not held("L3"):
        level = "L3"
        with Sandbox("L3", workers=1) as box:
            checks += _cell_attacks(box)
    return {"ok": all(check["ok"] for check in checks), "level": level, "checks": checks}


def _cell_attacks(box: Sandbox) -> list[dict[str, Any]]:
    """Compiled programs, where there is a compiler, and commands."""
    found: list[dict[str, Any]] = []
    try:
        language("cpp")
        for name, (code, status) in NATIVE.items():
            job = Job(f"{CPP}{code}", "stdin", limits=LIMITS, language="cpp")
            found.append(_attack(box, f"C++ {name}", job, status))
    except ConfigError as error:
        found.append({"name": "C++", "ok": True, "found": str(error)})
    for name, (line, status) in COMMANDS.items():
        job = Job("", "command", args=("sh", "-c", line), limits=LIMITS)
        found.append(_attack(box, f"a command {name}", job, status))
    return found


def _elsewhere(addresses: str) -> dict[str, Any]:
    """The same through a remote pool: a row per server, what code can reach there, and the attacks."""
    from ponder.sandbox.remote import from_environment

    with from_environment(addresses) as box:
        level, here = box.level, box.same_machine
        checks = [
            {"name": f"server {name}", "ok": True, "found": f"{found}{' (on this very machine)' * (name in here)}"}
            for name, found in box.servers.items()
        ]
        leaks = box.run([Job(PROBE, "call", "probe", ("/nonexistent/secret", 1), limits=Limits(cpu_seconds=5))])[0]
        found = "nothing" if leaks.value == [] else ", ".join(leaks.value or [f"{leaks.status}: {leaks.error}"])
        ok = leaks.status == "ok" and (leaks.value == [] or level == "L1")
        checks.append({"name": "code there could", "ok": ok, "found": found})
        checks += [_attack(box, name, _called(code), status) for name, (code, status) in ATTACKS.items()]
    return {"ok": all(check["ok"] for check in checks), "level": level, "checks": checks}


def _called(code: str) -> Job:
    return Job(code, "call", "f", limits=LIMITS)


def _layer(level: Level) -> dict[str, Any]:
    reason = held(level)
    return {"name": f"level {level}", "ok": not reason, "found": reason or "holds"}


def _attack(box: Runs, name: str, job: Job, expected: Status) -> dict[str, Any]:
    before, result, after = box.run([NEIGHBOUR, job, NEIGHBOUR])
    calm = all(_unharmed(neighbour) for neighbour in (before, after))
    found = result.status if result.status == expected else f"{result.status} ({result.error}) and not {expected}"
    return {
        "name": name,
        "ok": calm and result.status == expected,
        "found": found if calm else f"{found}; and the next sample was disturbed",
    }


def _unharmed(result: Result) -> bool:
    return result.status == "ok" and result.value == 41 and not result.stdout
