"""From a word to an engine: a shipped model, a folder, a Hugging Face id that is already on this machine, a script."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from ponder import models
from ponder.engines.local import LocalEngine
from ponder.engines.scripted import ScriptedEngine
from ponder.errors import CheckpointError, unknown
from ponder.registry import Registry
from ponder.text import Tokenizer
from ponder.types import Engine

WEIGHTS = Path(__file__).parent.parent / "weights"
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def load(spec: str | Path, *, device: str = "cpu", dtype: str | None = None, **options: Any) -> Engine:
    """The engine `spec` names: "mini", "mini-base", a model folder, a run, a cached Hugging Face id, "scripted:FILE".

    `dtype` is "bf16", "fp32" or None for what the device is fast at; further `options` go to the engine's constructor.
    ConfigError or CheckpointError in one line when there is no such thing.
    """
    word = str(spec)
    scheme, _, rest = word.partition(":")
    if scheme in ENGINES.entries and not Path(word).is_dir():
        return ENGINES.get(scheme)(rest, device=device, dtype=dtype, **options)
    if Path(word).is_dir():
        return folder(models.model_in(word), device=device, dtype=dtype, **options)
    if word.count("/") == 1 and not word.startswith((".", "/", "~")) and (cached := _cached(word)) is not None:
        return folder(cached, device=device, dtype=dtype, name=word, **options)
    if "/" in word or os.sep in word:
        raise CheckpointError(
            f"{word}: no such folder, nor a Hugging Face model in the local cache; download it first"
            f" (`hf download {word}`) or give a folder"
        )
    return ENGINES.get(word)("", device=device, dtype=dtype, **options)


def folder(path: Path, *, device: str = "cpu", dtype: str | None = None, **options: Any) -> LocalEngine:
    """A `LocalEngine` on a Hugging Face folder with its tokenizer."""
    if dtype is not None and dtype not in DTYPES:
        raise unknown("precision", dtype, DTYPES)
    model = models.load(path)
    options = {"name": path.name, **options}
    return LocalEngine(
        model, Tokenizer.load(path), device=device, dtype=DTYPES[dtype] if dtype else None, path=path, **options
    )


def mini(_: str = "", **options: Any) -> LocalEngine:
    """The miniature reasoner that ships with the package."""
    return _shipped("mini", **options)


def mini_base(_: str = "", **options: Any) -> LocalEngine:
    """The pretrained miniature that the recipes start from."""
    return _shipped("mini-base", **options)


def _shipped(name: str, **options: Any) -> LocalEngine:
    if not (WEIGHTS / name).is_dir():
        raise CheckpointError(f"{WEIGHTS / name}: the weights of '{name}' are not part of this installation")
    return folder(WEIGHTS / name, **{"name": name, **options})


def scripted(path: str, **options: Any) -> ScriptedEngine:
    """A `ScriptedEngine` from a JSONL file; device and precision mean nothing to it."""
    kept = {k: v for k, v in options.items() if k not in {"device", "dtype", "rows"}}
    return ScriptedEngine.load(path, **kept)


def _cached(name: str) -> Path | None:
    """The newest snapshot of a Hugging Face model in the local cache."""
    home = os.environ.get("HF_HOME") or os.path.join(os.path.expanduser("~"), ".cache", "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub") / f"models--{name.replace('/', '--')}"
    head = cache / "refs" / "main"
    if head.is_file():
        snapshot = cache / "snapshots" / head.read_text().strip()
        return snapshot if snapshot.is_dir() else None
    return None


ENGINES = Registry(
    "engine",
    {"mini": mini, "mini-base": mini_base, "scripted": scripted},
    "ponder.engines",
)
