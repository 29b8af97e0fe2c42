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
from sqlalchemy.orm import Session

from anyseek.model.seam import FloatArray
from anyseek.search.catalogue import log
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.session import Database
from anyseek.search.filters.tree import Filter
from anyseek.search.settings import BACKENDS, Settings
from anyseek.search.types import IdArray

# Below this length a difference of unit vectors in float32 is rounding and has no direction.
NO_DIRECTION = 1e-4

# The ids that pass each filter, ascending, if a space searches among ids; empty if it evaluates filters itself.
Resolved = Mapping[Filter, IdArray]
Find = Callable[[FloatArray, int], "Neighbours"]


class Neighbours(NamedTuple):
    """The nearest ids of each query, best first: both arrays have shape (queries, min(k, count)),
    `count` being that of the vectors searched.

    `scores` are inner products of unit vectors (cosines), higher is better; equal scores are ordered by id.
    """

    ids: IdArray
    scores: FloatArray


class Stored(NamedTuple):
    """The stored state of a space besides its log, up to the log's entry `seq`; 0 if nothing is stored.

    `at` is when it was written; None where that is not known.
    """

    seq: int
    at: datetime | None = None


@dataclass(frozen=True)
class View:
    """The content of a live space for the length of a block. Its vectors are centred on `centre` (d,), float32.

    `find` searches as `search` does, `count()` is the number of vectors, and `vectors(ids)` has the held ones of `ids`
    (n,), ascending, and their centred vectors (m, d). `lacking` items cannot be found because their vectors are known
    to be damaged or lost.
    """

    centre: FloatArray
    lacking: int
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
        """The number up to which the index certainly has the log; call `refresh` first."""
        ...

    def refresh(self, head: Head) -> None:
        """Return once the index holds everything that the log had when `head` was read.

        Raises `CollectionNotFound` if the collection has been deleted in the meantime, `IndexUnavailable` if the index
        cannot be reached.
        """
        ...

    def resolve(self, session: Session, head: Head, filters: Iterable[Filter]) -> Resolved:
        """Prepare filters for searches in `reading`, as of `head`, which was read in `session`."""
        ...

    def reading(self, resolved: Resolved = ...) -> AbstractContextManager[View]:
        """The index for the length of the block; call `refresh` first."""
        ...

    def keep(self, head: Head, minimum_tail: int) -> int:
        """Do the upkeep that is due: move to the current centre, and store what saves reading the log again.

        Return the number up to which log entries are no longer needed. `minimum_tail` is the number of new entries from
        which storing is worth while. Only one caller, of all processes, may do this at a time.
        """
        ...

    def adopt(self) -> None:
        """Load what another process has built, if that is better."""
        ...

    def stored(self) -> Stored:
        """The state that a process which opens the space now need not read from the log. Nothing is loaded for this."""
        ...

    def faults(self) -> Iterator[str]:
        """One sentence for each damaged file or record that is stored for the space besides the log."""
        ...

    def clear(self) -> None:
        """Remove everything stored for the space, so that it is rebuilt from the log.

        The caller holds the right to do upkeep, and has compacted the log beyond every cursor.
        """
        ...


# Opens the live space of a space of a collection, or gives the one that is open.
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

    def forget_filters(self) -> None:
        """Resolve every filter anew, because what they were resolved by was damaged."""
        ...

    def remove_unknown(self) -> None:
        """Remove the data of collections and spaces that the catalogue no longer has."""
        ...

    def close(self) -> None:
        """Close connections; the backend's spaces must not be used after this."""
        ...


def raw_vectors(session: Session, head: Head, space: SpaceHead, ids: Sequence[int]) -> dict[int, FloatArray]:
    """The sound ones of the stored vectors of items in a space, by id."""
    vectors: dict[int, FloatArray] = {}
    for page in log.latest_vectors(session, head.id, space.id, ids):
        kept, rows = page.of(space.fingerprint, space.dimension)
        vectors.update(zip(kept.tolist(), rows, strict=True))
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
    undirected = lengths <= NO_DIRECTION
    if undirected.any():
        rows[undirected], lengths[undirected] = 0, 1
    rows /= lengths[:, np.newaxis]


def nearest(find: Find, vectors: FloatArray, k: int, count: int | None = None) -> Neighbours:
    """The best `k` by score and then by id, over any `find` that leaves equal scores in whatever order.

    `find(vectors, n)` returns the `n` nearest, best first, or fewer if there are fewer; `count` is their number, if
    known. To break ties at the last place by id too, more are requested until the last score is below the k-th.
    """
    most = count if count is not None else 1 << 31
    k = min(k, most)
    if k == 0:
        return none_found(len(vectors))
    wanted = min(k + 1, most)
    found = find(vectors, wanted)
    # Neighbours that are not listed may have the k-th score of a query.
    while found.ids.shape[1] == wanted < most and np.any(found.scores[:, -1] == found.scores[:, k - 1]):
        wanted = min(2 * wanted, most)
        found = find(vectors, wanted)
    return best(found.ids, found.scores, k)


def best(ids: IdArray, scores: FloatArray, k: int) -> Neighbours:
    """The best `k` of each row of ids and scores (q, n), by score and then by id."""
    if len(ids) == 1:  # most queries come alone, and picking along axes takes longer than sorting
        order = np.lexsort((ids[0], -scores[0]))[:k]
        return Neighbours(ids[:, order], scores[:, order])
    order = np.lexsort((ids, -scores), axis=1)[:, :k]
    return Neighbours(np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1))


def none_found(queries: int) -> Neighbours:
    """The result of `queries` queries without hits."""
    return Neighbours(np.empty((queries, 0), np.int64), np.empty((queries, 0), np.float32))


def open_backend(database: Database, settings: Settings) -> Backend:
    """The backend of the settings. Raises `IndexUnavailable` if it is already clear that it cannot be used."""
    return _backend(settings)(database, settings)


def check_backend(settings: Settings) -> str:
    """Describe the backend in one sentence. Raises `IndexUnavailable` if it cannot be used."""
    return _backend(settings).check(settings)


def _backend(settings: Settings) -> type[Backend]:
    found: type[Backend] = resolve_name(BACKENDS[settings.index.backend])
    return found
