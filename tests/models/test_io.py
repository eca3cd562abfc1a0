"""Model folders that are damaged, foreign or interrupted: one clear line, nothing unpickled, the old model kept."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ponder import models
from ponder.errors import CheckpointError, WorkError
from ponder.models import ModelConfig, Transformer

CONFIG = ModelConfig(vocab_size=20, width=16, layers=2, heads=2, kv_heads=1, hidden=24, context=32, tied=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    models.save(Transformer(CONFIG, seed=0), tmp_path / "m")
    return tmp_path / "m"


def change(folder: Path, **tensors: torch.Tensor | None) -> None:
    held = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        key = name.replace("__", ".")
        if tensor is None:
            del held[key]
        else:
            held[key] = tensor
    save_file(held, folder / "model.safetensors")


def test_round_trip_is_exact(folder: Path) -> None:
    model, back = Transformer(CONFIG, seed=0), models.load(folder)
    assert back.config == CONFIG
    for a, b in zip(model.parameters(), back.parameters(), strict=True):
        assert torch.equal(a, b)
    models.save(model, folder, dtype=torch.bfloat16)
    assert models.load(folder, dtype=None).embed.weight.dtype == torch.bfloat16
    assert json.loads((folder / "config.json").read_text())["torch_dtype"] == "bfloat16"


def test_truncated_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged"):
        models.load(folder)


def test_missing_misshapen_and_foreign_tensors(folder: Path) -> None:
    change(folder, lm_head__weight=torch.zeros(20, 17))
    with pytest.raises(CheckpointError, match=r"'lm_head.weight' has shape \[20, 17\].*\[20, 16\]"):
        models.load(folder)
    change(folder, lm_head__weight=None)
    with pytest.raises(CheckpointError, match=r"'lm_head.weight' is missing"):
        models.load(folder)
    change(folder, lm_head__weight=torch.zeros(20, 16), transformer__wte=torch.zeros(3))
    with pytest.raises(CheckpointError, match=r"'transformer.wte' does not belong"):
        models.load(folder)


def test_integer_weights_are_refused(folder: Path) -> None:
    change(folder, lm_head__weight=torch.zeros(20, 16, dtype=torch.int8))
    with pytest.raises(CheckpointError, match="int8"):
        models.load(folder)


UNEVEN = {"vocab_size": 9, "hidden_size": 8, "num_attention_heads": 3, "num_hidden_layers": 1, "intermediate_size": 8}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "unreadable"),
        ("[]", "expected a JSON object"),
        ('{"model_type": "gpt2"}', "'gpt2' is not supported"),
        ('{"model_type": "llama"}', "num_attention_heads"),
        (json.dumps({"model_type": "llama"} | UNEVEN), "not a multiple"),
    ],
)
def test_broken_configurations(folder: Path, text: str, match: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=match):
        models.load(folder)


def test_empty_and_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        models.load(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text(json.dumps(models.hf.write_config(CONFIG)))
    with pytest.raises(CheckpointError, match="neither"):
        models.load(tmp_path)


class Trap:
    def __reduce__(self):
        return (os.mkdir, ("sprung",))


def test_pickles_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(models.hf.write_config(CONFIG)))
    for name in ("pytorch_model.bin", "model.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
        with pytest.raises(CheckpointError):
            models.load(tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_index_can_not_point_outside_the_folder(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "elsewhere.safetensors")
    index = {"weight_map": {"lm_head.weight": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="same folder"):
        models.load(folder)


def test_a_failed_save_keeps_the_old_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensors: object, path: Path, metadata: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ponder.models.io.save_file", full)
    with pytest.raises(WorkError, match="No space left"):
        models.save(Transformer(CONFIG, seed=9), folder)
    assert torch.equal(models.load(folder).embed.weight, Transformer(CONFIG, seed=0).embed.weight)
    assert not [p for p in folder.iterdir() if p.name.endswith(".tmp")]
