"""Labelled samples: the one row format between `ponder label`, `ponder train outcome | process` and evaluations of verifiers.

A row is a completion with its token ids, where its steps begin, and what is known of it: a label per step, and whether the
finished answer is right. Rows are JSONL. Rows converted from files that hold only text have `texts` and no `token_ids`;
whoever trains encodes them. Not covered: rows larger than memory, compressed files.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Literal

import msgspec

from ponder.errors import ConfigError, DataError
from ponder.files import append_line
from ponder.text.tokenizer import Tokenizer
from ponder.types import Effort, Engine, Message, Split, Trace

LabelKind = Literal["correctness", "value"]
"""What step labels mean: correctness = is this step right; value = can the answer still be right after it (or how often)."""


class LabelledSample(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One completion with its labels.

    `starts[i]` is where step i begins in `token_ids` (the first is 0); `labels[i]`, in [0, 1] or None where nobody can
    tell, is about step i, so both are as long as the steps, or `labels` is empty when steps were not labelled. `texts`
    are the steps as text, joined without anything between; needed only where there are no token ids. `correct` is about
    the finished answer. `source` says who labelled ("exact", "rollout-hard 8", "judge mini", "prm800k"), `model` who wrote.
    """

    problem: str
    messages: tuple[Message, ...]
    task: str = ""
    effort: Effort | None = None
    prompt_ids: tuple[int, ...] = ()
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    starts: tuple[int, ...] = ()
    texts: tuple[str, ...] = ()
    labels: tuple[float | None, ...] = ()
    kind: LabelKind = "correctness"
    correct: bool | None = None
    finished: bool = True
    source: str = ""
    model: str = ""
    split: Split = "train"

    @property
    def steps(self) -> int:
        """How many steps it has."""
        return len(self.starts) or len(self.texts)

    def trace(self) -> Trace:
        """What a verifier sees of it."""
        return Trace(
            messages=self.messages,
            prompt_ids=self.prompt_ids,
            token_ids=self.token_ids,
            logprobs=self.logprobs,
            starts=self.starts or (0,),
            text="".join(self.texts),
            finished=self.finished,
            problem_id=self.problem,
        )


def check(sample: LabelledSample, where: str) -> LabelledSample:
    """The sample itself; DataError naming `where` when its parts do not fit together."""
    tokens, starts = len(sample.token_ids), sample.starts
    if not tokens and not sample.texts:
        raise DataError(f"{where}: an empty sample: neither token_ids nor texts")
    if tokens and (
        not starts or starts[0] != 0 or any(a >= b for a, b in zip(starts, (*starts[1:], tokens), strict=True))
    ):
        raise DataError(f"{where}: starts {list(starts)[:8]} must begin with 0, rise, and stay below {tokens} tokens")
    if sample.logprobs and len(sample.logprobs) != tokens:
        raise DataError(f"{where}: {len(sample.logprobs)} logprobs for {tokens} token_ids")
    if any(not math.isfinite(x) for x in sample.logprobs):
        raise DataError(f"{where}: logprobs hold a number that is not finite")
    if sample.labels and len(sample.labels) != sample.steps:
        raise DataError(f"{where}: {len(sample.labels)} labels for {sample.steps} steps")
    for label in sample.labels:
        if label is not None and not 0.0 <= label <= 1.0:
            raise DataError(f"{where}: label {label} is outside 0 to 1")
    if any(i < 0 for i in (*sample.prompt_ids, *sample.token_ids)):
        raise DataError(f"{where}: a token id below 0")
    return sample


def tokenized(sample: LabelledSample, tokenizer: Tokenizer, where: str = "") -> LabelledSample:
    """The sample itself, or one that holds only texts with its steps encoded one by one."""
    if sample.token_ids:
        return sample
    pieces = [tokenizer.encode(text) for text in sample.texts]
    if not all(pieces):
        raise DataError(f"{where}: a step without text")
    starts = tuple(accumulate(map(len, pieces[:-1]), initial=0))
    prompt = sample.prompt_ids or tokenizer.render(sample.messages, sample.effort)
    ids = [*(i for piece in pieces for i in piece), *(tokenizer.stop_ids[:1] if sample.finished else ())]
    return msgspec.structs.replace(sample, prompt_ids=tuple(prompt), token_ids=tuple(ids), starts=starts)


def read_by(engine: Engine, samples: Sequence[LabelledSample]) -> list[LabelledSample]:
    """The samples in the tokens of `engine`, with the log-probabilities it gives them: one forward pass, nothing drawn.

    Heads with `inputs = "logprobs"` learn from such rows as from the engine's own samples at temperature 1.
    """
    tokenizer = getattr(engine, "tokenizer", None)
    if tokenizer is None:
        raise ConfigError(f"engine '{engine.name}' has no tokenizer, so it can not read labelled rows")
    rows = [tokenized(sample, tokenizer, f"problem {sample.problem}") for sample in samples]
    found = engine.logprobs([row.prompt_ids + row.token_ids for row in rows]) if rows else []
    return [
        msgspec.structs.replace(row, logprobs=tuple(line[len(row.prompt_ids) :]))
        for row, line in zip(rows, found, strict=True)
    ]


def write(path: str | Path, samples: Iterable[LabelledSample]) -> int:
    """Append `samples` to a JSONL file and return how many."""
    count = 0
    for sample in samples:
        append_line(Path(path), msgspec.json.encode(sample))
        count += 1
    return count


def read(path: str | Path) -> Iterator[LabelledSample]:
    """The samples of a JSONL file, each checked; DataError names path and line. A partial last line is passed over."""
    decode = msgspec.json.Decoder(LabelledSample).decode
    try:
        with Path(path).open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    where = f"{path}:{number}"
                    try:
                        sample = decode(line)
                    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                        if not line.endswith(b"\n"):
                            return  # the partial last line that a kill leaves
                        raise DataError(
                            f"{where}: not a labelled sample ({error}); `ponder label` writes them"
                        ) from None
                    yield check(sample, where)
    except OSError as error:
        raise DataError(
            f"{path}: can not be read ({error.strerror or error}); give a JSONL file of `ponder label`"
        ) from None
