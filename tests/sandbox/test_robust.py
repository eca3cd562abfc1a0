"""The sandbox when its surroundings fail: old systems, no room for a process, a full disk, killed workers and parents."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ponder.errors import ConfigError
from ponder.sandbox import Job, Limits, Sandbox, keeper, places
from ponder.sandbox.box import held
from ponder.sandbox.keeper import Keeper
from ponder.sandbox.scratch import open_folder, over

FAST = Limits(cpu_seconds=0.3, wall_seconds=1.0, output_bytes=10_000)
GOOD = Job("def f(x): return x", "call", "f", (7,))
linux = pytest.mark.skipif(sys.platform != "linux" or held("L2") != "", reason="level L2 does not hold here")
LEVELS = ["L1", pytest.param("L2", marks=linux)]


def zygote_with(change: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New workers run `change` before anything else."""
    path = str(Path(keeper.__file__).with_name("zygote.py"))
    start = folder / "start.py"
    start.write_text(
        f"import os, runpy, sys\n{change}\nsys.argv[0] = {path!r}\nrunpy.run_path({path!r}, run_name='__main__')"
    )
    monkeypatch.setattr(keeper, "FLAGS", (*keeper.FLAGS[:-1], str(start)))


NOT_LINUX = """
for name in ('pidfd_open', 'memfd_create', 'waitid'):
    delattr(os, name) if hasattr(os, name) else None
sys.platform = 'darwin'
"""
OLD_KERNEL = """
import ctypes, struct
class Program(ctypes.Structure):
    _fields_ = [('size', ctypes.c_ushort), ('code', ctypes.c_char_p)]
lacking = [row for number in {numbers} for row in ((0x15, 0, 1, number), (6, 0, 0, 0x50026))]
code = b''.join(struct.pack('=HBBI', *row) for row in [(0x20, 0, 0, 0), *lacking, (6, 0, 0, 0x7FFF0000)])
prctl = ctypes.CDLL(None).prctl
assert prctl(38, 1, 0, 0, 0) == 0 and prctl(22, 2, ctypes.byref(Program(len(code) // 8, code)), 0, 0) == 0
"""  # these calls answer ENOSYS
LANDLOCK, PIDFD, MEMFD = 444, 434, 319


