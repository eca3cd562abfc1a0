"""The loop, optimisers, checkpoints and the bad inputs they must survive."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from ponder import config as configs
from ponder.errors import CheckpointError, ConfigError, PonderError, RunError, WorkError
from ponder.models.config import ModelConfig
from ponder.models.transformer import Transformer
from ponder.runs import Run
from ponder.training import checkpoint, sft
from ponder.training.batch import build
from ponder.training.examples import example, weigh
from ponder.training.grpo import GRPOConfig
from ponder.training.logprobs import learned_logprobs
from ponder.training.loop import Trainer
from ponder.training.objective import imitation
from ponder.training.optim import Optimizers, rate
from ponder.training.settings import Optimizer, Train

TINY: dict[str, Any] = {
    "model": "", "shape.width": 16, "shape.layers": 1, "shape.heads": 2, "shape.kv_heads": 1, "shape.hidden": 24,
    "steps": 3, "tokens_per_step": 300, "row_tokens": 128, "threads": 1, "data": [{"task": "chain"}], "dtype": "fp32",
}  # fmt: skip


def small(seed: int = 0) -> Transformer:
    return Transformer(ModelConfig(vocab_size=20, width=16, layers=2, heads=4, kv_heads=2, hidden=24, context=64), seed)


def one_batch() -> Any:
    return build([weigh([example([1, 2], [3, 4, 5]), example([6], [7, 8])])])


def step(model: Any, optimizers: Optimizers) -> float:
    batch = one_batch()
    value = imitation(learned_logprobs(model, batch)[0], batch)
    value.backward()
    optimizers.step(1.0)
    return value.item()


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_optimizers_learn_and_touch_everything(kind: Any) -> None:
    model = small()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    optimizers = Optimizers(model, Optimizer(kind=kind, lr=1e-2, muon_lr=0.02))
    losses = [step(model, optimizers) for _ in range(30)]
    assert losses[-1] < 0.2 * losses[0]
    assert all(not p.equal(before[n]) for n, p in model.named_parameters())


def test_muon_orthogonalises_fused_parts_separately() -> None:
    """After one step from zero momentum each part's update has all singular values near lr x its scale."""
    model = small()
    before = model.blocks[0].qkv.weight.detach().clone()
    step(model, Optimizers(model, Optimizer(kind="muon", muon_lr=0.1)))
    change = (model.blocks[0].qkv.weight.detach() - before).float()
    for rows, shape in ((slice(0, 16), (16, 16)), (slice(16, 24), (8, 16)), (slice(24, 32), (8, 16))):
        values = torch.linalg.svdvals(change[rows]) / (0.1 * math.sqrt(max(1, shape[0] / shape[1])))
        assert values.max() < 1.4  # the Newton-Schulz iteration lands between 0.5 and 1.5 for well-conditioned parts
        assert values.max() > 0.6
    # and it is what torch.optim.Muon does to that part alone
    alone = torch.nn.Parameter(before[16:24].clone())
    again = small()
    batch = one_batch()
    imitation(learned_logprobs(again, batch)[0], batch).backward()
    assert again.blocks[0].qkv.weight.grad is not None
    alone.grad = again.blocks[0].qkv.weight.grad[16:24].clone()
    torch.optim.Muon([alone], lr=0.1, weight_decay=0.0, momentum=0.95).step()
    torch.testing.assert_close(alone.detach(), before[16:24] + change[16:24])


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_optimizer_state_round_trip(kind: Any) -> None:
    one, settings = small(), Optimizer(kind=kind, lr=1e-2)
    first = Optimizers(one, settings)
    for _ in range(3):
        step(one, first)
    two = small(seed=1)
    two.load_state_dict(one.state_dict())
    second = Optimizers(two, settings)
    second.load(first.state())
    for _ in range(3):
        assert step(one, first) == step(two, second)
    assert all(a.equal(b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_rates() -> None:
    s = Optimizer(warmup=4, hold=0.5, schedule="linear", final=0.1)
    assert [rate(s, i, 0.0) for i in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rate(s, 9, 0.5) == 1.0 and rate(s, 9, 0.75) == pytest.approx(0.55) and rate(s, 9, 1.0) == pytest.approx(0.1)
    assert rate(Optimizer(schedule="cosine", final=0.0), 9, 0.5) == pytest.approx(0.5)
    assert rate(Optimizer(), 9, 0.9) == 1.0


def test_not_finite_stops_before_changing_anything(tmp_path: Path) -> None:
    model = small()
    with Run.open(tmp_path / "run", "train sft", {"seed": 0}) as run:
        trainer = Trainer(model, Train(threads=1, dtype="fp32"), run)
        trainer.update([one_batch()], lambda b: (imitation(learned_logprobs(model, b)[0], b), {}))
        trainer.save()
        weights = [p.detach().clone() for p in model.parameters()]
        with pytest.raises(WorkError, match=r"step 2: loss nan.*step-0000001, is untouched"):
            trainer.update([one_batch()], lambda b: (imitation(learned_logprobs(model, b)[0], b) * math.nan, {}))
        assert all(p.equal(w) for p, w in zip(model.parameters(), weights, strict=True))
        assert [p.name for p in checkpoint.steps(run.checkpoints)] == ["step-0000001"]


def test_sft_runs_resumes_and_extends(tmp_path: Path) -> None:
    settings = {**TINY, "out": str(tmp_path / "run"), "save_every": 1, "keep": 2, "eval_every": 2}
    first = sft.run(configs.load(sft.SFTConfig, None, settings))
    assert first["steps"] == 3 and math.isfinite(first["eval_loss"])
    assert [p.name for p in checkpoint.steps(tmp_path / "run/checkpoints")] == ["step-0000002", "step-0000003"]
    longer = sft.run(configs.load(sft.SFTConfig, None, {**settings, "steps": 5}))
    assert longer["steps"] == 5
    rows = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows] == [1, 2, 3, 4, 5]
    straight = sft.run(configs.load(sft.SFTConfig, None, {**settings, "steps": 5, "out": str(tmp_path / "straight")}))
    assert straight["loss"] == longer["loss"]
    with pytest.raises(RunError, match="seed"):
        sft.run(configs.load(sft.SFTConfig, None, {**settings, "seed": 9}))


FILES = ("weights.safetensors", "optimizer.safetensors", "state.json")
DAMAGES = [(f, d) for f in FILES for d in ("cut", "gone", "foreign") if (f, d) != ("state.json", "gone")]


@pytest.mark.parametrize(("file", "damage"), DAMAGES)
def test_damaged_checkpoint_is_one_line(file: str, damage: str, tmp_path: Path) -> None:
    settings = {**TINY, "out": str(tmp_path / "run"), "steps": 1}
    sft.run(configs.load(sft.SFTConfig, None, settings))
    target = next((tmp_path / "run/checkpoints").glob("step-*")) / file
    if damage == "gone":
        target.unlink()
    else:
        target.write_bytes(target.read_bytes()[:40] if damage == "cut" else b"{}")
    with pytest.raises(CheckpointError, match="step-0000001: not a usable checkpoint"):
        sft.run(configs.load(sft.SFTConfig, None, {**settings, "steps": 2}))


def test_checkpoint_of_another_shape_is_refused(tmp_path: Path) -> None:
    with Run.open(tmp_path / "run", "x", {}) as run:
        Trainer(small(), Train(threads=1), run).save()
        other = Transformer(ModelConfig(vocab_size=20, width=32, layers=2, heads=4, kv_heads=2, hidden=24, context=64))
        with pytest.raises(CheckpointError, match="does not fit this model"):
            Trainer(other, Train(threads=1), run).resume()


@pytest.mark.parametrize(
    ("cls", "key", "value", "message"),
    [
        (GRPOConfig, "group_size", 1, "from 2"),
        (GRPOConfig, "temperature", -1.0, "above 0"),
        (GRPOConfig, "temperature", 0.0, "above 0"),
        (GRPOConfig, "clip_low", -0.1, "from 0"),
        (GRPOConfig, "gruop_size", 4, "group_size"),
        (GRPOConfig, "optimizer.lr", -1e-3, "from 0"),
        (GRPOConfig, "kl_estimator", "k4", "k3"),
        (sft.SFTConfig, "steps", 0, "from 1"),
        (sft.SFTConfig, "optimizer.kind", "sgd", "adamw"),
        (sft.SFTConfig, "dtype", "fp8", "bf16"),
    ],
)
def test_impossible_values_are_one_line(cls: Any, key: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        configs.load(cls, None, {key: value})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "no/such/model"}, "no model here"),
        ({"row_tokens": 4096}, "context is 512"),
        ({"compile": True, "row_tokens": 0}, "compile = true needs packed rows"),
        ({"device": "cuda"}, "no CUDA device"),
    ],
)
def test_impossible_runs_are_one_line(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    if changes.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(PonderError, match=message):
        sft.run(configs.load(sft.SFTConfig, None, {**TINY, "out": str(tmp_path / "run"), **changes}))


@pytest.mark.parametrize(("name", "module"), [("tensorboard", "torch.utils.tensorboard"), ("trackio", "trackio")])
def test_missing_logger_is_one_line(name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=f"{name} is not installed; pip install {name}"):
        sft.run(configs.load(sft.SFTConfig, None, {**TINY, "out": str(tmp_path / "run"), "log": name}))


def test_loggers_get_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, dict[str, float]]] = []
    fake = SimpleNamespace(
        init=lambda **_: None, log=lambda row, step: told.append((step, row)), finish=lambda: told.append((-1, {}))
    )
    monkeypatch.setitem(sys.modules, "trackio", fake)
    sft.run(configs.load(sft.SFTConfig, None, {**TINY, "out": str(tmp_path / "run"), "log": "trackio"}))
    assert [step for step, _ in told] == [1, 2, 3, -1]
    assert all({"loss", "grad_norm"} <= row.keys() for _, row in told[:-1])


