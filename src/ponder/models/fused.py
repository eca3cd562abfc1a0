"""Norm, rotation, gate and output with hand-written gradients: the plain formulas in fewer passes over memory.

On a CPU half of a small model's training step is elementwise work. Autograd's composites save and copy more than needed;
each function here keeps its input alone and writes its result once, already rounded and laid out for what follows.
All arithmetic is fp32 but the gate, which rounds as autocast would, and the output's gradients under autocast.

Shapes: B rows, T tokens, V vocabulary, D width, N heads, K key-value heads, H head width.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


class _Norm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
        x32 = x.float()
        # in fp64, so that no order of summation shows in fp32: the native kernel gets the same scale to the last bit
        length = torch.linalg.vector_norm(x32, dim=-1, keepdim=True, dtype=torch.float64)
        scale = length.square_().div_(x.shape[-1]).add_(eps).rsqrt_().float()
        ctx.save_for_backward(x, weight, scale)
        return (x32 * scale).mul_(weight).to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight, scale = ctx.saved_tensors
        unit = x.float() * scale
        grad_weight = (unit * grad).flatten(0, -2).sum(0).to(weight.dtype)
        grad_unit = grad * weight.float()
        mean = (grad_unit * unit).mean(-1, keepdim=True)
        grad_x = grad_unit.sub_(unit.mul_(mean)).mul_(scale)
        return grad_x.to(x.dtype), grad_weight, None, None


def rms_norm(x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """x / sqrt(mean(x²) + eps) · weight over the last dimension, in fp32, given in `dtype`."""
    return _Norm.apply(x, weight, eps, dtype)  # type: ignore[no-any-return]


def _turn(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    """Rotate the planes (i, i + H/2) of `x` into `out`, rounding once."""
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    torch.sub(first * cos, second * sin, out=out[..., :half])
    torch.add(second * cos, first * sin, out=out[..., half:])


class _Heads(Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, cos: Tensor, sin: Tensor, N: int, K: int) -> tuple[Tensor, Tensor, Tensor]:
        B, T, H = qkv.shape[0], qkv.shape[1], 2 * cos.shape[-1]
        x = qkv.view(B, T, N + 2 * K, H).transpose(1, 2)
        cos, sin = cos.transpose(1, 2), sin.transpose(1, 2)
        q, k, v = (qkv.new_empty(B, n, T, H) for n in (N, K, K))
        scale = H**-0.5
        _turn(x[:, :N], cos * scale, sin * scale, q)
        _turn(x[:, N : N + K], cos, sin, k)
        v.copy_(x[:, N + K :])
        ctx.save_for_backward(cos, sin)
        ctx.shape = (B, T, N, K, H)
        return q, k, v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_q: Tensor, grad_k: Tensor, grad_v: Tensor) -> tuple[Tensor, None, None, None, None]:
        cos, sin = ctx.saved_tensors
        B, T, N, K, H = ctx.shape
        grad = grad_q.new_empty(B, T, (N + 2 * K) * H)
        x, scale = grad.view(B, T, N + 2 * K, H).transpose(1, 2), H**-0.5
        _turn(grad_q, cos * scale, sin * -scale, x[:, :N])
        _turn(grad_k, cos, -sin, x[:, N : N + K])
        x[:, N + K :].copy_(grad_v)
        return grad, None, None, None, None


def split_heads(qkv_BTX: Tensor, cos: Tensor, sin: Tensor, N: int, K: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (B, N, T, H) rotated and divided by sqrt(H), rotated keys (B, K, T, H) and values, of one fused projection.

    `cos` and `sin` are (B or 1, T, 1, H/2) in fp32.
    """
    return _Heads.apply(qkv_BTX, cos, sin, N, K)  # type: ignore[no-any-return]


class _Gate(Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        gate, up = gate_up.chunk(2, dim=-1)
        return F.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=-1)
        grad_gate_up = torch.empty_like(gate_up)
        grad_gate, grad_up = grad_gate_up.chunk(2, dim=-1)
        torch.mul(F.silu(gate), grad, out=grad_up)
        torch.ops.aten.silu_backward.grad_input(grad * up, gate, grad_input=grad_gate)
        return grad_gate_up


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) · up of the two halves of the last dimension."""
    return _Gate.apply(gate_up)  # type: ignore[no-any-return]


class _Output(Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, low: torch.dtype) -> Tensor:
        ctx.save_for_backward(hidden, weight)
        ctx.low = low
        return F.linear(hidden, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden, weight = (x.to(ctx.low) for x in ctx.saved_tensors)
        grad = grad.to(ctx.low)
        grad_weight = grad.flatten(0, -2).t() @ hidden.flatten(0, -2)
        return (grad @ weight).float(), grad_weight.float(), None


def output(hidden: Tensor, weight: Tensor, low: torch.dtype) -> Tensor:
    """fp32 logits hidden · weightᵀ of fp32 arguments, whose gradients are multiplied in precision `low`."""
    return _Output.apply(hidden, weight, low)  # type: ignore[no-any-return]
