"""Checkpoints: a folder per step, written beside its place and renamed, so that one either exists whole or not at all.

`weights.safetensors` (fp32 masters), `optimizer.safetensors` (optimiser and torch generator), further named tensor files,
and `state.json` (step, data cursor, seconds, Python and numpy generators). Nothing is pickled, so a foreign checkpoint
can not run code. Not covered: sharded checkpoints, moving a run to another machine to the bit.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ponder.errors import CheckpointError
from ponder.files import remove, staged

FORMAT = 1


@dataclass(frozen=True, slots=True)
class State:
    """What a checkpoint holds: tensors by file name, and plain values."""

    step: int
    values: Mapping[str, Any]
    tensors: Mapping[str, dict[str, Tensor]] = field(default_factory=dict)


def generators() -> tuple[dict[str, Any], Tensor]:
    """The state of Python's, numpy's and torch's global generators."""
    version, internal, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    numpy_state = [kind, [int(k) for k in keys], int(position), int(has_gauss), float(cached)]
    return {"python": [version, list(internal), gauss], "numpy": numpy_state}, torch.get_rng_state()


def restore_generators(values: Mapping[str, Any], torch_state: Tensor) -> None:
    """Put the global generators back."""
    version, internal, gauss = values["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, position, has_gauss, cached = values["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(torch_state)


def save(folder: Path, state: State, keep: int) -> Path:
    """Write `folder/step-N` and drop all but the newest `keep`."""
    target = folder / f"step-{state.step:07d}"
    rng, torch_rng = generators()
    with staged(target) as temporary:
        temporary.mkdir(parents=True)
        for name, tensors in state.tensors.items():
            extra = {"rng.torch": torch_rng} if name == "optimizer" else {}
            _write({**{k: v.cpu() for k, v in tensors.items()}, **extra}, temporary / f"{name}.safetensors")
        record = {"format": FORMAT, "step": state.step, "files": sorted(state.tensors), "rng": rng, **state.values}
        (temporary / "state.json").write_text(json.dumps(record))
    for old in steps(folder)[:-keep]:
        remove(old)
    return target


def _write(tensors: dict[str, Tensor], path: Path) -> None:
    try:
        save_file(tensors, path)
    except SafetensorError as error:  # it wraps what the file system said; `staged` knows the number
        if number := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(number[1]), str(error)) from None
        raise


def steps(folder: Path) -> list[Path]:
    """The complete checkpoints, oldest first."""
    return sorted(p for p in folder.glob("step-*") if (p / "state.json").exists())


def load(path: Path) -> State:
    """Read a checkpoint and restore the global generators. CheckpointError when it is damaged or foreign."""
    try:
        values = json.loads((path / "state.json").read_text())
        tensors = {name: load_file(path / f"{name}.safetensors") for name in values["files"]}
        if values["format"] != FORMAT:
            raise CheckpointError(f"{path}: checkpoint format {values['format']}, this version reads {FORMAT}")
        restore_generators(values["rng"], tensors["optimizer"].pop("rng.torch"))
        return State(int(values["step"]), values, tensors)
    except (OSError, KeyError, TypeError, IndexError, ValueError, SafetensorError) as error:
        if isinstance(error, CheckpointError):
            raise
        why = f"{type(error).__name__}: {error}"
        raise CheckpointError(
            f"{path}: not a usable checkpoint ({why}); delete it to go on from an earlier one"
        ) from None
