"""Cache of the means of queries that were fitted on collections themselves."""

from collections.abc import Collection
from dataclasses import dataclass

from anyseek.search.catalogue import collections
from anyseek.search.catalogue.collections import SpaceHead
from anyseek.search.catalogue.session import Database
from anyseek.search.query.vectors import Tuned, TunedSpaces


@dataclass(frozen=True)
class _Cached:
    version: int
    means: Tuned


class Tunings:
    """Cached tunings of all collections that are queried, read again when they change. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cached: dict[int, _Cached] = {}  # by the id of the space

    def means(self, spaces: Collection[SpaceHead]) -> TunedSpaces:
        """The means of queries, by the id of the space."""
        return {space.id: self._get(space) for space in spaces if space.tuning_version}

    def forget(self) -> None:
        """Release what is cached of deleted collections."""
        self._cached = {}

    def _get(self, space: SpaceHead) -> Tuned:
        cached = self._cached.get(space.id)  # once: `forget` may empty it at any moment
        if cached is not None and cached.version == space.tuning_version:
            return cached.means
        with self._database.read() as session:
            read = collections.tunings_of(session, space.id, space.fingerprint)
        means = {tuning.modality: tuning.mean for tuning in read}
        self._cached[space.id] = _Cached(space.tuning_version, means)
        return means
