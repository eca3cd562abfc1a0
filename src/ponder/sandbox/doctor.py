"""Which level holds here, and what hostile programs come to at it: `ponder doctor --sandbox`."""

from __future__ import annotations

from typing import Any

from ponder.sandbox.box import Sandbox, held
from ponder.sandbox.jobs import Job, Level, Limits, Result, Status
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
        checks += [_attack(box, name, *attack) for name, attack in ATTACKS.items()]
        level = box.level
    return {"ok": all(check["ok"] for check in checks), "level": level, "checks": checks}


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
        checks += [_attack(box, name, *attack) for name, attack in ATTACKS.items()]
    return {"ok": all(check["ok"] for check in checks), "level": level, "checks": checks}


def _layer(level: Level) -> dict[str, Any]:
    reason = held(level)
    return {"name": f"level {level}", "ok": not reason, "found": reason or "holds"}


def _attack(box: Runs, name: str, code: str, expected: Status) -> dict[str, Any]:
    before, result, after = box.run([NEIGHBOUR, Job(code, "call", "f", limits=LIMITS), NEIGHBOUR])
    calm = all(_unharmed(neighbour) for neighbour in (before, after))
    found = result.status if result.status == expected else f"{result.status} ({result.error}) and not {expected}"
    return {
        "name": name,
        "ok": calm and result.status == expected,
        "found": found if calm else f"{found}; and the next sample was disturbed",
    }


def _unharmed(result: Result) -> bool:
    return result.status == "ok" and result.value == 41 and not result.stdout
