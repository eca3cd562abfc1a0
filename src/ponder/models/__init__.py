"""One transformer for the Llama, Qwen2 and Qwen3 families, loaded from and saved to Hugging Face folders."""

from ponder.models.config import ModelConfig, RopeScaling
from ponder.models.io import load, load_config, model_in, save
from ponder.models.kv import KV
from ponder.models.transformer import Transformer

__all__ = ["KV", "ModelConfig", "RopeScaling", "Transformer", "load", "load_config", "model_in", "save"]
