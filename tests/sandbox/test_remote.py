"""A remote pool does what a local sandbox does: values, order, levels, limits; several servers; losses; the real sandbox."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from remote_tools import TOKEN, FakePool, Serving, echo, until

from ponder.errors import ConfigError, WorkError
from ponder.graders.code import CodeGrader
from ponder.sandbox import Job, Limits, RemoteSandbox, Result, Sandbox, remote_frames, remote_link, remote_server
from ponder.sandbox.box import held
from ponder.sandbox.codec import Refused, encode
from ponder.sandbox.remote_fields import pack, unpack
from ponder.sandbox.remote_frames import fresh_token, read_token
from ponder.sandbox.remote_turns import Caps

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_INET"), reason="no network here")
L2 = pytest.mark.skipif(held("L2") != "", reason="level L2 does not hold here")


def slow(count: int, seconds: float = 0.02) -> list[Job]:
    return [Job("sleep", "call", "g", (seconds, k)) for k in range(count)]


def test_results_come_in_order_with_all_their_fields() -> None:
    with Serving() as pool, RemoteSandbox(pool.address, TOKEN) as box:
        results = box.run(echo(300))
        assert [r.value for r in results] == [(k,) for k in range(300)]
        assert results[7] == Result("ok", (7,), "said", cpu_seconds=0.5, level="L4")
        assert box.run([]) == []
        assert (box.level, box.workers) == ("L4", 2)
        assert pool.server.totals()["runs"] == 300


def test_values_travel_as_they_do_here() -> None:
    deep: Any = 1
    for _ in range(198):
        deep = [deep]
    values = [math.nan, -0.0, 10**60, {1: {2}}, b"\0", 2j, frozenset(), "\ud800", None, True, deep]
    with Serving() as pool, RemoteSandbox(pool.address, TOKEN) as box:
        found = [box.run([Job("echo", "call", "g", (value,))])[0].value[0] for value in values]
    assert repr(found) == repr(values)


def test_arguments_that_are_no_plain_data_are_refused_and_the_others_run() -> None:
    with Serving() as pool, RemoteSandbox(pool.address, TOKEN) as box:
        results = box.run([*echo(2), Job("echo", "call", "g", (object(),)), *echo(1)])
    assert [r.status for r in results] == ["ok", "ok", "refused", "ok"]
    assert "object" in results[2].error


def test_a_pool_below_l2_never_says_l4() -> None:
    with Serving(lambda: FakePool("L1")) as pool:
        with RemoteSandbox(pool.address, TOKEN) as box:
            assert (box.level, box.run(echo(1))[0].level) == ("L1", "L1")
        for least in ("L2", "L4"):
            with pytest.raises(ConfigError, match=rf"{pool.address}: it reaches only L1, and {least} is required"):
                RemoteSandbox(pool.address, TOKEN, require=least)


def test_mistakes_are_told_in_a_line(tmp_path: Path) -> None:
    with Serving() as pool:
        for wrong in ("", "another secret of that length"):
            with pytest.raises(ConfigError, match="the token is not the server's"):
                RemoteSandbox(pool.address, wrong)
        with pytest.raises(ConfigError, match="can not listen"):
            Serving(port=pool.server.port)
    with pytest.raises(WorkError, match=r"127.0.0.1:9: nothing listens there .*'ponder sandbox serve'"):
        RemoteSandbox("127.0.0.1:9", TOKEN)
    for bad in ("", "host", ":80", "host:0", "host:99999", "host:²", "a:1,,b:2"):
        with pytest.raises(ConfigError, match="host:port"):
            RemoteSandbox(bad, TOKEN)
    with pytest.raises(ConfigError, match="one of L1"):
        RemoteSandbox("a:1", TOKEN, require="L9")
    with pytest.raises(ConfigError, match="a token is needed"):
        Serving(host="0.0.0.0", token=b"")
    with pytest.raises(ConfigError, match="can not be read"):
        read_token(tmp_path / "none")
    (tmp_path / "short").write_text("abc\n")
    with pytest.raises(ConfigError, match="3 characters"):
        read_token(tmp_path / "short")


def test_a_fresh_token_is_for_its_owner_alone(tmp_path: Path) -> None:
    token = fresh_token(tmp_path / "new" / "token")
    assert read_token(tmp_path / "new" / "token") == token
    assert (tmp_path / "new" / "token").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="can not be written"):
        fresh_token(tmp_path / "new" / "token")


def test_what_a_server_does_not_allow_is_infra() -> None:
    with Serving(caps=Caps(5.0, 1000)) as pool, RemoteSandbox(pool.address, TOKEN) as box:
        asked = [Limits(wall_seconds=6), Limits(memory_mb=2000), Limits(value_bytes=1 << 30), Limits(wall_seconds=5)]
        results = box.run([Job("echo", "call", "g", limits=limits) for limits in asked])
    assert [r.status for r in results] == ["infra", "infra", "infra", "ok"]
    assert "at most 5 s" in results[0].error


def test_a_worker_that_fails_is_replaced_and_its_job_not_judged() -> None:
    with Serving(workers=1) as pool, RemoteSandbox(pool.address, TOKEN) as box:
        results = box.run([*echo(1), Job("break", "call", "g"), *echo(1)])
        assert [r.status for r in results] == ["ok", "infra", "ok"]
        assert "a fault of the sandbox" in results[1].error
        assert [p.closed for p in pool.pools] == [True, False]
    assert pool.pools[1].closed


def test_a_program_that_is_compiled_stays_with_the_worker_that_has_its_binary() -> None:
    programs = ["int main() {}", "int main() { return 0; }", "int main() { return 1; }"]
    few = [Job(code, "stdin", stdin=str(k), language="cpp") for k in range(4) for code in programs]
    many = [Job("int main() { return 2; }", "stdin", stdin=str(k), language="cpp") for k in range(40)]
    with Serving(lambda: FakePool("L3")) as pool, RemoteSandbox(pool.address, TOKEN) as box:
        assert {r.status for r in box.run(few)} == {"ok"}
        for code in programs:
            assert sorted(p.codes.count(code) for p in pool.pools) == [0, 4]
        assert {r.status for r in box.run(many)} == {"ok"}
        assert [r.value for r in box.run(echo(20))] == [(k,) for k in range(20)]


def test_other_languages_need_a_pool_at_l3() -> None:
    job = Job("int main() {}", "stdin", language="cpp")
    with Serving() as pool, RemoteSandbox(pool.address, TOKEN) as box, pytest.raises(ConfigError, match="only L2"):
        box.run([*echo(1), job])


@pytest.mark.slow
def test_two_clients_take_turns() -> None:
    ends: dict[str, float] = {}

    def work(name: str, count: int) -> None:
        with RemoteSandbox(pool.address, TOKEN) as box:
            start.wait()
            time.sleep(0.1 * (name == "few"))
            assert {r.status for r in box.run(slow(count))} == {"ok"}
            ends[name] = time.monotonic()

    start = threading.Barrier(2)
    with Serving(workers=1) as pool:
        threads = [threading.Thread(target=work, args=args) for args in (("many", 60), ("few", 3))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert ends["few"] < ends["many"] - 0.3


def test_a_client_that_vanishes_has_its_jobs_cancelled() -> None:
    with Serving(workers=1) as pool:
        box = RemoteSandbox(pool.address, TOKEN)
        ends: list[str] = []

        def work() -> None:
            try:
                box.run(slow(10, 60.0))
            except WorkError as error:
                ends.append(str(error))

        thread = threading.Thread(target=work)
        thread.start()
        assert until(lambda: len(pool.pools[0].seen) == 2)  # the first job of a worker is the pool's own
        box.close()
        thread.join()
        assert ends == ["this sandbox was closed"]
        assert until(lambda: pool.server.turns.dropped == 9 and not pool.server._visitors)
        with RemoteSandbox(pool.address, TOKEN) as other:
            assert other.run(echo(1))[0].status == "ok"
        assert len(pool.pools[0].seen) == 3


def test_a_batch_is_cancelled_from_another_thread() -> None:
    with Serving(workers=1) as pool, RemoteSandbox(pool.address, TOKEN) as box:
        threading.Timer(0.2, box.cancel).start()
        results = box.run([*echo(1), *slow(3, 60.0)])
        assert [r.status for r in results] == ["ok", "infra", "infra", "infra"]
        assert "cancelled" in results[1].error
        assert box.run(echo(2))[1].value == (1,)


@pytest.mark.slow
def test_two_servers_share_a_batch_and_one_may_die() -> None:
    with Serving(workers=1) as one, Serving(workers=1) as two, RemoteSandbox([one.address, two.address], TOKEN) as box:
        threading.Timer(0.3, two.kill).start()
        results = box.run(slow(80))
        assert [r.value for r in results] == [(0.02, k) for k in range(80)]
        assert len(two.pools[0].seen) > 3
        assert until(lambda: box.servers[two.address] != "L2")
        assert box.servers[one.address] == "L2"
        assert box.workers == 1


def test_a_server_that_is_gone_leaves_infra_and_no_hang() -> None:
    with Serving(workers=1) as pool, RemoteSandbox(pool.address, TOKEN, patience=0.5) as box:
        threading.Timer(0.2, pool.kill).start()
        began = time.monotonic()
        results = box.run(slow(200))
        assert time.monotonic() - began < 10
        assert {r.status for r in results} == {"ok", "infra"}
        assert results[-1].error.startswith("no sandbox server answers: 127.0.0.1")
        assert {r.level for r in results} == {"L4"}


@pytest.mark.slow
def test_a_server_that_comes_back_goes_on() -> None:
    with Serving(workers=1) as first, RemoteSandbox(first.address, TOKEN) as box:
        again: list[Serving] = []

        def restart() -> None:
            first.kill()
            again.append(Serving(workers=1, port=first.server.port))

        timer = threading.Timer(0.2, restart)
        timer.start()
        try:
            assert [r.value for r in box.run(slow(60))] == [(0.02, k) for k in range(60)]
        finally:
            timer.join()
            again[0].kill()
        assert len(again[0].pools[0].seen) > 1


def test_a_job_that_takes_servers_down_is_given_up() -> None:
    with Serving(workers=1) as pool:
        read = pool.server._read

        async def die(visitor: Any) -> None:
            _, body = await visitor.channel.receive()
            if b"poison" in body:
                raise OSError
            await read(visitor)

        pool.server._read = die  # type: ignore[method-assign]
        with RemoteSandbox(pool.address, TOKEN) as box:
            result = box.run([Job("poison", "call", "g")])[0]
        assert (result.status, result.error[:13]) == ("infra", "tried 3 times")
        assert len(pool.pools[0].seen) == 1


@pytest.mark.slow
def test_a_long_run_is_told_from_a_dead_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (remote_link, remote_server):
        monkeypatch.setattr(module, "PULSE_SECONDS", 0.05)
        monkeypatch.setattr(module, "SILENCE_SECONDS", 0.5)
    with Serving(workers=1) as pool, RemoteSandbox(pool.address, TOKEN, patience=0.5) as box:
        assert box.run(slow(1, 1.0))[0].status == "ok"
        assert pool.server.totals()["clients"] == 1
        monkeypatch.setattr(remote_server, "PULSE_SECONDS", 60.0)
        time.sleep(0.1)
        assert {r.status for r in box.run(slow(2, 1.5))} == {"infra"}


@pytest.mark.slow
def test_a_pool_that_stands_still_counts_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_server, "PULSE_SECONDS", 0.05)
    monkeypatch.setattr(remote_link, "STALL_SECONDS", 0.1)
    limits = Limits(cpu_seconds=0.1, wall_seconds=0.1)
    with Serving(workers=1, caps=Caps(0.1)) as pool, RemoteSandbox(pool.address, TOKEN) as box:
        monkeypatch.setattr(FakePool, "cancel", lambda self: None)
        result = box.run([Job("sleep", "call", "g", (3.0,), limits=limits)])[0]
        assert result.status == "infra"
        assert "its pool stands still" in result.error


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_copy_has_connections_of_its_own() -> None:
    with Serving() as pool, RemoteSandbox(pool.address, TOKEN) as box:
        box.run(echo(1))
        pid = os.fork()
        if pid == 0:
            good = [r.value for r in box.run(echo(20))] == [(k,) for k in range(20)]
            box.close()
            os._exit(0 if good else 1)
        assert [r.value for r in box.run(echo(50))] == [(k,) for k in range(50)]
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_tls_hides_and_binds_the_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ours", "other"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-subj", "/CN=pool", "-keyout", f"{name}.key", "-out", f"{name}.pem"],
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip
    files = {"certificate": str(tmp_path / "ours.pem"), "key": str(tmp_path / "ours.key")}
    with Serving(**files) as pool:
        with RemoteSandbox(pool.address, TOKEN, certificate=files["certificate"]) as box:
            assert [r.value for r in box.run(echo(40))] == [(k,) for k in range(40)]
        with pytest.raises(WorkError, match="TLS failed"):
            RemoteSandbox(pool.address, TOKEN, certificate=str(tmp_path / "other.pem"))
        monkeypatch.setattr(remote_frames, "GREETING_SECONDS", 0.5)
        with pytest.raises(WorkError, match="takes a certificate"):
            RemoteSandbox(pool.address, TOKEN)
    with pytest.raises(ConfigError, match="can not be used"):
        Serving(certificate=str(tmp_path / "none.pem"))


JOBS = st.builds(
    Job, st.text(), st.sampled_from(["call", "exec"]), st.text(), st.tuples(st.integers(), st.floats(allow_nan=False)),
    st.dictionaries(st.text(), st.booleans()), st.text(),
    st.builds(Limits, st.floats(0.1, 9), st.integers(1, 9), st.integers(1, 9)),
)  # fmt: skip


@given(JOBS)
def test_a_job_arrives_as_it_left(job: Job) -> None:
    assert unpack(Job, pack(job, 1 << 20)) == job


@given(
    st.dictionaries(st.sampled_from(["code", "kind", "args", "kwargs", "limits", "stdin", "x"]), st.none() | st.text())
)
def test_what_is_no_job_is_refused_or_is_one(fields: dict[str, Any]) -> None:
    try:
        job = unpack(Job, encode(fields, 1 << 16))
    except Refused:
        return
    assert type(job.code) is str
    assert job.kind in ("call", "stdin", "exec", "command")


@L2
def test_the_real_sandbox_hostile_jobs_among_good_ones() -> None:
    limits = Limits(cpu_seconds=0.3, wall_seconds=1.0, output_bytes=10_000, value_bytes=10_000)
    good = Job("def f(x): return x + 1", "call", "f", (1,))
    hostile = {
        "while True: pass": "timeout",
        "x = bytearray(100 << 30)": "memory",
        "while True: print('x' * 1000)": "output",
        "import os\nos._exit(0)": "exited",
        "class E:\n def __eq__(s, o): return True\ndef f(x): return E()": "refused",
        "import socket\ndef f(x): socket.socket()": "raised",
    }
    jobs = [job for code in hostile for job in (good, Job(code, "call", "f", (1,), limits=limits))]
    with Serving(lambda: Sandbox("L2", workers=1)) as pool, RemoteSandbox(pool.address, TOKEN) as box:
        results = box.run(jobs)
        assert [r.status for r in results[1::2]] == list(hostile.values())
        assert [(r.status, r.value) for r in results[::2]] == [("ok", 2)] * len(hostile)
        assert {r.level for r in results} == {"L4"}


@L2
def test_a_stopped_server_leaves_no_process() -> None:
    with Serving(lambda: Sandbox("L2", workers=1)) as pool, RemoteSandbox(pool.address, TOKEN, patience=0.3) as box:
        threading.Timer(0.3, pool.kill).start()
        endless = Job("import time\nwhile True: time.sleep(1)", "exec", limits=Limits(wall_seconds=50))
        began = time.monotonic()
        assert box.run([endless])[0].status == "infra"
        pool.kill()
        assert time.monotonic() - began < 20
        assert [p._idle for p in pool.pools] == [[], []]


@L2
def test_the_grader_of_code_runs_on_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(TOKEN)
    monkeypatch.setenv("PONDER_SANDBOX_TOKEN_FILE", str(tmp_path / "token"))
    reference = {"entry": "f", "cases": [[[1], 2], [[5], 6]]}
    with Serving(lambda: Sandbox("L2", workers=1)) as pool:
        grader = CodeGrader(remote=pool.address)
        right, wrong = (grader.check(reference, f"def f(x): return x + {n}") for n in (1, 2))
        assert (right.score, right.parts["level"], wrong.score) == (1.0, "L4", 0.0)
        runs = pool.server.totals()["runs"]
        monkeypatch.setenv("PONDER_SANDBOX", pool.address)
        assert CodeGrader(require="L4").check(reference, "def f(x): return x + 1").parts["level"] == "L4"
        assert pool.server.totals()["runs"] > runs
        assert CodeGrader(level="L2").check(reference, "def f(x): return x + 1").parts["level"] == "L2"
        with pytest.raises(ConfigError, match="ask for the least with require"):
            CodeGrader(level="L1", remote=pool.address).check(reference, "def f(x): return x")


@L2
@pytest.mark.slow
def test_runs_cost_little_more_than_here() -> None:
    jobs = [Job("def f(x): return x", "call", "f", (k,)) for k in range(300)]
    seconds: dict[str, list[float]] = {"here": [], "there": []}
    with (
        Serving(lambda: Sandbox("L2", workers=1)) as pool,
        Sandbox("L2", workers=2) as here,
        RemoteSandbox(pool.address, TOKEN) as there,
    ):
        for name, box in [("here", here), ("there", there)] * 3:
            began = time.monotonic()
            assert [r.value for r in box.run(jobs)] == list(range(300))
            seconds[name].append(time.monotonic() - began)
    assert min(seconds["there"]) < 3 * min(seconds["here"]), seconds


def test_a_server_stops_quietly_while_a_client_leaves(caplog: pytest.LogCaptureFixture) -> None:
    async def linger(visitor: Any) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            leaving.set()
            await asyncio.sleep(0.3)

    leaving = threading.Event()
    with Serving() as pool:
        pool.server._pulse = linger  # type: ignore[method-assign]
        RemoteSandbox(pool.address, TOKEN).close()
        assert leaving.wait(20)
    assert caplog.text == ""
    assert not pool.server._tasks
