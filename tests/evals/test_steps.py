"""Step metrics against counts by hand, and ProcessBench's released arithmetic written out naively."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.evals import steps

DATA = Path(os.environ.get("PONDER_DATA") or Path(__file__).parents[3] / "shared" / "data")


def test_per_class_hand_worked() -> None:
    """Errors: 3 labelled, 3 claimed, 2 hit. Sound: 4 labelled, 3 claimed, 3 hit. One step unlabelled, one unjudged."""
    labels = [False, False, False, True, True, True, True, None]
    predicted = [False, False, True, True, True, False, None, False]
    found = steps.step_scores(predicted, labels)
    assert (found.error.precision, found.error.recall, found.error.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert (found.sound.precision, found.sound.recall, found.sound.f1) == pytest.approx((2 / 3, 2 / 4, 4 / 7))
    assert found.macro_f1 == pytest.approx((2 / 3 + 4 / 7) / 2)
    assert found.accuracy == pytest.approx(4 / 7)
    assert found.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert (found.steps, found.unjudged, found.error.support, found.sound.support) == (7, 1, 3, 4)


def test_a_class_that_never_occurs() -> None:
    found = steps.step_scores([True, True], [True, True])
    assert (found.error.precision, found.error.recall, found.error.f1) == (None, None, 0.0)
    assert found.balanced_accuracy is None
    with pytest.raises(ValueError, match="no step"):
        steps.step_scores([True], [None])


verdict = st.sampled_from([True, False, None])


@given(st.lists(st.tuples(verdict, st.booleans()), min_size=1, max_size=40))
def test_f1_is_the_harmonic_mean_of_precision_and_recall(pairs) -> None:
    found = steps.step_scores(*map(list, zip(*pairs, strict=True)))
    for score in (found.error, found.sound):
        if score.precision is not None and score.recall is not None:
            assert score.f1 == pytest.approx(steps.harmonic(score.precision, score.recall))
        else:
            assert score.f1 == 0.0


def test_first_error() -> None:
    assert steps.first_error([0.9, None, 0.4, 0.1], 0.5) == 2
    assert steps.first_error([0.9, 0.5], 0.5) == -1
    assert steps.first_error([], 0.5) == -1
    assert steps.first_wrong([True, None, False]) == 2
    assert steps.first_wrong([True, None]) == -1


def test_voting_drops_what_could_not_be_read() -> None:
    assert steps.voted_error([None, 3, None, 3, -1]) == 3
    assert steps.voted_error([2, -1, -1, 2]) == 2
    assert steps.voted_error([None, None]) is None
    assert steps.voted_error([]) is None


def naive(predicted, labels) -> float:
    """The released script's arithmetic: percentages of matches on the two kinds of items, harmonic mean."""
    kinds: dict[bool, list[bool]] = {True: [], False: []}
    for p, y in zip(predicted, labels, strict=True):
        kinds[y == -1].append(p == y)
    one, two = (sum(kinds[kind]) / len(kinds[kind]) * 100 for kind in (False, True))
    return 2 * one * two / (one + two) / 100 if one + two else 0.0


@given(st.lists(st.tuples(st.sampled_from([None, -1, 0, 1, 2]), st.integers(-1, 2)), min_size=2, max_size=60))
def test_processbench_f1(items) -> None:
    predicted, labels = map(list, zip(*items, strict=True))
    if Counter(y == -1 for y in labels).keys() != {True, False}:
        with pytest.raises(ValueError, match="both kinds"):
            steps.localisation(predicted, labels)
        return
    found = steps.localisation(predicted, labels, draws=50)
    assert found.f1 == pytest.approx(naive(predicted, labels))
    wrong = [(p, y) for p, y in items if y != -1]
    exact = sum(p == y for p, y in wrong)
    unread = sum(p is None for p, _ in wrong)
    assert exact + found.early + found.late + found.missed + unread == len(wrong)
    assert found.detected == pytest.approx((exact + found.early + found.late) / len(wrong))


def test_the_interval_covers_the_true_f1() -> None:
    """200 sets of 80 + 60 items with accuracies .6 and .8: F1 = .6857 is inside about 95 times in 100."""
    rng, hits = random.Random(9), 0
    for seed in range(200):
        labels = [1] * 80 + [-1] * 60
        predicted = [1 if rng.random() < 0.6 else 0 for _ in range(80)] + [
            -1 if rng.random() < 0.8 else 2 for _ in range(60)
        ]
        found = steps.localisation(predicted, labels, draws=300, seed=seed).interval
        hits += found.low <= 2 * 0.6 * 0.8 / 1.4 <= found.high
    assert 0.90 <= hits / 200 <= 0.99


def test_best_threshold_is_the_best_of_all() -> None:
    rng = random.Random(2)
    scores, labels = [], []
    for _ in range(60):
        wrong = rng.choice([-1, 0, 1, 2])
        labels.append(wrong)
        scores.append([round(rng.gauss(0.3 if i == wrong else 0.7, 0.15), 3) for i in range(4)])
    chosen = steps.best_threshold(scores, labels)
    best = max(naive([steps.first_error(s, t / 500) for s in scores], labels) for t in range(-100, 700))
    assert naive([steps.first_error(s, chosen) for s in scores], labels) == pytest.approx(best, abs=0.02)
    with pytest.raises(ValueError, match="0 distinct"):
        steps.best_threshold([[None]], [0])


@pytest.mark.skipif(not DATA.is_dir(), reason="the public data sets are not here; set PONDER_DATA")
@pytest.mark.parametrize(("name", "wrong", "right"), [("gsm8k", 207, 193), ("math", 594, 406)])
def test_an_oracle_and_a_yes_sayer_on_the_released_set(name: str, wrong: int, right: int) -> None:
    rows = json.loads((DATA / "processbench" / f"{name}.json").read_text(encoding="utf-8"))
    labels = [row["label"] for row in rows]
    perfect = steps.localisation(labels, labels, draws=20)
    assert (perfect.f1, perfect.detected) == (1.0, 1.0)
    assert (sum(y != -1 for y in labels), sum(y == -1 for y in labels)) == (wrong, right)
    blind = steps.localisation([-1] * len(labels), labels, draws=20)
    assert (blind.f1, blind.correct.mean, blind.missed) == (0.0, 1.0, wrong)
