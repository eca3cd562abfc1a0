"""The loop under every algorithm: micro-batches in, one optimiser step out; logging, checkpoints, resuming.

A `Trainer` owns the model, its optimisers, the step counter and the clock. An algorithm calls `update` with the batches of
one step and a function that turns a batch into its share of the loss. Weights are fp32 masters; under bf16 the matrix
products run in autocast. Resuming restores weights, optimiser, generators and the algorithm's own values, after which a run
continues to the bit on the same machine with the same threads (unless `max_minutes` makes the rate follow the clock).
Not covered: several devices, gradient scaling for fp16.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ponder.errors import CheckpointError, ConfigError, WorkError
from ponder.runs import Run
from ponder.training import checkpoint
from ponder.training.batch import Batch
from ponder.training.optim import Optimizers, rate
from ponder.training.settings import Train

LossOf = Callable[[Batch], tuple[Tensor, dict[str, Tensor]]]
TIMES = ("tokens_per_second",)  # metrics that measure time, besides those that begin with "seconds"


def pick_device(name: str) -> torch.device:
    """The device asked for; auto is CUDA when there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device = 'cuda': no CUDA device can be used here; leave device on 'auto' or 'cpu'")
    return torch.device(name)


def pick_autocast(name: str, device: torch.device) -> bool:
    """Whether matrix products run in bf16; auto: on CUDA always, on a CPU where it was measured to pay."""
    if name != "auto":
        return name == "bf16"
    return device.type == "cuda" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


class Trainer:
    """Optimises `model` in place. `values` are the algorithm's own plain values, kept in checkpoints."""

    def __init__(self, model: Any, settings: Train, run: Run) -> None:
        torch.set_num_threads(settings.threads or os.cpu_count() or 1)
        self.device = pick_device(settings.device)
        self.autocast = pick_autocast(settings.dtype, self.device)
        self.model = model.to(self.device)
        self.settings, self.run = settings, run
        self.optimizers = Optimizers(self.model, settings.optimizer)
        self.step = 0
        self.values: dict[str, Any] = {}
        self.extra: dict[str, dict[str, Tensor]] = {}  # further tensors to keep, by file name
        self._interrupted = False
        self._before = 0.0
        self._started = time.monotonic()
        self.sink = open_sink(settings.log, run.path)

    @property
    def seconds(self) -> float:
        """Time spent in this run, earlier sessions included."""
        return self._before + time.monotonic() - self._started

    @property
    def progress(self) -> float:
        """How far through the run, by steps or by the clock, whichever is further."""
        share = self.step / self.settings.steps
        if self.settings.max_minutes is not None:
            share = max(share, self.seconds / (60 * self.settings.max_minutes))
        return min(1.0, share)

    @property
    def finished(self) -> bool:
        return self.progress >= 1.0

    def precision(self) -> Any:
        """The context in which forward passes run."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.autocast else nullcontext()

    def update(self, batches: Iterable[Batch], loss_of: LossOf, advance: bool = True) -> dict[str, float]:
        """One optimiser step on the sum of the batches' losses. Returns loss, grad_norm, rate and the sums of `loss_of`.

        `advance` False leaves the step counter alone, for algorithms that update several times in one of their steps.
        WorkError when loss or gradient is not finite; weights and checkpoints are then as they were before the step.
        """
        total = torch.zeros((), dtype=torch.float64)
        sums: dict[str, Tensor] = {}
        for batch in batches:
            with self.precision():
                loss, parts = loss_of(batch.to(self.device))
            loss.backward()
            total += loss.detach().double().cpu()
            for name, value in parts.items():
                sums[name] = sums[name] + value if name in sums else value
        scale = rate(self.settings.optimizer, self.step, self.progress)
        norm = self._norm(float(total))
        self.optimizers.step(scale)
        self.step += advance
        return {"loss": float(total), "grad_norm": norm, "rate": scale, **{k: float(v) for k, v in sums.items()}}

    def _norm(self, loss: float) -> float:
        """Gradient norm before clipping; clips, and refuses what is not finite."""
        clip = self.settings.optimizer.clip_norm
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, clip if clip is not None else math.inf))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self.optimizers.clear()
            kept = checkpoint.steps(self.run.checkpoints)
            last = (
                f"the last checkpoint, {kept[-1].name}, is untouched" if kept else "no checkpoint had been written yet"
            )
            raise WorkError(
                f"step {self.step + 1}: loss {loss:g}, gradient norm {norm:g}; stopped before changing anything ({last});"
                " lower optimizer.lr or lengthen optimizer.warmup"
            )
        return norm

    def log(self, row: Mapping[str, Any]) -> None:
        """Append a metrics row for the step just done; also to TensorBoard or trackio when asked."""
        row = {"step": self.step, **row, "seconds": self.seconds}
        self.run.log(row)
        self.sink({k: v for k, v in row.items() if isinstance(v, int | float)}, self.step)

    def save(self) -> Path:
        """Write a checkpoint of this moment."""
        weights = {name: p.detach() for name, p in self.model.named_parameters()}
        tensors = {"weights": weights, "optimizer": self.optimizers.state(), **self.extra}
        values = {"seconds": self.seconds, "values": self.values}
        return checkpoint.save(self.run.checkpoints, checkpoint.State(self.step, values, tensors), self.settings.keep)

    def maybe_save(self) -> None:
        """Write a checkpoint when its turn has come, the run has ended, or Ctrl-C was pressed (which then takes effect)."""
        every = self.settings.save_every
        if self.finished or self._interrupted or (every and self.step % every == 0):
            self.save()
        if self._interrupted and not self.finished:
            raise KeyboardInterrupt

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let the first Ctrl-C wait for the end of the step, so that everything is saved; the second one is immediate."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def once(*_: Any) -> None:
            self._interrupted = True
            signal.signal(signal.SIGINT, before)

        before = signal.signal(signal.SIGINT, once)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def resume(self) -> bool:
        """Go back to the newest checkpoint, dropping metrics logged after it; False when there is none."""
        kept = checkpoint.steps(self.run.checkpoints)
        if not kept:
            self.run.truncate_metrics(-1)
            return False
        state = checkpoint.load(kept[-1])
        try:
            self._restore(state)
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(f"{kept[-1]}: does not fit this model ({error})") from None
        self.run.truncate_metrics(self.step)
        return True

    @torch.no_grad()
    def _restore(self, state: checkpoint.State) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.copy_(state.tensors["weights"][name])
        self.optimizers.load(state.tensors["optimizer"])
        self.extra = {k: v for k, v in state.tensors.items() if k not in ("weights", "optimizer")}
        self.step, self.values = state.step, dict(state.values["values"])
        self._before, self._started = float(state.values["seconds"]), time.monotonic()

    def close(self) -> None:
        """Flush what needs flushing."""
        close = getattr(self.sink, "close", None)
        if close is not None:
            close()


Sink = Callable[[dict[str, float], int], None]


def open_sink(name: str, path: Path) -> Sink:
    """Where numbers go besides metrics.jsonl."""
    if name == "none":
        return lambda row, step: None
    from ponder.training.sinks import SINKS

    return SINKS[name](path)
