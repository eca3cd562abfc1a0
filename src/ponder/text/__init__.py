"""Text at the edges: tokenizer, chat template, role and effort tokens, the split between thinking and answer."""

from ponder.text.tokenizer import Parts, Tokenizer

__all__ = ["Parts", "Tokenizer"]
