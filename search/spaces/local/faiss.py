"""FAISS behind the VectorIndex seam: exact while small, with a graph or lists that propose candidates when large."""

import math
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

from anyseek.model.seam import FloatArray
from anyseek.search.spaces.base import Neighbours, best
from anyseek.search.spaces.local.candidates import (
    ADDED_AT_ONCE,
    MOST_DEAD,
    MOST_PENDING,
    TAKEN_AT_ONCE,
    Candidates,
    Gpu,
    Hnsw,
    Ivf,
    Kind,
    State,
    check_gpu,
    chosen_rows,
    is_worn,
    read_candidates,
    sample_size,
    suitable,
)
from anyseek.search.spaces.local.rows import Bits, Rows, read_vectors, write_vectors
from anyseek.search.spaces.local.snapshots import Frozen, Renewal
from anyseek.search.types import IdArray

# The number of candidates per hit, besides those that a filter and deletions will remove.
CANDIDATES_PER_HIT = 3
# With fewer candidates per hit, nearer rows may lie just beyond the last candidate.
LEAST_PER_HIT = 2
# A filter that keeps fewer candidates than its share promises is unrelated to the query: try once more with this many
# times as many candidates, then compare with all rows that it allows.
WIDENED = 16
# What OpenMP would use by itself: all cores, or OMP_NUM_THREADS. Searching sets another number in its own thread.
BUILDING_THREADS = faiss.omp_get_max_threads()


class FaissIndex:
    """Vectors of `dimension`. `kind` None chooses one by the number of vectors.

    Every score is exact. What is found is exact too while the kind is flat, or few vectors are allowed; otherwise
    recall@10 is at least 0.95 on vectors that have any structure.
    """

    def __init__(self, dimension: int, kind: Kind | None = None) -> None:
        """Raises `GpuMissing` for the kind `gpu` where there is none."""
        if kind is Kind.GPU:
            check_gpu()
        self._wanted = kind
        self._rows = Rows(dimension)
        self._candidates: Candidates | None = None

    def upsert(self, ids: IdArray, vectors: FloatArray) -> None:
        self._rows.append(np.ascontiguousarray(ids, np.int64), np.ascontiguousarray(vectors, np.float32))

    def delete(self, ids: IdArray) -> None:
        self._rows.kill(ids)

    def search(self, vectors: FloatArray, k: int, allowed: IdArray | None = None) -> Neighbours:
        faiss.omp_set_num_threads(1)  # for the calling thread; requests run side by side in their own threads
        vectors = np.ascontiguousarray(vectors, np.float32)
        if self._candidates is not None:
            found = self._approximate(self._candidates, vectors, k, allowed)
            if found is not None:
                return found
        if allowed is None:
            return self._rows.nearest(vectors, k)
        rows = self._rows.find(allowed)
        return self._rows.nearest(vectors, k, rows[rows >= 0])

    def count(self) -> int:
        return self._rows.living

    def vectors(self, ids: IdArray) -> tuple[IdArray, FloatArray]:
        ids = np.sort(ids)
        rows = self._rows.find(ids)
        return ids[rows >= 0], self._rows.vectors(rows[rows >= 0])

    def frozen(self) -> Frozen:
        rows, candidates = self._rows.frozen(), self._candidates  # serving candidates are never extended in place
        rest = None if candidates is None else candidates.write

        def write(path: Path) -> None:
            blocks = (block for _, block in rows.blocks(rows.count))
            write_vectors(path, np.where(rows.alive, rows.ids, -1), blocks, rows.dimension, rest)

        return Frozen(type(self).__name__, rows.living, write)

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
    def state(self) -> State:
        """The current kind and content of the index."""
        rows, held = self._rows, self._candidates
        if held is None:
            return State(Kind.FLAT, rows.living, rows.count - rows.living, 0, rows.count)
        return State(held.kind, rows.living, rows.count - rows.living, rows.count - held.count, held.trained_for)

    def renewal(self, thorough: bool) -> Renewal | None:
        state = self.state
        kind = suitable(self._wanted, state.living, state.kind)
        cheap = kind in (Kind.FLAT, Kind.GPU)
        if (thorough or cheap) and (kind is not state.kind or is_worn(state)):
            return self._rebuilding(kind)
        if state.pending > MOST_PENDING:
            return self._taking(None if thorough else TAKEN_AT_ONCE)
        return None

    def _rebuilding(self, kind: Kind) -> Renewal:
        """Build candidates of a kind, over rows without the dead ones if these are many."""
        rows, stop = self._rows, self._rows.count
        living = np.flatnonzero(rows.alive)
        crowded = stop - len(living) > MOST_DEAD * stop

        def made() -> Callable[[], None]:
            fresh = Rows(rows.dimension, rows.ids[living], rows.vectors(living)) if crowded else rows
            over = np.arange(len(living)) if crowded else living
            candidates = _built(kind, fresh, fresh.count if crowded else stop, over)

            def finish() -> None:
                if self._rows is not rows:
                    return  # it has been restored in the meantime
                if crowded:
                    _carry_over(rows, living, stop, fresh)
                self._rows, self._candidates = fresh, candidates

            return finish

        return made

    def _taking(self, most: int | None) -> Renewal:
        """Add a limited number of pending rows to a copy of the graph or the lists."""
        rows, held = self._rows, self._candidates
        if held is None:
            raise RuntimeError("a flat index has no rows that wait")
        stop = rows.count if most is None else min(rows.count, held.count + most)

        def made() -> Callable[[], None]:
            grown = held.copy()
            _take(grown, rows, stop)

            def finish() -> None:
                if self._rows is rows and self._candidates is held:
                    self._candidates = grown

            return finish

        return made

    def _approximate(
        self, candidates: Candidates, vectors: FloatArray, k: int, allowed: IdArray | None
    ) -> Neighbours | None:
        """The nearest rows, found by candidates; None if that may find too few or would cost too much."""
        rows = self._rows
        held = rows.living if allowed is None else len(allowed)
        if not held:
            return None
        for share in (min(1.0, held / rows.count), held / rows.count / WIDENED):
            wanted = math.ceil((candidates.spare + CANDIDATES_PER_HIT * k) / max(share, 1 / rows.count))
            if held <= candidates.cost(wanted, share):
                return None
            near = candidates.find(vectors, wanted, share)
            found = self._among(near, candidates.count, vectors, k, allowed)
            if found is not None:
                return found
        return None

    def _among(
        self, near: IdArray, covered: int, vectors: FloatArray, k: int, allowed: IdArray | None
    ) -> Neighbours | None:
        """The `k` best of the rows `near` (q, n) and of those from `covered` on; None if too few of `near` count."""
        rows = self._rows
        if allowed is None and rows.living == rows.count == covered and near.min(initial=0) >= 0:
            return best(rows.ids[near], rows.scores(vectors, near), k)
        counts = near >= 0
        if rows.living < rows.count:
            counts &= rows.alive[near]
        if allowed is not None:
            counts &= _are_in(rows.ids[near], allowed)
        if int(counts.sum(axis=1).min()) < LEAST_PER_HIT * k:
            return None
        near = np.where(counts, near, -1)
        ids, scores = rows.ids[near], rows.scores(vectors, near)
        pending = self._pending(covered, allowed)
        if len(pending):
            new = rows.nearest(vectors, k, pending)
            ids, scores = np.concatenate([ids, new.ids], axis=1), np.concatenate([scores, new.scores], axis=1)
        return best(ids, scores, k)

    def _pending(self, covered: int, allowed: IdArray | None) -> IdArray:
        """Living rows that are not among the candidates yet, in the order of their ids."""
        waiting = covered + np.flatnonzero(self._rows.alive[covered:])
        ids = self._rows.ids[waiting]
        if allowed is not None:
            waiting = waiting[_are_in(ids, allowed)]
        return waiting


