"""Losses of a scalar head: hand-worked values, a naive loop, gradients, and what batching may not change."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.training import scores
from ponder.training.batch import build, micro_batches
from ponder.training.examples import Example, weigh, weigh_targets
from ponder.training.scores import Loss
from verifiers.tiny import headed


def drawn(rng: np.random.Generator, n: int, features: bool = False, language: bool = False) -> Example:
    """A document of `n` tokens, some of them asked, the last one always."""
    targets = np.where(rng.random(n) < 0.5, rng.integers(0, 2, n), np.nan).astype(np.float32)
    targets[-1] = rng.integers(0, 2)
    trainable = (rng.random(n) < 0.5) & language
    trainable[0] = False
    extra = rng.normal(size=(n, 4)).astype(np.float32) if features else None
    return Example(rng.integers(14, 60, n).astype(np.int32), trainable, targets=targets, features=extra)


def test_token_losses_by_hand() -> None:
    z, y = torch.tensor([0.0, math.log(3), math.log(3), -2.0]), torch.tensor([1.0, 1.0, 0.0, 0.25])
    bce = scores.token_losses(z, y, "bce")
    p = 1 / (1 + math.exp(2))
    wanted = [math.log(2), math.log(4 / 3), math.log(4), -(0.25 * math.log(p) + 0.75 * math.log(1 - p))]
    assert bce.tolist() == pytest.approx(wanted, abs=1e-6)
    assert scores.token_losses(z, y, "mse").tolist() == pytest.approx([0.25, 1 / 16, 9 / 16, (p - 0.25) ** 2], abs=1e-6)


def test_constant_loss_is_the_best_a_constant_can_do() -> None:
    targets = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0])
    for kind in ("bce", "mse"):
        z = torch.linspace(-4, 4, 8001)[:, None].expand(-1, 5)
        least = float(scores.token_losses(z, targets.expand(8001, 5), kind).mean(1).min())
        assert scores.constant_loss(0.4, kind) == pytest.approx(least, abs=1e-6)
    assert scores.constant_loss(0.0, "bce") == scores.constant_loss(1.0, "bce") == 0.0


def test_weights_by_hand() -> None:
    """Two documents with 1 and 3 targets; half the weight on the last target of each."""
    nan = np.nan
    one = Example(np.arange(3, dtype=np.int32), np.zeros(3, bool), targets=np.array([nan, 1, nan], np.float32))
    two = Example(np.arange(4, dtype=np.int32), np.zeros(4, bool), targets=np.array([nan, 0, 0, 0], np.float32))
    none = Example(np.arange(2, dtype=np.int32), np.zeros(2, bool), targets=np.full(2, nan, np.float32))
    a, b, c = weigh_targets([one, two, none], last_share=0.5)
    assert a.target_weights == pytest.approx([0, 1 / 8 + 1 / 4, 0])
    assert b.target_weights == pytest.approx([0, 1 / 8, 1 / 8, 1 / 8 + 1 / 4])
    assert c.target_weights is None
    last = weigh_targets([one, two], last_share=1.0)
    assert last[1].target_weights == pytest.approx([0, 0, 0, 0.5])


def naive(model: Any, examples: list[Example], kind: Loss, share: float, language: float) -> torch.Tensor:
    """The step's loss, one document and one token at a time."""
    asked = [[t for t in range(len(e)) if not np.isnan(e.targets[t])] for e in examples]  # type: ignore[index]
    learned = sum(e.learned for e in examples)
    total = torch.zeros((), dtype=torch.float64)
    for e, places in zip(examples, asked, strict=True):
        ids = torch.from_numpy(e.token_ids.astype(np.int64))[None]
        hidden = model.trunk.hidden(ids)[0]
        features = None if e.features is None else torch.from_numpy(e.features)
        z = model.logits(hidden, features).double()
        for t in places:
            y, p = float(e.targets[t]), torch.sigmoid(z[t])  # type: ignore[index]
            one = (p - y) ** 2 if kind == "mse" else -(y * torch.log(p) + (1 - y) * torch.log(1 - p))
            weight = (1 - share) / sum(map(len, asked)) + (share / len(examples) if t == places[-1] else 0.0)
            total = total + weight * one
        logprobs = model.trunk.head(hidden).double().log_softmax(-1)
        for t in np.flatnonzero(e.trainable):
            total = total - language / learned * logprobs[t - 1, ids[0, t]]
    return total


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize(
    ("kind", "labels", "share", "language"), [("bce", 1, 0.0, 0.0), ("mse", 2, 0.5, 0.7), ("bce", 2, 1.0, 1.0)]
)
def test_loss_and_gradient_equal_a_naive_loop(
    kind: Loss, labels: int, share: float, language: float, features: bool
) -> None:
    rng = np.random.default_rng(0)
    examples = [drawn(rng, n, features, language > 0) for n in (7, 12, 5, 9)]
    weighed = weigh_targets(weigh(examples, coefficients=(language, 0.0)), share)
    model = headed(1, labels, features)
    wanted = naive(model, examples, kind, share, language)
    wanted.backward()
    wanted = wanted.detach()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    total = torch.zeros(())
    for batch in micro_batches(weighed, micro_tokens=20):
        value, _ = scores.loss(model, batch, kind)
        value.backward()
        total += value.detach()
    assert float(total) == pytest.approx(float(wanted), abs=1e-5)
    for name, parameter in model.named_parameters():
        if name in gradients:
            torch.testing.assert_close(parameter.grad, gradients[name], atol=1e-5, rtol=1e-4)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(8, 64), st.sampled_from([None, 32]))
def test_neither_batching_nor_packing_changes_the_loss(seed: int, micro: int, row: int | None) -> None:
    rng = np.random.default_rng(seed)
    examples = weigh_targets([drawn(rng, int(rng.integers(2, 15)), True) for _ in range(6)], 0.3)
    model = headed(2, 1, True)
    with torch.no_grad():
        whole, sums = scores.loss(model, build([[e] for e in examples]), "bce")
        parts = [scores.loss(model, b, "bce") for b in micro_batches(examples, micro, row)]
    assert float(sum(value for value, _ in parts)) == pytest.approx(float(whole), abs=1e-5)
    assert sum(int(s["scored"]) for _, s in parts) == int(sums["scored"])
    assert float(sums["weight"]) == pytest.approx(1.0, abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=12))
def test_auc_is_the_share_of_pairs(pairs: list[tuple[int, bool]]) -> None:
    right, wrong = ([z for z, y in pairs if y == kind] for kind in (True, False))
    found = scores.auc([float(z) for z, _ in pairs], [y for _, y in pairs])
    if not right or not wrong:
        assert found is None
        return
    wins = sum((a > b) + 0.5 * (a == b) for a in right for b in wrong)
    assert found == pytest.approx(wins / (len(right) * len(wrong)), abs=1e-12)


def test_best_of_breaks_ties_in_expectation() -> None:
    assert (
        scores.best_of([[(0.9, True), (0.1, False)], [(0.5, True), (0.5, False)], [(0.2, True), (0.7, False)]]) == 0.5
    )
    assert scores.best_of([]) == 0.0


def test_quality_by_hand() -> None:
    found = scores.quality([math.log(3), -math.log(3), math.log(3)], [1.0, 0.0, 0.0])
    wanted = {"loss": (2 * math.log(4 / 3) + math.log(4)) / 3, "base_rate": 1 / 3, "accuracy": 2 / 3, "auc": 0.75}
    wanted["base_loss"] = -(math.log(1 / 3) / 3 + 2 * math.log(2 / 3) / 3)
    assert dict(found) == pytest.approx(wanted)
