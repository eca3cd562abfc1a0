"""Examples from tasks, files and generated text: order, restarting, broken rows."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ponder.errors import ConfigError, DataError, PonderError
from ponder.text.tokenizer import Tokenizer
from ponder.training.examples import Example, from_demonstration, from_pieces
from ponder.training.feed import Feed
from ponder.training.sources import BLOCK, Problems, Shuffled, open_source, place, schedule
from ponder.types import Demonstration, Problem

TOKENIZER = Tokenizer.mini()
CORPUS: dict[str, Any] = {"kind": "corpus", "mixture": {"copy": 1.0, "compare": 1.0}}
TASKS: dict[str, Any] = {
    "kind": "mixture",
    "data": [{"task": "countdown", "efforts": ["low"]}, {"task": "chain", "limit": 20}],
}
COMMON: dict[str, Any] = {"tokenizer": "mini", "seed": 5, "context": 512}


def ids(examples: list[Example]) -> list[list[int]]:
    return [e.token_ids.tolist() for e in examples]


def test_demonstration_learns_the_completion_and_its_end() -> None:
    problem = Problem.from_text("3,4->7")
    e = from_demonstration(Demonstration(problem, "<think>3+4=7!</think>3+4", "high"), TOKENIZER)
    assert (
        TOKENIZER.decode(e.token_ids.tolist()) == "<|user|>3,4->7<|high|><|assistant|><think>3+4=7!</think>3+4<|end|>"
    )
    learned = TOKENIZER.decode(e.token_ids[e.trainable].tolist())
    assert learned == "<think>3+4=7!</think>3+4<|end|>"


def test_pieces_learn_what_follows_from_what() -> None:
    e = from_pieces([("1+2=", False), ("3;", True)], TOKENIZER)
    assert TOKENIZER.decode(e.token_ids[e.trainable].tolist()) == "3;<|end|>"
    assert not from_pieces([("ab", True)], TOKENIZER).trainable[0]


def test_corpus_changes_its_mixture_at_one_document() -> None:
    early, late = {"copy": 1.0}, {"compare": 1.0}
    spec = {"kind": "corpus", "mixture": early, "anneal": late, "anneal_from": 100, **COMMON}
    whole, copies, compares = (
        [e.token_ids.tolist() for e in open_source({**spec, **change}).block(0)]
        for change in ({}, {"anneal": {}}, {"mixture": late, "anneal": {}})
    )
    assert copies[100:] != compares[100:]
    assert whole == copies[:100] + compares[100:]


@pytest.mark.parametrize("spec", [CORPUS, TASKS], ids=["corpus", "tasks"])
@pytest.mark.parametrize("worker", [False, True])
def test_feed_restarts_anywhere(spec: dict[str, Any], worker: bool) -> None:
    whole = [e for n in range(2) for e in open_source({**spec, **COMMON}).block(n)]
    assert len({tuple(x) for x in ids(whole)}) > BLOCK / 2
    with Feed({**spec, **COMMON}, worker=worker) as feed:
        first = [e for _ in range(4) for e in feed.take(3000)]
        cursor = feed.cursor
    assert cursor == len(first)
    with Feed({**spec, **COMMON}, cursor, worker=worker) as feed:
        second = feed.take(3000)
    both = first + second
    assert ids(both) == ids(whole[: len(both)])
    assert all(np.array_equal(a.trainable, b.trainable) for a, b in zip(both, whole, strict=False))
    assert sum(map(len, second)) <= 3000


def test_seeds_differ_and_training_problems_are_of_the_training_split() -> None:
    a = open_source({**TASKS, **COMMON}).block(0)
    b = open_source({**TASKS, **COMMON, "seed": 6}).block(0)
    assert ids(a) != ids(b)
    problems = Problems({"task": "countdown"}, 0)
    drawn = [problems.draw(n)[0] for n in range(200)]
    assert {p.split for p in drawn} == {"train"}
    assert [p.id for p in drawn[:5]] == [problems.draw(n)[0].id for n in range(5)]
    assert len({p.id for p in drawn}) > 150


def test_schedule_is_exact() -> None:
    order = schedule([3.0, 1.0, 0.0], 1)
    assert Counter(order) == {0: 750, 1: 250}
    seen = Counter(place(order, i) for i in range(2500))
    assert set(seen.values()) == {1}
    assert sorted(c for part, c in seen if part == 1) == list(range(sum(part == 1 for part, _ in seen)))
    for weights in ([], [0.0], [1.0, -1.0]):
        with pytest.raises(ConfigError, match="weights"):
            schedule(weights, 0)


def test_shuffled_epochs_are_permutations() -> None:
    walk = Shuffled(7, ("x",))
    epochs = [[walk[7 * e + i] for i in range(7)] for e in range(3)]
    assert all(sorted(e) == list(range(7)) for e in epochs)
    assert epochs[0] != epochs[1]
    assert walk[3] == epochs[0][3]


def test_files_by_columns_and_messages(tmp_path: Path) -> None:
    plain, chat = tmp_path / "plain.jsonl", tmp_path / "chat.jsonl"
    plain.write_text(json.dumps({"q": "2+2", "a": "<think></think>4", "effort": "low"}) + "\n")
    chat.write_text(
        json.dumps({"messages": [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]}) + "\n"
    )
    data = [{"file": str(plain), "prompt": "q", "completion": "a"}, {"file": str(chat)}]
    texts = {
        TOKENIZER.decode(e.token_ids.tolist())
        for e in open_source({"kind": "mixture", "data": data, **COMMON}).block(0)
    }
    assert texts == {"<|user|>2+2<|low|><|assistant|><think></think>4<|end|>", "<|user|>1<|assistant|>2<|end|>"}


def test_parquet_rows(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    parquet.write_table(pa.table({"prompt": ["a", "b"], "completion": ["c", "d"]}), tmp_path / "x.parquet")
    data = [{"file": str(tmp_path / "x.parquet")}]
    assert len({tuple(x) for x in ids(open_source({"kind": "mixture", "data": data, **COMMON}).block(0))}) == 2


BROKEN = {
    "not json": ("{", "x.jsonl:2: not valid JSON"),
    "not an object": ("[1]", "x.jsonl:2: expected an object with named columns, found a list"),
    "missing": ('{"prompt": "a", "answer": "b"}', "x.jsonl:2: no text in 'completion'; the row has answer, prompt"),
    "empty": ('{"prompt": "a", "completion": " "}', "x.jsonl:2: the completion is empty"),
    "user last": (
        '{"messages": [{"role": "user", "content": "a"}]}',
        "x.jsonl:2: messages must end with the assistant",
    ),
    "no role": ('{"messages": [{"content": "a"}]}', "x.jsonl:2: messages must be a list of objects"),
    "too long": (
        json.dumps({"prompt": "a", "completion": "b" * 600}),
        "x.jsonl:2: 604 tokens do not fit the context of 512",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_rows_name_file_and_line(case: str, tmp_path: Path) -> None:
    row, message = BROKEN[case]
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n" + row + "\n")
    with pytest.raises(DataError, match=message.replace("(", "\\(")):
        open_source({"kind": "mixture", "data": [{"file": str(path)}], **COMMON}).block(0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "data is empty"),
        ([{"file": "nowhere.jsonl"}], "no such file"),
        ([{"task": "countdown", "file": "x"}], "either task or file"),
        ([{"task": "countdwn"}], "did you mean 'countdown'"),
        ([{"task": "countdown", "hihgest": 9}], "did you mean 'highest'"),
    ],
)
def test_bad_data_settings(data: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(PonderError, match=message):
        open_source({"kind": "mixture", "data": data, **COMMON})


def test_worker_reports_its_error() -> None:
    with (
        Feed({"kind": "corpus", "mixture": {"coppy": 1.0}, **COMMON}, worker=True) as feed,
        pytest.raises(ConfigError, match="copy"),
    ):
        feed.take(100)
