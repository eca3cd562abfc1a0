"""The local engine: batch composition, prefix sharing, precision, refilling, refresh."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
from tokenizers import decoders, pre_tokenizers

import ponder.engines as engines
from ponder import models
from ponder.engines import LocalEngine
from ponder.engines.ticket import Call, Ticket
from ponder.engines.write import speak
from ponder.errors import CheckpointError, ConfigError, WorkError
from ponder.models import ModelConfig, Transformer
from ponder.text import Tokenizer
from ponder.types import DoneEvent, Request, Sampling

CONFIG = ModelConfig(vocab_size=60, width=32, layers=3, heads=4, kv_heads=2, hidden=48, context=300)


def make(config: ModelConfig = CONFIG) -> Transformer:
    model = Transformer(config, seed=1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.15)
    return model


def engine(rows: int = 8, dtype: torch.dtype = torch.float32, **options: object) -> LocalEngine:
    return LocalEngine(make(), rows=rows, dtype=dtype, **options)  # type: ignore[arg-type]


def mixed_requests(count: int = 30) -> list[Request]:
    """Prompts that share nothing, something, or everything; every kind of sampling; lengths from 1 to 60."""
    rng = random.Random(0)
    stem = [rng.randrange(60) for _ in range(60)]
    found: list[Request] = []
    for i in range(count):
        tail = [rng.randrange(60) for _ in range(rng.choice((1, 5, 30)))]
        prompt = rng.choice((stem[:7], stem + tail, stem[:30] + tail, tail))
        sampling = Sampling(
            temperature=rng.choice((0.0, 0.7, 1.0, 1.3)),
            top_k=rng.choice((0, 5)),
            top_p=rng.choice((1.0, 0.8)),
            min_p=rng.choice((0.0, 0.05)),
            max_tokens=rng.randrange(1, 60),
            stop_ids=rng.choice(((), (3,), (4, 5))),
            seed=i // 2,
        )
        found.append(Request(tuple(prompt), sampling, id=str(i)))
    return found


def same(a, b, tolerance: float = 1e-5) -> None:
    assert [c.token_ids for c in a] == [c.token_ids for c in b]
    assert [c.finish for c in a] == [c.finish for c in b]
    for x, y in zip(a, b, strict=True):
        assert x.logprobs == pytest.approx(y.logprobs, abs=tolerance)


def test_neighbours_rows_order_and_sharing_change_nothing() -> None:
    requests = mixed_requests()
    together = engine(rows=16).generate(requests)
    lonely = engine(rows=1, cache_tokens=0)
    same(together, [lonely.generate([r])[0] for r in requests])
    order = list(range(len(requests)))
    random.Random(1).shuffle(order)
    shuffled = engine(rows=5).generate([requests[i] for i in order])
    same(together, [shuffled[order.index(i)] for i in range(len(requests))])
    same(together, engine(rows=64, cache_completions=False).generate(requests))


def naive(model: Transformer, request: Request) -> list[int]:
    """Greedy decoding without cache, batch or engine."""
    ids = list(request.prompt_ids)
    for _ in range(request.sampling.max_tokens):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(request.prompt_ids) :]


def test_greedy_equals_the_naive_loop() -> None:
    requests = [replace(r, sampling=Sampling(temperature=0, max_tokens=20)) for r in mixed_requests(12)]
    model = make()
    done = engine(rows=4).generate(requests)
    assert [list(c.token_ids) for c in done] == [naive(model, r) for r in requests]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.1)])
def test_logprobs_equal_the_trainers_forward_pass(dtype: torch.dtype, tolerance: float) -> None:
    model = make()
    requests = [replace(r, sampling=Sampling(seed=i, max_tokens=30)) for i, r in enumerate(mixed_requests(24))]
    gaps = []
    for completion in LocalEngine(model, rows=16, dtype=dtype).generate(requests):
        ids, start = torch.tensor([completion.prompt_ids + completion.token_ids]), len(completion.prompt_ids)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            logprobs = model(ids).log_softmax(-1)[0, start - 1 : -1]
        trainer = logprobs.gather(1, ids[0, start:, None])[:, 0]
        gaps.append((trainer - torch.tensor(completion.logprobs)).abs())
    gap = torch.cat(gaps)
    assert gap.max() < tolerance
    assert gap.mean() < tolerance / 20


def test_bf16_logprobs_within_a_thousandth_of_the_trainers() -> None:
    """An unlucky rounding somewhere costs torch's decoding a thousandth; the kernel shares all roundings with the trainer."""
    config = replace(CONFIG, vocab_size=200, width=64, heads=8, hidden=160)
    model, requests = Transformer(config, seed=0), mixed_requests(24)
    requests = [replace(r, sampling=Sampling(seed=i, max_tokens=40)) for i, r in enumerate(requests)]
    e = LocalEngine(model, rows=16, dtype=torch.bfloat16)
    for completion in e.generate(requests):
        ids, start = torch.tensor([completion.prompt_ids + completion.token_ids]), len(completion.prompt_ids)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            logprobs = model(ids).log_softmax(-1)[0, start - 1 : -1]
        gap = logprobs.gather(1, ids[0, start:, None])[:, 0] - torch.tensor(completion.logprobs)
        assert gap.abs().max() <= 1e-3


