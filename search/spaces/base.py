"""The interface of index backends, which hold the spaces of collections and find the nearest vectors in them.

A `Backend` opens a `LiveSpace` for each space of a collection. The content of a live space is derived from the
catalogue's log and can be rebuilt at any time, so no call promises durability. docs/indexes.md explains how to add a
backend.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pkgutil import resolve_name
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from anyseek.model.seam import FloatArray
from anyseek.search.catalogue import log
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.session import Database
from anyseek.search.filters.tree import Filter
from anyseek.search.settings import BACKENDS, Settings
from anyseek.search.types import IdArray

# Below this length a difference of unit vectors in float32 is rounding and has no direction.
MIN_NORM = 1e-4

# The ids that pass each filter, ascending, if a space searches among ids; empty if it evaluates filters itself.
ResolvedFilters = Mapping[Filter, IdArray]
FindNearest = Callable[[FloatArray, int], "Neighbours"]


class Neighbours(NamedTuple):
    """The nearest ids of each query, best first: two arrays of shape (queries, min(k, number of vectors searched)).

    `scores` are inner products of unit vectors (cosines), higher is better; equal scores are ordered by id.
    """

    ids: IdArray
    scores: FloatArray


class StoredState(NamedTuple):
    """The stored state of a space besides its log: up to entry `seq` of the log, 0 if nothing is stored.

    `written_at` is None where the time is not known.
    """

    seq: int
    written_at: datetime | None = None


@dataclass(frozen=True)
class View:
    """A read-only view of a live space. Its vectors are centred on `centre` (d,), float32.

    `find` searches as `search` does, `count()` is the number of vectors, and `vectors(ids)` returns those of `ids` (n,)
    that are in the index, ascending, and their centred vectors (m, d). `missing_count` is the number of items that
    cannot be found because their vectors are damaged or lost.
    """

    centre: FloatArray
    missing_count: int
    find: Callable[[FloatArray, int, Filter | None], Neighbours]
    count: Callable[[], int]
    vectors: Callable[[IdArray], tuple[IdArray, FloatArray]]

    def search(self, vectors: FloatArray, k: int, where: Filter | None = None) -> Neighbours:
        """The `k` nearest of each unit row of `vectors` (q, d), among the items that pass a resolved filter."""
        return self.find(vectors, k, where)


class LiveSpace(Protocol):
    """One space of a collection with its index. Safe for many threads.

    Heads are states of the collection: everything in the log up to `head.last_seq` happened before.
    """

    @property
    def cursor(self) -> int:
        """The last log entry that the index certainly contains; call `refresh` first."""
        ...

    def refresh(self, head: Head) -> None:
        """Return once the index holds everything that the log had when `head` was read.

        Raises `CollectionNotFound` if the collection has been deleted in the meantime, `IndexUnavailable` if the index
        cannot be reached.
        """
        ...

    def resolve(self, session: Session, head: Head, filters: Iterable[Filter]) -> ResolvedFilters:
        """Prepare filters for searches in `open_view`, in the state `head`, which was read in `session`."""
        ...

    def open_view(self, resolved: ResolvedFilters = ...) -> AbstractContextManager[View]:
        """A context with a view of the index; call `refresh` first."""
        ...

    def maintain(self, head: Head, minimum_tail: int) -> int:
        """Do the upkeep that is due: move to the current centre, and write a snapshot, so that less of the log is read.

        Return the last log entry that is no longer needed. A snapshot is worth while from `minimum_tail` new entries.
        Only one caller, of all processes, may do this at a time.
        """
        ...

    def adopt(self) -> None:
        """Load the index that another process has built, if it is better than this one."""
        ...

    def stored_state(self) -> StoredState:
        """The state that a process which opens the space now loads instead of the log. Loads nothing."""
        ...

    def faults(self) -> Iterator[str]:
        """A sentence for each damaged file or record of the space, except the log's."""
        ...

    def clear(self) -> None:
        """Remove everything stored for the space, so that it is rebuilt from the log.

        The caller holds the right to do upkeep, and has compacted the log beyond every cursor.
        """
        ...


# Opens the live space of a space of a collection, or returns the open one.
OpenSpace = Callable[[Head, SpaceHead], LiveSpace]


class Backend(Protocol):
    """Opens the spaces of all collections of one installation. Safe for many threads.

    Made with `(database, settings)`, without connecting to anything yet.
    """

    def __init__(self, database: Database, settings: Settings) -> None: ...

    @staticmethod
    def check(settings: Settings) -> str:
        """Describe the backend in one sentence. Raises `IndexUnavailable`, saying what to do, if it cannot be used."""
        ...

    def open(self, head: Head, space: SpaceHead) -> LiveSpace:
        """Open a space of the collection `head`. Nothing is read before its `refresh`."""
        ...

    def clear_filter_cache(self) -> None:
        """Discard all resolved filters, because the data that they were resolved by was damaged."""
        ...

    def remove_unknown(self) -> None:
        """Remove the data of collections and spaces that the catalogue no longer has."""
        ...

    def close(self) -> None:
        """Close connections; the backend's spaces must not be used after this."""
        ...


