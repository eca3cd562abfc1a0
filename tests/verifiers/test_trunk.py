"""Reading incrementally gives what reading anew gives, and costs each token once."""

from __future__ import annotations

import itertools
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.errors import ConfigError, DataError
from ponder.models.transformer import Transformer
from ponder.types import Trace
from ponder.verifiers.headed import HeadedVerifier, reading, upto
from ponder.verifiers.trunk import Reading, Trunk
from verifiers.tiny import TOKENIZER, headed, trace, trunk

MODEL = trunk()


def anew(model: Transformer, ids: tuple[int, ...]) -> torch.Tensor:
    with torch.no_grad():
        return model.hidden(torch.tensor([ids]))[0, -1]


def grow(rng: random.Random, prompts: int, depth: int, branching: int) -> list[list[Trace]]:
    """The traces of a random search, by depth; siblings differ in their first token, so every token is one of its own."""
    levels: list[list[Trace]] = []
    roots = [
        trace((), prompt=(20 + p, *(rng.randrange(3, 60) for _ in range(rng.randint(0, 9))))) for p in range(prompts)
    ]
    for level in range(depth):
        parents = roots if not level else rng.sample(levels[-1], max(1, len(levels[-1]) // 2))
        made: list[Trace] = []
        for parent in parents:
            for child in range(rng.randint(1, branching)):
                step = (100 + child, *(rng.randrange(3, 60) for _ in range(rng.randint(0, 6))))
                starts = (*(parent.starts if level else ()), len(parent.token_ids))
                made.append(trace(parent.token_ids + step, starts, parent.prompt_ids))
        levels.append(made)
    return levels


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 4))
def test_scores_equal_full_recomputation_and_cost_the_tree(seed: int, prompts: int, depth: int) -> None:
    rng = random.Random(seed)
    levels = grow(rng, prompts, depth, 3)
    read = Trunk(MODEL)
    seen: set[tuple[int, ...]] = set()
    for level in levels:
        rng.shuffle(level)
        cut = rng.randint(0, len(level))
        for part in (level[:cut], level[cut:]):
            found = read.read([reading(t) for t in part])
            for row, t in zip(found, part, strict=True):
                ids = t.prompt_ids + t.token_ids
                torch.testing.assert_close(row, anew(MODEL, ids), atol=1e-5, rtol=1e-5)
                seen |= {ids[: i + 1] for i in range(len(ids))}
            assert read.ledger.verified == len(seen)  # every prefix of the tree was run once, no token more


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(3, 6), min_size=1, max_size=9), min_size=1, max_size=12), st.integers(0, 40))
def test_any_sequences_with_any_cache(lists: list[list[int]], capacity: int) -> None:
    """Repeats, prefixes of each other, shared runs inside a step, a cache too small for them: the same numbers."""
    read = Trunk(MODEL, cache_tokens=capacity)
    sequences = [Reading(tuple(ids), (len(ids),)) for ids in lists]
    found = torch.cat([read.read(sequences[:3]), read.read(sequences[3:])])
    for row, sequence in zip(found, sequences, strict=True):
        torch.testing.assert_close(row, anew(MODEL, sequence.ids), atol=1e-5, rtol=1e-5)
    assert read.ledger.verified <= sum(map(len, {s.ids for s in sequences}))


def test_repeated_reading_costs_nothing() -> None:
    read = Trunk(MODEL)
    sequence = Reading((5, 6, 7, 8), (4,))
    first = read.read([sequence, sequence])
    assert read.ledger.verified == 4
    assert torch.equal(first[0], read.read([sequence])[0])
    assert read.ledger.verified == 4
    read.read([Reading((5, 6, 7), (3,))])  # known as a prefix, but its end was never asked for
    assert read.ledger.verified == 5
    read.forget()
    assert read.unread((5, 6, 7, 8)) == 4


def test_long_sequences_run_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    from ponder.verifiers import trunk as module

    monkeypatch.setattr(module, "CHUNK_TOKENS", 5)
    monkeypatch.setattr(module, "BATCH_TOKENS", 12)
    rng = random.Random(0)
    lists = [tuple(rng.randrange(3, 90) for _ in range(n)) for n in (1, 4, 5, 6, 23, 40)]
    read = Trunk(MODEL)
    for row, ids in zip(read.read([Reading(ids, (len(ids),)) for ids in lists]), lists, strict=True):
        torch.testing.assert_close(row, anew(MODEL, ids), atol=1e-5, rtol=1e-5)
    assert read.ledger.verified == sum(map(len, lists))


