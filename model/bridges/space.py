"""The maps from values of every modality to the space of an open_clip model. NumPy only.

A value is first rendered as a picture and encoded by the model's image tower, or by its text tower if it is a caption.
Renderings of one kind cluster around their own mean, far from the matching photos, so the nearest of the modality's
fitted means is subtracted. A linear map of low rank may then predict the photo's vector. The prediction is *added* to
the rendering's vector, because a map that helps on one source may harm on another. Palettes and metadata have maps
from features instead; metadata has no rendering.

n values, d dimensions of a vector, q of a map's input, r the rank of a map.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from anyseek.model.errors import CheckpointMismatch, WeightsCorrupt, WeightsMissing
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.formats.metadata import FIELDS, Count, Metadata
from anyseek.model.modalities.registry import MODALITIES, Content
from anyseek.model.seam import FloatArray, Value

VERSION = "1"  # raise it when the same files give other vectors
_EPSILON = 1e-6  # a shorter vector has no direction
_PRIOR, _SPREAD = "prior", "spread"
_PARTS = ("means", "origin", "inward", "outward")


@dataclass(frozen=True)
class ModalityMap:
    """The fitted map from values of one modality to the space.

    `means` (k, d) are the means of sources, empty if none is subtracted. The map takes (q,) minus its `origin`
    through `inward` (q, r) and `outward` (r, d); `weight` is its weight relative to the rendering, 0 for no map.
    """

    means: FloatArray
    origin: FloatArray
    inward: FloatArray
    outward: FloatArray
    weight: float

    @classmethod
    def centred(cls, means: FloatArray) -> "ModalityMap":
        """A map that only subtracts the nearest of the means (k, d); with no means, renderings are unchanged."""
        dimension = means.shape[1]
        rank_0 = np.zeros((dimension, 0), np.float32)
        return cls(means, np.zeros(dimension, np.float32), rank_0, rank_0.T, 0.0)

    def directions(self, renderings: FloatArray | None, features: FloatArray | None) -> FloatArray:
        """Unit rows (n, d), around zero, of vectors of renderings (n, d), of features (n, q), or of both.

        The map's input is the features or, without features, the renderings. A row without direction is zero.
        """
        if renderings is not None and len(self.means):
            distances = np.square(self.means).sum(axis=1) - 2 * renderings @ self.means.T
            renderings = renderings - self.means[distances.argmin(axis=1)]
        centred = None if renderings is None else unit(renderings)
        inputs = centred if features is None else features
        assert inputs is not None, "a modality has renderings, features or both"
        total: FloatArray = np.zeros((len(inputs), self.outward.shape[1]), np.float32) if centred is None else centred
        if self.weight:
            predicted = np.asarray((inputs - self.origin) @ self.inward @ self.outward, np.float32)
            total = (total + self.weight * unit(predicted)).astype(np.float32)
        return unit(total)


@dataclass(frozen=True)
class Bridge:
    """The maps of all modalities.

    `prior` (d,) is the mean of photos. `spread` is their mean distance from it, and the distance at which items without
    a photo are placed.
    """

    prior: FloatArray
    spread: float
    maps: Mapping[str, ModalityMap]

    def items(self, directions: FloatArray) -> FloatArray:
        """Directions (n, d) moved to the vectors of photos: unit rows (n, d)."""
        return unit(self.prior + np.float32(self.spread) * directions)


def unit(rows: FloatArray) -> FloatArray:
    """Rows scaled to length 1; rows without direction become zero."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    scaled: FloatArray = np.where(lengths > _EPSILON, rows / np.maximum(lengths, _EPSILON), 0).astype(np.float32)
    return scaled


def bridge_bytes(bridge: Bridge) -> bytes:
    """The fitted numbers as a safetensors file."""
    tensors = {_PRIOR: bridge.prior, _SPREAD: np.array([bridge.spread], np.float32)}
    for modality, modality_map in bridge.maps.items():
        tensors |= {f"{modality}/{part}": np.ascontiguousarray(getattr(modality_map, part)) for part in _PARTS}
    return save(tensors)


def fingerprint_of(base_fingerprint: str, numbers: bytes, weights: Mapping[str, float]) -> str:
    """sha256 over the base model's fingerprint, the fitted numbers and the weights of maps."""
    members = json.dumps(
        [VERSION, base_fingerprint, hashlib.sha256(numbers).hexdigest(), dict(sorted(weights.items()))]
    )
    return hashlib.sha256(members.encode()).hexdigest()


def load_bridge(path: Path, weights: Mapping[str, float], dimension: int) -> Bridge:
    """The bridge in a file, for a space of `dimension` dimensions; its modalities are the keys of `weights`.

    Raises `WeightsMissing`, `WeightsCorrupt`, `CheckpointMismatch`.
    """
    if not path.is_file():
        raise WeightsMissing(f"there is no weights file {path}; make the bridge again with `anyseek models adapt`")
    try:
        tensors = load_file(path)
        maps = {
            modality: ModalityMap(**{part: tensors[f"{modality}/{part}"] for part in _PARTS}, weight=weight)
            for modality, weight in weights.items()
        }
        bridge = Bridge(tensors[_PRIOR], float(tensors[_SPREAD][0]), maps)
    except (SafetensorError, KeyError, IndexError) as error:
        raise WeightsCorrupt(f"{path} is not a bridge: {error}") from error
    if bridge.prior.shape != (dimension,):
        raise CheckpointMismatch(
            f"{path} is a bridge to a space of {bridge.prior.shape} dimensions, not {dimension}; fit it again with "
            "`anyseek models adapt`"
        )
    return bridge


_GRID = 4  # steps of each of red, green and blue
_WIDTH = 56.0  # of the bell around each point of the grid
_MARKS = np.linspace(0, 1, 5, dtype=np.float32)  # of each field of metadata
_MAX_COUNT = 1000.0
_BINS = 50.0  # of fields that are no counts


def features_of(modality: str, values: Sequence[Value]) -> FloatArray | None:
    """Features float32 (n, q) of n values of a modality; None if its map takes renderings."""
    make = _FEATURES.get(MODALITIES[modality].content)
    return None if make is None else np.stack([make(value) for value in values])


def palette_features(palette: ByteArray) -> FloatArray:
    """A soft histogram of the palette uint8 (n, 3) over 64 colours, independent of their order: float32 (64,)."""
    steps = np.linspace(0, 255, _GRID, dtype=np.float32)
    points = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    distances = np.square(palette[:, None].astype(np.float32) - points).sum(axis=2)
    near = np.exp(-distances / (2 * _WIDTH**2))
    shares: FloatArray = (near / near.sum(axis=1, keepdims=True)).mean(axis=0)
    return shares


def metadata_features(metadata: Metadata) -> FloatArray:
    """Each field's closeness to five marks between its lowest and highest value: float32 (105,).

    Missing fields are zero, so a query by a few fields depends only on these.
    """
    features = np.zeros((len(FIELDS), len(_MARKS)), np.float32)
    for row, (name, binning) in enumerate(FIELDS.items()):
        if name in metadata.values:
            number = binning.to_bin(metadata.values[name])
            is_count = isinstance(binning, Count)
            position = np.log1p(number) / np.log1p(_MAX_COUNT) if is_count else min(number / _BINS, 1.0)
            features[row] = np.maximum(1 - np.abs(position - _MARKS) / (_MARKS[1] - _MARKS[0]), 0)
    return features.reshape(-1)


_FEATURES: Mapping[Content, Callable[[Any], FloatArray]] = {
    Content.PALETTE: palette_features,
    Content.METADATA: metadata_features,
}
