"""Forward passes in which the samples of one prompt share it: P prompts of S tokens and P x G completions of R tokens.

A group of G samples costs S + G R tokens instead of G (S + R). Prompts and completions go through each block side by side;
completions attend to their prompt's keys and values, computed once, and to their own. The result is what plain rows give
(tested), so a batch may be laid out either way: `lay_out` says how, and `cheaper` which way has fewer tokens, padding
included. Not covered: prefixes of prefixes (trees of branches), packing several groups into a row.

Shapes: P prompts, S prompt tokens, G samples, R completion tokens, D width, N heads, K key-value heads, H head width, T keys; M =
P S + P G R all tokens of the layout, prompts first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ponder.models.attention import LANES, attend, make_mask, use_explicit
from ponder.training.batch import Batch, build, plan
from ponder.training.examples import Example

Group = list[Example]


@dataclass(frozen=True, slots=True)
class Shared:
    """Where the tokens of a batch's rows stand: prompts (P, S), completions (P·G, R), and for each (b, t) its place in M."""

    prompts_PS: Tensor
    completions_CR: Tensor
    lengths_P: Tensor
    samples: int
    source_BT: Tensor

    def to(self, device: str | torch.device) -> Shared:
        """The same layout on another device."""
        prompts, completions, lengths = (x.to(device) for x in (self.prompts_PS, self.completions_CR, self.lengths_P))
        return Shared(prompts, completions, lengths, self.samples, self.source_BT.to(device))


def groups_of(examples: Sequence[Example]) -> list[Group]:
    """Examples with the same leading tokens that are read and not learned, in order of appearance."""
    found: dict[bytes, Group] = {}
    for e in examples:
        found.setdefault(e.token_ids[: prefix(e)].tobytes(), []).append(e)
    return list(found.values())


def prefix(e: Example) -> int:
    """How many leading tokens carry no loss."""
    return int(np.argmax(e.trainable)) if e.trainable.any() else len(e)


def layouts(examples: Sequence[Example], micro_tokens: int, pad_id: int = 0) -> Iterator[Batch]:
    """Batches of whole groups, like sizes together, of at most `micro_tokens` tokens each (a group at least)."""
    return (lay_out(groups, pad_id) for groups in plan_groups(examples, micro_tokens))


def plan_groups(examples: Sequence[Example], micro_tokens: int) -> Iterator[list[Group]]:
    """Which groups go together."""
    ready: list[Group] = []
    for group in sorted(groups_of(examples), key=_longest, reverse=True):
        if ready and _cost([*ready, group]) > micro_tokens:
            yield ready
            ready = []
        ready.append(group)
    if ready:
        yield ready


def cheaper(examples: Sequence[Example], micro_tokens: int) -> bool:
    """Whether sharing prompts needs fewer tokens, padding included, than rows of like length."""
    shared = sum(_cost(groups) for groups in plan_groups(examples, micro_tokens))
    return shared < sum(len(rows) * longest for rows, longest in plan(examples, micro_tokens))


def _longest(group: Group) -> int:
    return max(len(e) - prefix(e) for e in group)


def _cost(groups: Sequence[Group]) -> int:
    prompt, completion = max(prefix(g[0]) for g in groups), max(_longest(g) for g in groups)
    return len(groups) * (prompt + max(len(g) for g in groups) * completion)


def lay_out(groups: Sequence[Group], pad_id: int = 0) -> Batch:
    """One batch of whole groups; its rows are the examples, group by group, and its streams are as ever."""
    examples = [e for group in groups for e in group]
    P, G = len(groups), max(len(g) for g in groups)
    starts = [prefix(g[0]) for g in groups]
    S, R = max(starts), max(1, *(_longest(g) for g in groups))
    prompts = np.full((P, S), pad_id, dtype=np.int64)
    completions = np.full((P * G, R), pad_id, dtype=np.int64)
    source = np.zeros((len(examples), max(len(e) for e in examples)), dtype=np.int64)
    row = 0
    for p, group in enumerate(groups):
        prompts[p, : starts[p]] = group[0].token_ids[: starts[p]]
        for g, e in enumerate(group):
            own = len(e) - starts[p]
            completions[p * G + g, :own] = e.token_ids[starts[p] :]
            source[row, : starts[p]] = p * S + np.arange(starts[p])
            source[row, starts[p] : len(e)] = P * S + (p * G + g) * R + np.arange(own)
            row += 1
    lengths = torch.tensor(starts, dtype=torch.int64)
    layout = Shared(torch.from_numpy(prompts), torch.from_numpy(completions), lengths, G, torch.from_numpy(source))
    return build([[e] for e in examples], pad_id, shared=layout)


