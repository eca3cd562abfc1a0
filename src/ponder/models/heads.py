"""A scalar head on the transformer: a score logit per token, saved as a Hugging Face token-classification folder.

`transformers`' Qwen2-, Qwen3- and LlamaForTokenClassification load what is saved here and give the same logits, except
where the head also reads log-probabilities (`FEATURES`): that part is a tensor of its own, `score_features.weight`, which
they pass over. Public process models with a head of two layers (Qwen2.5-Math-PRM) are read too. Such folders hold no
output matrix: an untied trunk loses it on saving. Not covered: dropout (Cobbe's 20 %), heads on every layer.

Shapes: B rows, T tokens, N chosen tokens, D trunk width, C labels (1: a logit; 2: wrong and right), E features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ponder.errors import CheckpointError
from ponder.models import hf, io
from ponder.models.transformer import Transformer

if TYPE_CHECKING:
    from ponder.text import Tokenizer

FEATURES = ("own", "mean", "sum", "least")
"""What a head may read of the log-probabilities the generator gave its own tokens: the token's, and mean, sum / 16 and
least of the completion so far. A head of these alone is reranking by likelihood."""
EXTRA = "score_features.weight"


class HeadedModel(nn.Module):
    """A `Transformer` and a linear head (or one with a hidden layer) over its hidden states."""

    def __init__(
        self, trunk: Transformer, labels: int = 1, features: bool = False, layers: int = 1, seed: int | None = 0
    ) -> None:
        super().__init__()
        D = trunk.config.width
        self.config, self.trunk, self.labels = trunk.config, trunk, labels
        sizes = [D] * layers + [labels]
        self.score_head: list[nn.Linear] = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))  # type: ignore[assignment]
        self.score_features: nn.Linear | None = nn.Linear(len(FEATURES), labels, bias=False) if features else None
        if seed is not None:
            self.initialise(seed)

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Small normal weights and no bias: every score begins near one half."""
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if name.startswith("score_head") and name.endswith("weight"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)
            elif name.startswith("score_"):
                parameter.zero_()

    def logits(self, hidden_ND: Tensor, features_NE: Tensor | None = None) -> Tensor:
        """Log-odds (N,) that the token's label is right, in fp32 even under autocast."""
        with torch.autocast(hidden_ND.device.type, enabled=False):
            x = hidden_ND.float()
            for number, layer in enumerate(self.score_head):
                x = F.linear(F.relu(x) if number else x, layer.weight.float(), layer.bias.float())
            if self.score_features is not None:
                assert features_NE is not None, "this head reads log-probabilities as well"
                x = x + F.linear(features_NE.float(), self.score_features.weight.float())
        return x[..., 0] if self.labels == 1 else x[..., 1] - x[..., 0]


