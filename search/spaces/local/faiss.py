"""FAISS behind the VectorIndex seam: exact while small, with a graph or lists that propose candidates when large."""

import math
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

from anyseek.model.seam import FloatArray
from anyseek.search.spaces.base import Neighbours, isin_sorted, top_k
from anyseek.search.spaces.local.candidates import (
    ADDED_AT_ONCE,
    MAX_DELETED_SHARE,
    MAX_EXTENSION,
    MAX_PENDING,
    Candidates,
    Gpu,
    Hnsw,
    IndexState,
    Ivf,
    Kind,
    check_gpu,
    needs_rebuild,
    read_candidates,
    sample_rows,
    sample_size,
    suitable_kind,
)
from anyseek.search.spaces.local.rows import Rows, read_vectors, write_vectors
from anyseek.search.spaces.local.snapshots import FrozenIndex, Renewal
from anyseek.search.types import IdArray

# The number of candidates per hit, after those that a filter and deletions remove.
CANDIDATES_PER_HIT = 3
# With fewer candidates per hit, nearer rows may lie just beyond the last candidate.
MIN_CANDIDATES_PER_HIT = 2
# A filter that keeps fewer candidates than its selectivity promises is unrelated to the query: try once more with this
# many times as many candidates, then compare with all rows that it allows.
WIDENING_FACTOR = 16
# OpenMP's default: all cores, or OMP_NUM_THREADS. Searching sets another number in its own thread.
BUILD_THREADS = faiss.omp_get_max_threads()


class FaissIndex:
    """Vectors of `dimension`. `kind` None chooses one by the number of vectors.

    Every score is exact. What is found is exact too while the kind is flat, or few vectors are allowed; otherwise
    recall@10 is at least 0.95 on vectors that have any structure.
    """

    def __init__(self, dimension: int, kind: Kind | None = None) -> None:
        """Raises `GpuMissing` for the kind `gpu` where there is none."""
        if kind is Kind.GPU:
            check_gpu()
        self._requested_kind = kind
        self._rows = Rows(dimension)
        self._candidates: Candidates | None = None

    def upsert(self, ids: IdArray, vectors: FloatArray) -> None:
        self._rows.append(np.ascontiguousarray(ids, np.int64), np.ascontiguousarray(vectors, np.float32))

    def delete(self, ids: IdArray) -> None:
        self._rows.delete(ids)

    def search(self, vectors: FloatArray, k: int, allowed: IdArray | None = None) -> Neighbours:
        faiss.omp_set_num_threads(1)  # for the calling thread; requests run side by side in their own threads
        vectors = np.ascontiguousarray(vectors, np.float32)
        if self._candidates is not None:
            found = self._search_candidates(self._candidates, vectors, k, allowed)
            if found is not None:
                return found
        if allowed is None:
            return self._rows.nearest(vectors, k)
        rows = self._rows.find(allowed)
        return self._rows.nearest(vectors, k, rows[rows >= 0])

    def count(self) -> int:
        return self._rows.live_count

    def vectors(self, ids: IdArray) -> tuple[IdArray, FloatArray]:
        ids = np.sort(ids)
        rows = self._rows.find(ids)
        return ids[rows >= 0], self._rows.vectors(rows[rows >= 0])

    def freeze(self) -> FrozenIndex:
        rows, candidates = self._rows.freeze(), self._candidates  # serving candidates are never extended in place
        rest = None if candidates is None else candidates.write

        def write(path: Path) -> None:
            blocks = (block for _, block in rows.blocks(rows.count))
            write_vectors(path, np.where(rows.live_mask, rows.ids, -1), blocks, rows.dimension, rest)

        return FrozenIndex(type(self).__name__, rows.live_count, write)

    def restore(self, path: Path) -> None:
        ids, vectors, rest = read_vectors(path, self._rows.dimension)
        candidates = None
        if path.stat().st_size > rest:
            with path.open("rb") as file:
                file.seek(rest)
                candidates = read_candidates(file)
        self._rows = Rows(self._rows.dimension, ids, vectors)
        self._candidates = candidates

    @property
    def state(self) -> IndexState:
        """The current kind and content of the index."""
        rows, candidates = self._rows, self._candidates
        live, deleted = rows.live_count, rows.count - rows.live_count
        if candidates is None:
            return IndexState(Kind.FLAT, live, deleted, 0, rows.count)
        return IndexState(candidates.kind, live, deleted, rows.count - candidates.count, candidates.trained_for)

    def renewal(self, thorough: bool) -> Renewal | None:
        state = self.state
        kind = suitable_kind(self._requested_kind, state.live_count, state.kind)
        cheap = kind in (Kind.FLAT, Kind.GPU)
        if (thorough or cheap) and (kind is not state.kind or needs_rebuild(state)):
            return self._rebuild_renewal(kind)
        if state.pending_count > MAX_PENDING:
            return self._extend_renewal(None if thorough else MAX_EXTENSION)
        return None

    def _rebuild_renewal(self, kind: Kind) -> Renewal:
        """Build candidates of a kind, and drop the deleted rows if there are many."""
        rows, stop = self._rows, self._rows.count
        live_rows = np.flatnonzero(rows.live_mask)
        drop_deleted = stop - len(live_rows) > MAX_DELETED_SHARE * stop

        def build() -> Callable[[], None]:
            fresh = Rows(rows.dimension, rows.ids[live_rows], rows.vectors(live_rows)) if drop_deleted else rows
            training_rows = np.arange(len(live_rows)) if drop_deleted else live_rows
            candidates = _build_candidates(kind, fresh, fresh.count if drop_deleted else stop, training_rows)

            def install() -> None:
                if self._rows is not rows:
                    return  # it has been restored in the meantime
                if drop_deleted:
                    _carry_over(rows, live_rows, stop, fresh)
                self._rows, self._candidates = fresh, candidates

            return install

        return build

    def _extend_renewal(self, limit: int | None) -> Renewal:
        """Add a limited number of pending rows to a copy of the graph or the lists."""
        rows, candidates = self._rows, self._candidates
        if candidates is None:
            raise RuntimeError("a flat index has no pending rows")
        stop = rows.count if limit is None else min(rows.count, candidates.count + limit)

        def build() -> Callable[[], None]:
            extended = candidates.copy()
            _add_rows(extended, rows, stop)

            def install() -> None:
                if self._rows is rows and self._candidates is candidates:
                    self._candidates = extended

            return install

        return build

    def _search_candidates(
        self, candidates: Candidates, vectors: FloatArray, k: int, allowed: IdArray | None
    ) -> Neighbours | None:
        """The nearest rows by approximate search; None if it may find too few or would cost more than an exact one."""
        rows = self._rows
        eligible = rows.live_count if allowed is None else len(allowed)
        if not eligible:
            return None
        for selectivity in (min(1.0, eligible / rows.count), eligible / rows.count / WIDENING_FACTOR):
            limit = math.ceil((candidates.spare + CANDIDATES_PER_HIT * k) / max(selectivity, 1 / rows.count))
            if eligible <= candidates.cost(limit, selectivity):
                return None
            candidate_rows = candidates.find(vectors, limit, selectivity)
            found = self._rescore(candidate_rows, candidates.count, vectors, k, allowed)
            if found is not None:
                return found
        return None

    def _rescore(
        self, candidate_rows: IdArray, covered_count: int, vectors: FloatArray, k: int, allowed: IdArray | None
    ) -> Neighbours | None:
        """The `k` best of `candidate_rows` (q, n) and rows from `covered_count` on; None if too few candidates pass."""
        rows = self._rows
        if allowed is None and rows.live_count == rows.count == covered_count and candidate_rows.min(initial=0) >= 0:
            return top_k(rows.ids[candidate_rows], rows.scores(vectors, candidate_rows), k)
        is_eligible = candidate_rows >= 0
        if rows.live_count < rows.count:
            is_eligible &= rows.live_mask[candidate_rows]
        if allowed is not None:
            is_eligible &= isin_sorted(rows.ids[candidate_rows], allowed)
        if int(is_eligible.sum(axis=1).min()) < MIN_CANDIDATES_PER_HIT * k:
            return None
        candidate_rows = np.where(is_eligible, candidate_rows, -1)
        ids, scores = rows.ids[candidate_rows], rows.scores(vectors, candidate_rows)
        pending_rows = self._pending_rows(covered_count, allowed)
        if len(pending_rows):
            extra = rows.nearest(vectors, k, pending_rows)
            ids, scores = np.concatenate([ids, extra.ids], axis=1), np.concatenate([scores, extra.scores], axis=1)
        return top_k(ids, scores, k)

    def _pending_rows(self, covered_count: int, allowed: IdArray | None) -> IdArray:
        """Live rows that are not among the candidates yet."""
        rows = covered_count + np.flatnonzero(self._rows.live_mask[covered_count:])
        ids = self._rows.ids[rows]
        if allowed is not None:
            rows = rows[isin_sorted(ids, allowed)]
        return rows


