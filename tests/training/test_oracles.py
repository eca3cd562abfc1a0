"""Loss and gradient against the released libraries: TRL's GRPOTrainer, transformers' cross-entropy."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ponder import models
from ponder.models.config import ModelConfig
from ponder.models.transformer import Transformer
from ponder.training.batch import build as build_batch
from ponder.training.batch import micro_batches, pack
from ponder.training.examples import POLICY, Example, example, weigh
from ponder.training.logprobs import learned_logprobs
from ponder.training.objective import PRESETS, Objective, imitation, loss

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # other libraries' own warnings
]
B, C = 8, 12

TRL_CASES: dict[str, tuple[Objective, dict[str, Any]]] = {
    "grpo": (Objective(**PRESETS["grpo"]), {"loss_type": "grpo"}),  # type: ignore[arg-type]
    "grpo-k3": (Objective(**PRESETS["grpo"], kl_coef=0.04), {"loss_type": "grpo", "beta": 0.04}),  # type: ignore[arg-type]
    "dapo": (Objective(**PRESETS["dapo"]), {"loss_type": "dapo", "epsilon_high": 0.28}),  # type: ignore[arg-type]
    "bnpo": (
        Objective(aggregation="token-mean"),
        {"loss_type": "bnpo"},
    ),  # one micro-batch: its token mean is the global one
    "dr_grpo": (Objective(**PRESETS["dr_grpo"]), {"loss_type": "dr_grpo"}),  # type: ignore[arg-type]
    "gspo": (
        Objective(**PRESETS["gspo"]),  # type: ignore[arg-type]
        {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon_low": 3e-4, "epsilon_high": 4e-4},
    ),
    "cispo": (Objective(**PRESETS["cispo"]), {"loss_type": "cispo", "epsilon_high": 1.28}),  # type: ignore[arg-type]
}


def draw() -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    lengths = torch.tensor([12, 3, 7, 1, 9, 12, 5, 2])
    mask = (torch.arange(C)[None] < lengths[:, None]).long()
    mask[0, 4] = 0  # a forced token in the middle
    new = -torch.rand(B, C, generator=g) * 3
    return {
        "mask": mask, "new": new, "old": new + 0.3 * torch.randn(B, C, generator=g), "ref": new + torch.randn(B, C, generator=g),
        "advantage": torch.randn(B, generator=g),
    }  # fmt: skip


def trl_loss(data: dict[str, torch.Tensor], **changes: Any) -> tuple[float, torch.Tensor]:
    from trl import GRPOTrainer

    new = data["new"].clone().requires_grad_()
    settings: dict[str, Any] = {
        "epsilon_low": 0.2, "epsilon_high": 0.2, "beta": 0.0, "loss_type": "grpo", "importance_sampling_level": "token",
        "top_entropy_quantile": 1.0, "off_policy_mask_threshold": None, "use_vllm": False, "_entropy_bonus_enabled": False,
        "aux_loss_enabled": False, "current_gradient_accumulation_steps": 1, "max_completion_length": C, **changes,
    }  # fmt: skip
    same = lambda x, *_, **__: x  # noqa: E731
    accelerator = SimpleNamespace(
        reduce=same, gather=same, gather_for_metrics=same, num_processes=1, sync_gradients=True
    )
    stub = SimpleNamespace(
        **settings,
        accelerator=accelerator,
        model=SimpleNamespace(training=True),
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1),
        _metrics={"train": defaultdict(list)},
        _get_per_token_logps_and_entropies=lambda *_, **__: (new, torch.zeros_like(new), None),
    )
    inputs = {
        "prompt_ids": torch.zeros(B, 1).long(), "prompt_mask": torch.ones(B, 1).long(), "completion_mask": data["mask"],
        "completion_ids": torch.zeros(B, C).long(), "advantages": data["advantage"], "old_per_token_logps": data["old"],
        "ref_per_token_logps": data["ref"], "num_items_in_batch": data["mask"].sum(),
    }  # fmt: skip
    value = GRPOTrainer._compute_loss(stub, None, inputs)  # type: ignore[arg-type]
    value.backward()
    assert new.grad is not None
    return value.item(), new.grad


def our_loss(objective: Objective, data: dict[str, torch.Tensor], row_tokens: int | None) -> tuple[float, torch.Tensor]:
    """Through examples, weights and packed micro-batches; log-probabilities are looked up where the model would give them."""
    new = data["new"].clone().requires_grad_()
    examples = []
    for b in range(B):
        n = int(data["mask"][b].nonzero().max()) + 1
        streams = [np.concatenate([[0], data[k][b, :n].numpy()]).astype(np.float32) for k in ("old", "ref")]
        ids = np.array(
            [0, *range(b * C, b * C + n)], dtype=np.int32
        )  # a token's id says where its log-probability stands
        trainable = np.array([False, *data["mask"][b, :n].bool().tolist()])
        examples.append(Example(ids, trainable, POLICY, 1.0, float(data["advantage"][b]), streams[0], streams[1]))
    total = torch.zeros(())
    for batch in micro_batches(weigh(examples, objective.aggregation, C), 30, row_tokens):
        total = total + loss(objective, batch, new.flatten()[batch.learned(batch.tokens_BT)])[0]
    total.backward()
    assert new.grad is not None
    return total.item(), new.grad


@pytest.mark.parametrize("row_tokens", [None, 16])
@pytest.mark.parametrize("name", TRL_CASES)
def test_grpo_losses_equal_trl(name: str, row_tokens: int | None) -> None:
    pytest.importorskip("trl")
    objective, theirs = TRL_CASES[name]
    data = draw()
    value, slope = our_loss(objective, data, row_tokens)
    wanted, wanted_slope = trl_loss(data, **theirs)
    assert value == pytest.approx(wanted, abs=1e-5)
    torch.testing.assert_close(slope, wanted_slope, atol=1e-5, rtol=1e-5)
    assert wanted_slope.abs().max() > 1e-4


def test_sft_loss_and_gradient_equal_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = Transformer(
        ModelConfig(vocab_size=50, width=32, layers=2, heads=4, kv_heads=2, hidden=48, context=64), seed=3
    )
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(3 if p.ndim == 2 else 1)
    models.save(model, tmp_path, dtype=torch.float32)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    rng = np.random.default_rng(0)
    pairs = [
        (rng.integers(0, 50, a).tolist(), rng.integers(0, 50, b).tolist())
        for a, b in [(3, 9), (12, 2), (5, 5), (1, 14)]
    ]
    longest = max(len(p) + len(c) for p, c in pairs)
    ids, labels = torch.zeros(4, longest).long(), torch.full((4, longest), -100)
    for i, (prompt, completion) in enumerate(pairs):
        ids[i, : len(prompt) + len(completion)] = torch.tensor(prompt + completion)
        labels[i, len(prompt) : len(prompt) + len(completion)] = torch.tensor(completion)
    wanted = theirs(input_ids=ids, labels=labels).loss
    wanted.backward()
    examples = weigh([example(p, c) for p, c in pairs])
    for batches in ([build_batch([[e]]) for e in examples], [build_batch(pack(examples, 32))]):
        model.zero_grad()
        total = 0.0
        for batch in batches:
            value = imitation(learned_logprobs(model, batch)[0], batch)
            value.backward()
            total += value.item()
        assert total == pytest.approx(wanted.item(), abs=1e-5)
        torch.testing.assert_close(
            model.embed.weight.grad, theirs.get_input_embeddings().weight.grad, atol=1e-5, rtol=1e-4
        )