@pytest.mark.parametrize(
    "change", [NOT_LINUX, pytest.param(OLD_KERNEL.format(numbers=(LANDLOCK, PIDFD, MEMFD)), marks=linux)]
)
def test_level_one_needs_nothing_of_a_new_linux(change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zygote_with(change, tmp_path, monkeypatch)
    monkeypatch.delattr(os, "memfd_create", raising=False)
    jobs = [GOOD, Job("def f(): 1 / 0", "call", "f"), Job("while True: pass", "exec", limits=FAST), GOOD]
    with Sandbox("L1", workers=1) as box:
        results = box.run(jobs)
        assert [result.status for result in results] == ["ok", "raised", "timeout", "ok"], results
        assert [result.level for result in results] == ["L1"] * 4


@linux
def test_the_layer_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zygote_with(OLD_KERNEL.format(numbers=(LANDLOCK,)), tmp_path, monkeypatch)
    with pytest.raises(OSError, match="Landlock: Function not implemented"):
        Keeper("L2")
    zygote_with("import platform\nplatform.machine = lambda: 'riscv64'", tmp_path, monkeypatch)
    with pytest.raises(OSError, match="no system call filter is known for this machine"):
        Keeper("L2")


@pytest.mark.parametrize("level", LEVELS)
def test_no_room_for_a_process_is_infra_and_passes(level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change = (
        "left, fork = [3], os.fork\ndef failing():\n    if sys.argv == [''] and left[0]:\n        left[0] -= 1\n"
        f"        raise OSError({errno.EAGAIN}, 'no room')\n    return fork()\nos.fork = failing"
    )
    zygote_with(change, tmp_path, monkeypatch)
    with Sandbox(level, workers=1) as box:  # type: ignore[arg-type]
        first, second = box.run([GOOD, GOOD])
    assert (first.status, second.status) == ("infra", "ok")
    assert "could not be started" in first.error


def test_a_full_disk_is_infra_and_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Sandbox("L1", workers=1) as box:
        with monkeypatch.context() as patch:
            patch.setattr(tempfile, "mkdtemp", full)
            result = box.run([GOOD])[0]
            assert (result.status, result.value) == ("infra", None)
            assert "No space left" in result.error
        assert box.run([GOOD])[0].status == "ok"


@pytest.mark.parametrize("level", LEVELS)
def test_a_worker_killed_in_the_middle_costs_nothing(level: str) -> None:
    slow = Job("import time\ndef f(x):\n    time.sleep(0.1)\n    return x", "call", "f", (7,))
    with Sandbox(level, workers=2) as box:  # type: ignore[arg-type]
        box.run([GOOD] * 2)
        victim = box._idle[0].process.pid
        killer = threading.Timer(0.15, os.kill, (victim, signal.SIGKILL))
        killer.start()
        results = box.run([slow] * 8)
        killer.join()
    assert [(result.status, result.value) for result in results] == [("ok", 7)] * 8


def test_samples_have_a_group_of_their_own_and_equal_chances() -> None:
    code = "import os, random\ndef f(): return [os.getpgrp() == os.getpid(), random.random()]"
    with Sandbox(workers=2) as box:
        values = [result.value for result in box.run([Job(code, "call", "f")] * 4)]
    assert values == [values[0]] * 4
    assert values[0][0] is True


# --- Folders: bounded while a sample runs, gone after all


@linux
@pytest.mark.parametrize(
    "body",
    [
        "n = 0\nwhile True:\n    open(str(n % 900), 'w').write('x' * 10**6)\n    n += 1",
        "n = 0\nwhile True:\n    open(str(n), 'w').close()\n    n += 1",
        "import os\nwhile True:\n    os.mkdir('d')\n    os.chdir('d')",
        "import os, time\nos.mkdir('d', 0)\ntime.sleep(5)",
    ],
    ids=["bytes", "files", "depth", "a folder that can not be read"],
)
def test_the_scratch_folder_is_bounded(body: str) -> None:
    if "'d', 0" in body and os.geteuid() == 0:
        pytest.skip("a worker started by root may read every folder")
    with Sandbox("L2", workers=1) as box:
        before, result, after = box.run([GOOD, Job(body, "exec", limits=Limits(cpu_seconds=5)), GOOD])
    assert (before.status, result.status, after.status) == ("ok", "output", "ok"), result
    assert "folder" in result.error


def test_measuring_a_folder(tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path))
    try:
        assert not over(folder)
        (tmp_path / "link").symlink_to("/")
        (tmp_path / "a").mkdir()
        for n in range(990):
            (tmp_path / "a" / str(n)).touch()
        assert not over(folder)
        for n in range(20):
            (tmp_path / f"b{n}").touch()
        assert over(folder)
    finally:
        os.close(folder)


def test_left_folders_are_cleared_and_held_ones_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    held_place, young = places.Place(), tmp_path / f"{places.PREFIX}young"
    left, other = tmp_path / f"{places.PREFIX}left", tmp_path / "another"
    outside = tmp_path / "outside"
    for folder in (young, left, other, outside):
        (folder / "scratch").mkdir(parents=True)
        (folder / "scratch" / "file").touch()
    (tmp_path / f"{places.PREFIX}link").symlink_to(outside)
    for path in (left, other, outside, Path(held_place.outer)):
        os.utime(path, (0, 0))
    assert places.sweep(str(tmp_path)) == 1
    assert not left.exists()
    assert (
        young.exists() and other.exists() and (outside / "scratch" / "file").exists() and Path(held_place.path).exists()
    )
    held_place.close()
    assert not Path(held_place.outer).exists()
    held_place.close()


# --- Parents that end in the middle

PARENT = """
import os, signal, sys, time
from ponder.sandbox import Job, Limits, Sandbox
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell starts in the background
box = Sandbox({level!r}, workers=2)
box.run([Job("x = 1", "exec")] * 2)
print(*[keeper.process.pid for keeper in box._idle], flush=True)
try:
    box.run([Job("import time\\ntime.sleep(30)", "exec", limits=Limits(wall_seconds=60))] * 2)
except KeyboardInterrupt:
    box.close()
    children = open(f"/proc/self/task/{{os.getpid()}}/children").read().split()
    print("interrupted", len(children), len(os.listdir(os.environ["TMPDIR"])), flush=True)
"""


@pytest.fixture
def apart() -> Iterator[Path]:
    """A folder for temporary files that another user can pass through."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)
        yield Path(folder)


@contextlib.contextmanager
def parent(level: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process in the middle of a batch, and its workers."""
    command = [sys.executable, "-c", PARENT.format(level=level)]
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            workers = [int(word) for word in process.stdout.readline().split()]
            assert len(workers) == 2
            time.sleep(0.5)
            yield process, workers
        finally:
            process.kill()


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _samples(workers: list[int]) -> list[int]:
    """The children of some processes."""
    stats: list[str] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            stats.append(path.read_text())
    return [int(row.split()[0]) for row in stats if int(row.rpartition(")")[2].split()[1]) in workers]


def _gone(family: list[int]) -> bool:
    """Whether all of these processes have ended, within ten seconds."""
    until = time.monotonic() + 10
    while any(map(_alive, family)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(_alive, family))


@pytest.mark.slow
@linux
@pytest.mark.parametrize("level", ["L1", "L2"])
def test_nothing_survives_a_killed_parent(level: str, apart: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with parent(level, apart) as (process, workers):
        family = [*workers, *_samples(workers)]
        assert len(family) == 4
        process.kill()
        process.wait()
        assert _gone(family)
    assert len(list(apart.iterdir())) == 2  # left behind, and cleared by the next one to start
    monkeypatch.setattr(places, "YOUNG_SECONDS", -1.0)
    assert places.sweep(str(apart)) == 2
    assert list(apart.iterdir()) == []


@pytest.mark.slow
@linux
@pytest.mark.parametrize("level", ["L1", "L2"])
def test_an_interrupt_closes_the_workers(level: str, apart: Path) -> None:
    with parent(level, apart) as (process, workers):
        family = [*workers, *_samples(workers)]
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "interrupted 0 0\n"
        assert _gone(family)  # a sample dies with its worker, a moment later


# --- Packages


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_a_package_can_be_opened(level: str) -> None:
    pytest.importorskip("numpy")
    code = (
        "import numpy as np\nimport numpy.polynomial\ndef f(rows):\n"
        "    try:\n        import rich\n        other = True\n    except (ImportError, OSError):\n        other = False\n"
        "    return [float(np.linalg.det(np.array(rows))), np.sort([3, 1, 2]).tolist(), other]"
    )
    job = Job(code, "call", "f", ([[2.0, 0.0], [0.0, 3.0]],))
    with Sandbox(level, workers=1, packages=("numpy",)) as box:  # type: ignore[arg-type]
        value = box.run([job])[0].value
    assert value[0] == pytest.approx(6.0)
    assert value[1:] == [[1, 2, 3], False] or level == "L1"
    with Sandbox(level, workers=1) as box:  # type: ignore[arg-type]
        assert "No module named 'numpy'" in box.run([job])[0].error


def test_a_package_that_is_not_there_is_named() -> None:
    for name in ("no_such_package", "../etc", "os.path"):
        with pytest.raises(ConfigError, match="not installed"):
            Sandbox(packages=(name,))
