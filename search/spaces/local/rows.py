"""An append-only store of vectors by row, with exact search and a map from ids to rows.

A replaced id gets a new row, and its old row is marked as deleted. So rows up to some number always hold the same
vectors, and can be read without a lock.
"""

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from pathlib import Path
from typing import Any, BinaryIO

import faiss
import numpy as np
import numpy.typing as npt

from anyseek.model.seam import FloatArray
from anyseek.search.spaces.base import Neighbours, nearest, no_neighbours, top_k
from anyseek.search.types import IdArray

MIN_BLOCK, MAX_BLOCK = 1_024, 65_536
# From 20 queries on FAISS uses BLAS, whose rounding depends on position: the same vector would score differently in a
# batch than alone, and two equal items differently from each other.
QUERIES_AT_ONCE = 16
# The most scores (rows times queries) in memory at once.
SCORES_AT_ONCE = 4_000_000
# Changes of ids are kept in a dictionary up to this number; sorting a million ids takes about 0.1 s.
RECENT = 65_536

Mask = npt.NDArray[np.bool_]

_native: Any = faiss  # its type stubs know the C++ side only


class Rows:
    """`ids` of rows and their `vectors` (n, d), which may be mapped from a file; an id below 0 marks a deleted row."""

    def __init__(self, dimension: int, ids: IdArray | None = None, vectors: FloatArray | None = None) -> None:
        self.dimension = dimension
        self._blocks: list[FloatArray] = [] if vectors is None or not len(vectors) else [vectors]
        self._ids = np.empty(0, np.int64) if ids is None else ids
        self._live_mask = self._ids >= 0
        self.count = len(self._ids)
        rows = np.flatnonzero(self._live_mask)
        self.live_count = len(rows)
        self._by_id = RowsById(self._ids[rows], rows)

    @property
    def ids(self) -> IdArray:
        """Ids by row; a deleted row keeps its id."""
        return self._ids[: self.count]

    @property
    def live_mask(self) -> Mask:
        return self._live_mask[: self.count]

    def freeze(self) -> "Rows":
        """A copy of the current state for another thread, which later appends and deletions do not change."""
        frozen = copy(self)
        frozen._live_mask = self.live_mask.copy()
        frozen._blocks = list(self._blocks)
        return frozen

    def find(self, ids: IdArray) -> IdArray:
        """The live row of each id, -1 if it has none."""
        return self._by_id.find(ids)

    def append(self, ids: IdArray, vectors: FloatArray) -> None:
        """Append new rows for distinct ids, and delete their old rows."""
        self.delete(ids)
        rows = np.arange(self.count, self.count + len(ids))
        self._ids = _grow(self._ids, self.count + len(ids))
        self._live_mask = _grow(self._live_mask, self.count + len(ids))
        self._ids[rows], self._live_mask[rows] = ids, True
        self._write_vectors(vectors)
        self.count += len(ids)
        self.live_count += len(ids)
        self._by_id.put(ids, rows)

    def delete(self, ids: IdArray) -> None:
        """Mark the rows of `ids` as deleted; unknown ids are ignored."""
        rows = self.find(ids)
        held = rows >= 0
        if held.any():
            self._live_mask[rows[held]] = False
            self.live_count -= int(held.sum())
            self._by_id.put(ids[held], np.full(int(held.sum()), -1))

    def blocks(self, stop: int) -> Iterator[tuple[int, FloatArray]]:
        """The vectors of rows up to `stop`, in blocks, each with its first row."""
        start = 0
        for block in self._blocks:
            if start >= stop:
                return
            yield start, block[: stop - start]
            start += len(block)

    def vectors(self, rows: IdArray) -> FloatArray:
        """The vectors (n, d) of `rows` (n,)."""
        taken = np.empty((len(rows), self.dimension), np.float32)
        for start, block in self.blocks(self.count):
            in_block = (rows >= start) & (rows < start + len(block))
            taken[in_block] = block[rows[in_block] - start]
        return taken

    def scores(self, queries: FloatArray, rows: IdArray) -> FloatArray:
        """Inner products of each query (q, d) with its `rows` (q, n); minus infinity where the row is -1."""
        rows = np.ascontiguousarray(rows)
        scores = np.full(rows.shape, -np.inf, np.float32)
        if len(self._blocks) == 1:
            return self._block_scores(queries, self._blocks[0], rows)
        for start, block in self.blocks(self.count):
            in_block = (rows >= start) & (rows < start + len(block))
            if in_block.any():
                np.maximum(scores, self._block_scores(queries, block, np.where(in_block, rows - start, -1)), out=scores)
        return scores

    def _block_scores(self, queries: FloatArray, block: FloatArray, rows: IdArray) -> FloatArray:
        """Inner products with rows of one block, numbered from the block's first."""
        scores = np.empty(rows.shape, np.float32)
        _native.fvec_inner_products_by_idx(*_pointers(scores, queries, block, rows), self.dimension, *rows.shape)
        return scores

    def nearest(self, queries: FloatArray, k: int, rows: IdArray | None = None) -> Neighbours:
        """The exactly nearest live rows, equal scores by id; only of `rows` if given, which are live."""
        if rows is None:
            if not self.live_count:
                return no_neighbours(len(queries))
            batches = _batches(queries, QUERIES_AT_ONCE)
            results = [nearest(self._nearest, batch, k, self.live_count) for batch in batches]
        else:
            batches = _batches(queries, max(1, SCORES_AT_ONCE // max(1, len(rows))))
            results = [self._nearest_among(batch, k, rows) for batch in batches]
        return Neighbours(*(np.concatenate(arrays) for arrays in zip(*results, strict=True)))

    def _nearest(self, queries: FloatArray, k: int) -> Neighbours:
        """The `k` best live rows, equal scores in any order."""
        found: list[IdArray] = []
        for start, block in self.blocks(self.count):
            places, scores = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
            live_mask = self._live_mask[start : start + len(block)]
            live_selector = None if live_mask.all() else selector(live_mask)
            sizes = self.dimension, len(queries), len(block), k
            _native.knn_inner_product(*_pointers(queries, block), *sizes, *_pointers(scores, places), live_selector)
            found.append(np.where(places < 0, -1, places + start))
        rows = np.concatenate(found, axis=1)
        return top_k(np.where(rows < 0, -1, self._ids[rows]), self.scores(queries, rows), k)

    def _nearest_among(self, queries: FloatArray, k: int, rows: IdArray) -> Neighbours:
        k = min(k, len(rows))
        if k == 0:
            return no_neighbours(len(queries))
        scores = self.scores(queries, np.broadcast_to(rows, (len(queries), len(rows))))
        ids = self._ids[rows]
        found = [_top_k_of_one(ids, of_query, k) for of_query in scores]
        return Neighbours(np.stack([part.ids for part in found]), np.stack([part.scores for part in found]))

    def _write_vectors(self, vectors: FloatArray) -> None:
        room = sum(map(len, self._blocks)) - self.count
        while room < len(vectors):
            size = min(max(MIN_BLOCK, sum(map(len, self._blocks))), MAX_BLOCK)
            self._blocks.append(np.empty((size, self.dimension), np.float32))
            room += size
        start = 0
        for block in self._blocks:
            first, last = max(start, self.count), min(start + len(block), self.count + len(vectors))
            if first < last:
                block[first - start : last - start] = vectors[first - self.count : last - self.count]
            start += len(block)


class RowsById:
    """Map from ids to live rows: a sorted table, and a dictionary of what has changed since it was sorted."""

    def __init__(self, ids: IdArray, rows: IdArray) -> None:
        """`ids` (n,) distinct, in any order, and the row of each."""
        self._sort(ids, rows)

    def find(self, ids: IdArray) -> IdArray:
        """The row of each id, -1 if it has none."""
        rows = np.full(len(ids), -1, np.int64)
        if len(self._ids):
            places = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
            in_table = self._ids[places] == ids
            rows[in_table] = self._rows[places[in_table]]
        if self._recent:
            recent = np.array([self._recent.get(item_id, -2) for item_id in ids.tolist()], np.int64)
            rows = np.where(recent == -2, rows, recent)
        return rows

    def put(self, ids: IdArray, rows: IdArray) -> None:
        """Set the `rows` of `ids`; -1 for deleted ids."""
        self._recent.update(zip(ids.tolist(), rows.tolist(), strict=True))
        if len(self._recent) > RECENT:
            self._merge()

    def _merge(self) -> None:
        ids = np.fromiter(self._recent.keys(), np.int64, len(self._recent))
        rows = np.fromiter(self._recent.values(), np.int64, len(self._recent))
        keep, live = ~np.isin(self._ids, ids, assume_unique=True), rows >= 0
        self._sort(np.concatenate([self._ids[keep], ids[live]]), np.concatenate([self._rows[keep], rows[live]]))

    def _sort(self, ids: IdArray, rows: IdArray) -> None:
        order = np.argsort(ids, kind="stable")
        self._ids, self._rows = ids[order], rows[order]
        self._recent: dict[int, int] = {}


def selector(mask: Mask) -> Any:
    """A FAISS selector of the rows in a mask."""
    return _native.IDSelectorBitmap(np.packbits(mask, bitorder="little"))


def _top_k_of_one(ids: IdArray, scores: FloatArray, k: int) -> Neighbours:
    """The best `k` of one query's scores (n,), by a partial sort."""
    last = -np.partition(-scores, k - 1)[k - 1]
    candidates = np.flatnonzero(scores >= last)
    return Neighbours(*(of[0] for of in top_k(ids[candidates][np.newaxis], scores[candidates][np.newaxis], k)))


def _pointers(*arrays: npt.NDArray[Any]) -> list[Any]:
    return [faiss.swig_ptr(array) for array in arrays]


def _batches(queries: FloatArray, size: int) -> Iterator[FloatArray]:
    return (queries[start : start + size] for start in range(0, max(1, len(queries)), size))


def _grow(values: npt.NDArray[Any], needed: int) -> npt.NDArray[Any]:
    """The values in an array with room for at least `needed`."""
    if len(values) >= needed:
        return values
    larger = np.empty(max(needed, 2 * len(values)), values.dtype)
    larger[: len(values)] = values
    return larger


def write_vectors(
    path: Path,
    ids: IdArray,
    blocks: Iterable[FloatArray],
    dimension: int,
    write_rest: Callable[[BinaryIO], None] | None = None,
) -> None:
    """Write `ids` and the vectors of `blocks`, as many in all, as two NPY arrays to the new file `path`.

    `write_rest` then appends to the file.
    """
    with path.open("wb") as file:
        np.save(file, ids.astype("<i8", copy=False))
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(ids), dimension)}
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, "<f4").data)
        if write_rest is not None:
            write_rest(file)


def read_vectors(path: Path, dimension: int) -> tuple[IdArray, FloatArray, int]:
    """Ids (n,), vectors (n, dimension) mapped from the file, and the offset of its rest. Raises `ValueError`."""
    with path.open("rb") as file:
        ids = np.load(file, allow_pickle=False)
        np.lib.format.read_magic(file)
        shape = np.lib.format.read_array_header_1_0(file)[0]
        start = file.tell()
    if shape != (len(ids), dimension):
        raise ValueError(f"{path} holds vectors of another shape than ({len(ids)}, {dimension})")
    mapped = np.memmap(path, "<f4", "r", start, shape) if len(ids) else np.empty(shape, np.float32)
    # An array over the same memory: memmap itself is slow to slice.
    return ids, np.asarray(mapped, np.float32), start + 4 * len(ids) * dimension
