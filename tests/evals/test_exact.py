"""The closed forms against Fractions over every subset, for every way n <= 9 attempts can fall into classes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction

import pytest

from ponder.evals import stats

EXACT = 1e-12


def partitions(n: int, largest: int | None = None) -> Iterator[tuple[int, ...]]:
    if n == 0:
        yield ()
    for first in range(min(n, largest or n), 0, -1):
        yield from ((first, *rest) for rest in partitions(n - first, first))


def drawn(sizes: tuple[int, ...], k: int) -> Iterator[tuple[tuple[int, ...], int]]:
    """Every split of k draws over groups, with the number of subsets that have it."""
    for votes in itertools.product(*(range(min(size, k) + 1) for size in sizes)):
        if sum(votes) == k:
            yield votes, math.prod(math.comb(size, v) for size, v in zip(sizes, votes, strict=True))


def majority(sizes: tuple[int, ...], values: tuple[Fraction, ...], abstain: int, k: int) -> Fraction:
    total = Fraction(0)
    for votes, ways in drawn((*sizes, abstain), k):
        top = max(votes[:-1], default=0)
        winners = [value for v, value in zip(votes[:-1], values, strict=True) if v == top and top]
        total += ways * (sum(winners, Fraction(0)) / len(winners) if winners else 0)
    return total / math.comb(sum(sizes) + abstain, k)


@pytest.mark.parametrize("n", range(1, 10))
def test_majority_over_every_partition(n: int) -> None:
    """Each class is the right one in turn; classes of one size are alike, so one of each size is enough."""
    for abstain in range(n + 1):
        for sizes in partitions(n - abstain):
            answers = [a for a, size in enumerate(sizes) for _ in range(size)] + [None] * abstain
            for right in {size: a for a, size in enumerate(sizes)}.values():
                values = tuple(Fraction(int(a == right)) for a in range(len(sizes)))
                for k in {1, 2, n // 2, n - 1, n} & set(range(1, n + 1)):
                    got = stats.majority_at_k(answers, [a == right for a in answers], k)
                    assert got == pytest.approx(float(majority(sizes, values, abstain, k)), abs=EXACT)


def test_majority_of_sixty_four() -> None:
    """cons@k of 64 attempts with four classes and abstainers, still to 1e-12."""
    sizes, abstain = (20, 18, 9, 7), 10
    answers = [a for a, size in enumerate(sizes) for _ in range(size)] + [None] * abstain
    for k in (4, 12):
        want = majority(sizes, (Fraction(0), Fraction(1), Fraction(0), Fraction(0)), abstain, k)
        assert stats.majority_at_k(answers, [a == 1 for a in answers], k) == pytest.approx(float(want), abs=EXACT)
    assert stats.majority_at_k(answers, [a == 1 for a in answers], 64) == 0.0
    assert stats.majority_at_k(answers, [a == 0 for a in answers], 64) == 1.0


@pytest.mark.parametrize("n", range(1, 10))
def test_best_of_k_over_every_tie_pattern(n: int) -> None:
    """Scores fall into runs of equals in every order; within a run the first attempt alone is right."""
    for cuts in itertools.product((False, True), repeat=n - 1):
        scores = [sum(cuts[:i]) for i in range(n)]
        correct = [i == 0 or cuts[i - 1] for i in range(n)]
        sizes = [scores.count(s) for s in sorted(set(scores))]
        for k in {1, 2, (n + 1) // 2, n} & set(range(1, n + 1)):
            below, want = 0, Fraction(0)
            for size in sizes:
                tops = math.comb(below + size, k) - math.comb(below, k)
                want += Fraction(tops, math.comb(n, k)) * Fraction(1, size)
                below += size
            assert stats.best_of_k(scores, correct, k) == pytest.approx(float(want), abs=EXACT)


@pytest.mark.parametrize("n", range(1, 10))
def test_counting_estimators_for_every_c_and_k(n: int) -> None:
    for c, k in itertools.product(range(n + 1), range(1, n + 1)):
        hits = [sum(i < c for i in subset) for subset in itertools.combinations(range(n), k)]
        share = [float(Fraction(sum(h >= least for h in hits), len(hits))) for least in range(k + 1)]
        assert stats.pass_at_k(n, c, k) == pytest.approx(share[1], abs=EXACT)
        assert stats.pass_hat_k(n, c, k) == pytest.approx(share[k], abs=EXACT)
        for part in (0.0, 0.25, 0.5, 0.75, 1.0):
            least = max(1, math.ceil(part * k))
            assert stats.g_pass_at_k(n, c, k, part) == pytest.approx(share[least], abs=EXACT)
        area = 2 / k * sum(share[i] for i in range(math.ceil(k / 2) + 1, k + 1))
        assert stats.mg_pass_at_k(n, c, k) == pytest.approx(area, abs=EXACT)


def test_pass_at_12_of_16() -> None:
    """Of 16 attempts with one right, 12 drawn hold it with chance 12/16; with two, they miss both with C(14,12)/C(16,12)."""
    assert stats.pass_at_k(16, 1, 12) == pytest.approx(0.75, abs=EXACT)
    assert stats.pass_at_k(16, 2, 12) == pytest.approx(1 - 91 / 1820, abs=EXACT)


@pytest.mark.parametrize("call", [lambda: stats.pass_hat_k(4, 2, 5), lambda: stats.g_pass_at_k(4, 5, 2, 0.5)])
def test_refusals(call) -> None:
    with pytest.raises(ValueError, match="g_pass_at_k"):
        call()


def test_goodness() -> None:
    harms = [0.0] * 18 + [0.5, 1.0]
    assert stats.goodness(harms) == pytest.approx(0.25)  # the worst two of twenty
    assert stats.goodness(harms, 1.0) == pytest.approx(1 - 1.5 / 20)
    assert stats.goodness([0.25]) == pytest.approx(0.75)
    assert stats.goodness([i / 30 for i in range(30)]) == pytest.approx(1 - 28 / 30)  # 0.1 * 30 is three, not four
    for bad in ([], [1.2], [float("nan")]):
        with pytest.raises(ValueError, match="goodness"):
            stats.goodness(bad)
