"""Real completions with recorded verdicts: agreement, and the page that lists what differs."""

from __future__ import annotations

import importlib.util
import json
import sys
from itertools import combinations
from math import comb
from pathlib import Path
from types import ModuleType

import pytest

from ponder.graders.math import equal


@pytest.fixture(scope="module")
def regrade(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("regrade", root / "benchmarks/regrade.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["regrade"] = module
    spec.loader.exec_module(module)
    return module


def test_grade_school_solutions_of_four_systems(regrade: ModuleType, data: Path) -> None:
    result = regrade.gsm8k(data)
    assert len(result.cases) == 5276
    assert result.agreement >= 0.99
    assert result.outcomes["correct"] == sum(case.recorded for case in result.cases) == 2001
    assert result.outcomes["timeout"] == result.outcomes["error"] == 0


def test_competition_solutions(regrade: ModuleType, data: Path) -> None:
    result = regrade.math(data)
    assert len(result.cases) == 800
    assert result.agreement >= 0.99
    assert [(c.problem, c.system) for c in result.disagreements] == [(72, "sample 7")]


def test_the_page_is_what_the_script_writes(regrade: ModuleType, root: Path, data: Path) -> None:
    page = (root / "docs/regrade.md").read_text()
    assert regrade.table({"gsm8k": regrade.gsm8k(data), "math": regrade.math(data)}) in page


def test_verdicts_change_when_answers_are_exchanged(regrade: ModuleType, data: Path) -> None:
    """The check on real data can fail: against the next problem's reference, next to nothing is right."""
    cases = regrade.math(data).cases
    references = [case.reference for case in cases[::8]]
    moved = dict(zip(references, references[1:] + references[:1], strict=True))
    right = sum(
        equal(c.grade.parts["answer"], moved[c.reference]) is True for c in cases if c.grade.parts.get("answer")
    )
    assert right < 0.05 * len(cases)


def test_metric_vectors_with_mathematical_answers(data: Path) -> None:
    """Expected metrics of several attempts, each graded by `equal`, with the counting done here."""
    checked = 0
    for name in ("avg_at_k_math.json", "pass_at_k_math.json"):
        for case in json.loads((data / "metric_vectors" / name).read_text())["test_cases"]:
            gold = case["doc"]["choices"][case["doc"]["gold_index"]]
            right = [equal(text, gold) is True for text in case["model_response"]["text"]]
            (expected,) = case["expected_output"].values()
            n, k = len(right), case["metric_params"]["k"]
            mean = sum(right[:k]) / k if name.startswith("avg") else sum(map(any, combinations(right, k))) / comb(n, k)
            assert mean == pytest.approx(expected, abs=case["tolerance"]), case["name"]
            checked += 1
    assert checked == 6
