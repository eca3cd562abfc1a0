"""Whether a verifier's scores mean what they say: reliability, calibration error, Brier score, AUC, log loss.

A score is taken as the probability of being right, in [0, 1]; `auc` needs only an order. Bins hold about equally many
items each, and equal scores are never parted, so the order of the items decides nothing. A score that could not be
given (None) is left out and counted.
Items of one problem are not independent: pass the problems as `groups`, and whole problems are resampled.
Not covered: recalibration (temperature, isotonic); multi-class scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ponder.evals.resample import row_counts
from ponder.intervals import Interval, cluster_mean, wilson

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
BINS = 10
CLIP = 1e-7


@dataclass(frozen=True, slots=True)
class Bin:
    """One row of the reliability table: mean score, share of right items with its interval over items or groups."""

    low: float
    high: float
    items: int
    score: float
    right: Interval


@dataclass(frozen=True, slots=True)
class Brier:
    """The Brier score and its parts: score = reliability - resolution + uncertainty + within, exactly.

    Murphy 1973's three parts over the bins; `within` is what binning leaves over (Stephenson et al. 2008): the variance of
    scores inside bins less twice their covariance with the outcome.
    """

    score: float
    reliability: float
    resolution: float
    uncertainty: float
    within: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What `calibration` found. `floor` is the error that scores which are perfectly calibrated would show by chance
    (mean, and the upper end of the level): an `ece` below `floor.high` is no evidence of miscalibration.

    `log_loss` and `entropy` are in nats; `skill` = 1 - log_loss/entropy is the share of the uncertainty that the scores
    remove, below 0 when saying the base rate would do better, None when there is only one outcome, as `auc` is.
    `auc_within` compares right with wrong items of one group only, and is the mean over groups that have both: what
    choosing among the attempts at a problem rests on. None without groups, or where no group has both.
    """

    items: int
    unscored: int
    base_rate: float
    ece: Interval
    floor: Interval
    auc: Interval | None
    auc_within: Interval | None
    brier: Brier
    log_loss: float
    entropy: float
    skill: float | None
    table: tuple[Bin, ...]


