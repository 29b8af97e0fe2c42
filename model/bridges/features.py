"""What the maps of palettes and metadata see: features of values that a picture of them shows badly or not at all."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.formats.metadata import FIELDS, Count, Metadata
from anyseek.model.modalities.registry import MODALITIES, Content
from anyseek.model.seam import FloatArray, Value

_GRID = 4  # steps of each of red, green and blue
_WIDTH = 56.0  # of the bell around each point of the grid
_MARKS = np.linspace(0, 1, 5, dtype=np.float32)  # of each field of metadata
_LARGEST_COUNT = 1000.0
_BINS = 50.0  # of fields that are no counts


def features_of(modality: str, values: Sequence[Value]) -> FloatArray | None:
    """float32 (n, q) for n values of a modality, None if its map sees what is rendered."""
    make = _FEATURES.get(MODALITIES[modality].content)
    return None if make is None else np.stack([make(value) for value in values])


def palette_features(palette: ByteArray) -> FloatArray:
    """Which colours uint8 (n, 3) has, whatever their order: a soft histogram of 64 colours, float32 (64,)."""
    steps = np.linspace(0, 255, _GRID, dtype=np.float32)
    points = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    distances = np.square(palette[:, None].astype(np.float32) - points).sum(axis=2)
    near = np.exp(-distances / (2 * _WIDTH**2))
    shares: FloatArray = (near / near.sum(axis=1, keepdims=True)).mean(axis=0)
    return shares


def metadata_features(metadata: Metadata) -> FloatArray:
    """For each field how near it is to five marks from its lowest to its highest value: float32 (105,).

    Absent fields are zero, so that a few given ones ask by themselves.
    """
    features = np.zeros((len(FIELDS), len(_MARKS)), np.float32)
    for row, (name, binning) in enumerate(FIELDS.items()):
        if name in metadata.values:
            number = binning.to_bin(metadata.values[name])
            is_count = isinstance(binning, Count)
            place = np.log1p(number) / np.log1p(_LARGEST_COUNT) if is_count else min(number / _BINS, 1.0)
            features[row] = np.maximum(1 - np.abs(place - _MARKS) / (_MARKS[1] - _MARKS[0]), 0)
    return features.reshape(-1)


_FEATURES: Mapping[Content, Callable[[Any], FloatArray]] = {
    Content.PALETTE: lambda value: palette_features(cast(ByteArray, value)),
    Content.METADATA: lambda value: metadata_features(cast(Metadata, value)),
}
