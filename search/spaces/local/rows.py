"""Vectors by row: exact search over them, and the way from ids to rows and back.

Rows are only appended. A replaced id gets a new row and its old row dies, so rows up to some number always hold the
same vectors, and can be read without a lock.
"""

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from pathlib import Path
from typing import Any, BinaryIO

import faiss
import numpy as np
import numpy.typing as npt

from anyseek.model.seam import FloatArray
from anyseek.search.spaces.base import Neighbours, best, nearest, none_found
from anyseek.search.types import IdArray

SMALLEST_BLOCK, LARGEST_BLOCK = 1_024, 65_536
# From 20 queries on FAISS uses BLAS, whose rounding depends on position: the same vector would score differently in a
# batch than alone, and two equal items differently from each other.
QUERIES_AT_ONCE = 16
# The most scores (rows times queries) in memory at once.
SCORES_AT_ONCE = 4_000_000
# Changes of ids are kept in a dictionary up to this number; then sorting a million ids takes about 0.1 s.
RECENT = 65_536

Bits = npt.NDArray[np.bool_]

_native: Any = faiss  # its type stubs know the C++ side only


class Rows:
    """`ids` of rows and their `vectors` (n, d), which may be mapped from a file; an id below 0 marks a dead row."""

    def __init__(self, dimension: int, ids: IdArray | None = None, vectors: FloatArray | None = None) -> None:
        self.dimension = dimension
        self._blocks: list[FloatArray] = [] if vectors is None or not len(vectors) else [vectors]
        self._ids = np.empty(0, np.int64) if ids is None else ids
        self._alive = self._ids >= 0
        self.count = len(self._ids)
        rows = np.flatnonzero(self._alive)
        self.living = len(rows)
        self._by_id = RowsById(self._ids[rows], rows)

    @property
    def ids(self) -> IdArray:
        """Ids by row; a dead row keeps the id that it had."""
        return self._ids[: self.count]

    @property
    def alive(self) -> Bits:
        return self._alive[: self.count]

    def frozen(self) -> "Rows":
        """The current rows, to be read by another thread while rows are appended and die here."""
        held = copy(self)
        held._alive = self.alive.copy()
        held._blocks = list(self._blocks)
        return held

    def find(self, ids: IdArray) -> IdArray:
        """The living row of each id, -1 where it is not held."""
        return self._by_id.find(ids)

    def append(self, ids: IdArray, vectors: FloatArray) -> None:
        """Append new rows for distinct ids; their old rows die."""
        self.kill(ids)
        rows = np.arange(self.count, self.count + len(ids))
        self._ids = _with_room(self._ids, self.count + len(ids))
        self._alive = _with_room(self._alive, self.count + len(ids))
        self._ids[rows], self._alive[rows] = ids, True
        self._store(vectors)
        self.count += len(ids)
        self.living += len(ids)
        self._by_id.put(ids, rows)

    def kill(self, ids: IdArray) -> None:
        """Mark the rows of `ids` as dead; unknown ids are ignored."""
        rows = self.find(ids)
        held = rows >= 0
        if held.any():
            self._alive[rows[held]] = False
            self.living -= int(held.sum())
            self._by_id.put(ids[held], np.full(int(held.sum()), -1))

    def blocks(self, stop: int) -> Iterator[tuple[int, FloatArray]]:
        """The vectors of rows up to `stop`, in pieces, each with its first row."""
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
            here = (rows >= start) & (rows < start + len(block))
            taken[here] = block[rows[here] - start]
        return taken

    def scores(self, queries: FloatArray, rows: IdArray) -> FloatArray:
        """Inner products of each query (q, d) with its `rows` (q, n); minus infinity where the row is -1."""
        rows = np.ascontiguousarray(rows)
        scores = np.full(rows.shape, -np.inf, np.float32)
        if len(self._blocks) == 1:
            return self._scores_in(queries, self._blocks[0], rows)
        for start, block in self.blocks(self.count):
            here = (rows >= start) & (rows < start + len(block))
            if here.any():
                np.maximum(scores, self._scores_in(queries, block, np.where(here, rows - start, -1)), out=scores)
        return scores

    def _scores_in(self, queries: FloatArray, block: FloatArray, rows: IdArray) -> FloatArray:
        """Inner products with rows of one block, which are counted from its first."""
        found = np.empty(rows.shape, np.float32)
        _native.fvec_inner_products_by_idx(*_pointers(found, queries, block, rows), self.dimension, *rows.shape)
        return found

    def nearest(self, queries: FloatArray, k: int, rows: IdArray | None = None) -> Neighbours:
        """Exactly the nearest living rows, equal scores by id; of `rows` only where given, which are alive."""
        if rows is None:
            if not self.living:
                return none_found(len(queries))
            some = [nearest(self._nearest, part, k, self.living) for part in _parts(queries, QUERIES_AT_ONCE)]
        else:
            at_once = max(1, SCORES_AT_ONCE // max(1, len(rows)))
            some = [self._nearest_of(part, k, rows) for part in _parts(queries, at_once)]
        return Neighbours(np.concatenate([part.ids for part in some]), np.concatenate([part.scores for part in some]))

    def _nearest(self, queries: FloatArray, k: int) -> Neighbours:
        """The `k` best living rows, equal scores in any order."""
        found: list[IdArray] = []
        for start, block in self.blocks(self.count):
            places, scores = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
            alive = self._alive[start : start + len(block)]
            only = None if alive.all() else selector(alive)
            sizes = self.dimension, len(queries), len(block), k
            _native.knn_inner_product(*_pointers(queries, block), *sizes, *_pointers(scores, places), only)
            found.append(np.where(places < 0, -1, places + start))
        rows = np.concatenate(found, axis=1)
        return best(np.where(rows < 0, -1, self._ids[rows]), self.scores(queries, rows), k)

    def _nearest_of(self, queries: FloatArray, k: int, rows: IdArray) -> Neighbours:
        k = min(k, len(rows))
        if k == 0:
            return none_found(len(queries))
        scores = self.scores(queries, np.broadcast_to(rows, (len(queries), len(rows))))
        ids = self._ids[rows]
        found = [_best_of(ids, of_query, k) for of_query in scores]
        return Neighbours(np.stack([part.ids for part in found]), np.stack([part.scores for part in found]))

    def _store(self, vectors: FloatArray) -> None:
        room = sum(map(len, self._blocks)) - self.count
        while room < len(vectors):
            size = min(max(SMALLEST_BLOCK, sum(map(len, self._blocks))), LARGEST_BLOCK)
            self._blocks.append(np.empty((size, self.dimension), np.float32))
            room += size
        start = 0
        for block in self._blocks:
            first, last = max(start, self.count), min(start + len(block), self.count + len(vectors))
            if first < last:
                block[first - start : last - start] = vectors[first - self.count : last - self.count]
            start += len(block)


class RowsById:
    """Rows of living ids: a sorted table, and a dictionary of what has changed since it was sorted."""

    def __init__(self, ids: IdArray, rows: IdArray) -> None:
        """`ids` (n,) distinct, in any order, and the row of each."""
        self._sort(ids, rows)

    def find(self, ids: IdArray) -> IdArray:
        """The row of each id, -1 where it is not held."""
        rows = np.full(len(ids), -1, np.int64)
        if len(self._ids):
            places = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
            there = self._ids[places] == ids
            rows[there] = self._rows[places[there]]
        if self._recent:
            changed = np.array([self._recent.get(item_id, -2) for item_id in ids.tolist()], np.int64)
            rows = np.where(changed == -2, rows, changed)
        return rows

    def put(self, ids: IdArray, rows: IdArray) -> None:
        """Set the `rows` of `ids`; -1 for ids that are gone."""
        self._recent.update(zip(ids.tolist(), rows.tolist(), strict=True))
        if len(self._recent) > RECENT:
            self._merge()

    def _merge(self) -> None:
        ids = np.fromiter(self._recent.keys(), np.int64, len(self._recent))
        rows = np.fromiter(self._recent.values(), np.int64, len(self._recent))
        kept = ~np.isin(self._ids, ids, assume_unique=True)
        there = rows >= 0
        self._sort(np.concatenate([self._ids[kept], ids[there]]), np.concatenate([self._rows[kept], rows[there]]))

    def _sort(self, ids: IdArray, rows: IdArray) -> None:
        order = np.argsort(ids, kind="stable")
        self._ids, self._rows = ids[order], rows[order]
        self._recent: dict[int, int] = {}


def selector(bits: Bits) -> Any:
    """A FAISS selector of the rows that count."""
    return _native.IDSelectorBitmap(np.packbits(bits, bitorder="little"))


def _best_of(ids: IdArray, scores: FloatArray, k: int) -> Neighbours:
    """The best of one query's scores (n,), without sorting them all."""
    last = -np.partition(-scores, k - 1)[k - 1]
    candidates = np.flatnonzero(scores >= last)
    return Neighbours(*(of[0] for of in best(ids[candidates][np.newaxis], scores[candidates][np.newaxis], k)))


def _pointers(*arrays: npt.NDArray[Any]) -> list[Any]:
    return [faiss.swig_ptr(array) for array in arrays]


def _parts(queries: FloatArray, size: int) -> Iterator[FloatArray]:
    return (queries[start : start + size] for start in range(0, max(1, len(queries)), size))


def _with_room(values: npt.NDArray[Any], needed: int) -> npt.NDArray[Any]:
    """The same values in an array with room for `needed` and some more."""
    if len(values) >= needed:
        return values
    grown = np.empty(max(needed, 2 * len(values)), values.dtype)
    grown[: len(values)] = values
    return grown


def write_vectors(
    path: Path,
    ids: IdArray,
    blocks: Iterable[FloatArray],
    dimension: int,
    write_rest: Callable[[BinaryIO], None] | None = None,
) -> None:
    """Write `ids` and the vectors of `blocks`, as many in all, as two arrays of NumPy in the new file `path`.

    What `write_rest` writes comes after them.
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
    """Ids (n,), vectors (n, dimension) mapped from the file, and where its rest begins. Raises `ValueError`."""
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
