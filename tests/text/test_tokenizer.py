"""The miniature's tokenizer with bytes behind it: any text comes back as it was."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from ponder.text import Tokenizer


@given(st.text(st.characters(exclude_categories=("Cs",))))
@example("\tif x:\r\n\t\treturn 'é漢🙂' + '<0x41>' # <|end|> </think>")
def test_the_lossless_miniature_holds_any_text(text: str) -> None:
    tokenizer, mini = Tokenizer.mini(lossless=True), Tokenizer.mini()
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(tokenizer.encode(text, specials=False)) == text
    assert (ids == mini.encode(text)) == (mini.decode(mini.encode(text)) == text)
    assert tokenizer.stop_ids == mini.stop_ids and tokenizer.vocab_size == mini.vocab_size + 256
