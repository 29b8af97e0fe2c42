"""A better state of a FAISS index, built beside it while it serves, then put in its place at once."""

from collections.abc import Iterator

import faiss
import numpy as np

from model.embedder import FloatArray
from search.index.candidates import ADDED_AT_ONCE, Candidates, Hnsw, Ivf, chosen_rows, sample_size
from search.index.gpu import Gpu
from search.index.kinds import Kind
from search.index.rows import Rows
from search.types import IdArray

# What OpenMP would use by itself: all cores, or OMP_NUM_THREADS. Searching sets another number in its own thread.
BUILDING_THREADS = faiss.omp_get_max_threads()


def build(kind: Kind, rows: Rows, stop: int, living: IdArray) -> Candidates | None:
    """Candidates of a kind over rows up to `stop`, trained on those `living`; None for flat, which has none."""
    if kind is Kind.FLAT or not len(living):
        return None
    faiss.omp_set_num_threads(BUILDING_THREADS)
    made = _empty(kind, rows, living)
    take(made, rows, stop)
    return made


def take(candidates: Candidates, rows: Rows, stop: int) -> None:
    """Add the rows from where `candidates` end up to `stop`."""
    faiss.omp_set_num_threads(BUILDING_THREADS)
    while candidates.count < stop:
        next_rows = np.arange(candidates.count, min(stop, candidates.count + ADDED_AT_ONCE))
        candidates.add(rows.vectors(next_rows))


def compacted(rows: Rows, living: IdArray) -> Rows:
    """New rows that hold the `living` ones of others, in their order."""
    return Rows(rows.dimension, rows.ids[living], rows.vectors(living))


def carry_over(rows: Rows, living: IdArray, stop: int, fresh: Rows) -> None:
    """Bring `fresh`, made of `living` rows up to `stop`, to what `rows` hold now."""
    fresh.kill(rows.ids[living[~rows.alive[living]]])
    since = stop + np.flatnonzero(rows.alive[stop:])
    for some in _pieces(since):
        fresh.append(rows.ids[some], rows.vectors(some))


def _empty(kind: Kind, rows: Rows, living: IdArray) -> Candidates:
    if kind is Kind.GPU:
        return Gpu(rows.dimension)
    sample: FloatArray = rows.vectors(chosen_rows(living, sample_size(len(living))))
    return Hnsw.trained(sample, len(living)) if kind is Kind.HNSW else Ivf.trained(sample, len(living))


def _pieces(rows: IdArray) -> Iterator[IdArray]:
    return (rows[start : start + ADDED_AT_ONCE] for start in range(0, len(rows), ADDED_AT_ONCE))
