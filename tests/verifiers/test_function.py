from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from verifier_fakes import trace

from ponder import verifiers
from ponder.errors import ConfigError, WorkError
from ponder.types import Ledger, Trace, Verifier
from ponder.verifiers.confidence import Confidence
from ponder.verifiers.function import FunctionVerifier


def length(question: str, completion: str) -> float:
    return min(1.0, len(completion) / 10)


def test_texts_or_trace() -> None:
    seen = [trace("q", "12345")]
    assert FunctionVerifier(length).score(seen) == [0.5]
    assert FunctionVerifier(lambda t: float(t.finished)).score(seen) == [1.0]
    assert FunctionVerifier(lambda t, bar=0.3: bar).score(seen) == [0.3]
    assert FunctionVerifier(length).name == "length"
    assert FunctionVerifier(length).ledger == Ledger()


def test_an_unfinished_attempt_is_read_whole() -> None:
    got: list[str] = []
    seen = [trace("q", "<think>a</think>b", answer="b"), trace("q", "<think>a", answer=None, finished=False)]
    FunctionVerifier(lambda q, c: float(not got.append(c))).score(seen)
    assert got == ["b", "<think>a"]


def test_found_by_path(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("scores_of_mine")

    def value(t: Trace) -> float:
        return 0.25

    value.semantics = "value"  # type: ignore[attr-defined]
    module.value, module.Kind, module.ready = value, Confidence, Confidence("tail")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "scores_of_mine", module)
    made = verifiers.load("scores_of_mine:value")
    assert isinstance(made, Verifier)
    assert (made.name, made.semantics, made.score([trace("q", "a")])) == ("scores_of_mine:value", "value", [0.25])
    assert verifiers.load("scores_of_mine:Kind", window=3).window == 3  # type: ignore[attr-defined]
    assert verifiers.load("scores_of_mine:ready") is module.ready
    with pytest.raises(ConfigError, match="no 'valu'; did you mean 'value'"):
        verifiers.load("scores_of_mine:valu")
    with pytest.raises(ConfigError, match="no module"):
        verifiers.load("no_such_module_of_mine:f")
    with pytest.raises(ConfigError, match="unknown verifier 'confidnce'; did you mean 'confidence'"):
        verifiers.load("confidnce")


@pytest.mark.parametrize("found", [float("nan"), -0.1, 1.5, "good", [0.5], float("inf")])
def test_what_is_no_score_names_the_problem(found: Any) -> None:
    with pytest.raises(WorkError, match="problem p1: verifier 'f' returned"):
        FunctionVerifier(lambda t: found, "f").score([trace("q", "a")])


def test_what_a_function_raises_names_the_problem() -> None:
    with pytest.raises(WorkError, match=r"problem p1: verifier 'f' failed .ZeroDivisionError"):
        FunctionVerifier(lambda t: 1 / 0, "f").score([trace("q", "a")])


def test_none_abstains_and_other_numbers_are_taken() -> None:
    numpy = pytest.importorskip("numpy")
    assert FunctionVerifier(lambda t: None).score([trace("q", "a")]) == [None]
    assert FunctionVerifier(lambda t: numpy.float32(0.5)).score([trace("q", "a")]) == [0.5]
    assert FunctionVerifier(lambda t: True).score([trace("q", "a")]) == [1.0]


@pytest.mark.parametrize("function", [lambda: 1, lambda a, b, c: 1, lambda t, *, bar: 1])
def test_other_signatures_are_refused(function: Any) -> None:
    with pytest.raises(ConfigError, match=r"takes .question, completion. or .trace."):
        FunctionVerifier(function, "f")


def test_semantics_are_checked() -> None:
    with pytest.raises(ConfigError, match="did you mean 'correctness'"):
        FunctionVerifier(length, semantics="correctnes")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="not a function"):
        FunctionVerifier(7, "seven")  # type: ignore[arg-type]
