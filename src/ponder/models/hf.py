"""Translation between Hugging Face configurations and weights and ours. Pure functions on dicts; no files.

Source of the names: `transformers` LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ponder.errors import CheckpointError, ConfigError
from ponder.models.config import FAMILIES, Family, ModelConfig, RopeScaling

ARCHITECTURES: dict[Family, str] = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
FUSED = {"qkv": ("q_proj", "k_proj", "v_proj"), "gate_up": ("gate_proj", "up_proj")}
PLACES = {
    "attention_norm": "input_layernorm",
    "q_norm": "self_attn.q_norm",
    "k_norm": "self_attn.k_norm",
    "out": "self_attn.o_proj",
    "mlp_norm": "post_attention_layernorm",
    "down": "mlp.down_proj",
}


def read_config(raw: Mapping[str, Any], where: str) -> ModelConfig:
    """Our configuration of a `config.json`; CheckpointError for what the module does not implement."""
    raw = _mistral_as_llama(raw)
    family = raw.get("model_type")
    if family not in FAMILIES:
        known = ", ".join((*FAMILIES, "mistral"))
        raise CheckpointError(f"{where}: architecture '{family}' is not supported; ponder reads {known}")
    _refuse_unsupported(raw, family, where)
    try:
        heads = _integer(raw, "num_attention_heads")
        width = _integer(raw, "hidden_size")
        defaults = {"llama": None, "qwen2": None, "qwen3": 128}
        return ModelConfig(
            vocab_size=_integer(raw, "vocab_size"),
            width=width,
            layers=_integer(raw, "num_hidden_layers"),
            heads=heads,
            kv_heads=int(raw.get("num_key_value_heads") or heads),
            hidden=_integer(raw, "intermediate_size"),
            head_width=raw.get("head_dim") or defaults[family],
            context=int(raw.get("max_position_embeddings", 2048)),
            rope_theta=float(_rope(raw).get("rope_theta") or raw.get("rope_theta") or 10_000.0),
            norm_eps=float(raw.get("rms_norm_eps", 1e-6)),
            tied=bool(raw.get("tie_word_embeddings", False)),
            qkv_bias=family == "qwen2",
            qk_norm=family == "qwen3",
            family=family,
            rope_scaling=_scaling(raw, where),
        )
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from None
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{where}: not a usable model configuration ({type(error).__name__}: {error})") from None


def _mistral_as_llama(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Mistral is Llama with a sliding window; within one window they are the same, so that becomes the context."""
    if raw.get("model_type") != "mistral":
        return raw
    longest = raw.get("max_position_embeddings", 4096)
    return {**raw, "model_type": "llama", "max_position_embeddings": min(longest, raw.get("sliding_window") or longest)}


def _integer(raw: Mapping[str, Any], key: str) -> int:
    if not isinstance(raw.get(key), int):
        raise TypeError(f"'{key}' is {raw.get(key)!r}, not an integer")
    return raw[key]


def _refuse_unsupported(raw: Mapping[str, Any], family: str, where: str) -> None:
    unsupported = {
        "attention_bias": bool(raw.get("attention_bias")),
        "mlp_bias": bool(raw.get("mlp_bias")),
        "use_sliding_window": bool(raw.get("use_sliding_window")),
        "hidden_act": raw.get("hidden_act", "silu") != "silu",
        "quantization_config": bool(raw.get("quantization_config")),
    }
    for key, refused in unsupported.items():
        if refused:
            raise CheckpointError(f"{where}: {family} with {key} = {raw[key]!r} is not supported")


