"""Which tokens end a step."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from ponder.text import Tokenizer
from ponder.text.steps import step_ids


@dataclass(frozen=True)
class Words:
    """A vocabulary of these texts, the first of them the end token."""

    texts: tuple[str, ...]
    is_mini: bool = False
    inner: None = None
    stop_ids: tuple[int, ...] = field(default=(0,))

    @property
    def vocab_size(self) -> int:
        return len(self.texts)

    def decode(self, ids: list[int]) -> str:
        return "".join(self.texts[i] for i in ids)


@pytest.mark.parametrize(
    ("texts", "ends"),
    [
        (("<end>\n\n", "a", "\n", ".\n\n", "\n\n\n"), (3, 4)),  # a blank line inside the token is enough
        (("<end>", "a", "\n", ".\n", "b"), (2, 3)),  # no token holds one: lines
        (("<end>", "a", "b"), ()),
    ],
)
def test_blank_lines_or_else_lines(texts: tuple[str, ...], ends: tuple[int, ...]) -> None:
    assert step_ids(Words(texts)) == ends


def test_steps_of_ones_own_and_of_the_miniature() -> None:
    assert step_ids(Words(("<end>", "a", "\n", "b;")), (";",)) == (3,)
    mini = Tokenizer.mini()
    assert sorted(mini.decode([i]) for i in step_ids(mini)) == ["\n", ";"]
    assert step_ids(None) == ()
