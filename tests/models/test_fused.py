"""Hand-written gradients against autograd's of the plain formulas."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from ponder.models import fused, rope
from ponder.models.config import ModelConfig

CONFIG = ModelConfig(vocab_size=9, width=24, layers=1, heads=6, kv_heads=2, hidden=8)


def compare(mine: Callable[..., object], plain: Callable[..., object], *inputs: torch.Tensor) -> None:
    """Values and gradients of all inputs, at 1e-5 relative to their size."""
    found = []
    for function in (mine, plain):
        leaves = [x.clone().requires_grad_() for x in inputs]
        out = function(*leaves)
        outs = out if isinstance(out, tuple) else (out,)
        generator = torch.Generator().manual_seed(1)
        total = sum((o * torch.randn(o.shape, generator=generator)).sum() for o in outs)
        total.backward()  # type: ignore[union-attr]
        found.append([*(o.detach() for o in outs), *(x.grad for x in leaves)])
    for a, b in zip(*found, strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_norm() -> None:
    def plain(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-3).sqrt() * w

    compare(lambda x, w: fused.rms_norm(x, w, 1e-3), plain, random(3, 5, 24), random(24))


def test_norm_of_rounded_input() -> None:
    x = random(3, 24).bfloat16()
    torch.testing.assert_close(fused.rms_norm(x, torch.ones(24), 1e-6), F.rms_norm(x.float(), (24,), eps=1e-6))


def test_heads() -> None:
    positions = torch.tensor([[0, 1, 2, 3, 0, 1, 2], [5, 6, 7, 8, 9, 10, 11]])
    cos, sin = rope.angles(positions, rope.frequencies(CONFIG))

    def rotate(x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, dim=-1)
        return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)

    def plain(qkv: torch.Tensor) -> tuple[torch.Tensor, ...]:
        q, k, v = qkv.view(2, 7, 10, 4).split((6, 2, 2), dim=2)
        q, k = rotate(q) / 2, rotate(k)  # sqrt(4) = 2
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    compare(lambda qkv: fused.split_heads(qkv, cos, sin, 6, 2), plain, random(2, 7, 40))


def test_gate() -> None:
    def plain(x: torch.Tensor) -> torch.Tensor:
        gate, up = x.chunk(2, dim=-1)
        return F.silu(gate) * up

    compare(fused.swiglu, plain, random(2, 3, 16))


def test_output() -> None:
    compare(lambda x, w: fused.output(x, w, torch.float32), F.linear, random(2, 3, 24), random(9, 24))


def test_output_gradients_in_low_precision_are_close() -> None:
    x, w, grad = random(4, 24), random(9, 24), random(4, 9)
    leaves = x.clone().requires_grad_(), w.clone().requires_grad_()
    logits = fused.output(*leaves, torch.bfloat16)
    assert torch.equal(logits, F.linear(x, w))
    logits.backward(grad)
    assert leaves[0].grad is not None
    assert (leaves[0].grad - grad @ w).abs().max() < 0.03 * (grad @ w).abs().max()
    assert leaves[1].grad is not None
    assert (leaves[1].grad - grad.t() @ x).abs().max() < 0.03 * (grad.t() @ x).abs().max()
