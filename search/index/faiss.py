"""FAISS behind the VectorIndex seam: a flat inner product index with ids."""

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from model.embedder import FloatArray
from search.index.base import Neighbours
from search.index.ranking import nearest
from search.types import IdArray

# FAISS takes BLAS from 20 queries on, which rounds by position: the same vector would score differently in a batch
# than alone, and two equal items differently from each other.
faiss.cvar.distance_compute_blas_threshold = 1 << 30


class FaissIndex:
    """Exact search over vectors of `dimension`.

    What it hides: FAISS would keep an id twice when it is added again, pads short answers with -1, orders equal
    scores by chance, and crashes when an index that is mapped from a file is changed.
    """

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._index = _empty(dimension)
        self._ids: set[int] = set()
        self._mapped = False

    def upsert(self, ids: IdArray, vectors: FloatArray) -> None:
        self.delete(ids)
        self._own()
        self._index.add_with_ids(np.ascontiguousarray(vectors, np.float32), np.ascontiguousarray(ids, np.int64))
        self._ids.update(ids.tolist())

    def delete(self, ids: IdArray) -> None:
        known = self._ids.intersection(ids.tolist())
        if known:
            self._own()
            self._index.remove_ids(np.fromiter(known, np.int64, len(known)))
            self._ids -= known

    def search(self, vectors: FloatArray, k: int, allowed: IdArray | None = None) -> Neighbours:
        faiss.omp_set_num_threads(1)  # of the calling thread; requests run side by side in threads of their own
        vectors = np.ascontiguousarray(vectors, np.float32)
        if allowed is None:
            return nearest(self._find, vectors, k, self.count())
        bits, count = self._bitmap(allowed)
        only = _selecting(bits)
        return nearest(lambda some, most: self._find(some, most, only), vectors, k, count)

    def count(self) -> int:
        return int(self._index.ntotal)

    def vectors(self, ids: IdArray) -> tuple[IdArray, FloatArray]:
        known = np.array(sorted(self._ids.intersection(ids.tolist())), np.int64)
        return known, self._reconstruct(known)

    def flush(self) -> None:
        """Everything is searchable at once."""

    def snapshot(self, path: Path) -> None:
        faiss.write_index(self._index, str(path))

    def restore(self, path: Path) -> None:
        self._index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        self._ids = set(faiss.vector_to_array(self._index.id_map).tolist())
        self._mapped = True

    def _find(self, vectors: FloatArray, k: int, parameters: Any = None) -> Neighbours:
        scores, ids = self._index.search(vectors, k, params=parameters)
        return Neighbours(ids, scores)

    def _bitmap(self, allowed: IdArray) -> tuple[npt.NDArray[np.uint8], int]:
        """A bit for every id from 0 on, set where it is allowed and held, and the number of those."""
        held = faiss.vector_to_array(self._index.id_map)
        is_allowed = np.zeros(max(int(held.max(initial=0)), int(allowed.max(initial=0))) + 1, np.bool_)
        is_allowed[allowed] = True
        chosen = np.zeros_like(is_allowed)
        chosen[held[is_allowed[held]]] = True
        return np.packbits(chosen, bitorder="little"), int(chosen.sum())

    def _own(self) -> None:
        """Copy what is mapped from a snapshot into memory before it is changed."""
        if self._mapped:
            ids = faiss.vector_to_array(self._index.id_map)
            owned = _empty(self._dimension)
            owned.add_with_ids(self._reconstruct(ids), ids)
            self._index, self._mapped = owned, False

    def _reconstruct(self, ids: IdArray) -> FloatArray:
        if not len(ids):
            return np.empty((0, self._dimension), np.float32)
        vectors: FloatArray = self._index.reconstruct_batch(ids)
        return vectors


def _selecting(bits: npt.NDArray[np.uint8]) -> Any:
    """Parameters of a search among the ids whose bit is set; FAISS's type stubs know its C++ side only."""
    selector: Any = faiss.IDSelectorBitmap
    parameters: Any = faiss.SearchParameters
    return parameters(sel=selector(bits))


def _empty(dimension: int) -> Any:
    return faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))
