"""Optimisers and learning rates: AdamW, or Muon for hidden matrices with AdamW for the rest.

Muon (Jordan 2024; `torch.optim.Muon`) orthogonalises a matrix's momentum. `qkv` and `gate_up` hold several matrices in one:
orthogonalising the stack would tie their scales together, so with `split_fused` each part gets a parameter of its own that
is a view of the fused weight and of its gradient. The update of part A x B has spectral scale lr x sqrt(max(1, A / B)).
Not covered: sharded Muon, EMA of weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ponder.training.settings import Optimizer as Settings


class Optimizers:
    """One or two torch optimisers stepped together; `state` and `load` speak in named tensors."""

    def __init__(self, model: Any, settings: Settings) -> None:
        self.settings = settings
        self.views: list[tuple[str, nn.Parameter, nn.Parameter, slice]] = []  # name, view, whole, rows
        adam: dict[str, nn.Parameter] = {}
        muon: dict[str, nn.Parameter] = {}
        for name, parameter in model.named_parameters():
            if settings.kind == "adamw" or not is_hidden_matrix(name, parameter):
                adam[name] = parameter
            elif settings.split_fused and (sizes := fused_parts(name, model.config)):
                muon |= self._split(name, parameter, sizes)
            else:
                muon[name] = parameter
        decayed = [p for p in adam.values() if p.ndim >= 2]
        plain = [p for p in adam.values() if p.ndim < 2]
        groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        fused = all(p.device.type in ("cpu", "cuda") for p in adam.values())
        self.adam = torch.optim.AdamW(
            [g for g in groups if g["params"]], lr=settings.lr, betas=(settings.beta1, settings.beta2), fused=fused
        )
        self.muon: torch.optim.Optimizer | None = None
        if muon:
            self.muon = torch.optim.Muon(
                list(muon.values()), lr=settings.muon_lr, weight_decay=settings.weight_decay, momentum=settings.momentum
            )
        self.named = {**adam, **muon}

    def _split(self, name: str, parameter: nn.Parameter, sizes: list[int]) -> dict[str, nn.Parameter]:
        parts: dict[str, nn.Parameter] = {}
        start = 0
        for i, size in enumerate(sizes):
            rows = slice(start, start + size)
            view = nn.Parameter(parameter.data[rows])
            parts[f"{name}.{i}"] = view
            self.views.append((f"{name}.{i}", view, parameter, rows))
            start += size
        assert start == parameter.shape[0]
        return parts

    def step(self, scale: float) -> None:
        """One update at `scale` times the peak rates, then gradients are dropped."""
        for group in self.adam.param_groups:
            group["lr"] = self.settings.lr * scale
        self.adam.step()
        if self.muon is not None:
            for group in self.muon.param_groups:
                group["lr"] = self.settings.muon_lr * scale
            for _, view, whole, rows in self.views:
                view.grad = None if whole.grad is None else whole.grad[rows]
            self.muon.step()
        self.clear()

    def clear(self) -> None:
        """Drop all gradients."""
        for _, view, whole, _ in self.views:
            view.grad = whole.grad = None
        self.adam.zero_grad(set_to_none=True)
        if self.muon is not None:
            self.muon.zero_grad(set_to_none=True)

    def _states(self) -> Iterator[tuple[str, nn.Parameter, torch.optim.Optimizer]]:
        inner = {id(p) for g in self.adam.param_groups for p in g["params"]}
        for name, parameter in self.named.items():
            owner = self.adam if id(parameter) in inner else self.muon
            assert owner is not None
            yield name, parameter, owner

    def state(self) -> dict[str, Tensor]:
        """Every tensor of the optimisers' state as `parameter/key`."""
        found: dict[str, Tensor] = {}
        for name, parameter, owner in self._states():
            for key, value in owner.state.get(parameter, {}).items():
                found[f"{name}/{key}"] = value.detach().contiguous()
        return found

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        for name, parameter, owner in self._states():
            for full in [k for k in tensors if k.rpartition("/")[0] == name]:
                key, value = full.rpartition("/")[2], tensors[full]
                owner.state[parameter][key] = value.clone() if key == "step" else value.to(parameter.device).clone()


def is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    """True for the matrices inside blocks: not embeddings, output matrix, norms or biases."""
    return parameter.ndim == 2 and not any(part in name for part in ("embed", "head"))


def fused_parts(name: str, config: Any) -> list[int] | None:
    """Row counts of the matrices stacked in a fused projection."""
    if name.endswith("qkv.weight"):
        return [config.heads * config.head, config.kv_heads * config.head, config.kv_heads * config.head]
    return [config.hidden, config.hidden] if name.endswith("gate_up.weight") else None


def rate(settings: Settings, step: int, progress: float) -> float:
    """Share of the peak learning rate at 0-based `step`, `progress` in [0, 1] through the run."""
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    if settings.schedule == "constant" or progress <= settings.hold:
        return 1.0
    x = min(1.0, (progress - settings.hold) / max(1e-9, 1.0 - settings.hold))
    shape = 0.5 * (1 + math.cos(math.pi * x)) if settings.schedule == "cosine" else 1.0 - x
    return settings.final + (1 - settings.final) * shape
