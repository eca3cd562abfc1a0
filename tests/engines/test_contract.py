"""What every engine must do, run against the local one (a tiny random model) and the scripted one."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch

from ponder.engines import LocalEngine, ScriptedEngine
from ponder.errors import ConfigError
from ponder.models import ModelConfig, Transformer
from ponder.text import Tokenizer
from ponder.types import Completion, DoneEvent, Engine, Message, Request, Sampling, TokenEvent

TOKENIZER = Tokenizer.mini()
LINE = "<think>a=1+2=3;b=a+a=6</think>b is 6, and that is all there is to say about it"
SCRIPT = {"*": [LINE, LINE.replace("6", "7")]}


def local() -> LocalEngine:
    config = ModelConfig(TOKENIZER.vocab_size, width=32, layers=2, heads=4, kv_heads=2, hidden=48, context=200)
    model = Transformer(config, seed=0)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return LocalEngine(model, TOKENIZER, dtype=torch.float32, rows=8)


@pytest.fixture(params=["local", "scripted"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return local() if request.param == "local" else ScriptedEngine(SCRIPT, context=200)


def requests(engine: Engine, count: int = 12, **sampling: object) -> list[Request]:
    settings = {"max_tokens": 20, **sampling}
    prompts = [engine.encode([Message("user", f"question {i % 3}")]) for i in range(count)]
    return [Request(p, Sampling(seed=i, **settings), id=f"r{i}", problem_id=f"p{i % 3}") for i, p in enumerate(prompts)]


def test_it_is_an_engine(engine: Engine) -> None:
    assert isinstance(engine, Engine)
    assert engine.name
    assert engine.context == 200


def test_completions_come_in_order_and_say_what_they_answer(engine: Engine) -> None:
    wanted = requests(engine)
    done = engine.generate(wanted)
    assert [c.request_id for c in done] == [r.id for r in wanted]
    for completion, request in zip(done, wanted, strict=True):
        assert completion.prompt_ids == request.prompt_ids
        assert completion.problem_id == request.problem_id
        assert 1 <= len(completion.token_ids) == len(completion.logprobs) <= 20
        assert all(p <= 0 for p in completion.logprobs)
        ends = completion.token_ids[-1] in TOKENIZER.stop_ids
        assert completion.finish == ("stop" if ends else "length")
        assert ends or len(completion.token_ids) == 20


def test_the_same_request_gives_the_same_completion(engine: Engine) -> None:
    wanted = requests(engine)
    first = engine.generate(wanted)
    again = engine.generate(list(reversed(wanted)))[::-1]
    alone = [engine.generate([request])[0] for request in wanted]
    assert [c.token_ids for c in first] == [c.token_ids for c in again] == [c.token_ids for c in alone]


def test_seeds_differ(engine: Engine) -> None:
    prompt = engine.encode([Message("user", "x")])
    done = engine.generate([Request(prompt, Sampling(seed=i, max_tokens=40)) for i in range(6)])
    assert len({c.token_ids for c in done}) > 1


def test_greedy_does_not_depend_on_the_seed(engine: Engine) -> None:
    prompt = engine.encode([Message("user", "x")])
    done = engine.generate([Request(prompt, Sampling(temperature=0, seed=i, max_tokens=30)) for i in range(4)])
    assert len({c.token_ids for c in done}) == 1


def test_logprobs_of_what_was_written(engine: Engine) -> None:
    done = engine.generate(requests(engine))
    scored = engine.logprobs([c.prompt_ids + c.token_ids for c in done])
    for completion, row in zip(done, scored, strict=True):
        assert row[0] == 0.0
        assert len(row) == len(completion.prompt_ids) + len(completion.token_ids)
        assert row[len(completion.prompt_ids) :] == pytest.approx(completion.logprobs, abs=1e-5)


def test_logprobs_of_nothing_and_of_one_token(engine: Engine) -> None:
    assert engine.logprobs([[], [5]]) == [[], [0.0]]
    assert engine.logprobs([]) == []


def test_stream_tells_the_same_as_generate(engine: Engine) -> None:
    wanted = requests(engine)
    tokens: dict[int, list[TokenEvent]] = {i: [] for i in range(len(wanted))}
    done: dict[int, Completion] = {}
    for event in engine.stream(wanted):
        assert event.index not in done, "nothing follows the end of a request"
        if isinstance(event, DoneEvent):
            done[event.index] = event.completion
        else:
            tokens[event.index].append(event)
    for i, again in enumerate(engine.generate(wanted)):
        assert replace(done[i], logprobs=()) == replace(again, logprobs=())
        assert done[i].logprobs == pytest.approx(again.logprobs, abs=1e-5), "another batch, another order of sums"
    for index, completion in done.items():
        assert tuple(t.token_id for t in tokens[index]) == completion.token_ids
        assert tuple(t.logprob for t in tokens[index]) == pytest.approx(completion.logprobs)
        assert "".join(t.text for t in tokens[index]) == completion.text


def test_requests_run_together(engine: Engine) -> None:
    order = [event.index for event in engine.stream(requests(engine, 4)) if isinstance(event, TokenEvent)]
    assert set(order[:4]) == {0, 1, 2, 3}


def test_on_done_is_told_of_every_completion(engine: Engine) -> None:
    seen: list[DoneEvent] = []
    done = engine.generate(requests(engine), on_done=seen.append)
    assert sorted(e.index for e in seen) == list(range(12))
    assert all(done[e.index] is e.completion for e in seen)


def test_it_stops_at_any_stop_token_and_keeps_it(engine: Engine) -> None:
    free = engine.generate(requests(engine, 3, max_tokens=60))
    stop = free[0].token_ids[5]
    first = free[0].token_ids.index(stop)
    cut = engine.generate(requests(engine, 3, max_tokens=60, stop_ids=(stop,)))[0]
    assert cut.token_ids == free[0].token_ids[: first + 1]
    assert cut.finish == "stop"


def test_the_context_is_the_limit(engine: Engine) -> None:
    prompt = engine.encode([Message("user", "y" * 180)])
    room = 200 - len(prompt)
    done = engine.generate([Request(prompt, Sampling(seed=i, max_tokens=500)) for i in range(4)])
    assert all(len(c.token_ids) <= room for c in done)
    assert any(len(c.token_ids) == room and c.finish == "length" for c in done)


def test_cancelling_from_another_thread(engine: Engine) -> None:
    wanted = requests(engine, 6, max_tokens=150)
    free = engine.generate(wanted)
    done: dict[int, Completion] = {}
    seen = 0
    for event in engine.stream(wanted):
        seen += isinstance(event, TokenEvent)
        if seen == 6:
            seen += 1
            for index in (1, 4):
                thread = threading.Thread(target=engine.cancel, args=(f"r{index}",))
                thread.start()
                thread.join()
        if isinstance(event, DoneEvent):
            done[event.index] = event.completion
    for index in range(6):
        if index in (1, 4):
            count = len(done[index].token_ids)
            assert done[index].finish == "cancelled"
            assert count < len(free[index].token_ids)
            assert done[index].token_ids == free[index].token_ids[:count]
        else:
            assert done[index].token_ids == free[index].token_ids
    engine.cancel("never heard of")
    assert engine.generate(wanted)[1].finish != "cancelled"  # a cancelled id can be used again


def test_leaving_a_stream_early_leaves_the_engine_usable(engine: Engine) -> None:
    wanted = requests(engine)
    expected = engine.generate(wanted)
    events = engine.stream(wanted)
    for _ in range(5):
        next(iter(events))
    events.close()  # type: ignore[attr-defined]
    assert [c.token_ids for c in engine.generate(wanted)] == [c.token_ids for c in expected]


def test_calls_from_several_threads(engine: Engine) -> None:
    wanted = requests(engine, 9)
    expected = [c.token_ids for c in engine.generate(wanted)]
    found: dict[int, list[tuple[int, ...]]] = {}

    def work(part: int) -> None:
        found[part] = [c.token_ids for c in engine.generate(wanted[part::3])]

    threads = [threading.Thread(target=work, args=(part,)) for part in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[part] == expected[part::3] for part in range(3))


def test_thinking_is_closed_at_its_budget(engine: Engine) -> None:
    open_, close = TOKENIZER.think_open, TOKENIZER.think_close
    base = engine.encode([Message("user", "x")])
    prompt = base if isinstance(engine, ScriptedEngine) else (*base, open_)
    lead = 1 if isinstance(engine, ScriptedEngine) else 0
    done = engine.generate([Request(prompt, Sampling(seed=i, max_tokens=30, think_budget=6)) for i in range(4)])
    for completion in done:
        at = completion.token_ids.index(close)
        assert at == lead + 6
        assert completion.forced == tuple(i == at for i in range(len(completion.token_ids)))
        assert completion.thinking == TOKENIZER.decode(completion.token_ids[lead:at])
        assert completion.answer is not None
    scored = engine.logprobs([c.prompt_ids + c.token_ids for c in done])
    for completion, row in zip(done, scored, strict=True):
        assert row[len(prompt) :] == pytest.approx(completion.logprobs, abs=1e-5)


def test_room_for_the_answer_is_reserved(engine: Engine) -> None:
    base = engine.encode([Message("user", "x")])
    prompt = base if isinstance(engine, ScriptedEngine) else (*base, TOKENIZER.think_open)
    done = engine.generate([Request(prompt, Sampling(seed=i, max_tokens=16, answer_reserve=5)) for i in range(6)])
    closed = [c for c in done if TOKENIZER.think_close in c.token_ids]
    assert len(closed) >= 3
    assert all(c.token_ids.index(TOKENIZER.think_close) <= 10 for c in closed)
    assert all(c.finish == "stop" for c in done if c not in closed)  # it may end by itself while thinking


def test_the_ledger_counts_every_token_once(engine: Engine) -> None:
    wanted = requests(engine)
    before = engine.ledger
    done = engine.generate(wanted)
    spent = engine.ledger - before
    assert spent.decoded == sum(len(c.token_ids) for c in done)
    assert spent.cached + spent.prefilled == sum(len(r.prompt_ids) for r in wanted)
    assert spent.seconds > 0


def test_no_requests_no_completions(engine: Engine) -> None:
    assert engine.generate([]) == []
    assert list(engine.stream([])) == []


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"min_p": 1.5}, "min_p is 1.5"),
        ({"top_k": -2}, "top_k is -2"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"answer_reserve": 40}, "answer_reserve 40 must be less than max_tokens"),
    ],
)
def test_impossible_settings_are_one_clear_line(engine: Engine, settings: dict[str, float], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        engine.generate(requests(engine, 2, **settings))
    assert len(engine.generate(requests(engine, 2))) == 2


def test_impossible_prompts_are_one_clear_line(engine: Engine) -> None:
    for prompt, match in (
        ((), "empty"),
        ((5,) * 200, "200 tokens.*context of 200"),
        ((5, 10**6), "1000000"),
        ((-1,), "-1"),
    ):
        with pytest.raises(ConfigError, match=match):
            engine.stream([Request(prompt)])
    with pytest.raises(ConfigError, match="outside"):
        engine.logprobs([[1, 10**6]])
