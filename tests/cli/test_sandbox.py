"""`ponder sandbox run` and `ponder sandbox serve` as one types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from remote_tools import until

from ponder import cli
from ponder.sandbox.box import held

pytestmark = pytest.mark.skipif(held("L2") != "", reason="level L2 does not hold here")


@pytest.fixture
def program(tmp_path: Path) -> str:
    (tmp_path / "a.py").write_text("import sys\nprint(sum(map(int, sys.stdin)))\nprint('\\x1b[2J', file=sys.stderr)\n")
    (tmp_path / "in.txt").write_text("1\n2\n39\n")
    return str(tmp_path / "a.py")


def test_run_shows_output_status_seconds_and_level(
    program: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["sandbox", "run", program, "--stdin", str(tmp_path / "in.txt")]
    assert cli.main(given) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["42", "\\x1b[2J"]
    assert lines[2].startswith("[ok, 0.") and lines[2].endswith(" level L2]")
    assert cli.main([*given, "--json", "--out", str(tmp_path / "out.json")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["stdout"], said["level"], said["exit_code"]) == ("42\n", "L2", 0)
    assert json.loads((tmp_path / "out.json").read_text()) == said


def test_run_of_a_program_that_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b.py").write_text("while True: pass")
    assert cli.main(["sandbox", "run", str(tmp_path / "b.py"), "--cpu-seconds", "0.2", "--level", "L1"]) == 1
    assert "[timeout: more than 0.2 s of processor" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nofile.py"], "nofile.py: can not be read (No such file or directory)"),
        ([], "ponder sandbox run needs FILE"),
        (["{}", "--remote", "host"], "sandbox address 'host': it is written host:port"),
        (["{}", "--language", "cobol"], "cobol"),
        (["{}", "--memory-mb", "0"], "memory"),
    ],
)
def test_run_says_what_is_wrong(
    program: str, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["sandbox", "run", *(word.format(program) for word in words)]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_serve_refuses_what_it_can_not_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "token").write_text("short")
    for words, message in [
        (["--host", "0.0.0.0"], "a token is needed (--token-file)"),
        (["--token-file", str(tmp_path / "token")], "at least 16"),
        (["--level", "L1"], "L2 is required"),
        (["--key", "x"], "a certificate is needed"),
        (["--port", "70000"], "port"),
    ]:
        assert cli.main(["sandbox", "serve", *words]) == 2
        assert message in capsys.readouterr().err


def children_of(pid: str) -> list[str]:
    """Processes that any thread of a process has started."""
    return [child for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are counted in /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_serve_until_a_signal(program: str, tmp_path: Path, number: int, code: int) -> None:
    token = str(tmp_path / "token")
    environment = {**os.environ, "PONDER_SANDBOX_TOKEN_FILE": token}
    serve = [sys.executable, "-m", "ponder", "sandbox", "serve", "--token-file", token, "--json"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None and process.stdout is not None
        line = process.stderr.readline()
        assert line.startswith("serving 127.0.0.1:") and line.endswith(" with 2 workers at L2\n")
        address = line.split()[1]
        (tmp_path / "c.py").write_text("import time\nprint('on')\ntime.sleep(60)\n")
        run = [sys.executable, "-m", "ponder", "sandbox", "run", "--remote", address, "--json"]
        done = subprocess.run([*run, program], check=True, env=environment, capture_output=True, text=True)
        assert json.loads(done.stdout)["level"] == "L4"
        left = subprocess.Popen(
            [*run, str(tmp_path / "c.py"), "--wall-seconds", "50"],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        zygotes = children_of(str(process.pid))
        assert until(lambda: any(children_of(pid) for pid in zygotes), 60)
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
        left.kill()
        left.wait()
    assert process.returncode == code
    totals = json.loads(out)
    assert (totals["runs"], totals["infra"], totals["level"]) == (2, 1, "L2")
    assert len(zygotes) >= 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in zygotes)
