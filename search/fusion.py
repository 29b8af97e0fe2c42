"""Centring vectors and joining the weighted parts of a query into one (design: centring, late fusion)."""

from collections.abc import Sequence

import numpy as np

from model.embedder import FloatArray
from search.errors import BadQuery

# Below this length a difference of unit vectors in float32 is rounding and has no direction.
NO_DIRECTION = 1e-4


def centre(vectors: FloatArray, mean: FloatArray) -> FloatArray:
    """Unit rows of `vectors` - `mean`: (n, d) and (d,), or a mean for each row (n, d) -> float32 (n, d).

    A row that equals the mean has no direction: it becomes zero and is like nothing (cosine 0 to everything).
    """
    moved: FloatArray = vectors.astype(np.float32) - mean.astype(np.float32)
    lengths = np.linalg.norm(moved, axis=1, keepdims=True)
    moved[lengths[:, 0] <= NO_DIRECTION] = 0
    moved /= np.maximum(lengths, NO_DIRECTION)
    return moved


def fuse(vectors: FloatArray, weights: Sequence[float]) -> FloatArray:
    """The weighted sum of unit rows (parts, d), renormalised to a unit vector (d,); weights may be negative.

    Raises `BadQuery` if the parts cancel each other out or all weights are zero.
    """
    shares = np.asarray(weights, np.float64)
    largest = np.abs(shares).max()
    total = (shares / largest if largest else shares) @ vectors.astype(np.float64)
    length = np.linalg.norm(total)
    if length <= NO_DIRECTION:
        raise BadQuery(
            "the parts of this query cancel each other out and leave nothing to look for; change a part or a weight"
        )
    unit: FloatArray = (total / length).astype(np.float32)
    return unit
