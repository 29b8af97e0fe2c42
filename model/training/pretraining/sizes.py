"""Networks by name: the published sizes without biases and with gated feed-forward layers, and two smaller ones."""

from collections.abc import Mapping
from typing import Any

_COMMON = {
    "act_layer": "SiLU",
    "gated_mlp": True,
    "norm_bias": False,
    "qkv_bias": False,
    "proj_bias": False,
    "mlp_bias": False,
    "tie_token_embeddings": True,
}


def _size(dim: int, depth: int, heads: int) -> dict[str, Any]:
    return {**_COMMON, "dim": dim, "encoder_depth": depth, "decoder_depth": depth, "num_heads": heads}


SIZES: Mapping[str, Mapping[str, Any]] = {
    "tiny": _size(384, 6, 6),
    "small": _size(512, 8, 8),
    "B": _size(768, 12, 12),
    "L": _size(1024, 24, 16),
    "XL": _size(2048, 24, 32),
}
