"""The row format of labelled samples: round trips, checks, broken files; and where steps are cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ponder.errors import DataError
from ponder.text.steps import cut, last_tokens, step_ids
from ponder.types import Message
from ponder.verifiers import samples
from ponder.verifiers.samples import LabelledSample
from verifiers.tiny import TOKENIZER

GOOD: dict[str, Any] = {
    "problem": "p1",
    "messages": (Message("user", "3,4>7"),),
    "prompt_ids": (4, 30, 5),
    "token_ids": (6, 31, 32, 33, 1),
    "logprobs": (-0.5, -0.25, 0.0, -1.0, -2.0),
    "starts": (0, 3),
    "labels": (1.0, None),
    "correct": True,
    "source": "exact",
}


def test_round_trip(tmp_path: Path) -> None:
    first, second = (
        LabelledSample(**GOOD),
        LabelledSample(problem="p2", messages=(), texts=("a", "b"), labels=(0.25, 0.0)),
    )
    assert samples.write(tmp_path / "rows.jsonl", [first]) == 1
    samples.write(tmp_path / "rows.jsonl", [second])
    assert list(samples.read(tmp_path / "rows.jsonl")) == [first, second]
    with (tmp_path / "rows.jsonl").open("ab") as file:
        file.write(b'{"problem": "p3", "mess')  # all that a kill can leave
    assert len(list(samples.read(tmp_path / "rows.jsonl"))) == 2


def test_the_trace_of_a_sample() -> None:
    trace = LabelledSample(**GOOD).trace()
    assert (trace.prompt_ids, trace.token_ids, trace.starts, trace.finished) == (
        (4, 30, 5),
        (6, 31, 32, 33, 1),
        (0, 3),
        True,
    )
    assert not hasattr(trace, "correct")  # what a verifier sees does not say what is right


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"token_ids": (), "logprobs": (), "starts": (), "labels": ()}, "an empty sample"),
        ({"starts": (1, 3)}, "must begin with 0"),
        ({"starts": (0, 3, 3)}, "must begin with 0, rise"),
        ({"starts": (0, 5)}, "stay below 5"),
        ({"starts": ()}, "must begin with 0"),
        ({"logprobs": (-1.0,)}, "1 logprobs for 5 token_ids"),
        ({"logprobs": (-1.0, float("nan"), 0.0, 0.0, 0.0)}, "not finite"),
        ({"labels": (1.0,)}, "1 labels for 2 steps"),
        ({"labels": (1.5, None)}, "label 1.5 is outside 0 to 1"),
        ({"labels": (float("nan"), None)}, "outside 0 to 1"),
        ({"prompt_ids": (-1,)}, "below 0"),
    ],
)
def test_parts_that_do_not_fit_together(change: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        samples.check(LabelledSample(**{**GOOD, **change}), "rows.jsonl:7")


@pytest.mark.parametrize(
    "line", [b"nonsense", b"[]", b'{"problem": "p"}', b'{"problem": "p", "messages": [], "tokens": [1]}', b"\xff\xfe"]
)
def test_broken_lines_are_named(line: bytes, tmp_path: Path) -> None:
    good = msgspec.json.encode(LabelledSample(**GOOD))
    (tmp_path / "rows.jsonl").write_bytes(good + b"\n" + line + b"\n")
    with pytest.raises(DataError, match=r"rows\.jsonl:2: not a labelled sample"):
        list(samples.read(tmp_path / "rows.jsonl"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can not be read"):
        list(samples.read(tmp_path / "none.jsonl"))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20))
def test_steps_end_with_their_mark(ids: list[int]) -> None:
    starts = cut(ids, (0, 1))
    pieces = [ids[a:b] for a, b in zip(starts, (*starts[1:], len(ids)), strict=True)]
    assert [i for piece in pieces for i in piece] == ids and all(pieces)
    assert all(piece[-1] in (0, 1) and not {0, 1} & {*piece[:-1]} for piece in pieces[:-1])
    assert [ids[i] for i in last_tokens(starts, len(ids))] == [piece[-1] for piece in pieces]


def test_the_miniature_ends_a_step_with_a_line_or_a_semicolon() -> None:
    assert {TOKENIZER.decode([i]) for i in step_ids(TOKENIZER)} == {"\n", ";"}
    ids = TOKENIZER.encode("<think>12-7=5;5*3=15\n1+2=3</think>1<|end|>")
    starts = cut(ids, step_ids(TOKENIZER))
    texts = [TOKENIZER.decode(ids[a:b]) for a, b in zip(starts, (*starts[1:], len(ids)), strict=True)]
    assert texts == ["<think>12-7=5;", "5*3=15\n", "1+2=3</think>1<|end|>"]
