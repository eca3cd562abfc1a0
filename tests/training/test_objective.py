"""Hand-worked values, naive loops, and the properties that packing, padding and micro-batching change nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ponder.errors import DataError
from ponder.models.config import ModelConfig
from ponder.models.transformer import Transformer
from ponder.training import kl
from ponder.training.advantages import advantages, uniform
from ponder.training.batch import build, micro_batches, pack
from ponder.training.examples import CE, POLICY, Example, example, weigh
from ponder.training.logprobs import from_logits, learned_logprobs
from ponder.training.objective import PRESETS, Objective, loss
from ponder.training.shared import cheaper, layouts

V = 23


def tiny(seed: int = 0, **changes: Any) -> Transformer:
    sizes: dict[str, Any] = {"width": 16, "layers": 2, "heads": 4, "kv_heads": 2, "hidden": 24, "context": 128}
    model = Transformer(ModelConfig(vocab_size=V, **{**sizes, **changes}), seed)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(4 if p.ndim == 2 else 1)
    return model


def draw(rng: np.random.Generator, n: int, component: int = POLICY) -> Example:
    trainable = rng.random(n) < 0.7
    trainable[0] = False
    trainable[-1] = True
    streams = [-rng.random(n).astype(np.float32) * 3 for _ in range(3)]
    return Example(
        rng.integers(0, V, n).astype(np.int32),
        trainable,
        component,
        1.0,
        float(rng.normal()),
        streams[0],
        streams[1],
        streams[2],
    )


# -- DeepSeek-R1, equations 1 to 3, by hand ------------------------------------------------------------------------------


def test_r1_equations_by_hand() -> None:
    """One question, four answers of one token each, so that the token's ratio is the answer's ratio.

    Rewards 1, 0, 0, 1: mean 1/2, unbiased deviation sqrt(1/3). Old probabilities, which are also the reference's, 0.5, 0.2,
    0.4, 0.1; new 0.6, 0.1, 0.44, 0.05. eps = 0.1, beta = 0.04.
    """
    a = 0.5 / (math.sqrt(1 / 3) + 1e-4)
    assert advantages([1, 0, 0, 1]) == pytest.approx([a, -a, -a, a])
    # rho = 1.2, 0.5, 1.1, 0.5; minimum of rho A and clip(rho) A: 1.1 a, -0.9 a, -1.1 a, 0.5 a (pessimistic on both sides)
    surrogate = (1.1 - 0.9 - 1.1 + 0.5) * a / 4
    # ratio ref/policy = 5/6, 2, 10/11, 2; k3 = r - log r - 1
    divergence = sum(r - math.log(r) - 1 for r in (5 / 6, 2, 10 / 11, 2)) / 4
    wanted = -(surrogate - 0.04 * divergence)
    examples = []
    old_new = [(0.5, 0.6), (0.2, 0.1), (0.4, 0.44), (0.1, 0.05)]
    for (old, _), advantage in zip(old_new, (a, -a, -a, a), strict=True):
        logs = np.array([0, math.log(old)], dtype=np.float32)
        examples.append(
            Example(np.array([1, 2], np.int32), np.array([False, True]), POLICY, 1.0, advantage, logs, logs)
        )
    for ratio in ("token", "sequence", "product"):
        objective = Objective(ratio=ratio, aggregation="sequence-mean", clip_low=0.1, clip_high=0.1, kl_coef=0.04)
        batch = build([[e] for e in weigh(examples, objective.aggregation)])
        new = torch.tensor([new for _, new in old_new]).log().requires_grad_()
        value, sums = loss(objective, batch, new)
        assert value.item() == pytest.approx(wanted, abs=1e-6)
        assert sums["clipped"].item() == 2  # rho 1.2 with A > 0, rho 0.5 with A < 0; the others keep their gradient
        value.backward()
        k3_slope = [0.01 * (1 - r) for r in (5 / 6, 2, 10 / 11, 2)]
        assert new.grad is not None
        assert new.grad.tolist() == pytest.approx(
            [k3_slope[0], k3_slope[1], 1.1 * a / 4 + k3_slope[2], -0.5 * a / 4 + k3_slope[3]], abs=1e-6
        )


def test_advantages_by_hand() -> None:
    assert advantages([3.0, 1.0, None, 2.0], "mean") == [1.0, -1.0, None, 0.0]
    assert advantages([3.0, 1.0, 2.0], "rloo") == pytest.approx([1.5, -1.5, 0.0])
    assert advantages([3.0, 1.0, 2.0], "group", eps=0.0) == pytest.approx([1.0, -1.0, 0.0])
    assert (
        advantages([5.0]) == [0.0]
        and advantages([None, 5.0]) == [None, 0.0]
        and advantages([None, None]) == [None, None]
    )
    assert uniform([1.0, None, 1.0]) and uniform([None, 1.0]) and not uniform([1.0, 0.0])


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=8), st.floats(-3, 3))
def test_advantages_centre_and_ignore_shifts(rewards: list[float], shift: float) -> None:
    for kind in ("group", "mean", "rloo"):
        found = [a for a in advantages(rewards, kind) if a is not None]
        moved = [a for a in advantages([r + shift for r in rewards], kind) if a is not None]
        assert sum(found) == pytest.approx(0, abs=1e-6)
        assert found == pytest.approx(moved, abs=1e-6)


# -- naive loop ----------------------------------------------------------------------------------------------------------


def naive(objective: Objective, examples: list[Example], logprobs: list[list[float]], fixed: int) -> float:
    """The loss with Python loops, straight from the formulas."""
    tokens = {c: sum(e.learned for e in examples if e.component == c) for c in (CE, POLICY)}
    sequences = sum(e.component == POLICY for e in examples)
    total = 0.0
    for e, new in zip(examples, logprobs, strict=True):
        where = [t for t in range(len(e)) if e.trainable[t]]
        if e.component == CE:
            total += sum(-new[t] for t in where) / tokens[CE]
            continue
        assert e.old_logprobs is not None and e.ref_logprobs is not None and isinstance(e.advantage, float)
        logs = [new[t] - float(e.old_logprobs[t]) for t in where]
        whole = sum(logs) / len(logs) if objective.ratio == "sequence" else sum(logs)
        divide = {
            "token-mean": tokens[POLICY],
            "sequence-mean": sequences * len(where),
            "fixed-length": sequences * fixed,
        }
        for t, own in zip(where, logs, strict=True):
            ratio = math.exp(own if objective.ratio == "token" else whole)
            if objective.surrogate == "cispo":
                value = -min(ratio, 1 + objective.clip_high) * e.advantage * new[t]
            else:
                kept = min(max(ratio, 1 - objective.clip_low), 1 + objective.clip_high)
                value = -min(ratio * e.advantage, kept * e.advantage)
            d = float(e.ref_logprobs[t]) - new[t]
            value += objective.kl_coef * {"k1": -d, "k2": d * d / 2, "k3": math.exp(d) - d - 1}[objective.kl_estimator]
            total += value / divide[objective.aggregation]
    return total


VARIANTS = {name: Objective(**{**values, "kl_coef": 0.05}) for name, values in PRESETS.items()}  # type: ignore[arg-type]
VARIANTS |= {k: Objective(kl_coef=0.1, kl_estimator=k) for k in ("k1", "k2")}


@pytest.mark.parametrize("name", VARIANTS)
def test_loss_equals_naive_loop(name: str) -> None:
    objective = VARIANTS[name]
    rng = np.random.default_rng(1)
    examples = [draw(rng, int(n)) for n in rng.integers(3, 14, 6)] + [draw(rng, 5, CE), draw(rng, 8, CE)]
    new = [(-rng.random(len(e)) * 3).astype(np.float32) for e in examples]
    batch = build([[e] for e in weigh(examples, objective.aggregation, fixed_length=16)])
    picked = np.concatenate([n[e.trainable] for e, n in zip(examples, new, strict=True)])
    value, _ = loss(objective, batch, torch.from_numpy(picked))
    assert value.item() == pytest.approx(naive(objective, examples, [n.tolist() for n in new], 16), rel=1e-5)


# -- nothing depends on the layout ----------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 9),
    st.sampled_from(sorted(PRESETS)),
    st.integers(20, 300),
    st.sampled_from([None, 16, 40]),
)
def test_layout_changes_neither_loss_nor_gradient(
    seed: int, count: int, preset: str, micro: int, row: int | None
) -> None:
    objective = Objective(**{**PRESETS[preset], "kl_coef": 0.01, "clip_low": 0.3})  # type: ignore[arg-type]
    rng = np.random.default_rng(seed)
    examples = weigh(
        [draw(rng, int(n), int(rng.integers(2))) for n in rng.integers(2, 20, count)],
        objective.aggregation,
        32,
        (0.3, 1.0),
    )
    model = tiny()
    one = whole_loss(model, objective, [build([[e]]) for e in examples])
    many = whole_loss(
        model, objective, list(micro_batches(examples, micro, row, fixed=row is not None and seed % 2 == 0))
    )
    assert one[0] == pytest.approx(many[0], rel=1e-4, abs=1e-6)
    for a, b in zip(one[1], many[1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-6)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(30, 300), st.sampled_from([1, 2, 4]), st.booleans())
def test_shared_prompts_change_neither_loss_nor_gradient(
    seed: int, groups: int, micro: int, kv: int, even: bool
) -> None:
    rng = np.random.default_rng(seed)
    made: list[Example] = []
    for _ in range(groups):
        prompt = rng.integers(0, V, 7 if even else int(rng.integers(2, 12)))
        for _ in range(int(rng.integers(1, 5))):
            e = draw(rng, len(prompt) + int(rng.integers(1, 9)))
            ids, trainable = e.token_ids.copy(), e.trainable.copy()
            ids[: len(prompt)], trainable[: len(prompt)], trainable[len(prompt)] = prompt, False, True
            made.append(replace(e, token_ids=ids, trainable=trainable))
    examples = weigh(made, "sequence-mean")
    objective = Objective(ratio="sequence", kl_coef=0.02)
    model = tiny(kv_heads=kv)
    batches = list(layouts(examples, micro))
    assert sum(len(b.tokens_BT) for b in batches) == len(examples)
    one, many = whole_loss(model, objective, [build([[e]]) for e in examples]), whole_loss(model, objective, batches)
    assert one[0] == pytest.approx(many[0], rel=1e-4, abs=1e-6)
    for a, b in zip(one[1], many[1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-6)


def test_shared_prompts_in_bf16_follow_the_plain_path() -> None:
    """bf16 takes the explicit attention: same function, other code."""
    rng = np.random.default_rng(0)
    made = []
    for length in (5, 5, 9):
        prompt = rng.integers(0, V, length).astype(np.int32)
        for own in (4, 7, 2):
            ids = np.concatenate([prompt, rng.integers(0, V, own).astype(np.int32)])
            made.append(Example(ids, np.arange(len(ids)) >= length, POLICY, advantage=float(rng.normal())))
    examples = weigh(made)
    for kv in (2, 4):
        model = tiny(kv_heads=kv)
        results = []
        for batches in ([build([[e]]) for e in examples], list(layouts(examples, 200))):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                total = sum(loss(Objective(), b, learned_logprobs(model, b)[0], on_policy=True)[0] for b in batches)
            model.zero_grad()
            total.backward()  # type: ignore[union-attr]
            results.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        for a, b in zip(*results, strict=True):
            assert (a - b).norm() < 0.05 * a.norm()


def test_shared_prompts_agree_with_the_plain_path_to_the_bit() -> None:
    """In bf16, prompts of one length: keys stand at the same places and are padded alike, so nothing is summed otherwise."""
    rng = np.random.default_rng(1)
    prompts = [rng.integers(0, V, 9) for _ in range(2)]
    made = [example(p.tolist(), rng.integers(0, V, 14).tolist()) for p in prompts for _ in range(3)]
    model = tiny(width=32)
    found = []
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        for batch in (build([[e] for e in made]), next(layouts(made, 10_000))):
            found.append(learned_logprobs(model, batch)[0])
    assert found[0].equal(found[1])


def test_sharing_is_chosen_when_it_saves() -> None:
    same = [example([1] * 20, [2] * n) for n in (5, 5, 6)]
    assert cheaper(same, 1000) and not cheaper([example([n] * 2, [2] * n) for n in (3, 20, 9)], 1000)


def whole_loss(model: Transformer, objective: Objective, batches: list[Any]) -> tuple[float, list[torch.Tensor]]:
    model.zero_grad()
    total = 0.0
    for batch in batches:
        if not batch.trainable_BT.any():
            continue
        value, _ = loss(objective, batch, learned_logprobs(model, batch, temperature=0.7)[0])
        value.backward()
        total += value.item()
    return total, [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=60), st.integers(20, 80))
def test_packing_keeps_every_document_and_the_budget(lengths: list[int], budget: int) -> None:
    examples = [Example(np.full(n, i, np.int32), np.zeros(n, bool)) for i, n in enumerate(lengths)]
    rows = pack(examples, budget)
    assert sorted(int(e.token_ids[0]) for row in rows for e in row) == list(range(len(lengths)))
    assert all(sum(map(len, row)) <= budget or len(row) == 1 for row in rows)
    # first-fit-decreasing: no two rows that would fit together, a few spare tokens aside
    sizes = [sum(map(len, row)) for row in rows]
    assert sum(size * 2 < budget - 8 for size in sizes) <= 1


def test_streams_describe_the_token_itself() -> None:
    """Law 1, seen from the model: logits at t - 1 give the log-probability filed under t."""
    model = tiny()
    e = example([3, 4, 5], [6, 7])
    batch = build([[example([1], [2, 2]), e]])
    got, _ = learned_logprobs(model, batch)
    logits_TV = model(torch.tensor([[3, 4, 5, 6, 7]]))[0].log_softmax(-1)
    torch.testing.assert_close(got[2:], torch.stack([logits_TV[2, 6], logits_TV[3, 7]]))
    assert batch.learned(batch.positions_BT).tolist() == [1, 2, 3, 4]
    assert batch.sequence_N.tolist() == [0, 0, 1, 1]


def test_first_token_can_not_be_learned() -> None:
    with pytest.raises(AssertionError, match="nothing before it"):
        Example(np.array([1, 2], np.int32), np.array([True, True]))


def test_chunked_head_equals_plain_head() -> None:
    batch = build([[draw(np.random.default_rng(0), 40)], [draw(np.random.default_rng(1), 33)]])
    results = []
    for chunk in (1 << 24, 5 * V):
        model = tiny()
        logprobs_N, entropy_N = learned_logprobs(model, batch, 0.8, entropy=True, chunk_values=chunk)
        (logprobs_N * torch.arange(len(logprobs_N))).sum().backward()
        assert model.embed.weight.grad is not None
        results.append((logprobs_N.detach(), entropy_N, model.embed.weight.grad))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def test_temperature_and_entropy_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(4.0)]])
    logprob, entropy = from_logits(logits, torch.tensor([1]), 2.0, entropy=True)  # halved logits: odds 1 : 2
    assert logprob.item() == pytest.approx(math.log(2 / 3))
    assert entropy.item() == pytest.approx(-(2 / 3) * math.log(2 / 3) - (1 / 3) * math.log(1 / 3))
    assert not entropy.requires_grad
    assert from_logits(logits, torch.tensor([1]), 2.0, entropy=False)[0].item() == pytest.approx(math.log(2 / 3))


def test_kl_estimators_and_their_gradients() -> None:
    """Exact expectations over a three-token policy: values and gradients are what `kl` says they are."""
    logits = torch.tensor([0.3, -0.5, 1.0], requires_grad=True)
    reference = torch.tensor([0.1, 0.4, -0.2]).log_softmax(0)
    policy = logits.log_softmax(0)
    reverse = (policy.exp() * (policy - reference)).sum()
    forward = (reference.exp() * (reference - policy)).sum()
    grad = {
        n: torch.autograd.grad(x, logits, retain_graph=True)[0] for n, x in (("reverse", reverse), ("forward", forward))
    }
    p = policy.detach().exp()
    values = {k: (p * kl.estimate(policy, reference, k)).sum() for k in ("k1", "k2", "k3")}
    assert values["k1"].item() == pytest.approx(reverse.item(), abs=1e-6)
    assert values["k3"].item() == pytest.approx(reverse.item(), abs=1e-6)
    slopes = {k: torch.autograd.grad(v, logits, retain_graph=True)[0] for k, v in values.items()}
    torch.testing.assert_close(slopes["k1"], torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(slopes["k2"], grad["reverse"])
    torch.testing.assert_close(slopes["k3"], grad["forward"])


def test_on_policy_gradient_is_the_plain_policy_gradient() -> None:
    rng = np.random.default_rng(3)
    batch = build([[e] for e in weigh([draw(rng, 9), draw(rng, 6)])])
    n = int(batch.trainable_BT.sum())
    new = torch.randn(n, requires_grad=True)
    value, sums = loss(Objective(), batch, new, on_policy=True)
    value.backward()
    torch.testing.assert_close(new.grad, -(batch.learned(batch.advantage_BT) * batch.learned(batch.weight_BT)))
    assert sums["ratio"].item() == n and sums["clipped"].item() == 0


def test_truncated_importance_weight() -> None:
    rng = np.random.default_rng(4)
    e = draw(rng, 8)
    assert e.old_logprobs is not None
    shifted = replace(e, sampler_logprobs=e.old_logprobs - math.log(3.0))  # trainer three times as sure as the sampler
    plain = build([[*weigh([e])]])
    new = torch.randn(int(plain.trainable_BT.sum()))
    base, _ = loss(Objective(), plain, new)
    for cap, factor in ((2.0, 2.0), (5.0, 3.0)):
        value, _ = loss(Objective(sampler_clip=cap), build([weigh([shifted])]), new)
        assert value.item() == pytest.approx(base.item() * factor, rel=1e-4)


def test_fixed_length_needs_a_length() -> None:
    with pytest.raises(DataError, match="fixed-length"):
        weigh([example([1], [2])], "fixed-length")