def test_forgetting_empties_the_cache() -> None:
    e = engine()
    request = Request(tuple(range(30)), Sampling(seed=1, max_tokens=5))
    first = e.generate([request])
    e.forget()
    assert e._loop.tree.tokens == 0
    same(first, e.generate([request]))
    assert e.ledger.cached == 0


def test_identical_prompts_are_prefilled_once() -> None:
    e = engine(rows=16)
    prompt = tuple(int(t) for t in np.random.default_rng(0).integers(0, 60, 50))
    e.generate([Request(prompt, Sampling(seed=i, max_tokens=4)) for i in range(40)])  # three admissions
    assert e.ledger.prefilled == 49 + 40  # the last prompt token is the first that is decoded
    assert e.ledger.cached == 49 * 39


def test_a_branch_of_an_earlier_completion_shares_it() -> None:
    e = engine()
    first = e.generate([Request(tuple(range(20)), Sampling(seed=0, max_tokens=40))])[0]
    branch = (*first.prompt_ids, *first.token_ids[:25])
    before = e.ledger
    again = e.generate([Request(branch, Sampling(seed=5, max_tokens=10))])
    spent = e.ledger - before
    assert (spent.cached, spent.prefilled) == (44, 1)
    same(again, engine(cache_tokens=0).generate([Request(branch, Sampling(seed=5, max_tokens=10))]))


def test_a_long_common_beginning_is_prefilled_once_in_one_call() -> None:
    e = engine(rows=8)
    stem = tuple(i % 60 for i in range(100))
    e.generate([Request((*stem, i, i + 1), Sampling(max_tokens=2)) for i in range(8)])
    assert e.ledger.prefilled == 100 + 8 * 2
    assert e.ledger.cached == 100 * 7


def test_the_cache_keeps_to_its_capacity() -> None:
    e = engine(rows=4, cache_tokens=200)
    rng = np.random.default_rng(0)
    for i in range(10):
        prompt = tuple(int(t) for t in rng.integers(0, 60, 40))
        e.generate([Request(prompt, Sampling(seed=i, max_tokens=30))])
        assert e._loop.tree.tokens <= 200
    assert e._loop.tree.tokens > 0


def test_flops_of_one_request_by_hand() -> None:
    e = engine()
    e.generate([Request((1, 2, 3, 4), Sampling(max_tokens=3))])
    # three prompt tokens without output matrix, then tokens at positions 3, 4, 5 with it
    expected = CONFIG.flops(3, 1 + 2 + 3, sampled=0) + CONFIG.flops(3, 4 + 5 + 6)
    assert e.ledger.flops == expected
    assert e.ledger.decoded == 3


def test_refresh_takes_new_weights_and_forgets_the_old() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        model = make()
        e = LocalEngine(model, dtype=dtype, rows=4)
        request = Request(tuple(range(30)), Sampling(temperature=0, max_tokens=20))
        before = e.generate([request])
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(-0.7)
        e.refresh()
        cached = e.ledger.cached
        after = e.generate([request])
        assert e.ledger.cached == cached
        assert after[0].token_ids != before[0].token_ids
        same(after, LocalEngine(model, dtype=dtype, rows=4).generate([request]), 1e-3)


