"""The VectorIndex seam: ids and unit vectors in, nearest ids out.

Implementations: `search.index.memory` (NumPy, the oracle), `search.index.faiss`, `search.index.qdrant`.
`docs/indexes.md` tells which is for what.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from model.embedder import FloatArray
from search.types import IdArray


class Neighbours(NamedTuple):
    """The nearest ids of each query, best first: both arrays have shape (queries, min(k, count)),
    `count` being that of the vectors searched.

    `scores` are inner products of unit vectors (cosines), higher is better; equal scores are ordered by id.
    """

    ids: IdArray
    scores: FloatArray


# Builds a better state of an index beside it, for as long as that takes, and returns what puts it in place. Only that
# last call needs the index to itself; changes that came in between are carried over by it.
Renewal = Callable[[], Callable[[], None]]


@dataclass(frozen=True)
class Frozen:
    """What an index held at one moment, however it changes afterwards: `count` vectors, in an index of class `kind`.

    `write` puts it into a new file, for `VectorIndex.restore` of that class.
    """

    kind: str
    count: int
    write: Callable[[Path], None]


class VectorIndex(Protocol):
    """Vectors by id. Derived data: it can always be rebuilt from the log, so no call promises durability."""

    def upsert(self, ids: IdArray, vectors: FloatArray) -> None:
        """Insert or replace: `ids` (n,) positive and distinct, `vectors` float32 (n, d) with rows of length 1."""
        ...

    def delete(self, ids: IdArray) -> None:
        """Forget `ids`; unknown ones are ignored."""
        ...

    def search(self, vectors: FloatArray, k: int, allowed: IdArray | None = None) -> Neighbours:
        """The `k` nearest of each row of `vectors`, fewer only when the index holds fewer.

        With `allowed`, distinct ids (m,) ascending, the nearest of those; ids that are not held are passed over.
        """
        ...

    def count(self) -> int: ...

    def vectors(self, ids: IdArray) -> tuple[IdArray, FloatArray]:
        """Those of `ids` that are held, ascending, and their vectors (n, d); for checking the index."""
        ...

    def flush(self) -> None:
        """Return once everything upserted is searchable."""
        ...

    def snapshot(self, path: Path) -> None:
        """Write the whole index to the new file `path`."""
        ...

    def restore(self, path: Path) -> None:
        """Replace the contents by those of a snapshot."""
        ...

    def renewal(self, thorough: bool) -> Renewal | None:
        """What would make the index better now, None if nothing would.

        `thorough` is for the one process that builds an index for all; without it, only what takes a few seconds.
        """
        ...


class LocalIndex(VectorIndex, Protocol):
    """An index in this process, of which snapshots are written while it changes."""

    def frozen(self) -> Frozen:
        """At once; writing it takes its time beside searches and changes."""
        ...
