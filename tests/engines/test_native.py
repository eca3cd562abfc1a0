"""The native kernel against torch, its independence of batch and threads, and what happens where it can not be built."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from test_contract import *  # noqa: F403  the contract, with the engines below
from test_contract import TOKENIZER
from test_local import mixed_requests, same
from torch import Tensor

from ponder.engines import LocalEngine
from ponder.engines.native import BuildError, NativeStepper, build, library, supports
from ponder.engines.sampling import Knobs, draw
from ponder.engines.stepper import Stepper, TorchStepper
from ponder.errors import ConfigError, WorkError
from ponder.models import KV, ModelConfig, Transformer
from ponder.models.cast import for_sampling

if library() is None:
    pytest.skip("no native kernel here", allow_module_level=True)

CPU = torch.device("cpu")
FAMILIES = {"llama": {}, "qwen2": {"qkv_bias": True}, "qwen3": {"qk_norm": True, "tied": False}}
SHAPES = {  # head width, heads, kv heads, vocabulary, hidden, width
    "16": (16, 4, 2, 200, 72, 48),
    "24": (24, 3, 1, 37, 100, 40),
    "32": (32, 4, 4, 200, 384, 128),
    "64": (64, 5, 1, 90, 50, 66),
    "6": (6, 5, 5, 17, 9, 13),
    "128": (128, 8, 2, 64, 1100, 64),  # hidden beyond 1024: longer stretches,
}


def make(family: str = "llama", shape: str = "16", std: float = 0.08, **options: object) -> Transformer:
    head, heads, kv_heads, vocab, hidden, width = SHAPES[shape]
    sizes = {"vocab_size": vocab, "hidden": hidden, "width": width, "heads": heads, "kv_heads": kv_heads}
    config = ModelConfig(
        **{**sizes, "layers": 3, "head_width": head, "context": 300, "family": family, **FAMILIES[family], **options}  # type: ignore[arg-type]
    )
    model = Transformer(config, seed=None)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * std + float("norm" in name))
    return model


def stepper(kind: Callable[..., Stepper], model: Transformer, rows: int, dtype: torch.dtype) -> Stepper:
    model = for_sampling(model, CPU, dtype)
    return kind(model, KV(model.config, rows=rows, capacity=150, dtype=dtype))


def follow(stepper: Stepper, B: int, steps: int = 3, seed: int = 0) -> Tensor:
    """Log-probabilities (B, steps, V) of rows of different lengths in scattered slots, prefilled and then decoded."""
    generator = torch.Generator().manual_seed(seed)
    rows_B = torch.randperm(stepper.kv.rows, generator=generator)[:B]
    lengths_B = torch.randint(1, 140, (B,), generator=generator)
    vocab = stepper.model.config.vocab_size  # type: ignore[attr-defined]
    tokens_BT = torch.randint(0, vocab, (B, 140), generator=generator)
    stepper.prefill(tokens_BT, rows_B, torch.zeros_like(lengths_B), lengths_B)
    found = []
    for step in range(steps):
        tokens_B = torch.randint(0, vocab, (B,), generator=generator)
        found.append(stepper.decode_step(tokens_B, rows_B, lengths_B + step).log_softmax(-1))
    return torch.stack(found, dim=1)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_fp32_equals_torch(family: str, shape: str) -> None:
    model = make(family, shape)
    for B in (1, 7):
        both = [follow(stepper(kind, model, 9, torch.float32), B) for kind in (TorchStepper, NativeStepper)]
        assert torch.allclose(both[1], both[0], atol=1e-5, rtol=0)
        assert both[0].std() > 0.05, "a test of equal distributions needs distributions that differ"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", ["16", "24", "32", "6"])
def test_bf16_is_nearer_to_torch_than_torch_to_fp32(family: str, shape: str) -> None:
    """Same rounding points: what is left are sums in another order that tip a rounding here and there."""
    model = make(family, shape)
    exact = follow(stepper(TorchStepper, model, 20, torch.float32), 20)
    theirs, ours = (follow(stepper(kind, model, 20, torch.bfloat16), 20) for kind in (TorchStepper, NativeStepper))
    noise = (theirs - exact).abs()
    assert (ours - theirs).abs().mean() < 0.5 * noise.mean()
    assert (ours - theirs).abs().max() < 2 * noise.max()


def test_bf16_logprobs_are_the_trainers_within_a_thousandth() -> None:
    model = make("llama", "32", std=0.02)
    tokens_BT = torch.randint(0, 200, (16, 60), generator=torch.Generator().manual_seed(3))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        wanted = model(tokens_BT).log_softmax(-1)
    native = stepper(NativeStepper, model, 16, torch.bfloat16)
    rows_B, found = torch.arange(16), []
    for t in range(60):
        logits_BV = native.decode_step(tokens_BT[:, t].contiguous(), rows_B, torch.full((16,), t))
        found.append(logits_BV.log_softmax(-1))
    error = (torch.stack(found, dim=1) - wanted).abs()
    assert error.mean() < 1e-4
    assert (error < 1e-3).float().mean() > 0.999
    if native._dot:  # the same instructions in the same order as torch's library
        assert (error == 0).float().mean() > 0.9


def test_a_large_vocabulary_has_its_output_in_the_models_precision() -> None:
    model = make("llama", "16", vocab_size=8200)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 0.02)):
        both = [follow(stepper(kind, model, 9, dtype), 5) for kind in (TorchStepper, NativeStepper)]
        assert torch.allclose(both[1], both[0], atol=tolerance, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("B", [1, 2, 3, 5, 8, 13, 33, 64, 65, 70])
def test_neighbours_do_not_change_a_bit(dtype: torch.dtype, B: int) -> None:
    model = make("qwen3", "24")
    generator = torch.Generator().manual_seed(B)
    rows_B = torch.randperm(70, generator=generator)[:B]
    starts_B = torch.randint(1, 40, (B,), generator=generator)
    tokens_BT = torch.randint(0, 37, (B, 41), generator=generator)
    together, alone = (stepper(NativeStepper, model, 70, dtype) for _ in range(2))
    together.prefill(tokens_BT, rows_B, torch.zeros(B, dtype=torch.int64), starts_B)
    logits_BV = together.decode_step(tokens_BT[:, -1].contiguous(), rows_B, starts_B)
    for b in range(0, B, max(1, B // 6)):
        row, length = rows_B[b : b + 1], int(starts_B[b])
        for t in range(length):
            alone.decode_step(tokens_BT[b, t : t + 1].contiguous(), row, torch.tensor([t]))
        logits_V = alone.decode_step(tokens_BT[b, -1:].contiguous(), row, starts_B[b : b + 1])[0]
        assert torch.equal(logits_V, logits_BV[b])
        assert torch.equal(alone.kv.k[:, row, :, : length + 1], together.kv.k[:, row, :, : length + 1])
        assert torch.equal(alone.kv.v[:, row, :, : length + 1], together.kv.v[:, row, :, : length + 1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_threads_do_not_change_a_bit(dtype: torch.dtype) -> None:
    model = make("qwen2", "32")
    for B in (1, 20, 70):
        found = [follow(stepper(partial(NativeStepper, threads=n), model, 70, dtype), B) for n in (1, 2, 5)]
        assert torch.equal(found[0], found[1])
        assert torch.equal(found[0], found[2])


def test_threads_that_share_a_long_slot_do_not_change_a_bit() -> None:
    model = make("qwen2", "32")
    tokens_BT = torch.randint(0, 200, (2, 150), generator=torch.Generator().manual_seed(0))
    rows_B, starts_B, lengths_B = torch.tensor([2, 0]), torch.tensor([0, 0]), torch.tensor([150, 9])
    one = stepper(partial(NativeStepper, threads=1), model, 3, torch.bfloat16)
    one.prefill(tokens_BT, rows_B, starts_B, lengths_B)
    for threads in (2, 3) * 20:
        some = stepper(partial(NativeStepper, threads=threads), model, 3, torch.bfloat16)
        some.prefill(tokens_BT, rows_B, starts_B, lengths_B)
        assert torch.equal(one.kv.k, some.kv.k)
        assert torch.equal(one.kv.v, some.kv.v)


def test_more_threads_than_tasks() -> None:
    """Whoever of the pool wakes first takes a task, so memory must not depend on which thread that is."""
    model = make("qwen2", "32")
    for _ in range(20):
        fresh = stepper(partial(NativeStepper, threads=16), model, 3, torch.bfloat16)
        for length in (70, 150):
            tokens_BT = torch.randint(0, 200, (1, length))
            fresh.prefill(tokens_BT, torch.tensor([1]), torch.tensor([0]), torch.tensor([length]))


def test_threads_that_split_the_columns_of_a_large_model_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ponder.engines.native.stepper.TEAM_BYTES", 0)
    model = make("llama", "64", std=0.04, width=320, hidden=1400)
    assert stepper(NativeStepper, model, 4, torch.float32)._structure.team
    found = [follow(stepper(partial(NativeStepper, threads=n), model, 4, torch.float32), 2) for n in (1, 2, 3)]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    theirs = follow(stepper(TorchStepper, model, 4, torch.float32), 2)
    assert torch.allclose(found[0], theirs, atol=1e-5, rtol=0)


def test_prefill_goes_on_where_it_stopped_and_leaves_other_slots_alone() -> None:
    model = make()
    whole, parts = (stepper(NativeStepper, model, 6, torch.bfloat16) for _ in range(2))
    tokens_BT = torch.randint(0, 200, (2, 100), generator=torch.Generator().manual_seed(0))
    rows_B, lengths_B = torch.tensor([4, 1]), torch.tensor([100, 81])
    whole.prefill(tokens_BT, rows_B, torch.zeros(2, dtype=torch.int64), lengths_B)
    parts.prefill(tokens_BT[:, :70], rows_B, torch.zeros(2, dtype=torch.int64), torch.tensor([70, 70]))
    parts.prefill(tokens_BT[:, 70:], rows_B, torch.tensor([70, 70]), lengths_B - 70)
    assert torch.equal(whole.kv.k, parts.kv.k)
    assert torch.equal(whole.kv.v, parts.kv.v)
    assert not whole.kv.k[:, [0, 2, 3, 5]].any()
    assert not whole.kv.k[:, 1, :, 81:].any()


def test_slots_can_move_between_steps() -> None:
    model = make()
    still, moved = (stepper(NativeStepper, model, 5, torch.float32) for _ in range(2))
    rows_B, tokens_B = torch.tensor([3, 0]), torch.tensor([7, 9])
    for t in range(160):
        for native in (still, moved):
            native.kv.reserve(200 if native is still else t + 1, rows=5 + t // 50)
        a, b = (native.decode_step(tokens_B, rows_B, torch.tensor([t, t])) for native in (still, moved))
        assert torch.equal(a, b)


def test_refresh_takes_over_new_weights() -> None:
    model = make("qwen2")
    native = stepper(NativeStepper, model, 9, torch.float32)
    before = follow(native, 4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    native.refresh()
    after = follow(native, 4)
    assert torch.allclose(after, follow(stepper(TorchStepper, model, 9, torch.float32), 4), atol=1e-5, rtol=0)
    assert not torch.allclose(after, before, atol=1e-3)


def test_what_would_leave_the_memory_is_refused() -> None:
    native = stepper(NativeStepper, make(), 3, torch.float32)
    fine = torch.tensor([0])
    for tokens, rows, positions, match in (
        (200, 0, 0, "vocabulary"),
        (-1, 0, 0, "vocabulary"),
        (0, 3, 0, "slot"),
        (0, -1, 0, "slot"),
        (0, 0, 150 + 64, "position"),
        (0, 0, -1, "position"),
    ):
        with pytest.raises(WorkError, match=match):
            native.decode_step(fine + tokens, fine + rows, fine + positions)


def test_damaged_weights_show_as_numbers_that_are_not_finite() -> None:
    model = make()
    with torch.no_grad():
        model.blocks[1].down.weight[3, 5] = float("nan")
    for dtype in (torch.float32, torch.bfloat16):
        assert not torch.isfinite(follow(stepper(NativeStepper, model, 3, dtype), 2)).any()


def test_what_it_supports() -> None:
    assert supports(make())
    assert supports(make().bfloat16())
    assert not supports(make().double())
    assert not supports(make().to("meta"))


def test_steppers_come_and_go() -> None:
    before = len(os.listdir("/proc/self/task")) if Path("/proc/self/task").is_dir() else 0
    model = make()
    for _ in range(20):
        follow(stepper(partial(NativeStepper, threads=3), model, 4, torch.float32), 3, steps=1)
    gc.collect()
    if before:
        assert len(os.listdir("/proc/self/task")) <= before + 2


def test_a_forked_child_decodes_without_its_parents_threads() -> None:
    text = (
        "import os, torch\nfrom test_native import *\n"
        "s = stepper(partial(NativeStepper, threads=3), make(), 70, torch.float32)\n"
        "expected = follow(s, 60)\npid = os.fork()\n"
        "if pid == 0:\n    os._exit(0 if torch.equal(follow(s, 60), expected) else 1)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", text], env=_environment(), capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("vocab", [1, 5, 63, 64, 65, 200, 1000, 33000])
def test_draws_are_those_of_torch(vocab: int) -> None:
    native, B = stepper(NativeStepper, make(), 1, torch.float32), 64
    rng = np.random.default_rng(vocab)
    temperature_B = rng.choice(np.float32([0, 0.5, 1, 1.3]), B)
    none_B, ones_B = np.zeros(B, dtype=np.int64), np.ones(B, np.float32)
    for scale in (1, 10, 60):
        logits_BV = torch.from_numpy(rng.normal(size=(B, vocab)).astype(np.float32)) * scale
        uniform_B = torch.from_numpy(rng.random(B))
        uniform_B[:2] = torch.tensor([0.0, 1 - 2**-53])
        for temperatures in (temperature_B, ones_B, ones_B * 0):
            knobs = Knobs.of(temperatures, none_B, ones_B, ones_B * 0, CPU)
            wanted, found = draw(logits_BV, knobs, uniform_B), native.draw(logits_BV, knobs, uniform_B)
            same_B = found[0] == wanted[0]
            assert same_B.sum() >= 61, "but for the ends, and sums that differ in the last digit"
            assert same_B[torch.from_numpy(temperatures == 0)].all()
            assert torch.allclose(found[1][same_B], wanted[1][same_B], atol=1e-5, rtol=1e-6)
            shares_BV = (logits_BV.double() / knobs.temperature_B[:, None]).softmax(-1).cumsum(-1)
            drawn_B = shares_BV.gather(1, found[0][:, None])[:, 0]
            begin_B = torch.where(found[0] > 0, shares_BV.gather(1, (found[0] - 1).clamp(min=0)[:, None])[:, 0], 0)
            inside_B = (begin_B - 1e-6 <= uniform_B) & (uniform_B <= drawn_B + 1e-6)
            assert inside_B[torch.from_numpy(temperatures != 0)].all()


def test_draws_follow_the_distribution_and_leave_cuts_to_torch() -> None:
    native, B = stepper(NativeStepper, make(), 1, torch.float32), 20000
    logits_BV = torch.tensor([0.5, 1.5, -1.0, -float("inf"), 0.0]).repeat(B, 1)
    uniform_B = (torch.arange(B, dtype=torch.float64) + 0.5) / B
    ones_B, none_B = np.ones(B, np.float32), np.zeros(B, np.int64)
    tokens_B = native.draw(logits_BV, Knobs.of(ones_B, none_B, ones_B, ones_B * 0, CPU), uniform_B)[0]
    counts = torch.bincount(tokens_B, minlength=5) / B
    assert torch.allclose(counts, logits_BV[0].softmax(0), atol=1 / B)
    cut_B = native.draw(logits_BV, Knobs.of(ones_B, none_B + 2, ones_B, ones_B * 0, CPU), uniform_B)[0]
    assert set(cut_B.tolist()) == {0, 1}


# ---- building ----


def _environment(**changes: str) -> dict[str, str]:
    paths = os.pathsep.join([str(Path(__file__).parent), *(p for p in sys.path if p)])
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **changes}


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty cache folder, and `library` without memory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("PONDER_NATIVE", raising=False)
    library.cache_clear()
    yield tmp_path / "ponder"
    library.cache_clear()


def test_without_a_compiler_there_is_one_note(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(fresh))
    monkeypatch.delenv("CC", raising=False)
    assert library() is None
    assert library() is None
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "no C compiler" in told
    with pytest.raises(BuildError):
        stepper(NativeStepper, make(), 2, torch.float32)


def test_a_compiler_that_fails_is_one_note(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "cc"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo broken 1.0 && exit 0\necho "error: no disk" >&2\nexit 1\n'
    )
    broken.chmod(0o700)
    monkeypatch.setenv("CC", str(broken))
    assert library() is None
    assert "error: no disk" in capsys.readouterr().err
    assert [p.name for p in fresh.iterdir()] == []


def test_it_can_be_switched_off(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PONDER_NATIVE", "0")
    assert library() is None
    assert capsys.readouterr().err == ""
    assert not fresh.exists()


def test_it_is_compiled_once_and_again_when_damaged(fresh: Path) -> None:
    damaged = fresh / f"native-{build._key(build.find_compiler())}.so"
    fresh.mkdir()
    damaged.write_bytes(b"no library")
    build.build()
    assert list(fresh.iterdir()) == [damaged]
    stamp = damaged.stat()
    assert stamp.st_size > 1000
    build.build()
    assert damaged.stat().st_mtime_ns == stamp.st_mtime_ns


@pytest.mark.slow
def test_a_cache_that_can_not_be_used_is_no_reason_to_fail(fresh: Path) -> None:
    fresh.write_text("a file stands where the folder would be")
    assert build.cache_folder() is None
    fresh.unlink()
    fresh.mkdir()
    fresh.chmod(0o777)  # others could put their code there
    assert build.cache_folder() is None
    assert build.build().ponder_has_dot() in (0, 1)
    assert list(fresh.iterdir()) == []


@pytest.mark.slow
def test_code_for_any_machine_computes_the_same(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compiled without this processor's own instructions, as it would be on one without them."""
    model = make("qwen3", "24")
    fast = [follow(stepper(NativeStepper, model, 9, dtype), 7) for dtype in (torch.float32, torch.bfloat16)]
    monkeypatch.setattr(build, "TUNING", ((),))
    library.cache_clear()
    plain = [follow(stepper(NativeStepper, model, 9, dtype), 7) for dtype in (torch.float32, torch.bfloat16)]
    assert torch.allclose(plain[0], fast[0], atol=1e-5, rtol=0)
    assert torch.allclose(plain[1], fast[1], atol=0.02, rtol=0)
    assert library().ponder_has_dot() == 0  # type: ignore[union-attr]