def calibration(
    scores: Sequence[float | None],
    correct: Sequence[bool],
    groups: Sequence[Hashable] | None = None,
    *,
    bins: int = BINS,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Calibration:
    """Everything about scores in [0, 1] against verdicts. ValueError for scores outside, lengths that differ, none scored."""
    kept = [i for i, s in enumerate(scores) if s is not None]
    if not len(scores) == len(correct) == len(groups if groups is not None else scores):
        raise ValueError(
            f"calibration: {len(scores)} scores, {len(correct)} verdicts; needs as many, and as many groups"
        )
    p = np.array([scores[i] for i in kept], np.float64)
    y = np.array([bool(correct[i]) for i in kept], np.float64)
    if not kept or not bool(np.all((p >= 0) & (p <= 1))):
        raise ValueError("calibration: scores must be probabilities in [0, 1], at least one of them (auc takes any)")
    place = bin_of(p, bins)
    members = _codes([groups[i] for i in kept] if groups is not None else kept)
    base = float(y.mean())
    entropy = -sum(q * math.log(q) for q in (base, 1 - base) if q > 0)
    loss = log_loss(p, y)
    both = 0 < base < 1
    return Calibration(
        items=len(kept),
        unscored=len(scores) - len(kept),
        base_rate=base,
        ece=_reflected(lambda w: _weighted_ece(p, y, place, w), members, draws, seed, level),
        floor=_floor(p, place, draws, seed, level),
        auc=_plain(lambda w: _weighted_auc(p, y, w), members, draws, seed, level) if both else None,
        auc_within=_auc_within(p, y, members, level) if groups is not None else None,
        brier=brier(p, y, place),
        log_loss=loss,
        entropy=entropy,
        skill=1 - loss / entropy if both else None,
        table=_table(p, y, place, members if groups is not None else None, level),
    )


def bin_of(scores: Floats, bins: int = BINS) -> Ints:
    """The bin of each score, equally many items in each as far as equal scores allow; numbered from 0 without gaps."""
    _, place, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    middle = np.cumsum(sizes) - (sizes + 1) / 2
    raw = np.floor(middle * bins / len(scores)).astype(np.int64)
    return np.unique(raw, return_inverse=True)[1][place.ravel()]


def auc(scores: Sequence[float], correct: Sequence[bool]) -> float:
    """Probability that a right item scores above a wrong one, ties counting half; exact, by ranks (Mann-Whitney).

    Any order will do as scores, infinities included. ValueError for NaN or when all items are right or all are wrong.
    """
    p, y = np.array(scores, np.float64), np.array(correct, np.float64)
    if len(p) != len(y) or bool(np.isnan(p).any()) or not 0 < y.sum() < len(y):
        raise ValueError("auc: needs as many scores as verdicts, none NaN, and both right and wrong items")
    return _weighted_auc(p, y, np.ones(len(p)))


def _weighted_auc(p: Floats, y: Floats, w: Floats) -> float:
    _, place = np.unique(p, return_inverse=True)
    right, wrong = np.bincount(place, w * y), np.bincount(place, w * (1 - y))
    below = np.cumsum(wrong) - wrong
    pairs = right.sum() * wrong.sum()
    return float((right * (below + wrong / 2)).sum() / pairs) if pairs > 0 else math.nan


def _auc_within(p: Floats, y: Floats, members: Ints, level: float) -> Interval | None:
    inside = [np.flatnonzero(members == group) for group in range(int(members.max()) + 1)]
    found = [_weighted_auc(p[rows], y[rows], np.ones(len(rows))) for rows in inside]
    kept = [value for value in found if math.isfinite(value)]
    return cluster_mean(kept, level) if kept else None


def ece(scores: Sequence[float], correct: Sequence[bool], bins: int = BINS) -> float:
    """Expected calibration error: |mean score - share right| per bin of equal mass, weighted by the bin's items."""
    p, y = np.array(scores, np.float64), np.array(correct, np.float64)
    return _weighted_ece(p, y, bin_of(p, bins), np.ones(len(p)))


def _weighted_ece(p: Floats, y: Floats, place: Ints, w: Floats) -> float:
    return float(np.abs(np.bincount(place, w * (p - y))).sum() / w.sum())


def log_loss(scores: Floats, correct: Floats) -> float:
    """Mean -log of the probability given to what happened, in nats; scores are held 1e-7 away from 0 and 1."""
    p = np.clip(scores, CLIP, 1 - CLIP)
    return float(-np.mean(correct * np.log(p) + (1 - correct) * np.log1p(-p)))


def brier(scores: Floats, correct: Floats, place: Ints) -> Brier:
    """The Brier score mean((score - outcome)^2) and its parts over the bins `place`."""
    n, sizes = len(scores), np.bincount(place)
    score_of, right_of = np.bincount(place, scores) / sizes, np.bincount(place, correct) / sizes
    base = float(correct.mean())
    off, share = scores - score_of[place], correct - right_of[place]
    return Brier(
        score=float(np.mean((scores - correct) ** 2)),
        reliability=float((sizes * (score_of - right_of) ** 2).sum() / n),
        resolution=float((sizes * (right_of - base) ** 2).sum() / n),
        uncertainty=base * (1 - base),
        within=float(np.mean(off * off) - 2 * np.mean(off * share)),
    )


def _table(p: Floats, y: Floats, place: Ints, members: Ints | None, level: float) -> tuple[Bin, ...]:
    rows: list[Bin] = []
    for b in range(int(place.max()) + 1):
        inside = place == b
        scores, right = p[inside], y[inside]
        shown = wilson(float(right.sum()), len(right), level)
        if members is not None:
            _, codes = np.unique(members[inside], return_inverse=True)
            rates = (np.bincount(codes, right) / np.bincount(codes)).tolist()
            over = cluster_mean(rates, level)
            shown = Interval(shown.mean, min(over.low, shown.mean), max(over.high, shown.mean), level)
        rows.append(Bin(float(scores.min()), float(scores.max()), len(scores), float(scores.mean()), shown))
    return tuple(rows)


def _codes(names: Sequence[Hashable]) -> Ints:
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(name, len(seen)) for name in names], np.int64)


Statistic = Callable[[Floats], float]


def _bootstrap(statistic: Statistic, members: Ints, draws: int, seed: int) -> Floats:
    """`statistic(weights of items)` under draws of groups with replacement; draws in which it is undefined are left out."""
    count = int(members.max()) + 1
    found = [statistic(row[members]) for counts in row_counts(count, draws, seed) for row in counts]
    values = np.array(found, np.float64)
    return values[np.isfinite(values)]


def _plain(statistic: Statistic, members: Ints, draws: int, seed: int, level: float) -> Interval:
    found = _bootstrap(statistic, members, draws, seed)
    low, high = np.quantile(found, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(statistic(np.ones(len(members))), float(low), float(high), level)


def _reflected(statistic: Statistic, members: Ints, draws: int, seed: int, level: float) -> Interval:
    """The basic bootstrap, [2 value - high, 2 value - low], not below 0: a calibration error is biased upwards, and its
    resamples once more, which the percentile interval would add and this one takes off."""
    value, found = statistic(np.ones(len(members))), _bootstrap(statistic, members, draws, seed)
    low, high = np.quantile(found, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(value, max(2 * value - float(high), 0.0), max(2 * value - float(low), 0.0), level)


def _floor(p: Floats, place: Ints, draws: int, seed: int, level: float) -> Interval:
    """Calibration error of these scores when outcomes are drawn from them (Bröcker and Smith 2007): one-sided, from 0."""
    rng, ones = np.random.default_rng(seed), np.ones(len(p))
    found = [_weighted_ece(p, (rng.random(len(p)) < p).astype(np.float64), place, ones) for _ in range(draws)]
    return Interval(float(np.mean(found)), 0.0, float(np.quantile(found, level)), level)
