"""One tokenizer class over the `tokenizers` library, for ponder's miniature and for any Hugging Face folder.

Design: a `Tokenizer` is a `tokenizers.Tokenizer`, a chat template and the ids that matter (stop, think, pad). Text is
turned into ids once, at the edge; everything behind it works on ids, and `split` finds thinking and answer on ids too,
so nothing is ever re-tokenised. Content of a message never becomes a role or think token, whatever it contains.
Not covered: slow (pure Python) tokenizers, templates with tools or documents.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers

from ponder.errors import CheckpointError
from ponder.types import EFFORTS, Effort, Message

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
MINI_SPECIALS = (
    "<|pad|>", "<|end|>", "<|unk|>", "<|system|>", "<|user|>", "<|assistant|>",
    THINK_OPEN, THINK_CLOSE, "<|low|>", "<|medium|>", "<|high|>", "<|tool|>", "<|reserved_1|>", "<|reserved_2|>",
)  # fmt: skip
MINI_TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% if m.role == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{% if effort %}<|{{ effort }}|>{% endif %}<|assistant|>{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Parts:
    """A completion cut on its think tokens: `thinking` None when there is none, `answer` None when it never closed."""

    thinking: tuple[int, ...] | None
    answer: tuple[int, ...] | None


class Tokenizer:
    """Text ↔ ids, conversations → ids, completions → thinking and answer."""

    def __init__(self, inner: tokenizers.Tokenizer, template: str, config: dict[str, Any] | None = None) -> None:
        self.inner = inner
        self.template = template
        self.config = dict(config or {})
        self.vocab_size: int = inner.get_vocab_size()
        self.think_open = inner.token_to_id(THINK_OPEN)
        self.think_close = inner.token_to_id(THINK_CLOSE)
        self.specials = {t.content for t in inner.get_added_tokens_decoder().values()}
        self.special_ids = frozenset(inner.get_added_tokens_decoder())
        self.stop_ids = self._stop_ids()
        pad = self._id(self.config.get("pad_token"))
        self.pad_id: int = pad if pad is not None else (self.stop_ids[0] if self.stop_ids else 0)
        self._compiled: Any = None

    def _id(self, token: Any) -> int | None:
        name = token.get("content") if isinstance(token, dict) else token
        return self.inner.token_to_id(name) if isinstance(name, str) else None

    def _stop_ids(self) -> tuple[int, ...]:
        names = [self.config.get("eos_token"), "<|end|>", "<|im_end|>", "<|eot_id|>", "<|endoftext|>"]
        ids = [i for i in (self._id(n) for n in names) if i is not None]
        return tuple(dict.fromkeys(ids))

    @property
    def is_mini(self) -> bool:
        """True for ponder's own small vocabulary, whose models read the miniature problem language."""
        return bool(self.config.get("ponder_mini"))

    def encode(self, text: str, specials: bool = True) -> list[int]:
        """Ids of `text`; with `specials` False, text that spells a special token stays ordinary text."""
        if specials or not self._spells_special(text):
            return self.inner.encode(text, add_special_tokens=False).ids
        self.inner.encode_special_tokens = True
        try:
            return self.inner.encode(text, add_special_tokens=False).ids
        finally:
            self.inner.encode_special_tokens = False

    def decode(self, ids: Sequence[int], specials: bool = True) -> str:
        """Text of `ids`, special tokens spelled out unless `specials` is False."""
        return self.inner.decode(list(ids), skip_special_tokens=not specials)

    def _spells_special(self, text: str) -> bool:
        return any(s in text for s in self.specials)

    def render(
        self, messages: Sequence[Message], effort: Effort | None = None, generate: bool = True
    ) -> tuple[int, ...]:
        """Ids of a conversation, ending where the assistant begins when `generate`. Content can not forge roles."""
        if not any(self._spells_special(m.content) for m in messages):
            return tuple(self.encode(self._template(messages, effort, generate)))
        marks = [Message(m.role, f"\u2063{i}\u2063") for i, m in enumerate(messages)]
        ids: list[int] = []
        for k, piece in enumerate(self._template(marks, effort, generate).split("\u2063")):
            ids += self.encode(messages[int(piece)].content, specials=False) if k % 2 else self.encode(piece)
        return tuple(ids)

    def _template(self, messages: Sequence[Message], effort: Effort | None, generate: bool) -> str:
        if self._compiled is None:
            self._compiled = _compile(self.template)
        rows = [{"role": m.role, "content": m.content} for m in messages]
        extra = {k: _text(self.config.get(k)) for k in ("bos_token", "eos_token", "pad_token")}
        return self._compiled.render(messages=rows, effort=effort, add_generation_prompt=generate, **extra)

    def split(self, ids: Sequence[int], opened: bool = False) -> Parts:
        """Cut a completion at its first close tag. `opened` says the prompt already ended inside the thinking.

        The answer is everything after that tag, stop tokens dropped; a second think tag inside it stays visible there,
        so a grader can refuse it. Thinking that never closes has no answer.
        """
        body = tuple(i for i in ids if i not in self.stop_ids)
        starts = bool(body) and self.think_open is not None and body[0] == self.think_open
        if self.think_close is not None and self.think_close in body:
            cut = body.index(self.think_close)
            return Parts(body[1 if starts else 0 : cut], body[cut + 1 :])
        if starts or opened:
            return Parts(body[1 if starts else 0 :], None)
        return Parts(None, body)

    def save(self, path: str | Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`, readable by `transformers`."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        self.inner.save(str(folder / "tokenizer.json"))
        config = {"tokenizer_class": "PreTrainedTokenizerFast", **self.config, "chat_template": self.template}
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Read a Hugging Face folder; `chat_template.jinja` wins over the template in `tokenizer_config.json`."""
        folder = Path(path)
        try:
            inner = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # noqa: BLE001  # the library raises bare Exception for every cause
            raise CheckpointError(f"{folder / 'tokenizer.json'}: not a readable tokenizer ({error})") from None
        config_file, template_file = folder / "tokenizer_config.json", folder / "chat_template.jinja"
        config = json.loads(config_file.read_text()) if config_file.exists() else {}
        template = config.pop("chat_template", None)
        if template_file.exists():
            template = template_file.read_text()
        return cls(inner, template if isinstance(template, str) else "{{ messages[-1].content }}", config)

    @classmethod
    def mini(cls, lossless: bool = False) -> Tokenizer:
        """The miniature's tokenizer: printable ASCII, the numbers 10 to 99, definitions `a=` to `z=`, roles, think, effort.

        Two digits become one token only when no third digit stands beside them, so text and ids map one to one. Any other
        character is `<|unk|>`; with `lossless` it is its UTF-8 bytes, 256 more ids behind those of the miniature.
        """
        definitions = [f"{chr(c)}=" for c in range(97, 123)]
        plain = [chr(c) for c in range(32, 127)] + ["\n"] + [str(n) for n in range(10, 100)] + definitions
        vocab = {token: i for i, token in enumerate([*MINI_SPECIALS, *plain])}
        if lossless:
            vocab |= {f"<0x{byte:02X}>": len(vocab) + byte for byte in range(256)}
            # without merges and with whole pieces looked up first, BPE is the word list that knows bytes
            inner = tokenizers.Tokenizer(models.BPE(vocab, [], byte_fallback=True, ignore_merges=True))
            inner.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
        else:
            inner = tokenizers.Tokenizer(models.WordLevel(vocab, unk_token="<|unk|>"))
            inner.decoder = decoders.Fuse()
        inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"(?<!\d)[1-9]\d(?!\d)|[a-z]=|[\s\S]"), "isolated")
        inner.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in MINI_SPECIALS])
        config = {"eos_token": "<|end|>", "pad_token": "<|pad|>", "unk_token": "<|unk|>", "ponder_mini": True}
        return cls(inner, MINI_TEMPLATE, config)

    def effort_id(self, effort: Effort) -> int | None:
        """Id of the effort token, None for vocabularies that have none."""
        assert effort in EFFORTS
        return self.inner.token_to_id(f"<|{effort}|>")


def _text(token: Any) -> str:
    return token.get("content", "") if isinstance(token, dict) else (token or "")


def _compile(template: str) -> Any:
    from jinja2.sandbox import (
        ImmutableSandboxedEnvironment,
    )  # torch brings jinja2; imported late to keep start-up light

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _raise
    return environment.from_string(template)


def _raise(message: str) -> None:
    raise CheckpointError(f"the chat template refused the conversation: {message}")
