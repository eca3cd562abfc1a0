"""What a scalar head's scores are worth on held-out samples: loss, AUC, and what choosing by them makes of N samples."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ponder.text.tokenizer import Tokenizer
from ponder.training import scores
from ponder.training.batch import build
from ponder.training.examples import Example
from ponder.training.labelled import Ask, to_example
from ponder.training.loop import Trainer
from ponder.training.verifier_settings import VerifierTrain
from ponder.verifiers.samples import LabelledSample

Scored = tuple[LabelledSample, float]


def measure(
    trainer: Trainer, samples: Sequence[LabelledSample], ask: Ask, tokenizer: Tokenizer, config: VerifierTrain
) -> dict[str, float]:
    """`eval_…` of all targets, `eval_final_…` of the scores at the samples' ends against their correctness, and `reranked`."""
    started = time.monotonic()
    examples = [to_example(s, ask, tokenizer, f"held-out sample of problem {s.problem}") for s in samples]
    found = log_odds(trainer, examples, config.micro_tokens, tokenizer.pad_id)
    pairs = [pair for z, e in zip(found, examples, strict=True) for pair in asked(z, e)]
    every = scores.quality([z for z, _ in pairs], [y for _, y in pairs], config.loss)
    row = {f"eval_{name}": value for name, value in every.items()}
    ends = [(s, float(z[-1])) for s, z in zip(samples, found, strict=True) if s.correct is not None]
    if ends:
        finals = scores.quality([z for _, z in ends], [float(bool(s.correct)) for s, _ in ends], config.loss)
        row |= {f"eval_final_{name}": value for name, value in finals.items()} | reranked(ends)
    return {**row, "seconds_eval": time.monotonic() - started}


def asked(logits: Any, e: Example) -> list[tuple[float, float]]:
    """(log-odds, target) where the example asks for a score."""
    assert e.targets is not None
    known = ~np.isnan(e.targets)
    return list(zip(logits[known].tolist(), e.targets[known].tolist(), strict=True))


@torch.no_grad()
def log_odds(trainer: Trainer, examples: Sequence[Example], micro_tokens: int, pad_id: int) -> list[Any]:
    """Log-odds at every token of every example, as arrays."""
    found: list[Any] = [None] * len(examples)
    order = sorted(range(len(examples)), key=lambda i: -len(examples[i]))
    while order:
        rows = max(1, micro_tokens // len(examples[order[0]]))
        chunk, order = order[:rows], order[rows:]
        batch = build([[examples[i]] for i in chunk], pad_id).to(trainer.device)
        with trainer.precision():
            hidden_BTD = trainer.model.trunk.hidden(batch.tokens_BT)
            logits_BT = trainer.model.logits(hidden_BTD, batch.features_BTE).float().cpu().numpy()
        for line, i in zip(logits_BT, chunk, strict=True):
            found[i] = line[: len(examples[i])]
    return found


def reranked(ends: Sequence[Scored]) -> dict[str, float]:
    """pass@1, best-of-N by the score and by likelihood, and any-of-N, over problems with the same number of samples."""
    groups: dict[str, list[Scored]] = {}
    for sample, score in ends:
        groups.setdefault(sample.problem, []).append((sample, score))
    n = max(len(group) for group in groups.values())
    full = [group for group in groups.values() if len(group) == n]
    if n < 2:
        return {}
    row = {
        "eval_problems": float(len(full)),
        "eval_pass1": sum(bool(s.correct) for g in full for s, _ in g) / (n * len(full)),
        f"eval_best_of_{n}": scores.best_of([[(z, bool(s.correct)) for s, z in g] for g in full]),
        f"eval_any_of_{n}": sum(any(s.correct for s, _ in g) for g in full) / len(full),
    }
    if all(s.logprobs for g in full for s, _ in g):
        likely = scores.best_of([[(sum(s.logprobs), bool(s.correct)) for s, _ in g] for g in full])
        row[f"eval_likeliest_of_{n}"] = likely
    return row


def shown(row: Mapping[str, float]) -> str:
    """One line of an evaluation for people."""
    names = [n for n in row if n.startswith("eval_") and not n.endswith("base_rate") and n != "eval_problems"]
    return ", ".join(f"{n.removeprefix('eval_')} {row[n]:.4g}" for n in names)
