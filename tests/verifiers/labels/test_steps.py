from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from verifier_fakes import byte_pairs

from ponder.text import Tokenizer
from ponder.verifiers.labels.steps import LEAST, align, boundaries, guarded, segment, split


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("", []),
        ("one line", ["one line"]),
        ("first\n\nsecond\n \n\nthird", ["first\n\n", "second\n \n\n", "third"]),
        ("a\nb\nc", ["a\n", "b\n", "c"]),  # lines, where there are no paragraphs
        ("para one\nstill\n\npara two", ["para one\nstill\n\n", "para two"]),
        ("Step 1: a\nb\nStep 2: c", ["Step 1: a\nb\n", "Step 2: c"]),
        ("**Step 1:** a\n**Step 2:** b", ["**Step 1:** a\n", "**Step 2:** b"]),
        ("1. a\n2) b\n(3) c", ["1. a\n", "2) b\n", "(3) c"]),
        ("## Plan\n\nAdd.\n\n## Work\n\nDone.", ["## Plan\n\nAdd.\n\n", "## Work\n\nDone."]),  # a heading with its text
        ("Step 1:\n\nAdd.\n\nStep 2:\n\nStop.", ["Step 1:\n\nAdd.\n\n", "Step 2:\n\nStop."]),
        ("# Answer\n\n29", ["# Answer\n\n29"]),
        (
            "So we get\n\n\\[\nx=1\n\n\\]\n\nNext",
            ["So we get\n\n\\[\nx=1\n\n\\]\n\n", "Next"],
        ),  # formula with its sentence
        ("A:\n\nx = 1\n\nB", ["A:\n\nx = 1\n\n", "B"]),
        ("$$\na\n\nb\n$$\n\nwhere b is 1.\n\nEnd", ["$$\na\n\nb\n$$\n\nwhere b is 1.\n\n", "End"]),
        ("\\begin{align}\na\n\n1. b\n\\end{align}\n\nEnd", ["\\begin{align}\na\n\n1. b\n\\end{align}\n\n", "End"]),
        ("Code\n\n```python\na = 1\n\n# b\n```\n\nEnd", ["Code\n\n", "```python\na = 1\n\n# b\n```\n\n", "End"]),
        ("```\nnever\n\nclosed", ["```\nnever\n\nclosed"]),
        ("\\[ never\n\nclosed", ["\\[ never\n\n", "closed"]),
        ("a\n\n```\nb\n```c\n\nd\n```", ["a\n\n", "```\nb\n```c\n\nd\n```"]),  # a fence ends on a line of its own
        ("<think>a\n\nb\n</think>\nThe answer", ["<think>a\n\n", "b\n</think>\n", "The answer"]),
        (" \n\n \n", [" \n\n \n"]),
    ],
)
def test_by_meaning(text: str, steps: list[str]) -> None:
    assert split(text) == steps


def test_sentences_are_gathered() -> None:
    text = (
        "We have 3.5 apples, i.e. more than three. Mr. Smith buys 4 more, see Fig. 2 and $x. Y$ there. "
        "Now there are 7.5 apples in the basket, and that is all there is to know! So is the answer 7.5? Yes."
    )
    assert split(text) == [
        "We have 3.5 apples, i.e. more than three. Mr. Smith buys 4 more, see Fig. 2 and $x. Y$ there. ",
        "Now there are 7.5 apples in the basket, and that is all there is to know! So is the answer 7.5? Yes.",
    ]


def test_a_long_paragraph_is_cut_into_sentences() -> None:
    long = "This is a sentence of some fifty characters in all. " * 40
    steps = split(f"Short.\n\n{long.strip()}\n\nEnd.")
    assert (steps[0], steps[-1]) == ("Short.\n\n", "End.")
    assert len(steps) == 22
    assert all(len(step) >= LEAST for step in steps[1:-1])


PIECES = ["a", "B. ", "\n", "\n\n", " ", "$$", "\\[", "\\]", "```", "```\n", "Step 1", "2. ", "$", "\\begin{a}", "\\end{a}",
          "where ", ":", "# ", "</think>", "x" * 50, "é", "\t"]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
@example("\n\n```\n$$\n```\n\n$$")
def test_pieces_joined_are_the_text_and_none_divides_what_is_guarded(text: str) -> None:
    steps = split(text)
    assert "".join(steps) == text
    assert all(step.strip() for step in steps) or len(steps) == 1
    shut = guarded(text)
    assert all(a < b for a, b in shut)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(shut))
    assert not [(cut, span) for cut in boundaries(text) for span in shut if span[0] < cut < span[1]]


@pytest.mark.parametrize(
    "piece", ["$$", "\\[", "\\begin{a}", "```\n", "\\( a. B", "where\n\n", "x:\n\n", "\n \n", "1. "]
)
def test_hostile_text_is_one_pass(piece: str) -> None:
    began = time.process_time()
    for size in (4_000, 16_000):
        assert "".join(split(piece * size)) == piece * size
    assert time.process_time() - began < 5  # quadratic in 16,000 pieces would be minutes


# ---- tokens


def test_positions_in_tokens() -> None:
    tokenizer = byte_pairs()
    text = "Step two.\n\nThen two.\n\nEnd"
    ids = tokenizer.encode(text)
    starts = segment(tokenizer, ids)
    parts = [tokenizer.decode(ids[a:b]) for a, b in zip(starts, (*starts[1:], len(ids)), strict=True)]
    assert parts == split(text) == ["Step two.\n\n", "Then two.\n\n", "End"]


def test_a_token_over_an_edge_belongs_to_the_step_it_begins_in() -> None:
    lengths = [0, 2, 5, 9]  # three tokens of 2, 3 and 4 characters
    assert align([2], 3, lengths.__getitem__) == (0, 1)
    assert align([3], 3, lengths.__getitem__) == (0, 2)
    assert align([3, 4, 5], 3, lengths.__getitem__) == (0, 2)
    assert align([6], 3, lengths.__getitem__) == (0,)  # inside the last token
    assert align([], 0, [0].__getitem__) == (0,)


def test_the_miniature_is_cut_where_its_search_cuts() -> None:
    tokenizer = Tokenizer.mini()
    ids = tokenizer.encode("<think>12-7=5;5*3=15\n12+7=19\n</think>?<|end|>")
    starts = segment(tokenizer, ids)
    parts = [tokenizer.decode(ids[a:b]) for a, b in zip(starts, (*starts[1:], len(ids)), strict=True)]
    assert parts == ["<think>12-7=5;", "5*3=15\n", "12+7=19\n", "</think>?<|end|>"]