def raw_vectors(session: Session, head: Head, space: SpaceHead, ids: Sequence[int]) -> dict[int, FloatArray]:
    """The undamaged stored vectors of items in a space, by id."""
    vectors: dict[int, FloatArray] = {}
    for page in log.latest_vectors(session, head.id, space.id, ids):
        page_ids, rows = page.of(space.fingerprint, space.dimension)
        vectors.update(zip(page_ids.tolist(), rows, strict=True))
    return vectors


def centre(vectors: FloatArray, mean: FloatArray, blocks: Sequence[int] = ()) -> FloatArray:
    """Normalised rows of `vectors` - `mean`: (n, d) and (d,), or a mean for each row (n, d) -> float32 (n, d).

    Each of `blocks` (widths, see `EmbeddingSpace`) keeps the length that it has in the row, and a block of zeros stays
    zero. A row that equals the mean has no direction: it becomes zero (cosine 0 to everything).
    """
    moved: FloatArray = np.subtract(vectors, mean, dtype=np.float32)
    if len(blocks) > 1:
        ends = np.cumsum(blocks)[:-1]  # of all blocks but the last
        for before, after in zip(np.split(vectors, ends, axis=1), np.split(moved, ends, axis=1), strict=True):
            _normalise(after)
            after *= np.linalg.norm(before, axis=1, keepdims=True)
    _normalise(moved)
    return moved


def _normalise(rows: FloatArray) -> None:
    """Scale rows to length 1 in place; one without direction becomes zero."""
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    undirected = lengths <= MIN_NORM
    if undirected.any():
        rows[undirected], lengths[undirected] = 0, 1
    rows /= lengths[:, np.newaxis]


def nearest(find: FindNearest, vectors: FloatArray, k: int, total: int | None = None) -> Neighbours:
    """The best `k` by score and then by id, from a `find` that returns equal scores in any order.

    `find(vectors, n)` returns the `n` nearest, best first, or fewer if there are fewer; `total` is the number of
    vectors, if known. To break ties at the k-th place by id, more are requested until the last score is below the k-th.
    """
    limit = total if total is not None else 1 << 31
    k = min(k, limit)
    if k == 0:
        return no_neighbours(len(vectors))
    requested = min(k + 1, limit)
    neighbours = find(vectors, requested)
    # Neighbours that are not listed may have the k-th score of a query.
    while neighbours.ids.shape[1] == requested < limit and np.any(
        neighbours.scores[:, -1] == neighbours.scores[:, k - 1]
    ):
        requested = min(2 * requested, limit)
        neighbours = find(vectors, requested)
    return top_k(neighbours.ids, neighbours.scores, k)


def top_k(ids: IdArray, scores: FloatArray, k: int) -> Neighbours:
    """The best `k` of each row of ids and scores (q, n), by score and then by id."""
    if len(ids) == 1:  # most batches have one query, and take_along_axis takes longer than sorting
        order = np.lexsort((ids[0], -scores[0]))[:k]
        return Neighbours(ids[:, order], scores[:, order])
    order = np.lexsort((ids, -scores), axis=1)[:, :k]
    return Neighbours(np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1))


def isin_sorted(ids: IdArray, allowed: IdArray) -> npt.NDArray[np.bool_]:
    """Mask of the `ids` that are in `allowed`, ascending and not empty; `np.isin` takes ten times as long."""
    places = np.minimum(np.searchsorted(allowed, ids), len(allowed) - 1)
    mask: npt.NDArray[np.bool_] = allowed[places] == ids
    return mask


def no_neighbours(queries: int) -> Neighbours:
    """An empty result for `queries` queries."""
    return Neighbours(np.empty((queries, 0), np.int64), np.empty((queries, 0), np.float32))


def open_backend(database: Database, settings: Settings) -> Backend:
    """The backend of the settings. Raises `IndexUnavailable` if it is already clear that it cannot be used."""
    return _backend_class(settings)(database, settings)


def check_backend(settings: Settings) -> str:
    """Describe the backend in one sentence. Raises `IndexUnavailable` if it cannot be used."""
    return _backend_class(settings).check(settings)


def _backend_class(settings: Settings) -> type[Backend]:
    backend: type[Backend] = resolve_name(BACKENDS[settings.index.backend])
    return backend
