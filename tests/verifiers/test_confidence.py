from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from verifier_fakes import trace

from ponder import verifiers
from ponder.errors import ConfigError, WorkError
from ponder.types import Ledger, Verifier
from ponder.verifiers.confidence import KINDS, Confidence, level, window_means


def test_hand_worked() -> None:
    logprobs = (math.log(0.5), math.log(0.5), math.log(0.125), math.log(0.5))
    seen = [trace("q", "a", logprobs=logprobs)]
    assert Confidence().score(seen) == [pytest.approx(0.5**1.5)]  # (1+1+3+1)/4 halvings
    assert Confidence("window", 2).score(seen) == [pytest.approx(0.25)]  # (1+3)/2
    assert Confidence("tail", 1).score(seen) == [pytest.approx(0.5)]
    assert Confidence("window", 99).score(seen) == Confidence("mean").score(seen)


def test_a_verifier_that_costs_nothing_and_needs_no_text() -> None:
    made = verifiers.load("confidence", kind="window", window=4)
    assert isinstance(made, Verifier)
    assert (made.name, made.semantics, made.ledger) == ("confidence", "outcome", Ledger())
    assert made.reads == "tokens"  # type: ignore[attr-defined]


def test_edges() -> None:
    assert Confidence().score([trace("q", "a")]) == [None]
    assert Confidence("window", 2).score([trace("q", "a", logprobs=(-1.0, -math.inf, -1.0))]) == [0.0]
    assert Confidence().score([trace("q", "a", logprobs=(1e-9,))]) == [1.0]
    with pytest.raises(WorkError, match="p1"):
        Confidence().score([trace("q", "a", logprobs=(math.nan,))])
    with pytest.raises(ConfigError, match="did you mean 'window'"):
        verifiers.load("confidence", kind="windw")
    with pytest.raises(ConfigError, match="at least 1"):
        Confidence(window=0)


@given(st.lists(st.floats(-20, 0), min_size=1, max_size=30), st.integers(1, 12))
def test_windows_equal_the_naive_loop(logprobs: list[float], window: int) -> None:
    size = min(window, len(logprobs))
    naive = [sum(logprobs[i : i + size]) / size for i in range(len(logprobs) - size + 1)]
    assert window_means(logprobs, window) == pytest.approx(naive, abs=1e-9)
    for kind in KINDS:
        assert min(logprobs) - 1e-9 <= level(logprobs, kind, window) <= max(logprobs) + 1e-9
