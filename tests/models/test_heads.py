"""The scalar head: save and load, `transformers` as the oracle, bad folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ponder.errors import CheckpointError
from ponder.models import heads
from verifiers.tiny import TOKENIZER, headed

FAMILIES = ("llama", "qwen2", "qwen3")
IDS = torch.tensor([[5, 30, 31, 40, 7, 3], [9, 9, 50, 2, 60, 61]])


def logits(model: heads.HeadedModel, ids: torch.Tensor = IDS) -> torch.Tensor:
    zeros = torch.zeros(*ids.shape, len(heads.FEATURES))
    with torch.no_grad():
        return model.logits(model.trunk.hidden(ids), zeros)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("labels", [1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_round_trip(family: str, labels: int, tied: bool, tmp_path: Path) -> None:
    model = headed(1, labels, features=labels == 1, family=family, tied=tied)
    heads.save(model, tmp_path, TOKENIZER, {"verifier": {"kind": "outcome", "semantics": "outcome"}})
    again, raw = heads.load(tmp_path)
    assert torch.equal(logits(again), logits(model))
    assert raw["ponder"]["verifier"] == {"kind": "outcome", "semantics": "outcome"}
    assert heads.is_headed(tmp_path)


@pytest.mark.parametrize(("family", "labels"), [("llama", 1), ("qwen2", 2), ("qwen3", 1)])
def test_transformers_reads_what_is_saved(family: str, labels: int, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = headed(2, labels, family=family)
    heads.save(model, tmp_path, TOKENIZER, {})
    theirs = transformers.AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        out = theirs(IDS).logits
    assert out.shape == (2, 6, labels)
    torch.testing.assert_close(
        out[..., 0] if labels == 1 else out[..., 1] - out[..., 0], logits(model), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_what_transformers_saves_is_read(family: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    kind = {"llama": "Llama", "qwen2": "Qwen2"}[family]
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    sizes |= {"intermediate_size": 24, "vocab_size": TOKENIZER.vocab_size, "max_position_embeddings": 64}
    config = getattr(transformers, f"{kind}Config")(**sizes, num_labels=2, pad_token_id=0)
    theirs = getattr(transformers, f"{kind}ForTokenClassification")(config).eval()
    theirs.save_pretrained(tmp_path)
    TOKENIZER.save(tmp_path)
    model, _ = heads.load(tmp_path)
    with torch.no_grad():
        out = theirs(IDS).logits
    torch.testing.assert_close(logits(model), out[..., 1] - out[..., 0], atol=1e-5, rtol=1e-5)


def test_a_head_of_two_layers_is_read(tmp_path: Path) -> None:
    """Qwen2.5-Math-PRM's: linear, ReLU, linear; P(right) is the softmax's second label."""
    model = headed(4, 2, family="qwen2")
    heads.save(model, tmp_path, TOKENIZER, {})
    config = json.loads((tmp_path / "config.json").read_text())
    config["architectures"] = ["Qwen2ForProcessRewardModel"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    tensors = load_file(tmp_path / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    del tensors["score.weight"], tensors["score.bias"]
    shapes = {"score.0.weight": (16, 16), "score.0.bias": (16,), "score.2.weight": (2, 16), "score.2.bias": (2,)}
    tensors |= {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    save_file(tensors, tmp_path / "model.safetensors")
    again, _ = heads.load(tmp_path)
    with torch.no_grad():
        x = torch.relu(model.trunk.hidden(IDS) @ tensors["score.0.weight"].T + tensors["score.0.bias"])
        right = (x @ tensors["score.2.weight"].T + tensors["score.2.bias"]).softmax(-1)[..., 1]
    torch.testing.assert_close(torch.sigmoid(logits(again)), right, atol=1e-6, rtol=1e-5)


def test_features_of_logprobs_by_hand() -> None:
    found = heads.features_of(np.array([-1.0, -3.0, -0.5], dtype=np.float32))
    wanted = [[-1, -1, -1 / 16, -1], [-3, -2, -4 / 16, -3], [-0.5, -1.5, -4.5 / 16, -3]]
    assert found == pytest.approx(np.array(wanted))
    assert heads.features_of(np.zeros(0, dtype=np.float32)).shape == (0, 4)


def test_a_head_of_features_alone_is_reranking_by_likelihood() -> None:
    model = headed(5, features=True)
    with torch.no_grad():
        model.score_head[0].weight.zero_()
        assert model.score_features is not None
        model.score_features.weight.copy_(torch.tensor([[0.0, 0.0, 16.0, 0.0]]))
    lines = [np.array(x, dtype=np.float32) for x in ([-1.0, -2.0], [-0.1, -0.2], [-4.0, -0.1])]
    ends = torch.tensor(np.stack([heads.features_of(x)[-1] for x in lines]))
    scores = model.logits(torch.zeros(3, 16), ends)
    assert scores.argsort().tolist() == np.argsort([x.sum() for x in lines]).tolist()


def damage(folder: Path, change: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.pop("score.weight"), "no score head"),
        (lambda t: t["score.weight"].fill_(float("nan")), "'score.weight' holds numbers that are not finite"),
        (lambda t: t["model.norm.weight"].fill_(float("inf")), "'model.norm.weight' holds numbers that are not finite"),
        (lambda t: t.update({"score.weight": torch.zeros(3, 16)}), "has shape"),
        (lambda t: t.pop("model.layers.1.mlp.up_proj.weight"), "is missing"),
    ],
)
def test_damaged_folders(change: Any, says: str, tmp_path: Path) -> None:
    heads.save(headed(), tmp_path, TOKENIZER, {})
    damage(tmp_path, change)
    with pytest.raises(CheckpointError, match=says):
        heads.load(tmp_path)


def test_more_labels_than_a_verifier_has(tmp_path: Path) -> None:
    heads.save(headed(), tmp_path, TOKENIZER, {})
    config = json.loads((tmp_path / "config.json").read_text())
    config["id2label"] = {"0": "a", "1": "b", "2": "c"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="3 labels"):
        heads.load(tmp_path)


def test_the_same_seed_gives_the_same_head() -> None:
    one, two, other = (heads.HeadedModel(headed().trunk, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.score_head[0].weight, two.score_head[0].weight)
    assert not torch.equal(one.score_head[0].weight, other.score_head[0].weight)
