"""Prompts into slots: what the prefix tree knows is copied, the rest is computed once per distinct prompt.

Only a prompt's tokens but the last are prefilled; the last one is the first that is decoded, so every sampled token comes
out of the same decoding step. Prompts that share a long unknown prefix go in waves: the first of them is computed and put
into the tree, then the others find it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ponder.engines.prefix import Node, PrefixTree, common
from ponder.engines.stepper import Stepper

SHARE = 16  # an unknown common prefix at least this long is worth waiting a wave for
BATCH_TOKENS = 8192  # prompts prefilled together hold at most this many tokens, padding included
CHUNK_TOKENS = 512  # longest piece of a prompt that is run at once

Prompt = tuple[int, ...]


@dataclass(slots=True)
class Bill:
    """What an admission cost: tokens copied, tokens computed, positions those attended to."""

    cached: int = 0
    prefilled: int = 0
    attended: int = 0


class Admission:
    """Fills slots of `stepper.kv`, using and feeding `tree`."""

    def __init__(self, stepper: Stepper, tree: PrefixTree) -> None:
        self.stepper, self.tree = stepper, tree

    def admit(self, groups: dict[Prompt, list[int]]) -> tuple[dict[Prompt, Node], Bill]:
        """Make keys and values of every prompt but its last token present in all its slots.

        Returns the tree's node at the end of each prompt's known part, pinned once per slot, and the bill.
        """
        nodes: dict[Prompt, Node] = {}
        bill = Bill()
        pending = sorted(prompt for prompt in groups if len(prompt) > 1)
        while pending:
            wave, pending = self._wave(pending)
            self._run(wave, groups, nodes, bill)
        self.tree.trim()
        return nodes, bill

    def _wave(self, prompts: Sequence[Prompt]) -> tuple[list[Prompt], list[Prompt]]:
        """Those (of sorted prompts) to compute now, and those that gain from waiting for one of these."""
        now, later = [prompts[0]], []
        for prompt in prompts[1:]:
            shared = common(now[-1], prompt)
            waits = self.tree.capacity and shared >= SHARE and shared - self.tree.match(prompt[:shared]).length >= SHARE
            (later if waits else now).append(prompt)
        return now, later

    def _run(
        self, wave: Sequence[Prompt], groups: dict[Prompt, list[int]], nodes: dict[Prompt, Node], bill: Bill
    ) -> None:
        kv = self.stepper.kv
        jobs: list[tuple[Prompt, int]] = []
        for prompt in wave:
            slots, known = groups[prompt], self.tree.match(prompt[:-1])
            at = 0
            for node, length in known.pieces:
                assert node.k is not None
                assert node.v is not None
                kv.fill(slots, at, node.k[:, :, :length], node.v[:, :, :length])
                at += length
            bill.cached += known.length * len(slots)
            if known.length < len(prompt) - 1:
                jobs.append((prompt, known.length))
            elif known.pieces:
                self._pin(prompt, known.pieces[-1][0], slots, nodes)
        for batch in _batches(jobs):
            self._prefill([(prompt, groups[prompt][0], start) for prompt, start in batch])
        for prompt, start in jobs:
            self._share(prompt, start, groups[prompt], nodes, bill)

    def _share(self, prompt: Prompt, start: int, slots: list[int], nodes: dict[Prompt, Node], bill: Bill) -> None:
        kv, end = self.stepper.kv, len(prompt) - 1
        leader, followers = slots[0], slots[1:]
        if followers:
            kv.fill(followers, start, kv.k[:, leader, :, start:end], kv.v[:, leader, :, start:end])
        if self.tree.capacity:
            node = self.tree.insert(prompt[:-1], kv.k[:, leader], kv.v[:, leader])
            self._pin(prompt, node, slots, nodes)
        bill.prefilled += end - start
        bill.attended += (end * (end + 1) - start * (start + 1)) // 2
        bill.cached += (end - start) * len(followers)

    def _pin(self, prompt: Prompt, node: Node, slots: list[int], nodes: dict[Prompt, Node]) -> None:
        nodes[prompt] = node
        for _ in slots:
            self.tree.pin(node)

    def _prefill(self, batch: Sequence[tuple[Prompt, int, int]]) -> None:
        """Run (prompt, slot, start) together, in pieces of CHUNK_TOKENS."""
        rows = torch.tensor([slot for _, slot, _ in batch])
        starts = torch.tensor([start for _, _, start in batch])
        left = torch.tensor([len(prompt) - 1 - start for prompt, _, start in batch])
        width = int(left.max())
        tokens = torch.zeros(len(batch), width, dtype=torch.int64)
        for line, (prompt, _, start) in zip(tokens, batch, strict=True):
            line[: len(prompt) - 1 - start] = torch.tensor(prompt[start:-1])
        for at in range(0, width, CHUNK_TOKENS):
            lengths = (left - at).clamp(0, CHUNK_TOKENS)
            some = lengths > 0
            piece = tokens[some, at : at + int(lengths.max())]
            self.stepper.prefill(piece, rows[some], starts[some] + at, lengths[some])


def _batches(jobs: Sequence[tuple[Prompt, int]]) -> list[list[tuple[Prompt, int]]]:
    """Jobs (prompt, start) of similar length together, none above BATCH_TOKENS with padding."""
    batches: list[list[tuple[Prompt, int]]] = []
    for job in sorted(jobs, key=lambda job: len(job[0]) - job[1]):
        length = min(len(job[0]) - job[1], CHUNK_TOKENS)
        if batches and length * (len(batches[-1]) + 1) <= BATCH_TOKENS:
            batches[-1].append(job)
        else:
            batches.append([job])
    return batches
