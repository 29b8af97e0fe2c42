"""An exact vector index in plain NumPy, the reference that the other indexes are compared with."""

from pathlib import Path

import numpy as np

from anyseek.model.seam import FloatArray
from anyseek.search.spaces.base import Neighbours, no_neighbours
from anyseek.search.spaces.local.rows import read_vectors, write_vectors
from anyseek.search.spaces.local.snapshots import FrozenIndex, Renewal
from anyseek.search.types import IdArray


class MemoryIndex:
    """Vectors of `dimension` as one matrix, rows ordered by id."""

    def __init__(self, dimension: int) -> None:
        self._ids: IdArray = np.empty(0, np.int64)
        self._vectors: FloatArray = np.empty((0, dimension), np.float32)

    def upsert(self, ids: IdArray, vectors: FloatArray) -> None:
        self.delete(ids)
        all_ids = np.concatenate([self._ids, ids])
        order = np.argsort(all_ids)
        self._ids = all_ids[order]
        self._vectors = np.concatenate([self._vectors, vectors])[order]

    def delete(self, ids: IdArray) -> None:
        keep = ~np.isin(self._ids, ids)
        self._ids, self._vectors = self._ids[keep], self._vectors[keep]

    def search(self, vectors: FloatArray, k: int, allowed: IdArray | None = None) -> Neighbours:
        searched = np.ones(len(self._ids), np.bool_) if allowed is None else np.isin(self._ids, allowed)
        if not searched.any():
            return no_neighbours(len(vectors))
        ids, held = self._ids[searched], self._vectors[searched]
        # In float64, so that equal vectors get equal scores wherever BLAS puts them in its blocks.
        exact = vectors.astype(np.float64) @ held.astype(np.float64).T
        scores: FloatArray = exact.astype(np.float32)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]  # rows are ordered by id, and so ties stay
        return Neighbours(ids[order], np.take_along_axis(scores, order, 1))

    def count(self) -> int:
        return len(self._ids)

    def vectors(self, ids: IdArray) -> tuple[IdArray, FloatArray]:
        held = np.isin(self._ids, ids)
        return self._ids[held], self._vectors[held]

    def freeze(self) -> FrozenIndex:
        ids, vectors = self._ids, self._vectors  # replaced by changes, never written to
        return FrozenIndex(
            type(self).__name__, len(ids), lambda path: write_vectors(path, ids, [vectors], vectors.shape[1])
        )

    def restore(self, path: Path) -> None:
        self._ids, vectors, _ = read_vectors(path, self._vectors.shape[1])
        self._vectors = vectors.copy()

    def renewal(self, thorough: bool) -> Renewal | None:
        """Never anything."""
