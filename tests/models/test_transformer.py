"""The transformer against itself: packing, caching, precision, seeds."""

from __future__ import annotations

import pytest
import torch

from ponder.errors import ConfigError
from ponder.models import KV, ModelConfig, Transformer
from ponder.models.attention import use_explicit
from ponder.models.cast import for_sampling, update
from ponder.models.transformer import restart

CONFIG = ModelConfig(
    vocab_size=50, width=32, layers=2, heads=4, kv_heads=2, hidden=48, context=256, family="qwen3", qk_norm=True
)


def make(config: ModelConfig = CONFIG) -> Transformer:
    model = Transformer(config, seed=3)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.15)
    return model


def ids(batch: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 50, (batch, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_packed_equals_separate(dtype: torch.dtype) -> None:
    model = make()
    parts = [ids(1, n, seed=n) for n in (7, 20, 1, 12)]
    packed = torch.cat(parts, dim=1)
    segments = torch.cat([torch.full((1, p.shape[1]), i) for i, p in enumerate(parts)], dim=1)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        together = model(packed, segments_BT=segments)
        alone = torch.cat([model(p) for p in parts], dim=1)
    torch.testing.assert_close(together, alone, atol=tolerance, rtol=tolerance)
    assert (model(packed) - alone).abs().max() > 0.1  # without segments the documents do see each other


def test_positions_restart_with_segments() -> None:
    segments = torch.tensor([[0, 0, 0, 1, 1, 2], [5, 5, 9, 9, 9, 9]])
    assert restart(segments, segments).tolist() == [[0, 1, 2, 0, 1, 0], [0, 1, 0, 1, 2, 3]]


@torch.no_grad()
def test_explicit_attention_equals_sdpa(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = make(), ids(2, 40)
    segments = (torch.arange(40) >= 17).long()[None].expand(2, -1)
    plain = model(x), model(x, segments_BT=segments)
    monkeypatch.setattr("ponder.models.attention.use_explicit", lambda *_: True)
    explicit = model(x), model(x, segments_BT=segments)
    for a, b in zip(plain, explicit, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_path_by_length_and_precision() -> None:
    cpu = torch.device("cpu")
    assert use_explicit(96, torch.bfloat16, cpu)
    assert not use_explicit(4096, torch.bfloat16, cpu)
    assert not use_explicit(96, torch.float32, cpu)


@torch.no_grad()
def test_extend_in_pieces_equals_one_pass() -> None:
    model, x = make(), ids(3, 60)
    kv = KV(CONFIG, rows=5, capacity=60)
    rows, at, hidden = torch.tensor([4, 0, 2]), 0, []
    for piece in (30, 1, 1, 20, 8):
        starts, lengths = torch.full((3,), at), torch.full((3,), piece)
        hidden.append(model.extend(x[:, at : at + piece], kv, rows, starts, lengths))
        at += piece
    torch.testing.assert_close(model.head(torch.cat(hidden, dim=1)), model(x), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_extend_ragged_rows_and_padding() -> None:
    model = make()
    kv = KV(CONFIG, rows=2, capacity=40)
    x, lengths = ids(2, 20), torch.tensor([20, 5])
    rows, zero = torch.tensor([0, 1]), torch.zeros(2, dtype=torch.int64)
    model.extend(x, kv, rows, zero, lengths)
    more = model.extend(x[:, :3], kv, rows, lengths, torch.tensor([3, 3]))
    for b, n in enumerate(lengths.tolist()):
        whole = model.hidden(torch.cat((x[b : b + 1, :n], x[b : b + 1, :3]), dim=1))
        torch.testing.assert_close(more[b], whole[0, n:], atol=1e-5, rtol=1e-5)


def test_slots_grow_and_keep_their_contents() -> None:
    kv = KV(CONFIG, rows=2, capacity=10)
    assert kv.k.shape == (2, 2, 2, 64, 8)
    kv.k[:, 1, :, :10] = 7.0
    assert kv.reserve(70, rows=3)
    assert kv.rows == 3
    assert kv.capacity == 128
    assert (kv.k[:, 1, :, :10] == 7).all()
    assert not kv.reserve(100)
    kv.reserve(256)
    assert kv.capacity == 256  # never beyond the context


def test_seed_decides_the_weights_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    a, b, c = Transformer(CONFIG, seed=1), Transformer(CONFIG, seed=1), Transformer(CONFIG, seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a.embed.weight, b.embed.weight)
    assert not torch.equal(a.embed.weight, c.embed.weight)
    assert abs(a.blocks[0].qkv.weight.std().item() - 0.02) < 0.002
    assert abs(a.blocks[0].down.weight.std().item() - 0.01) < 0.002  # 0.02 / sqrt(2 · 2 layers)


@torch.no_grad()
def test_sampling_copy_rounds_like_the_trainer() -> None:
    model, x = make(), ids(4, 50)
    copy = for_sampling(model, torch.device("cpu"), torch.bfloat16)
    assert copy.blocks[0].qkv.weight.dtype == torch.bfloat16
    assert copy.norm.weight.dtype == copy.embed.weight.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        trained = model(x).log_softmax(-1)
    sampled = copy(x).log_softmax(-1)
    exact = model(x).log_softmax(-1)
    assert (trained - sampled).abs().max() < 0.1 * (trained - exact).abs().max()
    model.norm.weight.add_(1.0)
    update(copy, model)
    assert torch.equal(copy.norm.weight, model.norm.weight)
    assert for_sampling(model, torch.device("cpu"), torch.float32) is model


def test_impossible_sizes_are_one_clear_line() -> None:
    good = {"vocab_size": 10, "width": 32, "layers": 1, "heads": 4, "kv_heads": 2, "hidden": 8}
    bad = ({"layers": 0}, {"kv_heads": 3}, {"width": 30}, {"head_width": 5}, {"family": "gpt2"}, {"qk_norm": True})
    for change in bad:
        with pytest.raises(ConfigError, match="model"):
            ModelConfig(**{**good, **change})


def test_flops_by_hand() -> None:
    config = ModelConfig(vocab_size=10, width=4, layers=2, heads=2, kv_heads=1, hidden=6)
    # per layer: qkv 4·(2+2)·2, out 4·4, gate, up, down 3·4·6; output 4·10
    matrices = 2 * (32 + 16 + 72)
    assert config.matrix_parameters == matrices + 40
    assert config.flops(tokens=3, attended=6) == 2 * (matrices + 40) * 3 + 4 * 2 * 2 * 2 * 6
    assert config.flops(tokens=3, attended=6, sampled=0) == 2 * matrices * 3 + 4 * 2 * 2 * 2 * 6