# ---- inside the engine ----


@pytest.fixture
def engine() -> LocalEngine:
    """The contract's tests, which otherwise run on the kernel where there is one, run here on torch."""
    config = ModelConfig(TOKENIZER.vocab_size, width=32, layers=2, heads=4, kv_heads=2, hidden=48, context=200)
    model = Transformer(config, seed=0)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return LocalEngine(model, TOKENIZER, dtype=torch.float32, rows=8, stepper="torch")


def test_the_engine_takes_the_kernel_where_it_can() -> None:
    assert isinstance(LocalEngine(make())._loop.stepper, NativeStepper)
    assert isinstance(LocalEngine(make(), stepper="native")._loop.stepper, NativeStepper)
    assert isinstance(LocalEngine(make(), stepper="torch")._loop.stepper, TorchStepper)
    assert isinstance(LocalEngine(make(), dtype=torch.float64)._loop.stepper, TorchStepper)
    with pytest.raises(ConfigError, match="did you mean 'native'"):
        LocalEngine(make(), stepper="nativ")  # type: ignore[arg-type]


def test_without_it_the_engine_takes_torch_unless_told_not_to(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PONDER_NATIVE", "0")
    assert isinstance(LocalEngine(make())._loop.stepper, TorchStepper)
    with pytest.raises(ConfigError, match="C compiler"):
        LocalEngine(make(), stepper="native")


def test_the_engine_writes_the_same_with_either() -> None:
    model, requests = make("qwen2"), mixed_requests(40)
    theirs = LocalEngine(model, dtype=torch.float32, rows=16, stepper=TorchStepper).generate(requests)
    ours = LocalEngine(model, dtype=torch.float32, rows=16, stepper=NativeStepper).generate(requests)
    same(ours, theirs)


def test_in_bf16_too_a_draw_does_not_depend_on_the_batch() -> None:
    model, requests = make("llama"), mixed_requests(40)
    together = LocalEngine(model, dtype=torch.bfloat16, rows=16, stepper=NativeStepper).generate(requests)
    lonely = LocalEngine(model, dtype=torch.bfloat16, rows=1, cache_tokens=0, stepper=NativeStepper)
    assert [lonely.generate([r])[0] for r in requests] == [replace(c) for c in together]
