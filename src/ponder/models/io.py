"""Models on disk: ordinary Hugging Face folders with `config.json` and safetensors, one file or sharded with an index.

Only safetensors are read, so nothing is ever unpickled; every tensor's name and shape is checked before any is used.
A save writes to a temporary file and renames, the configuration last, so an interrupted save leaves the old model or
none. Not covered: reading quantised weights, writing shards.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ponder.errors import CheckpointError, WorkError
from ponder.models import hf
from ponder.models.config import ModelConfig
from ponder.models.transformer import Transformer

if TYPE_CHECKING:
    from ponder.text import Tokenizer

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def model_in(path: str | Path) -> Path:
    """The model's folder: `path` itself, or that of the run in `path`, whose own config.json describes no model."""
    folder = Path(path)
    return folder / "model" if (folder / "model" / "config.json").is_file() else folder


def load_config(path: str | Path) -> ModelConfig:
    """The configuration in folder `path`; CheckpointError when there is none that ponder can use."""
    return hf.read_config(read_config(path), str(Path(path) / "config.json"))


def read_config(path: str | Path) -> Mapping[str, Any]:
    """`config.json` of folder `path` as it is; CheckpointError when it is not there or no JSON object."""
    return _read_json(Path(path) / "config.json", "a model folder needs it")


def load(
    path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype | None = torch.float32
) -> Transformer:
    """The model in folder `path`, its weights in `dtype` (None: as stored). CheckpointError when unusable."""
    folder = Path(path)
    config = load_config(folder)
    shapes = hf.expected_shapes(config)
    theirs = read_tensors(folder, set(shapes), {"lm_head.weight"} if config.tied else set())
    check(shapes, theirs, folder)
    stored = theirs["model.embed_tokens.weight"].dtype
    model = Transformer(config, seed=None).to(dtype=dtype or stored)
    model.load_state_dict(hf.fuse(config, theirs))
    return model.to(device)


def save(
    model: Transformer, path: str | Path, tokenizer: Tokenizer | None = None, dtype: torch.dtype | None = None
) -> None:
    """Write `model` to folder `path`, in `dtype` (None: as it is), with its tokenizer when given."""
    folder = Path(path)
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    kind: torch.dtype = dtype or model.embed.weight.dtype
    tensors = {name: t.to(kind).contiguous() for name, t in hf.split(model.config, state).items()}
    config = hf.write_config(model.config, str(kind).removeprefix("torch."))
    if tokenizer is not None:
        config |= {
            "eos_token_id": tokenizer.stop_ids[0] if tokenizer.stop_ids else None,
            "pad_token_id": tokenizer.pad_id,
        }
    write(folder, tensors, config, tokenizer)


def write(folder: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any], tokenizer: Tokenizer | None) -> None:
    """Write tensors by their Hugging Face names, `config.json` and the tokenizer's files; WorkError when it can not be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if tokenizer is not None:
            tokenizer.save(folder)
        _atomically(folder / WEIGHTS, lambda temporary: save_file(dict(tensors), temporary, {"format": "pt"}))
        text = json.dumps(config, indent=2) + "\n"
        _atomically(folder / "config.json", lambda temporary: temporary.write_text(text))
        (folder / INDEX).unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        raise WorkError(f"{folder}: the model could not be written ({error}); what stood there is unchanged") from None


def _atomically(target: Path, write: Any) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _read_json(file: Path, why: str) -> Mapping[str, Any]:
    try:
        raw = json.loads(file.read_text())
    except FileNotFoundError:
        raise CheckpointError(f"{file}: no such file; {why}") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file}: unreadable ({error})") from None
    if not isinstance(raw, dict):
        raise CheckpointError(f"{file}: expected a JSON object, found {type(raw).__name__}")
    return raw


def read_tensors(folder: Path, wanted: set[str], ignored: set[str]) -> dict[str, Tensor]:
    """Those of the folder's tensors that are `wanted`; one that is neither wanted nor `ignored` is a CheckpointError."""
    if (folder / WEIGHTS).exists():
        files = [folder / WEIGHTS]
    elif (folder / INDEX).exists():
        names = _read_json(folder / INDEX, "").get("weight_map")
        if not isinstance(names, dict) or not all(isinstance(n, str) and Path(n).name == n for n in names.values()):
            raise CheckpointError(f"{folder / INDEX}: 'weight_map' must map tensor names to files in the same folder")
        files = [folder / name for name in sorted(set(names.values()))]
    else:
        raise CheckpointError(f"{folder}: neither {WEIGHTS} nor {INDEX} is there; ponder reads no other format")
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            with safe_open(file, framework="pt") as handle:
                found = set(handle.keys())
                foreign = {n for n in found - wanted - ignored if not n.endswith("rotary_emb.inv_freq")}
                if foreign:
                    raise CheckpointError(f"{file}: tensor '{min(foreign)}' does not belong to this architecture")
                tensors |= {name: handle.get_tensor(name) for name in found & wanted}
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{file}: damaged or missing ({error})") from None
    return tensors


def check(shapes: Mapping[str, tuple[int, ...]], theirs: Mapping[str, Tensor], folder: Path) -> None:
    """CheckpointError when a tensor is missing, of another shape, or not of floating-point numbers."""
    for name, shape in shapes.items():
        if name not in theirs:
            raise CheckpointError(f"{folder}: tensor '{name}' is missing")
        if tuple(theirs[name].shape) != shape:
            found = list(theirs[name].shape)
            raise CheckpointError(f"{folder}: tensor '{name}' has shape {found}, config.json asks for {list(shape)}")
        if not theirs[name].is_floating_point():
            raise CheckpointError(f"{folder}: tensor '{name}' holds {theirs[name].dtype}, not floating-point numbers")