def _built(kind: Kind, rows: Rows, stop: int, living: IdArray) -> Candidates | None:
    """Candidates of a kind over rows up to `stop`, trained on those `living`; None for flat, which has none."""
    if kind is Kind.FLAT or not len(living):
        return None
    faiss.omp_set_num_threads(BUILDING_THREADS)
    made: Candidates
    if kind is Kind.GPU:
        made = Gpu(rows.dimension)
    else:
        sample: FloatArray = rows.vectors(chosen_rows(living, sample_size(len(living))))
        made = Hnsw.trained(sample) if kind is Kind.HNSW else Ivf.trained(sample, len(living))
    _take(made, rows, stop)
    return made


def _take(candidates: Candidates, rows: Rows, stop: int) -> None:
    """Add the rows from the end of `candidates` up to `stop`."""
    faiss.omp_set_num_threads(BUILDING_THREADS)
    while candidates.count < stop:
        next_rows = np.arange(candidates.count, min(stop, candidates.count + ADDED_AT_ONCE))
        candidates.add(rows.vectors(next_rows))


def _carry_over(rows: Rows, living: IdArray, stop: int, fresh: Rows) -> None:
    """Update `fresh`, made of `living` rows up to `stop`, to the current content of `rows`."""
    fresh.kill(rows.ids[living[~rows.alive[living]]])
    since = stop + np.flatnonzero(rows.alive[stop:])
    for start in range(0, len(since), ADDED_AT_ONCE):
        some = since[start : start + ADDED_AT_ONCE]
        fresh.append(rows.ids[some], rows.vectors(some))


def _are_in(ids: IdArray, allowed: IdArray) -> Bits:
    """Mask of the `ids` that are in `allowed`, which is ascending and not empty."""
    places = np.minimum(np.searchsorted(allowed, ids), len(allowed) - 1)
    there: Bits = allowed[places] == ids
    return there