def _rope(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    return raw.get("rope_parameters") or raw.get("rope_scaling") or {}


def _scaling(raw: Mapping[str, Any], where: str) -> RopeScaling | None:
    rope = _rope(raw)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind != "llama3":
        raise CheckpointError(f"{where}: rotary scaling '{kind}' is not supported; ponder knows default and llama3")
    return RopeScaling(
        factor=float(rope["factor"]),
        low_frequency=float(rope["low_freq_factor"]),
        high_frequency=float(rope["high_freq_factor"]),
        original_context=int(rope["original_max_position_embeddings"]),
    )


def write_config(config: ModelConfig, dtype: str = "bfloat16") -> dict[str, Any]:
    """The `config.json` of our configuration."""
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": config.rope_theta}
    if config.rope_scaling is not None:
        scaling = config.rope_scaling
        rope |= {
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low_frequency,
            "high_freq_factor": scaling.high_frequency,
            "original_max_position_embeddings": scaling.original_context,
        }
    scaled = {k: v for k, v in rope.items() if k != "rope_theta"}
    return {
        "architectures": [ARCHITECTURES[config.family]],
        "model_type": config.family,
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head,
        "intermediate_size": config.hidden,
        "max_position_embeddings": config.context,
        "rope_theta": config.rope_theta,
        "rope_scaling": scaled if config.rope_scaling is not None else None,
        "rope_parameters": rope,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied,
        "attention_bias": False,
        "hidden_act": "silu",
        "torch_dtype": dtype,
        "use_cache": True,
    }


def expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Hugging Face name and shape of every tensor a checkpoint of `config` holds."""
    D, N, K, H, F = config.width, config.heads, config.kv_heads, config.head, config.hidden
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config.vocab_size, D),
        "model.norm.weight": (D,),
    }
    if not config.tied:
        shapes["lm_head.weight"] = (config.vocab_size, D)
    block: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (D,),
        "post_attention_layernorm.weight": (D,),
        "self_attn.q_proj.weight": (N * H, D),
        "self_attn.k_proj.weight": (K * H, D),
        "self_attn.v_proj.weight": (K * H, D),
        "self_attn.o_proj.weight": (D, N * H),
        "mlp.gate_proj.weight": (F, D),
        "mlp.up_proj.weight": (F, D),
        "mlp.down_proj.weight": (D, F),
    }
    if config.qkv_bias:
        block |= {f"self_attn.{n}_proj.bias": (w * H,) for n, w in (("q", N), ("k", K), ("v", K))}
    if config.qk_norm:
        block |= {"self_attn.q_norm.weight": (H,), "self_attn.k_norm.weight": (H,)}
    for layer in range(config.layers):
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in block.items()}
    return shapes


def fuse(config: ModelConfig, theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict of their tensors, whose names and shapes have been checked."""
    ours = {"embed.weight": theirs["model.embed_tokens.weight"], "norm.weight": theirs["model.norm.weight"]}
    if not config.tied:
        ours["unembed.weight"] = theirs["lm_head.weight"]
    for layer in range(config.layers):
        prefix = f"model.layers.{layer}."
        for mine, place in PLACES.items():
            if f"{prefix}{place}.weight" in theirs:
                ours[f"blocks.{layer}.{mine}.weight"] = theirs[f"{prefix}{place}.weight"]
        for mine, parts in FUSED.items():
            group = "self_attn" if mine == "qkv" else "mlp"
            for kind in ("weight", "bias"):
                names = [f"{prefix}{group}.{part}.{kind}" for part in parts]
                if names[0] in theirs:
                    ours[f"blocks.{layer}.{mine}.{kind}"] = torch.cat([theirs[n] for n in names])
    return ours


def split(config: ModelConfig, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their tensors of our state dict; the inverse of `fuse`."""
    N, K, H, F = config.heads, config.kv_heads, config.head, config.hidden
    sizes = {"qkv": (N * H, K * H, K * H), "gate_up": (F, F)}
    theirs: dict[str, Tensor] = {}
    names = {
        "embed.weight": "model.embed_tokens.weight",
        "norm.weight": "model.norm.weight",
        "unembed.weight": "lm_head.weight",
    }
    for name, tensor in ours.items():
        if name in names:
            theirs[names[name]] = tensor
            continue
        _, layer, mine, kind = name.split(".")
        prefix = f"model.layers.{layer}."
        if mine in PLACES:
            theirs[f"{prefix}{PLACES[mine]}.{kind}"] = tensor
            continue
        group = "self_attn" if mine == "qkv" else "mlp"
        for part, piece in zip(FUSED[mine], tensor.split(sizes[mine]), strict=True):
            theirs[f"{prefix}{group}.{part}.{kind}"] = piece
    return theirs
