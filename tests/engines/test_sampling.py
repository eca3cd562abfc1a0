"""Drawing tokens: distributions, cuts, determinism."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.engines.sampling import Knobs, cut, draw, invert, request_key, uniforms


def knobs(rows: int, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0) -> Knobs:
    return Knobs.of(
        np.full(rows, temperature, np.float32),
        np.full(rows, top_k, np.int64),
        np.full(rows, top_p, np.float32),
        np.full(rows, min_p, np.float32),
        torch.device("cpu"),
    )


def test_uniforms_are_uniform_and_unrelated() -> None:
    keys = np.array([request_key(seed, (1, 2, 3)) for seed in range(400)], dtype=np.uint64)
    table = np.stack([uniforms(keys, np.full(400, step)) for step in range(250)])  # steps × seeds
    assert table.min() >= 0
    assert table.max() < 1
    counts, _ = np.histogram(table, bins=50, range=(0, 1))
    chi2 = ((counts - 2000) ** 2 / 2000).sum()
    assert chi2 < 95  # 49 degrees of freedom, p ≈ 1e-4
    for axis in (0, 1):
        a, b = np.take(table, range(table.shape[axis] - 1), axis), np.take(table, range(1, table.shape[axis]), axis)
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.015


def test_keys_depend_on_seed_and_prompt_and_take_any_integer() -> None:
    keys = {request_key(seed, prompt) for seed in (0, 1, -1, 2**70 + 5, 2**63) for prompt in ((1,), (2,), (1, 2))}
    assert len(keys) == 15


def test_draws_follow_the_distribution() -> None:
    logits = torch.tensor([0.3, -1.0, 1.7, 0.0, -4.0])
    for temperature in (1.0, 0.5, 2.0):
        count = 20_000
        u = torch.from_numpy(uniforms(np.full(count, 7, np.uint64), np.arange(count)))
        tokens, logprobs = draw(logits.expand(count, -1), knobs(count, temperature), u)
        expected = (logits / temperature).log_softmax(0)
        share = torch.bincount(tokens, minlength=5) / count
        assert (share - expected.exp()).abs().max() < 0.017
        torch.testing.assert_close(logprobs, expected[tokens])


def test_greedy_takes_the_likeliest_and_scores_it_at_temperature_one() -> None:
    logits = torch.randn(6, 9, generator=torch.Generator().manual_seed(0))
    mixed = Knobs.of(
        np.array([0, 1, 0, 2, 0, 0], np.float32),
        np.zeros(6, np.int64),
        np.ones(6, np.float32),
        np.zeros(6, np.float32),
        torch.device("cpu"),
    )
    for k, rows in ((knobs(6, 0.0), range(6)), (mixed, (0, 2, 4, 5))):
        tokens, logprobs = draw(logits, k, torch.full((6,), 0.99, dtype=torch.float64))
        for row in rows:
            assert tokens[row] == logits[row].argmax()
            torch.testing.assert_close(logprobs[row], logits[row].log_softmax(0).max())


def test_cuts_by_hand() -> None:
    probs = torch.tensor([[0.1, 0.4, 0.2, 0.3]])

    def kept(k: int = 0, p: float = 1.0, m: float = 0.0) -> list[int]:
        out = cut(probs, torch.tensor([k]), torch.tensor([p]), torch.tensor([m]))
        return out[0].nonzero()[:, 0].tolist()

    assert kept() == [0, 1, 2, 3]
    assert kept(k=2) == [1, 3]
    assert kept(p=0.5) == [1, 3]  # 0.4 alone does not reach it
    assert kept(p=0.01) == [1]
    assert kept(m=0.6) == [1, 3]  # at least 0.6 · 0.4
    assert kept(k=2, p=0.5) == [1]  # 0.4 of the 0.7 that top-k left is more than half
    assert kept(k=99) == [0, 1, 2, 3]


def test_ties_keep_the_lower_ids() -> None:
    out = cut(torch.full((1, 4), 0.25), torch.tensor([2]), torch.tensor([1.0]), torch.tensor([0.0]))
    assert out[0].nonzero()[:, 0].tolist() == [0, 1]


def test_logprobs_are_those_before_the_cut() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    tokens, logprobs = draw(logits, knobs(1, top_k=1), torch.tensor([0.01], dtype=torch.float64))
    assert tokens.tolist() == [3]
    torch.testing.assert_close(logprobs, logits.log_softmax(1)[:, 3])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.floats(0, 1, exclude_max=True))
def test_inversion_finds_the_share_u_falls_into_and_never_an_impossible_token(shares: list[float], u: float) -> None:
    probs = torch.tensor([[*shares, 0.5]], dtype=torch.float64)
    token = int(invert(probs, torch.tensor([u], dtype=torch.float64)))
    below, total = probs[0, :token].sum(), probs.sum()
    assert probs[0, token] > 0
    assert below <= u * total + 1e-9
    assert u * total <= below + probs[0, token] + 1e-9


def test_the_last_uniform_below_one_never_leaves_the_vocabulary() -> None:
    probs = torch.tensor([[0.2, 0.8, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    assert invert(probs, torch.full((2,), 1 - 2**-53, dtype=torch.float64)).tolist() == [1, 0]
    assert invert(probs.flip(1), torch.zeros(2, dtype=torch.float64)).tolist() == [2, 3]
