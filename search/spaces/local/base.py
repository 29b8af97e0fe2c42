"""The interface of the local backend's indexes: ids and unit vectors in, nearest ids out.

`anyseek.search.spaces.local.faiss` implements it, and so does the tests' reference in plain NumPy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from anyseek.model.seam import FloatArray
from anyseek.search.spaces.base import Neighbours
from anyseek.search.types import IdArray

# Builds a better state of an index beside it, and returns a function that puts it in place. Only that function needs
# exclusive use of the index; it also carries over changes made in between.
Renewal = Callable[[], Callable[[], None]]


@dataclass(frozen=True)
class Frozen:
    """The content of an index at one moment, unaffected by later changes: `count` vectors of an index of class `kind`.

    `write` saves it in a new file, which `VectorIndex.restore` of that class reads.
    """

    kind: str
    count: int
    write: Callable[[Path], None]


class VectorIndex(Protocol):
    """Vectors by id, in this process. Derived data, which can always be rebuilt from the log."""

    def upsert(self, ids: IdArray, vectors: FloatArray) -> None:
        """Insert or replace: `ids` (n,) positive and distinct, `vectors` float32 (n, d) with rows of length 1."""
        ...

    def delete(self, ids: IdArray) -> None:
        """Remove `ids`; unknown ids are ignored."""
        ...

    def search(self, vectors: FloatArray, k: int, allowed: IdArray | None = None) -> Neighbours:
        """The `k` nearest of each row of `vectors`, fewer only when the index holds fewer.

        With `allowed`, distinct ids (m,) ascending, the nearest of those; ids that are not held are passed over.
        """
        ...

    def count(self) -> int: ...

    def vectors(self, ids: IdArray) -> tuple[IdArray, FloatArray]:
        """The `ids` that are held, ascending, and their vectors (n, d); for checking the index."""
        ...

    def frozen(self) -> Frozen:
        """The current content, at once; it can be written while searches and changes go on."""
        ...

    def restore(self, path: Path) -> None:
        """Replace the content with that of a file that `Frozen.write` wrote."""
        ...

    def renewal(self, thorough: bool) -> Renewal | None:
        """A renewal that would improve the index now, None if nothing would.

        `thorough` is for the one process that builds an index for all; without it, only what takes a few seconds.
        """
        ...