def test_refresh_while_generating_is_refused() -> None:
    e = engine()
    events = e.stream(mixed_requests(4))
    next(iter(events))
    with pytest.raises(WorkError, match="still generating"):
        e.refresh()
    events.close()  # type: ignore[attr-defined]
    e.refresh()


def test_damaged_weights_are_one_clear_line_and_do_not_stay() -> None:
    model = make()
    e = LocalEngine(model, dtype=torch.float32)
    weight = model.blocks[0].down.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.fill_(float("nan"))
    e.refresh()
    with pytest.raises(WorkError, match="not finite"):
        e.generate(mixed_requests(3))
    with torch.no_grad():
        weight.copy_(kept)
    e.refresh()
    same(e.generate(mixed_requests(3)), engine().generate(mixed_requests(3)))


def test_slots_are_refilled_while_others_run() -> None:
    e = engine(rows=4)
    lengths = [40, *([5] * 20)]
    events = e.stream([Request((i % 60,), Sampling(seed=i, max_tokens=n)) for i, n in enumerate(lengths)])
    done_at = [event.index for event in events if isinstance(event, DoneEvent)]
    assert done_at.index(0) > 15  # the long one ended after most of the short ones had come and gone


def test_more_stop_sets_than_the_table_holds() -> None:
    requests = [Request((1, 2), Sampling(seed=i, max_tokens=3, stop_ids=(i % 60, i // 60))) for i in range(700)]
    assert len(engine(rows=64).generate(requests)) == 700


def test_streamed_text_waits_for_whole_characters() -> None:
    vocab = {c: i for i, c in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(vocab, []))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = Tokenizer(inner, "{{ messages[-1].content }}")
    ticket = Ticket(Request((0,)), 0, Call(True, 1), (), 10, False)
    pieces = [speak(tokenizer, ticket, i) for i in tokenizer.encode("né→x")]
    assert "".join(pieces) == "né→x"
    assert pieces == ["n", "", "é", "", "", "→", "x"]


def test_default_precision_and_odd_arguments() -> None:
    with pytest.raises(ConfigError, match="rows is 0"):
        engine(rows=0)
    with pytest.raises(ConfigError, match="without a tokenizer"):
        engine().encode([])
    with pytest.raises(ConfigError, match="tokens, the model only 60"):
        LocalEngine(make(), Tokenizer.mini())
    with pytest.raises(ConfigError, match="no think tokens"):
        engine().generate([Request((1,), Sampling(think_budget=3))])


def test_load_by_folder_and_by_name(tmp_path: Path) -> None:
    tokenizer = Tokenizer.mini()
    model = make(replace(CONFIG, vocab_size=tokenizer.vocab_size))
    models.save(model, tmp_path / "m", tokenizer)
    loaded = engines.load(str(tmp_path / "m"), dtype="fp32", rows=2)
    assert loaded.path == str(tmp_path / "m")
    assert loaded.name == "m"
    request = Request(tuple(tokenizer.encode("1+1")), Sampling(seed=3, max_tokens=8))
    same(loaded.generate([request]), LocalEngine(model, tokenizer, dtype=torch.float32).generate([request]))
    with pytest.raises(ConfigError, match=r"unknown precision 'fp8'.*bf16, fp32"):
        engines.load(tmp_path / "m", dtype="fp8")


def test_load_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(CheckpointError, match="nor a Hugging Face model in the local cache"):
        engines.load("someone/some-model")
    with pytest.raises(CheckpointError, match="no such folder"):
        engines.load(tmp_path / "nothing")
    with pytest.raises(ConfigError, match=r"unknown engine 'minni'.*did you mean 'mini'"):
        engines.load("minni")


def test_load_from_the_hugging_face_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    tokenizer = Tokenizer.mini()
    home = tmp_path / "hub" / "models--someone--some-model"
    models.save(make(replace(CONFIG, vocab_size=tokenizer.vocab_size)), home / "snapshots" / "abc", tokenizer)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("abc")
    loaded = engines.load("someone/some-model")
    assert loaded.name == "someone/some-model"
    assert len(loaded.generate([Request((5,), Sampling(max_tokens=2))])) == 1
