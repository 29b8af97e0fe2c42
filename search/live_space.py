"""What the engine searches: one space of a collection with its index, wherever that is."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy.orm import Session

from model.embedder import FloatArray
from search.catalogue.collections import Head
from search.filters.tree import Filter
from search.index.base import Neighbours, VectorIndex

# What a space has made of filters for its index: ids, or the filters themselves where the index holds attributes.
Resolved = Mapping[Filter, Any]


@dataclass(frozen=True)
class View:
    """An index and the mean on which the vectors in it are centred."""

    index: VectorIndex
    centre: FloatArray
    resolved: Resolved = field(default_factory=dict)

    def search(self, vectors: FloatArray, k: int, where: Filter | None) -> Neighbours:
        """The nearest among those that pass a filter that was resolved."""
        return self.index.search(vectors, k, None if where is None else self.resolved[where])


class LiveSpace(Protocol):
    """Safe for many threads."""

    @property
    def cursor(self) -> int:
        """The number up to which the log is certainly in the index."""
        ...

    def refresh(self, head: Head) -> None:
        """Return once the index holds everything that the log had when `head` was read."""
        ...

    def resolve(self, session: Session, head: Head, filters: Iterable[Filter | None]) -> Resolved:
        """What `reading` takes, as of `head`, which was read in `session`."""
        ...

    def reading(self, resolved: Resolved) -> AbstractContextManager[View]:
        """The index for the length of the block; `refresh` comes first."""
        ...

    def keep(self, head: Head, minimum_tail: int) -> int:
        """Write down what is due, and return up to which number of the log the index can do without it."""
        ...

    def adopt(self) -> None:
        """Take over what another process has built, if that is better."""
        ...
