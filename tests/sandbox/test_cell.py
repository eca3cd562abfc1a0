"""Level L3: cells made in both ways, hostile programs in C++, hostile sources, commands."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ponder.errors import ConfigError
from ponder.sandbox import Job, Limits, Result, Sandbox, cell, languages, usage
from ponder.sandbox.box import held

linux = pytest.mark.skipif(sys.platform != "linux", reason="namespaces need Linux")
FAST = Limits(cpu_seconds=0.5, wall_seconds=3.0, memory_mb=256, output_bytes=10_000)
ADD = "#include <iostream>\nint main() { long a, b; std::cin >> a >> b; std::cout << a + b << '\\n'; }"
HEADERS = """cstdio cstdlib cstring fcntl.h initializer_list signal.h unistd.h sys/mman.h sys/ptrace.h sys/resource.h sys/socket.h
sys/syscall.h sched.h"""
INCLUDES = "".join(f"#include <{name}>\n" for name in HEADERS.split())


@pytest.fixture(scope="module", params=cell.WAYS)
def box(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    if why := held("L3", request.param):
        pytest.skip(f"cells by {request.param} do not hold here: {why}")
    with Sandbox("L3", require="L3", workers=1, cell=request.param) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def one() -> Iterator[Sandbox]:
    """Cells in the way that is the default here: for what does not depend on it."""
    if why := held("L3"):
        pytest.skip(f"level L3 does not hold here: {why}")
    with Sandbox("L3", workers=1) as sandbox:
        yield sandbox


def run(box: Sandbox, body: str, limits: Limits = FAST, stdin: str = "") -> Result:
    """A C++ program between two that must come out well."""
    good = Job(ADD, "stdin", stdin="2 3\n", language="cpp")
    job = Job(f"{INCLUDES}\n{body}", "stdin", stdin=stdin, limits=limits, language="cpp")
    before, result, after = box.run([good, job, good])
    assert [(r.status, r.stdout) for r in (before, after)] == [("ok", "5\n")] * 2
    assert result.level == "L3"
    return result


def command(box: Sandbox, *words: str, limits: Limits = FAST, **files: str) -> Result:
    named = {name.replace("_", "."): text for name, text in files.items()}
    return box.run([Job("", "command", args=words, files=named, limits=limits)])[0]


PROGRAMS = {
    "loop": ("int main(){for(volatile int i=0;;i=0);}", "timeout"),
    "threads that loop": (
        "#include <thread>\nint main(){auto f=[]{for(volatile int i=0;;i=0);};std::thread a(f);f();}", "timeout",
    ),
    "sleep": ("int main(){sleep(60);}", "timeout"),
    "100 GB by new": ("int main(int n,char**){auto*volatile p=new char[(100ULL<<30)+n];p[5]=1;puts(p+5);}", "memory"),
    "100 GB bit by bit": ("int main(){for(;;){char*p=(char*)malloc(1<<20);if(!p)abort();memset(p,1,1<<20);}}", "exited"),
    "endless recursion": (
        "int f(volatile int n){char b[4096];b[n%4096]=1;return f(n+1)+b[0];}int main(){return f(0);}", "exited",
    ),
    "flood": ("int main(){for(;;)puts(\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\");}", "output"),
    "flood of stderr": ("int main(){for(;;)(void)!write(2,\"xxxxxxxxxxxxxxxxxxx\",19);}", "output"),
    "fork bomb": ("int main(){for(int i=0;i<1000;i++)fork();puts(\"x\");}", "ok"),
    "abort": ("int main(){abort();}", "exited"),
    "exit 3": ("int main(){return 3;}", "exited"),
    "kills all": ("int main(){kill(-1,9);kill(1,9);kill(0,9);return 0;}", "ok"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_hostile_programs_come_to_their_end(one: Sandbox, name: str) -> None:
    body, status = PROGRAMS[name]
    result = run(one, body)
    assert result.status == status, result
    if name == "fork bomb":
        assert result.stdout == "x\n"  # it stayed one process


REACH = """
void did(const char *what, long ok) { if (ok >= 0) puts(what); }
int main() {
  for (const char *path : {"/etc/passwd", "/proc/self/status", "/usr/bin/env", "/root", "/home", "/work", "/", "/sys"})
    did(path, open(path, O_RDONLY));
  for (int n = 3; n < 64; n++) did("an open file", fcntl(n, F_GETFD));
  did("tcp", socket(AF_INET, SOCK_STREAM, 0)); did("udp", socket(AF_INET, SOCK_DGRAM, 0));
  did("unix", socket(AF_UNIX, SOCK_STREAM, 0)); did("netlink", socket(AF_NETLINK, SOCK_RAW, 0));
  did("fork", fork()); did("vfork", syscall(SYS_vfork)); did("clone3", syscall(SYS_clone3, 0, 0));
  char *none[] = {nullptr}; did("exec", execve("/usr/bin/true", none, none));
  did("exec of its own", syscall(SYS_execveat, -1, "/usr/bin/true", none, none, 0));
  did("a namespace", unshare(CLONE_NEWUSER)); did("ptrace", ptrace(PTRACE_ATTACH, 1, 0, 0));
  did("signal 1", kill(1, 0)); did("memory file", memfd_create("x", 0)); did("keys", syscall(SYS_keyctl, 0, 0));
  did("limits", [] { rlimit l{1, 1}; return syscall(SYS_prlimit64, 1, RLIMIT_NOFILE, &l, 0); }());
  did("io_uring", syscall(SYS_io_uring_setup, 1, 0)); did("bpf", syscall(SYS_bpf, 0, 0, 0));
  did("perf", syscall(SYS_perf_event_open, 0, 0, 0, 0, 0)); did("faults", syscall(SYS_userfaultfd, 0));
  FILE *f = fopen("mine", "w"); puts(f ? "its folder" : "nothing"); if (f) fclose(f);
}
"""


@pytest.mark.slow
def test_a_program_reaches_nothing_but_its_folder(box: Sandbox) -> None:
    result = run(box, REACH)
    assert (result.status, result.stdout) == ("ok", "its folder\n"), result
    again = run(box, 'int main(){FILE*f=fopen("mine","r");puts(f?"left over":"clean");}')
    assert again.stdout == "clean\n"


SOURCES = {
    "a file of the machine": ('#include "/etc/passwd"\nint main(){}', "/etc/passwd"),
    "an endless file": ("#include </dev/urandom>\nint main(){}", ""),
    "assembled from a file": ('asm(".incbin \\"/etc/shadow\\"");\nint main(){}', "/etc/shadow"),
    "a template bomb": ("template<int N>struct A{typename A<N+1>::T x;};\nA<0> a;\nint main(){}", ""),
    "includes itself": ('#include "main.cpp"\nint main(){}', ""),
    "a flood of errors": ("\n".join(f"x{n} y{n};" for n in range(20_000)), "error"),
    "a gigantic array": ("char a[1L<<40]={1};int main(){}", ""),
    "nothing": ("", ""),
    "not text": ("\x00\x01\udcff\xfe", ""),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_hostile_sources_do_not_compile(one: Sandbox, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ponder.sandbox.keeper.BUILD_LIMITS", Limits(4.0, 20.0, 512, 1 << 16, 64 << 20))
    source, word = SOURCES[name]
    result, after = one.run([Job(source, "stdin", language="cpp"), Job(ADD, "stdin", stdin="2 3\n", language="cpp")])
    assert result.status == "compile", result
    assert word in result.error and 0 < len(result.error) <= 1000 and len(result.stderr) <= 4000
    assert "root:" not in result.error + result.stderr
    assert (after.status, after.stdout) == ("ok", "5\n")


@pytest.mark.slow
def test_a_source_is_compiled_once(one: Sandbox) -> None:
    jobs = [Job(ADD + "\n", "stdin", stdin=f"{n} 1\n", language="cpp") for n in range(5)]
    bad = [Job("int main(){", "stdin", language="c")] * 3
    started = [r.stdout for r in one.run(jobs)], [r.status for r in one.run(bad)]
    assert started == ([f"{n + 1}\n" for n in range(5)], ["compile"] * 3)
    assert one._builds.binary(languages.key(jobs[0])) is not None
    failed = one._builds.failed(languages.key(bad[0]))
    assert failed is not None and "expected" in failed.error


@linux
def test_binaries_are_bounded_and_can_not_be_changed() -> None:
    builds = languages.Builds(most_bytes=100, most=3)
    for name, size in (("a", 40), ("b", 40), ("c", 40)):
        builds.keep(name, b"\x7fELF" + b"x" * (size - 4))
    assert builds.binary("a") is None and builds.bytes == 80
    handle = builds.binary("b")
    assert handle is not None and os.pread(handle, 4, 0) == b"\x7fELF"
    with pytest.raises(OSError, match="not permitted"):
        os.pwrite(handle, b"x", 0)
    builds.keep("huge", b"x" * 1000)
    assert (builds.binary("b"), builds.bytes) == (None, 1000)
    builds.close()
    assert builds.bytes == 0


def test_commands(box: Sandbox) -> None:
    result = command(box, "sh", "-c", "cat a.txt; echo no >&2; exit 3", a_txt="é\n")
    assert (result.status, result.stdout, result.stderr, result.exit_code) == ("exited", "é\n", "no\n", 3)
    result = command(box, "python3", "-c", "import t; print(t.x, 1 + 1)", t_py="x = 5")
    assert (result.status, result.stdout, result.exit_code) == ("ok", "5 2\n", 0)
    assert "could not be started" in command(box, "no-such-program").error
    with pytest.raises(ValueError, match="no name of a file"):
        Job("", "command", args=("sh",), files={"../x": ""})


@pytest.mark.slow
def test_all_processes_of_a_command_end_with_it(box: Sandbox) -> None:
    left = "for i in 1 2 3; do setsid sh -c 'while :; do sleep 0.1; done' & done; echo started"
    assert command(box, "sh", "-c", left).stdout == "started\n"
    worker = box._idle[0].process.pid
    families = [line.split() for line in subprocess.check_output(["ps", "-eo", "pid,ppid"], text=True).splitlines()[1:]]
    below = {str(worker)}
    for _ in range(4):
        below |= {pid for pid, parent in families if parent in below}
    assert len(below) <= 2  # the worker, and at most what keeps its cell
    assert command(box, "sh", "-c", ":(){ :|:& };:; wait").status in ("ok", "exited", "timeout", "memory")
    assert command(box, "sh", "-c", "echo fine").stdout == "fine\n"


@pytest.mark.slow
def test_time_and_memory_of_all_processes_are_judged_together(one: Sandbox) -> None:
    spin = "for i in 1 2 3 4; do (while :; do :; done) & done; wait"
    result = command(one, "sh", "-c", spin, limits=Limits(cpu_seconds=0.5, wall_seconds=20.0))
    assert (result.status, "processor" in result.error) == ("timeout", True), result
    eat = "import os, time\nfor _ in range(4): os.fork()\nx = b'x' * (60 << 20)\ntime.sleep(10)"
    result = command(one, "python3", "-c", eat, limits=Limits(5.0, 20.0, memory_mb=200))
    assert (result.status, "held more than 200 MB" in result.error) == ("memory", True), result
    assert command(one, "sh", "-c", "echo fine").stdout == "fine\n"


def test_a_busy_machine_is_no_fault_of_the_source() -> None:
    late = Result("timeout", error="more than 120 s of wall time", cpu_seconds=1.0, level="L3")
    assert languages.broken(late).status == "infra"
    bomb = Result("timeout", error="more than 10 s of processor", cpu_seconds=10.1, level="L3")
    assert languages.broken(bomb).status == "compile"
    assert languages.broken(bomb).error == "the compiler took more than 10 s of processor"
    assert languages.broken(Result("infra", error="lost")).error == "lost"


@linux
def test_usage_counts_descendants() -> None:
    with subprocess.Popen(["sh", "-c", "sh -c 'while :; do :; done' & wait"], start_new_session=True) as process:
        deadline = time.monotonic() + 20
        spent, memory = 0.0, 0
        while (spent <= 0.02 or memory <= 100_000) and time.monotonic() < deadline:
            time.sleep(0.05)
            spent, memory = usage.usage(process.pid)
        os.killpg(process.pid, 9)
    assert spent > 0.02 and memory > 100_000
    assert usage.usage(2**30) == (0.0, 0)


@linux
def test_what_holds_in_a_cell_is_noticed_outside_of_one() -> None:
    if os.getuid() != 0:
        pytest.skip("as another user than root few of these succeed")
    pid = os.fork()
    if pid == 0:
        missing = {"be another process than 1", "signal a process outside", "write to the system"} - set(_harmless())
        os._exit(len(missing))
    assert os.waitpid(pid, 0)[1] == 0


def _harmless() -> list[str]:
    """`cell.leaks` in a process of its own, without its mount."""
    cell._mount = _denied
    return cell.leaks()


def _denied(*_: object) -> None:
    raise PermissionError


def test_unknown_ways_and_levels() -> None:
    with pytest.raises(ConfigError, match="one of namespaces, bubblewrap"):
        Sandbox("L3", cell="chroot")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kind 'stdin'"):
        Job("", "call", language="cpp")


def test_a_machine_without_the_compiler(one: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages, "SEARCHED", "/nowhere")
    with pytest.raises(ConfigError, match=r"needs the compiler g\+\+ in /nowhere"):
        one.run([Job(ADD, "stdin", language="cpp")])


def test_no_bubblewrap_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(OSError, match="bubblewrap is not installed"):
        cell.command("bubblewrap")


def test_a_listening_server_is_out_of_reach(box: Sandbox, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import socket\ntry: socket.create_connection(('127.0.0.1', {port}), 1); print('in')\nexcept OSError: print('no')"
        assert command(box, "python3", "-c", code).stdout == "no\n"