def test_full_disk_is_one_line_and_keeps_what_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise SafetensorError("Error while serializing: IoError(Os { code: 28 }) No space left on device (os error 28)")

    with Run.open(tmp_path / "run", "x", {}) as run:
        trainer = Trainer(small(), Train(threads=1), run)
        trainer.save()
        trainer.step = 1
        monkeypatch.setattr(checkpoint, "save_file", full)
        with pytest.raises(WorkError, match="disk is full"):
            trainer.save()
        assert [p.name for p in run.checkpoints.iterdir()] == ["step-0000000"]


def test_run_ends_by_the_clock(tmp_path: Path) -> None:
    settings = {**TINY, "steps": 1_000_000, "max_minutes": 0.01, "out": str(tmp_path / "run"), "save_every": 0}
    summary = sft.run(configs.load(sft.SFTConfig, None, settings))
    assert 0.6 <= summary["seconds"] < 20 and 1 <= summary["steps"] < 1_000_000


def test_bf16_learns_like_fp32(tmp_path: Path) -> None:
    losses = {}
    for dtype in ("fp32", "bf16"):
        settings = {
            **TINY,
            "steps": 12,
            "dtype": dtype,
            "out": str(tmp_path / dtype),
            "optimizer.lr": 1e-2,
            "optimizer.warmup": 1,
        }
        losses[dtype] = sft.run(configs.load(sft.SFTConfig, None, settings))["loss"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)
    rows = [json.loads(line) for line in (tmp_path / "fp32" / "metrics.jsonl").read_text().splitlines()]
    assert losses["fp32"] < rows[0]["loss"] - 0.2
