"""From a table of accuracies and costs to effort levels that are worth having.

    accuracy_PM[p, m], tokens_PM[p, m]     expected correctness and cost of operating point m at problem p

Frontier: points that no cheaper one equals in accuracy. Levels: L of its points from the cheapest to the cheapest that is
within one standard error of the best (Breiman et al. 1984), those between chosen so that the smallest gain in accuracy
between neighbours is as large as can be.

Choosing the best of many noisy points and reporting its accuracy on the same problems reports the luck too. So the choice is
made on k - 1 folds and read on the fold left out, every problem once; the number of levels is the largest for which
every held-out gain in accuracy is above zero (paired t, one-sided, Bonferroni over the gains) and every cost rises. Not
covered: the dependence of folds through shared training problems, which makes these intervals slightly too narrow; the
levels are therefore measured again on fresh problems.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ponder.intervals import Interval, mean_interval

Floats = NDArray[np.float64]
LEVEL_NAMES: dict[int, tuple[str, ...]] = {
    1: ("medium",),
    2: ("low", "high"),
    3: ("low", "medium", "high"),
    4: ("low", "medium", "high", "xhigh"),
    5: ("minimal", "low", "medium", "high", "xhigh"),
    6: ("none", "minimal", "low", "medium", "high", "xhigh"),
}
MOST = max(LEVEL_NAMES)


@dataclass(frozen=True, slots=True)
class Curve:
    """Accuracy and tokens of M points at P problems, both [P, M]."""

    accuracy: Floats
    tokens: Floats

    def of(self, rows: Sequence[int] | NDArray[np.int64]) -> Curve:
        """The same for some of the problems."""
        return Curve(self.accuracy[rows], self.tokens[rows])

    @property
    def means(self) -> tuple[Floats, Floats]:
        """Mean accuracy and mean tokens of each point."""
        return self.accuracy.mean(axis=0), self.tokens.mean(axis=0)


def frontier(curve: Curve) -> list[int]:
    """The points no cheaper one equals, by rising cost; of equal cost the more accurate, of equals the first."""
    accuracy, tokens = curve.means
    found: list[int] = []
    for m in sorted(range(len(accuracy)), key=lambda m: (tokens[m], -accuracy[m])):
        if not found or accuracy[m] > accuracy[found[-1]] + 1e-12:
            found.append(m)
    return found


def separation(curve: Curve, a: int, b: int) -> float:
    """Paired t statistic of the gain in accuracy from point a to point b; infinite where every problem gains the same."""
    gain = curve.accuracy[:, b] - curve.accuracy[:, a]
    mean = float(gain.mean())
    if len(gain) < 2:
        return 0.0
    error = float(gain.std(ddof=1)) / math.sqrt(len(gain))
    return mean / error if error > 1e-12 else math.copysign(math.inf, mean) if abs(mean) > 1e-12 else 0.0


def candidates(curve: Curve) -> list[int]:
    """The frontier up to its cheapest point within one standard error of the best."""
    points = frontier(curve)
    best = points[-1]
    last = next(i for i, m in enumerate(points) if m == best or separation(curve, m, best) <= 1.0)
    return points[: last + 1]


def choose(curve: Curve, count: int) -> tuple[int, ...] | None:
    """`count` levels by rising cost, None where the frontier has fewer points. One level is the top one."""
    points = candidates(curve)
    if count > len(points):
        return None
    if count == 1:
        return (points[-1],)
    means = curve.means[0]
    # best[i]: the largest smallest gain on a path of the present length from the first point to point i, and the path
    best: dict[int, tuple[float, tuple[int, ...]]] = {0: (math.inf, (0,))}
    for _ in range(count - 1):
        reached: dict[int, tuple[float, tuple[int, ...]]] = {}
        for i, (least, path) in best.items():
            for j in range(i + 1, len(points)):
                value = min(least, float(means[points[j]] - means[points[i]]))
                if j not in reached or value > reached[j][0]:
                    reached[j] = (value, (*path, j))
        best = reached
    return tuple(points[i] for i in best[len(points) - 1][1])


def folds(problems: int, count: int, seed: int) -> list[NDArray[np.int64]]:
    """`count` parts of the problems 0 … problems - 1, as equal as can be, in an order decided by the seed."""
    order = np.random.default_rng([seed, problems, count]).permutation(problems)
    return [np.sort(part) for part in np.array_split(order, count)]


@dataclass(frozen=True, slots=True)
class CrossValidated:
    """What `count` levels bring when chosen without the problems they are read on.

    `held` is that on held-out problems; `gains[i]` the interval of level i + 1 over level i; `votes` how many folds chose the
    points that all problems together choose.
    """

    count: int
    held: Curve
    gains: tuple[Interval, ...]
    votes: int

    @property
    def supported(self) -> bool:
        """Is every gain above zero and every cost above the one before?"""
        _, tokens = self.held.means
        rising = all(a < b for a, b in itertools.pairwise(tokens.tolist()))
        return rising and all(gain.low > 0 for gain in self.gains)


def cross_validate(curve: Curve, count: int, parts: Sequence[NDArray[np.int64]], level: float) -> CrossValidated | None:
    """Choose `count` levels on all parts but one, read them on that one, each part once; None where a choice is impossible.

    `level` is the confidence that no gain is false, all together.
    """
    problems = len(curve.accuracy)
    whole = choose(curve, count)
    accuracy, tokens = np.zeros((problems, count)), np.zeros((problems, count))
    votes = 0
    for part in parts:
        rest = np.setdiff1d(np.arange(problems), part)
        chosen = choose(curve.of(rest), count) if len(rest) else None
        if chosen is None or whole is None:
            return None
        votes += chosen == whole
        accuracy[part], tokens[part] = (values[part][:, list(chosen)] for values in (curve.accuracy, curve.tokens))
    return CrossValidated(count, Curve(accuracy, tokens), gains(accuracy, level), votes)


def gains(accuracy: Floats, level: float) -> tuple[Interval, ...]:
    """Gains of each level over the one before, [P, L]; intervals whose lower ends all hold with confidence `level`."""
    steps = accuracy.shape[1] - 1
    each = 1 - 2 * (1 - level) / steps if steps else level
    return tuple(mean_interval((accuracy[:, i + 1] - accuracy[:, i]).tolist(), each) for i in range(steps))


@dataclass(frozen=True, slots=True)
class Levels:
    """The levels chosen from all problems, with what cross-validation says of them and of the counts that failed."""

    points: tuple[int, ...]
    names: tuple[str, ...]
    checked: CrossValidated | None
    refused: tuple[tuple[int, str], ...]


def levels(curve: Curve, *, parts: Sequence[NDArray[np.int64]], level: float = 0.95, most: int = MOST) -> Levels:
    """As many levels as cross-validation supports, from `most` down to 1; one level always is."""
    refused: list[tuple[int, str]] = []
    for count in range(min(most, MOST), 1, -1):
        chosen, checked = choose(curve, count), cross_validate(curve, count, parts, level)
        if chosen is None or checked is None:
            refused.append((count, f"the frontier has fewer than {count} points"))
        elif not checked.supported:
            refused.append((count, _why(checked)))
        else:
            return Levels(chosen, LEVEL_NAMES[count], checked, tuple(refused))
    top = choose(curve, 1)
    assert top is not None
    return Levels(top, LEVEL_NAMES[1], cross_validate(curve, 1, parts, level), tuple(refused))


def _why(checked: CrossValidated) -> str:
    names = LEVEL_NAMES[checked.count]
    _, tokens = checked.held.means
    for i, gain in enumerate(checked.gains):
        if gain.low <= 0:
            return (
                f"{names[i + 1]} over {names[i]} gains {100 * gain.mean:+.1f} points on held-out problems, "
                f"which may be as little as {100 * gain.low:+.1f}"
            )
    i = next(i for i in range(len(names) - 1) if tokens[i] >= tokens[i + 1])
    return f"{names[i + 1]} does not cost more than {names[i]} on held-out problems"
