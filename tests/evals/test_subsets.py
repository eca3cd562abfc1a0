"""Subset sampling: exact where it enumerates, unbiased where it draws, the same subsets for everyone."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.evals import stats, subsets
from ponder.search.select import Candidate

voted = st.lists(
    st.tuples(st.sampled_from([None, "a", "b", "c"]), st.sampled_from([None, 0.0, 0.25, 0.5, 1.0]), st.booleans()),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60)
@given(voted, st.data())
def test_weighted_majority_is_the_mean_over_all_subsets(items, data) -> None:
    k = data.draw(st.integers(1, len(items)))
    answers, weights, correct = zip(*items, strict=True)
    value = {a: [c for b, _, c in items if b == a] for a in answers}
    want = []
    for chosen in itertools.combinations(items, k):
        load = {}
        for answer, weight, _ in chosen:
            if answer is not None:
                load[answer] = load.get(answer, 0) + (weight or 0)
        won = [a for a in load if load[a] == max(load.values())]
        want.append(sum(sum(value[a]) / len(value[a]) for a in won) / len(won) if won else 0.0)
    got = subsets.weighted_majority_at_k(answers, weights, correct, k)
    assert got.exact
    assert got.subsets == math.comb(len(items), k)
    assert got.mean == pytest.approx(sum(want) / len(want), abs=1e-12)


def noisy(n: int, seed: int = 3) -> tuple[list[str], list[float], list[bool]]:
    rng = random.Random(seed)
    answers = [rng.choice("aaabbcd") for _ in range(n)]
    return answers, [rng.random() for _ in answers], [a == "b" for a in answers]


def test_drawn_subsets_agree_with_the_closed_form() -> None:
    """Equal weights make a majority, whose exact value is known: 64 attempts, within four standard errors."""
    answers, _, correct = noisy(64)
    for k in (3, 8, 16):
        got = subsets.weighted_majority_at_k(answers, [1.0] * 64, correct, k, rounds=24)
        assert not got.exact
        assert got.error < 0.02
        assert abs(got.mean - stats.majority_at_k(answers, correct, k)) < 4 * got.error + 1e-9


def test_the_ends_are_exact_though_drawn() -> None:
    """A round uses every attempt equally often: k = 1 is the plain accuracy; k = n the one answer there is."""
    answers, weights, correct = noisy(50)
    judged = subsets.expected_at_k(50, 2, lambda chosen: float(correct[chosen[0]]), rounds=3)
    assert judged.mean == pytest.approx(sum(correct) / 50, abs=1e-12)
    assert subsets.weighted_majority_at_k(answers, weights, correct, 1).mean == pytest.approx(sum(correct) / 50)
    assert subsets.weighted_majority_at_k(answers, weights, correct, 50).exact


def test_drawing_is_unbiased() -> None:
    """400 seeds of two rounds: their mean lies within four of its standard errors of the enumeration."""
    rng = random.Random(1)
    scores = [rng.random() for _ in range(20)]
    want = stats.best_of_k(scores, [s < 0.5 for s in scores], 2)
    found = [
        subsets.expected_at_k(20, 2, lambda c: float(max(scores[i] for i in c) < 0.5), rounds=2, seed=s).mean
        for s in range(400)
    ]
    mean = sum(found) / 400
    error = math.sqrt(sum((f - mean) ** 2 for f in found) / 399 / 400)
    assert 0 < error < 0.01
    assert abs(mean - want) < 4 * error


def test_subsets_are_common_and_nested() -> None:
    """Whatever is judged, and for neighbouring k, the same subsets come; another seed or problem has others."""
    seen: dict[int, list[tuple[int, ...]]] = {}
    for k in (4, 5):
        subsets.expected_at_k(40, k, lambda c, k=k: float(seen.setdefault(k, []).append(tuple(c)) is None), rounds=2)
    assert all(longer[:4] == shorter for shorter, longer in zip(seen[4], seen[5], strict=True))
    assert all(len(set(one)) == 4 for one in seen[4])
    assert (subsets.orders(40, 2, 0, "p") == subsets.orders(40, 2, 0, "p")).all()
    assert (subsets.orders(40, 2, 0, "p") != subsets.orders(40, 2, 0, "q")).any()
    assert (subsets.orders(40, 2, 0, "p") != subsets.orders(40, 2, 1, "p")).any()


def test_common_subsets_make_differences_quieter() -> None:
    """Two selectors that differ in one attempt, over 50 seeds: the spread of the difference is far below that of either."""
    answers, weights, correct = noisy(60)
    other = [*weights[:-1], weights[-1] + 0.5]
    runs = [
        [subsets.weighted_majority_at_k(answers, w, correct, 6, rounds=2, seed=s).mean for s in range(50)]
        for w in (weights, other)
    ]

    def deviation(values: list[float]) -> float:
        mean = sum(values) / len(values)
        return math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))

    assert deviation([b - a for a, b in zip(*runs, strict=True)]) < 0.6 * min(map(deviation, runs))


def test_any_selector_of_the_search() -> None:
    scores = [0.1, 0.9, 0.5, 0.9, 0.3, 0.2]
    correct = [True, False, True, True, False, False]
    pool = [Candidate(str(i), score=s, logprob=-s, tokens=1) for i, s in enumerate(scores)]
    for k in (1, 3, 6):
        best = subsets.selector_at_k("best", pool, correct, k)
        assert best.exact
        assert best.mean == pytest.approx(stats.best_of_k(scores, correct, k), abs=0.5 if k == 6 else 0.26)
        assert subsets.selector_at_k("likelihood", pool, correct, k).mean == pytest.approx(
            stats.best_of_k([-s for s in scores], correct, k)
        )
    silent = [Candidate(None)] * 4
    assert subsets.selector_at_k("vote", silent, [True] * 4, 2).mean == 0.0


@pytest.mark.parametrize("k", [0, 5])
def test_refusals(k: int) -> None:
    with pytest.raises(ValueError, match="4 attempts"):
        subsets.expected_at_k(4, k, lambda _: 1.0)
    with pytest.raises(ValueError, match="NaN"):
        subsets.weighted_majority_at_k("ab", [math.nan, 1.0], [True, False], 1)
    with pytest.raises(ValueError, match="verdicts"):
        subsets.selector_at_k("vote", [Candidate("a")], [], 1)
