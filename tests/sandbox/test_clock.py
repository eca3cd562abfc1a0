"""Wall time counts where the processor was not used."""

from __future__ import annotations

import os

import pytest

from ponder.sandbox.clock import LONGEST, Clock, processor_seconds


def seconds_until_over(clock: Clock, share: float, look: float = 0.05) -> float:
    """When a sample that uses `share` of the processor is ended."""
    now = 0.0
    while clock.left(share * now, now) > 0:
        now += look
        assert now < 1000
    return now


def test_a_sleeper_is_ended_after_its_wall_time():
    assert seconds_until_over(Clock(10.0, now=0.0), share=0.0) == pytest.approx(10.0, abs=0.1)


def test_work_before_a_sleep_is_not_counted():
    clock = Clock(10.0, now=0.0)
    for step in range(1, 401):  # 20 s of work at a fortieth of a processor
        assert clock.left(0.05 * step / 40, 0.05 * step) > 0
    now = 20.0
    while clock.left(0.5, now) > 0:
        now += 0.05
    assert 29.0 < now < 31.1


def test_a_starved_program_has_its_time():
    assert seconds_until_over(Clock(2.0, now=0.0), share=0.02) > 10.0


def test_nothing_lasts_for_ever():
    assert seconds_until_over(Clock(2.0, now=0.0), share=1.0) == pytest.approx(LONGEST * 2.0, abs=0.1)


def test_all_wall_time_counts_where_others_may_do_the_work():
    assert seconds_until_over(Clock(2.0, whole=True, now=0.0), share=1.0) == pytest.approx(2.0, abs=0.1)


def test_one_window_of_rest_is_no_end():
    clock = Clock(4.0, now=0.0)
    used = 0.0
    for step in range(1, 400):
        used += 0.05 if step % 20 else 0.0
        assert clock.left(used, 0.05 * step) > 0


def test_processor_seconds():
    assert processor_seconds(os.getpid()) > 0
    assert processor_seconds(2**22 - 1) == 0.0
