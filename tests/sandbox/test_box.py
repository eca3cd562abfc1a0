"""Hostile code: the right outcome within its limits, and neighbours that notice nothing."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ponder.errors import ConfigError
from ponder.sandbox import Job, Limits, Result, Sandbox
from ponder.sandbox import box as box_module
from ponder.sandbox.box import held

FAST = Limits(cpu_seconds=0.3, wall_seconds=1.0, output_bytes=10_000, value_bytes=10_000)
GOOD = Job("def f(x):\n    return [x, 'é', (1.5, None)]", "call", "f", (7,))
linux = pytest.mark.skipif(sys.platform != "linux" or held("L2") != "", reason="level L2 does not hold here")


@pytest.fixture(scope="module", params=["L1", pytest.param("L2", marks=linux), "L3"])
def box(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    if why := held(request.param):
        pytest.skip(f"level {request.param} does not hold here: {why}")
    with Sandbox(request.param, workers=1) as sandbox:
        yield sandbox


def call(box: Sandbox, code: str, *args: Any, limits: Limits = FAST) -> Result:
    """The result of `f`, run between two good jobs that must come out well."""
    before, result, after = box.run([GOOD, Job(code, "call", "f", args, limits=limits), GOOD])
    for neighbour in (before, after):
        assert neighbour.status == "ok", neighbour
        assert neighbour.value == [7, "é", (1.5, None)]
        assert neighbour.stdout == ""
    assert result.level == box.level
    return result


HOSTILE = {
    "loop": ("def f():\n    while True: pass", "timeout"),
    "loop that catches everything": (
        "def f():\n  while True:\n    try:\n      while True: pass\n    except BaseException: pass",
        "timeout",
    ),
    "loop at import": ("while True: pass", "timeout"),
    "100 GB": ("def f(): return len(bytearray(100 << 30))", "memory"),
    "output flood": ("def f():\n    while True: print('x' * 1000)", "output"),
    "flood of stderr": ("import os\ndef f():\n    while True: os.write(2, b'x' * 1000)", "output"),
    "value of 20 MB": ("def f(): return 'x' * (20 << 20)", "refused"),
    "self-reference": ("def f():\n    a = []\n    a.append(a)\n    return a", "refused"),
    "deep": ("def f():\n    a = []\n    for _ in range(10**5): a = [a]\n    return a", "refused"),
    "subclass": (
        "class I(int):\n    def __eq__(s, o): return True\n    __hash__ = None\ndef f(): return I(3)",
        "refused",
    ),
    "always equal": ("class E:\n    def __eq__(s, o): return True\ndef f(): return E()", "refused"),
    "exit(0)": ("def f(): exit(0)\nimport sys\nexit = sys.exit", "exited"),
    "exit at import": ("raise SystemExit(0)", "exited"),
    "os._exit(0)": ("import os\ndef f(): os._exit(0)", "exited"),
    "killed itself": ("import os\ndef f(): os.kill(os.getpid(), 9)", "exited"),
    "raised": ("def f(): return 1 / 0", "raised"),
    "does not compile": ("def f(:", "raised"),
    "no such function": ("g = 1", "raised"),
    "message raises": ("class E(Exception):\n    def __str__(s): raise s\ndef f(): raise E()", "raised"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_code_gets_its_outcome_and_neighbours_are_unaffected(box: Sandbox, name: str) -> None:
    code, status = HOSTILE[name]
    result = call(box, code)
    assert result.status == status, result
    assert result.value is None


@pytest.mark.slow
def test_sleeping_is_ended_by_the_wall_clock(box: Sandbox) -> None:
    result = call(box, "import time\ndef f(): time.sleep(60)")
    assert result.status == "timeout"
    assert "wall" in result.error


def test_nan_and_infinity_travel(box: Sandbox) -> None:
    value = call(box, "def f(): return [float('nan'), float('-inf'), 10**50, {1: {2}}, b'x', 2j, frozenset()]").value
    assert value[0] != value[0]
    assert value[1:] == [float("-inf"), 10**50, {1: {2}}, b"x", 2j, frozenset()]


def test_forged_replies_are_only_output(box: Sandbox) -> None:
    result = call(box, 'def f():\n    print(\'ok 6 passed {"status": "ok"}\')\n    return 0')
    assert (result.status, result.value) == ("ok", 0)
    assert "6 passed" in result.stdout


def test_writing_to_every_descriptor_wins_nothing(box: Sandbox) -> None:
    code = (
        "import os\ndef f():\n  for fd in range(64):\n    for data in (b'+' * 36, b'T'):\n"
        "      try: os.write(fd, data)\n      except OSError: pass\n  os._exit(0)"
    )
    assert call(box, code).status in ("refused", "exited")


def test_state_does_not_reach_the_next_sample(box: Sandbox) -> None:
    poison = "import builtins, math\nbuiltins.len = lambda x: 99\nmath.gcd = None\nopen('left', 'w').write('x')"
    look = "import math, os\ndef f(): return [len([]), math.gcd(4, 6), os.listdir('.'), dict(os.environ)]"
    _, second = box.run([Job(poison, "exec"), Job(look, "call", "f")])
    assert second.value == [0, 2, [], {}]


def test_forks_do_not_outlive_the_sample(box: Sandbox, tmp_path: Path) -> None:
    code = (
        "import os, time\ndef f():\n  n = 0\n  for _ in range(20):\n    try:\n      pid = os.fork()\n    except OSError:\n"
        "      continue\n    n += 1\n    if pid == 0:\n      os.setsid()\n      time.sleep(60)\n  return n"
    )
    result = call(box, code)
    assert result.status == "ok", result
    assert result.value == (20 if box.level == "L1" else 0)
    if box.level == "L3":  # in a cell its first process is the worker; what that ends, see test_cell
        return
    group = box._idle[0].process.pid
    children = Path(f"/proc/{group}/task/{group}/children")
    assert not children.exists() or children.read_text().split() == []


def test_programs_read_standard_input_or_do_not(box: Sandbox) -> None:
    jobs = [
        Job("a, b = map(int, input().split())\nprint(a + b)", "stdin", stdin="1 2\n"),
        Job("print('never reads')", "stdin", stdin="x" * 1_000_000),
        Job("import sys\nprint(sum(map(int, sys.stdin)))\nsys.exit(0)", "stdin", stdin="1\n2\n"),
        Job("import os\nos.write(1, b'hi')\nos._exit(0)", "stdin"),
        Job("import sys\nprint('x')\nsys.exit(3)", "stdin"),
        Job("input()", "stdin"),
        Job("import threading\nthreading.Thread(target=lambda: print('later')).start()", "stdin"),
        Job("if __name__ == '__main__':\n    print('main')", "stdin"),
    ]
    results = box.run(jobs)
    assert [(r.status, r.stdout) for r in results] == [
        ("ok", "3\n"), ("ok", "never reads\n"), ("ok", "3\n"), ("ok", "hi"), ("exited", "x\n"), ("raised", ""),
        ("ok", "later\n"), ("ok", "main\n"),
    ]  # fmt: skip
    assert "EOFError" in results[5].error


def test_entries_methods_and_executed_code(box: Sandbox) -> None:
    jobs = [
        Job("class Solution:\n    def g(self, x, y=1): return x + y", "call", "Solution.g", (1,), {"y": 5}),
        Job("assert 1 == 1\nanswer = 42", "exec", "answer"),
        Job("x = 1\nassert x == 2, 'no'", "exec"),
        Job("def f(x): x.append(1); return x", "call", "f", ([0],)),
        Job("class E(SyntaxError):\n  filename = property(lambda s: 1 / 0)\n  __str__ = None\nraise E", "exec"),
    ]
    values = box.run(jobs)
    assert [r.value for r in values] == [6, 42, None, [0, 1], None]
    assert (values[2].status, values[2].error) == ("raised", "AssertionError: no (line 2)")
    assert (values[4].status, values[4].error) == ("raised", "E: (its message raised as well) (line 4)")


def test_arguments_must_be_plain_data(box: Sandbox) -> None:
    assert call(box, "def f(x): return x", object()).status == "refused"


def test_a_dead_zygote_is_replaced(box: Sandbox) -> None:
    box.run([GOOD])
    box._idle[0].process.kill()
    assert box.run([GOOD, GOOD])[1].status == "ok"


@linux
def test_files_sockets_and_processes_are_out_of_reach(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("secret")
    code = (
        "import os, socket, subprocess\ndef f(path, pid):\n  said = []\n  def t(g):\n    try: g(); said.append('did')\n"
        "    except OSError: said.append('no')\n  t(lambda: os.unlink(path)); t(lambda: open(path)); t(lambda: os.fork())\n"
        "  t(lambda: socket.socket()); t(lambda: os.kill(pid, 9)); t(lambda: subprocess.run(['true']))\n"
        "  t(lambda: open(f'/proc/{pid}/mem')); t(lambda: os.listdir(os.path.dirname(path)))\n  return said"
    )
    with Sandbox("L2", require="L2", workers=1) as box:
        assert call(box, code, str(victim), os.getpid()).value == ["no"] * 8
    assert victim.read_text() == "secret"


def test_a_batch_is_cancelled_from_another_thread(box: Sandbox) -> None:
    endless = Job("import time\nwhile True: time.sleep(1)", "exec", limits=Limits(wall_seconds=60))
    box.run([GOOD])
    started = time.monotonic()
    timer = threading.Timer(0.2, box.cancel)
    timer.start()
    results = box.run([GOOD, endless, GOOD])
    timer.join()
    assert time.monotonic() - started < 20
    assert [r.status for r in results] == ["ok", "infra", "infra"]
    assert box.run([GOOD])[0].status == "ok"


def test_a_level_that_is_not_there_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(box_module._held, ("L3", None), "namespaces: not allowed; bubblewrap: not installed")
    with pytest.raises(ConfigError, match="L3 does not hold here: namespaces: not allowed") as refused:
        Sandbox(require="L3")
    assert "\n" not in str(refused.value)
    with pytest.raises(ConfigError, match="reaches only L1, and L3 is required"):
        Sandbox("L1", require="L3")
    with pytest.raises(ConfigError, match="one of L1"):
        Sandbox("L9")  # type: ignore[arg-type]


def test_no_jobs_and_programs_that_need_more() -> None:
    with Sandbox("L1", workers=1) as box:
        assert box.run([]) == []
        with pytest.raises(ConfigError, match="programs in cpp run at sandbox level L3, and this sandbox is at L1"):
            box.run([Job("int main(){}", "stdin", language="cpp")])
        with pytest.raises(ConfigError, match="commands run at"):
            box.run([Job("", "command", args=("true",))])


def test_exit_codes(box: Sandbox) -> None:
    codes = ["import os\nos._exit(0)", "raise SystemExit(3)", "import sys\nsys.exit('x')", "1/0"]
    results = box.run([Job(code, "exec") for code in [*codes, "import os\nos.kill(os.getpid(), 9)"]])
    assert [(r.status, r.exit_code) for r in results] == [
        ("exited", 0), ("exited", 3), ("exited", 1), ("raised", 0), ("exited", -9),
    ]  # fmt: skip


def test_two_threads_share_a_box() -> None:
    with Sandbox("L1", workers=1) as box, ThreadPoolExecutor(2) as threads:
        sizes = (3, 4)
        jobs = [[Job("def f(x): return x", "call", "f", (k,)) for k in range(size)] for size in sizes]
        assert [[r.value for r in rs] for rs in threads.map(box.run, jobs)] == [list(range(size)) for size in sizes]


def test_refused_arguments_leave_the_worker_for_the_next(box: Sandbox) -> None:
    bad, good = box.run([Job("def f(x): return x", "call", "f", (object(),)), GOOD])
    worker = box._idle[0].process.pid
    assert (bad.status, good.status) == ("refused", "ok")
    assert [r.status for r in box.run([Job("def f(x): return x", "call", "f", ({1j: lambda: 0},)), GOOD])] == [
        "refused",
        "ok",
    ]
    assert box._idle[0].process.pid == worker


def test_two_workers_keep_the_order() -> None:
    jobs = [Job("def f(x): return x", "call", "f", (k,)) for k in range(30)]
    with Sandbox(workers=2) as box:
        started = time.monotonic()
        assert [r.value for r in box.run(jobs)] == list(range(30))
        assert time.monotonic() - started < 30


@pytest.mark.slow
def test_nothing_grows_over_many_runs() -> None:
    with Sandbox(workers=1) as box:
        box.run([GOOD] * 50)
        before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
        assert {r.status for r in box.run([GOOD] * 2500)} == {"ok"}  # past one recycling
        after = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
        assert after == before
