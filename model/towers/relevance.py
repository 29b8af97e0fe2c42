"""The file `relevance.safetensors` of a set of weights: typical queries, and how likely hits are right.

It has typical queries by modality, and in its metadata the fitted curves. No stored vector depends on it, so that it is
not part of the weights' fingerprint. `python -m benchmarks.relevance` fits and writes it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from anyseek.model.checkpoints.quantized import dequantize, quantize
from anyseek.model.config import sentence
from anyseek.model.errors import WeightsCorrupt
from anyseek.model.seam import FloatArray, RelevanceCurve

FILE = "relevance.safetensors"
_CURVES = "curves"  # in the metadata


def save_relevance(path: Path, typical_queries: Mapping[str, FloatArray], curves: Mapping[str, RelevanceCurve]) -> None:
    """Write the constants of a space, by modality; the queries (m, d) as int8."""
    tensors = quantize({modality: torch.from_numpy(rows) for modality, rows in typical_queries.items()})
    save_file(tensors, path, {_CURVES: json.dumps({modality: asdict(curve) for modality, curve in curves.items()})})


def load_relevance(path: Path, dimension: int) -> tuple[dict[str, FloatArray], dict[str, RelevanceCurve]]:
    """The typical queries and the curves of a space of `dimension` numbers. Raises `WeightsCorrupt`."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        curves = TypeAdapter(dict[str, RelevanceCurve]).validate_json(metadata[_CURVES])
        queries = {modality: rows.numpy() for modality, rows in dequantize(stored).items()}
    except ValidationError as error:
        raise WeightsCorrupt(f"{path} has no curves of relevance: {sentence(error)}") from error
    except (OSError, SafetensorError, KeyError) as error:
        raise WeightsCorrupt(f"{path} has no constants of relevance: {error}") from error
    for modality, rows in queries.items():
        if rows.ndim != 2 or rows.shape[1] != dimension:
            raise WeightsCorrupt(
                f"{path} has queries by {modality} of shape {rows.shape}; they have {dimension} numbers"
            )
    return queries, curves
