"""The transformer against `transformers`: logits, greedy generation and folders of tiny random Llama, Qwen2, Qwen3 models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ponder import models
from ponder.engines import LocalEngine
from ponder.models import ModelConfig, RopeScaling, Transformer
from ponder.types import Request, Sampling

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")  # theirs

BASE = ModelConfig(vocab_size=64, width=32, layers=2, heads=4, kv_heads=2, hidden=48, head_width=16, context=128)
CASES = {
    "llama": BASE,
    "llama-untied-mha": replace(BASE, tied=False, kv_heads=4),
    "llama3-scaling": replace(BASE, rope_theta=500_000.0, rope_scaling=RopeScaling(original_context=32)),
    "qwen2": replace(BASE, family="qwen2", qkv_bias=True),
    "qwen3": replace(BASE, family="qwen3", qk_norm=True, rope_theta=1e6),
    "qwen3-untied": replace(BASE, family="qwen3", qk_norm=True, tied=False),
}


def shaken(config: ModelConfig, seed: int = 0) -> Transformer:
    """A model whose norms and biases matter too."""
    model = Transformer(config, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.15)
    return model


@pytest.fixture(params=CASES)
def pair(request: pytest.FixtureRequest, tmp_path: Path):
    model = shaken(CASES[request.param])
    models.save(model, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.float32, attn_implementation="eager"
    )
    return model, theirs.eval(), tmp_path


def tokens(batch: int = 3, length: int = 90) -> torch.Tensor:
    return torch.randint(0, 64, (batch, length), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_logits_equal(pair) -> None:
    model, theirs, _ = pair
    torch.testing.assert_close(model(tokens()), theirs(tokens()).logits, atol=1e-5, rtol=1e-5)


def test_greedy_generation_equal(pair) -> None:
    model, theirs, _ = pair
    prompts = tokens(4, 11)
    out = theirs.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        do_sample=False,
        max_new_tokens=24,
        eos_token_id=None,
        pad_token_id=0,
    )
    engine = LocalEngine(model, dtype=torch.float32, rows=3)
    done = engine.generate([Request(tuple(p.tolist()), Sampling(temperature=0, max_tokens=24)) for p in prompts])
    assert [list(c.token_ids) for c in done] == out[:, 11:].tolist()


def test_their_folder_and_ours_hold_the_same_weights(pair, tmp_path: Path) -> None:
    model, theirs, _ = pair
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="20KB")
    assert (tmp_path / "theirs" / "model.safetensors.index.json").exists()
    back = models.load(tmp_path / "theirs")
    assert back.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name


def test_gradients_equal(pair) -> None:
    model, theirs, _ = pair
    ids = tokens(2, 40)
    for module, logits in ((model, model(ids)), (theirs, theirs(ids).logits)):
        torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
        assert module is not None
    mine = models.hf.split(model.config, {n: p.grad for n, p in model.named_parameters()})
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(mine[name], parameter.grad, atol=2e-6, rtol=1e-4)


def test_unsupported_parts_of_a_configuration_are_refused(pair) -> None:
    _, _, folder = pair
    raw = json.loads((folder / "config.json").read_text())
    changes = (
        {"model_type": "mixtral"},
        {"rope_parameters": {"rope_type": "yarn"}},
        {"hidden_act": "gelu"},
        {"use_sliding_window": True},
    )
    for change in changes:
        (folder / "config.json").write_text(json.dumps(raw | change))
        with pytest.raises(models.io.CheckpointError, match="not supported"):
            models.load(folder)