def hidden(model: Any, layout: Shared) -> Tensor:
    """Hidden states (M, D) of all tokens of the layout, after the final norm."""
    P, S = layout.prompts_PS.shape
    C, R = layout.completions_CR.shape
    device = layout.prompts_PS.device
    starts_C1 = layout.lengths_P.repeat_interleave(layout.samples)[:, None]
    positions_CR = (starts_C1[:1] if bool((starts_C1 == S).all()) else starts_C1) + torch.arange(R, device=device)
    prompt_angles = model.angles(torch.arange(S, device=device)[None])
    own_angles = model.angles(positions_CR)
    mask = make_mask(layout.prompts_PS, None, model.matrix_dtype)
    allowed = _allowed(layout, R)
    prompt_PSD, own_CRD = model.embed(layout.prompts_PS).float(), model.embed(layout.completions_CR).float()
    for block in model.blocks:
        q, k, v = block.heads(prompt_PSD, *prompt_angles)
        prompt_PSD = prompt_PSD + block.write(attend(q, k, v, mask))
        prompt_PSD = prompt_PSD + block.mlp(prompt_PSD)
        own_q, own_k, own_v = block.heads(own_CRD, *own_angles)
        attended = attend_shared(own_q, _join(k, own_k, layout.samples), _join(v, own_v, layout.samples), allowed)
        own_CRD = own_CRD + block.write(attended)
        own_CRD = own_CRD + block.mlp(own_CRD)
    D = prompt_PSD.shape[-1]
    return model.norm(torch.cat((prompt_PSD.reshape(P * S, D), own_CRD.reshape(C * R, D))))


def _allowed(layout: Shared, R: int) -> Tensor:
    """What completions may look at: (R, T), or (C, 1, R, T) when prompts differ in length; True where allowed.

    T = S + R, padded like the keys of `models.attention`.
    """
    P, S = layout.prompts_PS.shape
    device = layout.prompts_PS.device
    own_RR = torch.ones(R, R, dtype=torch.bool, device=device).tril()
    own_RR = F.pad(own_RR, (0, -(S + R) % LANES), value=False)
    real_PS = torch.arange(S, device=device) < layout.lengths_P[:, None]
    if bool((layout.lengths_P == S).all()):
        return torch.cat((real_PS[:1].expand(R, S), own_RR), dim=1)
    real_C1RS = real_PS.repeat_interleave(layout.samples, dim=0)[:, None, None].expand(-1, 1, R, S)
    return torch.cat((real_C1RS, own_RR.expand(P * layout.samples, 1, *own_RR.shape)), dim=3)


def _join(prompt_PKSH: Tensor, own_CKRH: Tensor, samples: int) -> Tensor:
    """Keys or values of each completion behind those of its prompt: (C, K, T, H)."""
    P, K, S, H = prompt_PKSH.shape
    repeated_PGKSH = prompt_PKSH[:, None].expand(P, samples, K, S, H)
    padding = prompt_PKSH.new_zeros(()).expand(P, samples, K, -(S + own_CKRH.shape[2]) % LANES, H)
    return torch.cat((repeated_PGKSH, own_CKRH.unflatten(0, (P, samples)), padding), dim=3).flatten(0, 1)


def attend_shared(q_CNRH: Tensor, k_CKTH: Tensor, v_CKTH: Tensor, allowed: Tensor) -> Tensor:
    """Attention outputs (C, R, N·H) of queries, already divided by sqrt(H), over T keys."""
    C, N, R, H = q_CNRH.shape
    K, T = k_CKTH.shape[1:3]
    if not use_explicit(T, q_CNRH.dtype, q_CNRH.device):
        out = F.scaled_dot_product_attention(q_CNRH, k_CKTH, v_CKTH, attn_mask=allowed, scale=1.0, enable_gqa=N != K)
        return out.transpose(1, 2).reshape(C, R, N * H)
    bias = torch.zeros(allowed.shape, dtype=q_CNRH.dtype, device=q_CNRH.device).masked_fill_(~allowed, float("-inf"))
    q, k, v = q_CNRH.reshape(C * K, N // K * R, H), k_CKTH.reshape(C * K, T, H), v_CKTH.reshape(C * K, T, H)
    if bias.dim() == 2:
        scores = torch.baddbmm(bias.repeat(N // K, 1), q, k.mT)
    else:
        scores = (torch.bmm(q, k.mT).view(C, N, R, T) + bias).view(C * K, N // K * R, T)
    out = torch.bmm(scores.softmax(dim=-1), v)
    return out.view(C, N, R, H).transpose(1, 2).reshape(C, R, N * H)