def _build_candidates(kind: Kind, rows: Rows, stop: int, live_rows: IdArray) -> Candidates | None:
    """Candidates of a kind over rows up to `stop`, trained on those `live_rows`; None for flat, which has none."""
    if kind is Kind.FLAT or not len(live_rows):
        return None
    faiss.omp_set_num_threads(BUILD_THREADS)
    candidates: Candidates
    if kind is Kind.GPU:
        candidates = Gpu(rows.dimension)
    else:
        sample: FloatArray = rows.vectors(sample_rows(live_rows, sample_size(len(live_rows))))
        candidates = Hnsw.trained(sample) if kind is Kind.HNSW else Ivf.trained(sample, len(live_rows))
    _add_rows(candidates, rows, stop)
    return candidates


def _add_rows(candidates: Candidates, rows: Rows, stop: int) -> None:
    """Add the rows from the end of `candidates` up to `stop`."""
    faiss.omp_set_num_threads(BUILD_THREADS)
    while candidates.count < stop:
        next_rows = np.arange(candidates.count, min(stop, candidates.count + ADDED_AT_ONCE))
        candidates.add(rows.vectors(next_rows))


def _carry_over(rows: Rows, live_rows: IdArray, stop: int, fresh: Rows) -> None:
    """Update `fresh`, made of `live_rows` rows up to `stop`, to the current content of `rows`."""
    fresh.delete(rows.ids[live_rows[~rows.live_mask[live_rows]]])
    appended = stop + np.flatnonzero(rows.live_mask[stop:])
    for start in range(0, len(appended), ADDED_AT_ONCE):
        batch = appended[start : start + ADDED_AT_ONCE]
        fresh.append(rows.ids[batch], rows.vectors(batch))