def features_of(logprobs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """`FEATURES` (T, E) of each token of a completion whose log-probabilities are (T,)."""
    if not len(logprobs):
        return np.zeros((0, len(FEATURES)), dtype=np.float32)
    totals = np.cumsum(logprobs, dtype=np.float32)
    counts = np.arange(1, len(logprobs) + 1, dtype=np.float32)
    return np.stack((logprobs, totals / counts, totals / 16, np.minimum.accumulate(logprobs)), axis=1)


def save(model: HeadedModel, path: str | Path, tokenizer: Tokenizer, about: Mapping[str, Any]) -> None:
    """Write the model as a token-classification folder; `about` is kept in config.json under "ponder"."""
    config = replace(model.config, tied=True)
    trunk = {n: t.detach().cpu() for n, t in model.trunk.state_dict().items() if not n.startswith("unembed")}
    tensors = hf.split(config, trunk)
    tensors |= {name: t.detach().cpu() for name, t in _head_tensors(model).items()}
    dtype = str(model.trunk.embed.weight.dtype).removeprefix("torch.")
    names = {str(c): name for c, name in enumerate(("score",) if model.labels == 1 else ("wrong", "right"))}
    family = hf.ARCHITECTURES[config.family].removesuffix("ForCausalLM")
    raw = hf.write_config(config, dtype) | {
        "architectures": [f"{family}ForTokenClassification"],
        "num_labels": model.labels,
        "id2label": names,
        "label2id": {name: int(c) for c, name in names.items()},
        "classifier_dropout": 0.0,
        "eos_token_id": tokenizer.stop_ids[0] if tokenizer.stop_ids else None,
        "pad_token_id": tokenizer.pad_id,
        "ponder": {**about, "features": list(FEATURES) if model.score_features is not None else []},
    }
    io.write(Path(path), {n: t.contiguous() for n, t in tensors.items()}, raw, tokenizer)


def load(path: str | Path, dtype: torch.dtype | None = torch.float32) -> tuple[HeadedModel, Mapping[str, Any]]:
    """(model, what config.json says) of a token-classification folder; CheckpointError when it has no usable head."""
    folder = Path(path)
    raw = io.read_config(folder)
    config = replace(hf.read_config(raw, str(folder / "config.json")), tied=True)
    labels = _labels(raw)
    heads = {f"{n}.{kind}" for n in ("score", "score.0", "score.2") for kind in ("weight", "bias")}
    tensors = io.read_tensors(folder, {*hf.expected_shapes(config), *heads, EXTRA}, {"lm_head.weight"})
    layers = [n for n in ("score", "score.0", "score.2") if f"{n}.weight" in tensors]
    if layers not in (["score"], ["score.0", "score.2"]):
        raise CheckpointError(
            f"{folder}: no score head (tensors 'score.weight' or 'score.0' and 'score.2'); this is no outcome or process model"
        )
    about = raw.get("ponder") or {}
    features = bool(about.get("features"))
    if features and tuple(about["features"]) != FEATURES:
        raise CheckpointError(f"{folder}: its head reads {about['features']}; this version knows {list(FEATURES)}")
    D = config.width
    sizes = {f"{n}.weight": (D if n == "score.0" else labels, D) for n in layers}
    sizes |= {f"{n}.bias": (size[0],) for n, size in zip(layers, sizes.values(), strict=True)}
    sizes |= {EXTRA: (labels, len(FEATURES))} if features else {}
    for n in layers:
        tensors.setdefault(f"{n}.bias", torch.zeros(sizes[f"{n}.bias"]))
    io.check({**hf.expected_shapes(config), **sizes}, tensors, folder)
    for name in (*hf.expected_shapes(config), *sizes):
        if not bool(torch.isfinite(tensors[name]).all()):
            raise CheckpointError(f"{folder}: tensor '{name}' holds numbers that are not finite; train it again")
    model = HeadedModel(Transformer(config, seed=None), labels, features, len(layers), seed=None)
    state = {f"trunk.{n}": t for n, t in hf.fuse(config, tensors).items()}
    state |= {
        f"score_head.{i}.{kind}": tensors[f"{n}.{kind}"] for i, n in enumerate(layers) for kind in ("weight", "bias")
    }
    state |= {EXTRA: tensors[EXTRA]} if features else {}
    model.load_state_dict(state)
    return model.to(dtype=dtype or tensors["model.embed_tokens.weight"].dtype), raw


def is_headed(path: str | Path) -> bool:
    """Does `config.json` of this folder describe a model with a scalar head?"""
    names = io.read_config(path).get("architectures") or [""]
    return any(word in str(names[0]) for word in ("TokenClassification", "ProcessRewardModel"))


def _head_tensors(model: HeadedModel) -> dict[str, Tensor]:
    names = ["score"] if len(model.score_head) == 1 else [f"score.{2 * i}" for i in range(len(model.score_head))]
    found = {
        f"{n}.{k}": getattr(layer, k)
        for n, layer in zip(names, model.score_head, strict=True)
        for k in ("weight", "bias")
    }
    return found | ({EXTRA: model.score_features.weight} if model.score_features is not None else {})


def _labels(raw: Mapping[str, Any]) -> int:
    """Number of labels; `transformers` writes id2label, and num_labels only at times (its default is 2)."""
    names = raw.get("id2label")
    labels = len(names) if isinstance(names, Mapping) and names else raw.get("num_labels", 2)
    if labels not in (1, 2):
        raise CheckpointError(f"config.json names {labels} labels; a verifier has 1 (a score) or 2 (wrong, right)")
    return int(labels)