def test_flops_are_those_of_the_tokens_run() -> None:
    read = Trunk(MODEL)
    read.read([Reading((5, 6, 7), (3,))])
    read.read([Reading((5, 6, 7, 8, 9), (5,))])
    config = MODEL.config
    assert read.ledger.flops == config.flops(3, 6, sampled=0) + config.flops(2, 4 + 5, sampled=0)
    assert (read.ledger.verified, read.ledger.cached) == (5, 3)


@pytest.mark.parametrize(
    ("ids", "says"),
    [((), "empty"), ((5,) * 97, "97 tokens do not fit the verifier's context of 96"), ((5, 5000), "token id 5000")],
)
def test_what_can_not_be_read(ids: tuple[int, ...], says: str) -> None:
    with pytest.raises(DataError, match=says):
        Trunk(MODEL).read([Reading(ids, (len(ids),))])


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize("labels", [1, 2])
def test_a_verifier_scores_the_last_token(labels: int, features: bool) -> None:
    model = headed(3, labels, features)
    verifier = HeadedVerifier(model, TOKENIZER, "value")
    logprobs = tuple(-0.1 * i for i in range(1, 8))
    whole = trace((30, 31, 32, 33, 34, 35, 36), (0, 2, 5), logprobs=logprobs, finished=True)
    steps = verifier.steps([whole])[0]
    with torch.no_grad():
        hidden = model.trunk.hidden(torch.tensor([whole.prompt_ids + whole.token_ids]))[0, 3:]
        read = torch.tensor(
            [
                [logprobs[i], sum(logprobs[: i + 1]) / (i + 1), sum(logprobs[: i + 1]) / 16, min(logprobs[: i + 1])]
                for i in range(7)
            ]
        )
        wanted = torch.sigmoid(model.logits(hidden, read if features else None))
    assert steps == pytest.approx([float(wanted[i]) for i in (1, 4, 6)], abs=1e-5)
    assert verifier.score([whole]) == pytest.approx([float(wanted[6])], abs=1e-5)
    assert verifier.ledger.verified == 10


def test_features_need_logprobs() -> None:
    with pytest.raises(DataError, match="reads log-probabilities; none are given"):
        HeadedVerifier(headed(features=True), TOKENIZER, "outcome").score([trace((30, 31))])


def test_upto_cuts_steps_and_logprobs() -> None:
    whole = trace((30, 31, 32, 33), (0, 2), logprobs=(-1.0, -2.0, -3.0, -4.0), finished=True)
    cut = upto(whole, 2)
    assert (cut.token_ids, cut.starts, cut.logprobs, cut.finished) == ((30, 31), (0,), (-1.0, -2.0), False)
    assert upto(whole, 4) is whole


def test_damaged_weights_are_named() -> None:
    model = headed()
    with torch.no_grad():
        model.score_head[0].weight.fill_(float("nan"))
    with pytest.raises(ConfigError, match="its weights are damaged"):
        HeadedVerifier(model, TOKENIZER, "outcome", name="broken").score([trace((30,))])


def test_scoring_leaves_a_model_in_training_as_it_is() -> None:
    model = headed()
    (score,) = HeadedVerifier(model, TOKENIZER, "outcome").score([trace((30, 31))])
    assert isinstance(score, float)
    assert all(p.requires_grad for p in model.parameters())


def test_no_traces_no_scores() -> None:
    assert HeadedVerifier(headed(), TOKENIZER, "outcome").score([]) == []


def test_a_batch_of_many_lengths_equals_one_by_one() -> None:
    verifier, alone = (HeadedVerifier(headed(), TOKENIZER, "outcome") for _ in range(2))
    traces = [trace(tuple(range(30, 30 + n))) for n in (1, 17, 3, 40, 2)]
    together = verifier.score(traces)
    assert together == pytest.approx(list(itertools.chain(*(alone.score([t]) for t in traces))), abs=1e-6)
