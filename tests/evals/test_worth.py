"""Search at equal compute: hand-worked curves, a fair null, and answers that are known."""

from __future__ import annotations

import math
import random

import pytest

from ponder.evals.worth import Point, common_problems, worth


def flat(label: str, cost: float, accuracy: float, problems: int = 10) -> Point:
    return Point(label, {p: [(cost, accuracy)] for p in range(problems)})


def test_hand_worked() -> None:
    """Baseline .2 at 10, .4 at 40, .6 at 160; search .5 at 40 and .5 at 160. In log cost: +.1 at 40, -.1 at 160, mean 0."""
    base = [flat("1", 10, 0.2), flat("4", 40, 0.4), flat("16", 160, 0.6)]
    found = worth(base, [flat("a", 40, 0.5), flat("b", 160, 0.5)], costs=[40, 80, 160, 999], draws=50)
    assert found.costs == pytest.approx((40, 160))
    assert [row.cost for row in found.matched] == pytest.approx([40, 80, 160])
    assert [row.difference.mean for row in found.matched] == pytest.approx([0.1, 0.0, -0.1])
    assert [row.baseline for row in found.matched] == pytest.approx([0.4, 0.5, 0.6])
    assert found.average is not None
    assert found.average.mean == pytest.approx(0.0, abs=1e-12)
    assert found.answer == "undecided"
    assert [label for label, _, _ in found.baseline] == ["1", "4", "16"]
    assert [point[1:] for point in found.baseline] == [pytest.approx(xy) for xy in ((10, 0.2), (40, 0.4), (160, 0.6))]


def test_ratio_hand_worked() -> None:
    """The search reaches what the baseline reaches, at a quarter of its cost: ratio 4 wherever accuracies overlap."""
    base = [flat(str(c), c, a) for c, a in ((10, 0.2), (40, 0.4), (160, 0.6))]
    search = [flat(str(c), c / 4, a) for c, a in ((10, 0.2), (40, 0.4), (160, 0.6))]
    assert worth(base, search, draws=20).ratio == pytest.approx(4.0)
    assert worth(base, [flat("x", 10, 0.9), flat("y", 20, 0.95)], draws=20).ratio is None


def test_samples_are_averaged_per_problem_first() -> None:
    """A problem with many samples counts once, in cost and in accuracy."""
    base = [Point("b", {"p": [(1, 0)], "q": [(3, 1)]}), Point("c", {"p": [(4, 0)], "q": [(4, 1)]})]
    search = [Point("s", {"p": [(2, 1), (2, 1), (2, 0), (2, 1)], "q": [(2, 1)], "r": [(9, 0)]})]
    found = worth(base, search, draws=20)
    assert found.problems == 2
    assert found.search == (("s", 2.0, 0.875),)
    assert found.baseline == (("b", 2.0, 0.5), ("c", 4.0, 0.5))
    assert common_problems([*base, *search]) == ["p", "q"]


def strategies(rng: random.Random, problems: int, gain: float, dearer: float = 1.0) -> tuple[list[Point], list[Point]]:
    """Accuracy rises by .1 per doubling; the search has `gain` more at equal cost, and costs `dearer` times as much per n."""
    skills = [rng.uniform(0.1, 0.4) for _ in range(problems)]
    sides: tuple[list[Point], list[Point]] = ([], [])
    for side, extra, price in ((0, 0.0, 1.0), (1, gain, dearer)):
        for i, n in enumerate((1, 2, 4, 8)):
            samples = {
                p: [
                    (n * price * rng.uniform(80, 120), float(rng.random() < s + 0.1 * (i + math.log2(price)) + extra))
                    for _ in range(4)
                ]
                for p, s in enumerate(skills)
            }
            sides[side].append(Point(str(n), samples))
    return sides


def test_the_answer_is_right_where_it_is_known() -> None:
    rng = random.Random(2)
    better = worth(*strategies(rng, 150, 0.08, dearer=2.0), draws=400)
    assert better.answer == "yes"
    assert better.average is not None
    assert better.average.mean == pytest.approx(0.08, abs=0.035)
    assert better.ratio is not None
    assert 1.3 < better.ratio < 2.4  # .08 is worth .8 doublings
    assert better.p is not None
    assert better.p < 0.01
    assert worth(*strategies(rng, 150, -0.08), draws=400).answer == "no"


@pytest.mark.slow
def test_equal_strategies_are_called_equal() -> None:
    """120 pairs with no true difference: about one in twenty is called for either side."""
    rng = random.Random(3)
    called = [worth(*strategies(rng, 30, 0.0), draws=150, seed=s).answer for s in range(120)]
    assert called.count("undecided") >= 105
    assert called.count("undecided") < 120


def test_pairing_tells_more_than_two_separate_runs() -> None:
    """The same skills on both sides cancel: the interval is narrower than with the problems of one side shuffled."""
    rng = random.Random(5)
    skills = [rng.random() for _ in range(80)]
    make = lambda order, up: [  # noqa: E731
        Point(str(c), {p: [(c, min(1.0, s + up))] for p, s in enumerate(order)}) for c in (10, 20)
    ]
    paired = worth(make(skills, 0.0), make(skills, 0.05), draws=300).average
    mixed = worth(make(skills, 0.0), make(random.Random(1).sample(skills, 80), 0.05), draws=300).average
    assert paired is not None
    assert mixed is not None
    assert paired.high - paired.low < 0.2 * (mixed.high - mixed.low)


def test_nothing_is_extrapolated() -> None:
    found = worth([flat("1", 10, 0.2), flat("2", 20, 0.3)], [flat("big", 500, 0.9)], draws=20)
    assert (found.answer, found.average, found.matched, found.costs) == ("no overlap", None, (), None)
    one = worth([flat("1", 10, 0.2)], [flat("s", 10, 0.9)], draws=20)
    assert one.costs == pytest.approx((10, 10))
    assert one.average is not None
    assert one.average.mean == pytest.approx(0.7)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="0 problems in common"):
        worth([flat("1", 10, 0.2, 3)], [Point("s", {"x": [(10, 1)], "y": [(10, 1)]})])
    with pytest.raises(ValueError, match="operating points"):
        worth([], [flat("s", 10, 0.2)])
    with pytest.raises(ValueError, match="above 0"):
        worth([flat("1", 0, 0.2)], [flat("s", 10, 0.2)])
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        worth([flat("1", 1, 2.0)], [flat("s", 10, 0.2)])
