"""Workers that can be killed: deadlines, memory, crashes, threads, forks."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator

import pytest

from ponder.sandbox.pool import WorkerPool


@pytest.fixture(scope="module")
def sleeper() -> Iterator[WorkerPool]:
    pool = WorkerPool("time:sleep", size=1)
    yield pool
    pool.close()


def test_done_and_reused(sleeper: WorkerPool) -> None:
    assert sleeper.call(0.0).status == "done"
    started = time.monotonic()
    assert sleeper.call(0.0).status == "done"
    assert time.monotonic() - started < 0.5  # no new process


def test_a_raised_error_is_an_outcome(sleeper: WorkerPool) -> None:
    outcome = sleeper.call("soon")
    assert outcome.status == "failed"
    assert "TypeError" in outcome.reason


def test_sleeping_past_five_deadlines_is_a_timeout_and_the_worker_is_replaced(sleeper: WorkerPool) -> None:
    started = time.monotonic()
    outcome = sleeper.call(60.0, deadline=0.1)
    assert outcome.status == "timeout"
    assert time.monotonic() - started < 5
    assert sleeper.call(0.0).status == "done"


def test_computing_past_the_deadline_is_a_timeout() -> None:
    pool = WorkerPool("math:factorial")
    assert pool.call(5).value == 120
    started = time.monotonic()
    assert pool.call(10**8, deadline=0.2).status == "timeout"
    assert time.monotonic() - started < 10
    assert pool.call(3).value == 6
    pool.close()


def test_memory_is_bounded() -> None:
    pool = WorkerPool("builtins:bytearray", memory=300 << 20)
    outcome = pool.call(2 << 30, deadline=10)
    assert outcome.status == "lost"
    pool.close()


def test_a_worker_that_exits_is_lost_and_replaced() -> None:
    pool = WorkerPool("builtins:eval")
    assert pool.call("__import__('os')._exit(1)").status == "lost"
    assert pool.call("1+1").value == 2
    pool.close()


def test_printing_can_not_forge_a_reply() -> None:
    pool = WorkerPool("builtins:eval")
    assert pool.call("print('x' * 100, flush=True) or 7").value == 7
    pool.close()


def test_a_function_that_does_not_exist_is_lost() -> None:
    outcome = WorkerPool("math:nothing").call(1)
    assert outcome.status == "lost"
    assert "start" in outcome.reason


def test_threads_share_workers_and_waiting_does_not_count() -> None:
    pool = WorkerPool("time:sleep", size=2)
    outcomes: list[str] = []
    threads = [threading.Thread(target=lambda: outcomes.append(pool.call(0.2, deadline=0.1).status)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert outcomes == ["done"] * 6  # three rounds of 0.2 s: the last waited longer than its deadline
    pool.close()


def _in_child(queue: multiprocessing.Queue[object]) -> None:
    from ponder.graders.math import equal

    queue.put(equal("\\cos 60^\\circ", "1/2"))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_inside_other_processes(method: str) -> None:
    from ponder.graders.math import equal

    assert equal("\\sin 30^\\circ", "1/2") is True  # the parent's worker runs already
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue,), daemon=True)
    child.start()
    assert queue.get(timeout=60) is True
    child.join(30)
    assert equal("\\tan 45^\\circ", "1") is True  # and still does


@pytest.mark.parametrize("busy", [False, True])
def test_workers_end_when_their_parent_is_gone(busy: bool) -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # the child starts a worker, reports its number, and dies without cleaning up
        from ponder.sandbox import pool as module

        pool = WorkerPool("time:sleep")
        pool.call(0.0)
        number = pool._idle[0].process.pid  # pyright: ignore[reportPrivateUsage]
        if busy:
            threading.Thread(target=pool.call, args=(60.0,), kwargs={"deadline": 100.0}).start()
            time.sleep(0.5)
        os.write(write, str(number).encode())
        assert module
        os._exit(0)
    os.waitpid(child, 0)
    worker = int(os.read(read, 20))
    for _ in range(100):
        if not alive(worker):
            return
        time.sleep(0.05)
    raise AssertionError("the worker outlived its parent")


def alive(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as handle:
            return handle.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
