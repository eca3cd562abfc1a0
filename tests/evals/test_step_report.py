"""What a process verifier sees of steps, beside guessing by position: checked by hand and by a made-up world."""

from __future__ import annotations

import random

import pytest
from msgspec import structs

from ponder.evals.step_report import (
    auc_interval,
    halves,
    likelihood,
    position,
    position_and_length,
    report,
    truths,
)
from ponder.types import Message
from ponder.verifiers.samples import LabelledSample


def sample(problem: str, labels: list[float | None]) -> LabelledSample:
    texts = tuple(f"step {i}\n" for i in range(len(labels)))
    known = [y for y in labels if y is not None]
    return LabelledSample(
        problem=problem,
        messages=(Message("user", "?"),),
        texts=texts,
        labels=tuple(labels),
        correct=known[-1] == 1.0,
    )


def world(problems: int, seed: int = 0) -> list[LabelledSample]:
    """Samples of 4 to 7 steps, two of three with a first wrong step somewhere."""
    rng = random.Random(seed)
    found = []
    for number in range(problems):
        for turn in range(3):
            length = rng.randint(4, 7)
            wrong = rng.randrange(1, length) if turn else length
            found.append(sample(f"p{number}", [1.0 if i < wrong else 0.0 for i in range(length)]))
    return found


def test_auc_by_hand_and_its_bootstrap_over_problems():
    groups = [[(0.9, True), (0.1, False)], [(0.4, True), (0.6, False)]]
    assert auc_interval(groups, draws=200).mean == 0.75  # of four pairs one is the wrong way round
    same = auc_interval([[(0.9, True), (0.1, False)]] * 5, draws=50)
    assert same.pair == [1.0, 1.0]
    with pytest.raises(ValueError, match="only one kind"):
        auc_interval([[(0.9, True)]])


def test_halves_keep_a_problem_on_one_side():
    names = ["b", "a", "c", "a", "b"]
    chosen, measured = halves(names)
    assert sorted(chosen + measured) == list(range(5))
    assert not {names[i] for i in chosen} & {names[i] for i in measured}


def test_a_verifier_that_knows_and_one_that_guesses():
    samples = world(60)
    knows = report("knows", [[float(y) for y in truths(s)] for s in samples], samples, draws=100)
    assert (knows.steps.mean, knows.whole.mean, knows.first.f1, knows.problems) == (1.0, 1.0, 1.0, 60)
    rng = random.Random(1)
    guesses = report("guesses", [[rng.random() for _ in s.labels] for s in samples], samples, draws=100)
    assert guesses.steps.low < 0.5 < guesses.steps.high
    assert guesses.first.f1 < 0.3


def test_guessing_by_position_uses_only_what_it_may():
    samples = world(200)
    by_place, by_both = position(samples), position_and_length(samples)
    one = sample("new", [1.0] * 5)
    assert by_place(one) == sorted(by_place(one), reverse=True)  # later steps are more often wrong
    assert by_place(one)[:4] == by_place(sample("new", [1.0] * 7))[:4]
    assert by_both(one)[3] != by_both(sample("new", [1.0] * 7))[3]
    counted = [s.labels[2] for s in samples]
    assert by_place(one)[2] == pytest.approx(sum(counted) / len(counted), abs=0.01)
    found = report("position", [by_place(s) for s in samples], samples, draws=50)
    assert 0.5 < found.steps.mean < 1.0


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match="2 scores for 3 steps of problem p"):
        report("short", [[0.5, 0.5]], [sample("p", [1.0, 1.0, 0.0])])
    assert truths(sample("p", [None, 1.0, 0.0])) == [None, True, False]


def test_likelihood_by_hand() -> None:
    given = LabelledSample(problem="a", messages=(), token_ids=(5, 6, 7), starts=(0, 2), logprobs=(-1.0, -2.0, -0.5))
    assert likelihood(given) == [-3.0, -3.5]
    with pytest.raises(ValueError, match="problem a has no log-probabilities"):
        likelihood(structs.replace(given, logprobs=()))
