"""How vectors are stored. Apart from the tables, so that a command without vectors starts without NumPy."""

import numpy as np

from anyseek.model.seam import FloatArray


def to_bytes(vector: FloatArray) -> bytes:
    """float32, little-endian."""
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()


def from_bytes(data: bytes) -> FloatArray:
    """The inverse of `to_bytes`, as a flat array."""
    return np.frombuffer(data, dtype="<f4").astype(np.float32, copy=False)
