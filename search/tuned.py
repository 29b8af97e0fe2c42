"""What was fitted on collections themselves, held for queries and read again when it has changed."""

from collections.abc import Collection
from dataclasses import dataclass

from anyseek.search.catalogue import tunings
from anyseek.search.catalogue.collections import SpaceHead
from anyseek.search.catalogue.session import Database
from anyseek.search.curve import Curve, OwnCurves
from anyseek.search.query_vectors import Tuned, TunedSpaces


@dataclass(frozen=True)
class _Held:
    version: int
    means: Tuned
    curves: OwnCurves


class Tunings:
    """The tunings of all collections that are asked. Safe for many threads: two may read the same ones."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: dict[int, _Held] = {}  # by the id of the space

    def means(self, spaces: Collection[SpaceHead]) -> TunedSpaces:
        """The means of queries, by the id of the space."""
        return {space.id: self._get(space).means for space in spaces if space.tuning_version}

    def curves(self, spaces: Collection[SpaceHead]) -> OwnCurves:
        found: dict[tuple[int, str], Curve] = {}
        for space in spaces:
            if space.tuning_version:
                found |= self._get(space).curves
        return found

    def forget(self) -> None:
        """Hold nothing more of deleted collections."""
        self._held = {}

    def _get(self, space: SpaceHead) -> _Held:
        held = self._held.get(space.id)  # once: `forget` may empty it at any moment
        if held is not None and held.version == space.tuning_version:
            return held
        with self._database.read() as session:
            means = tunings.of_space(session, space.id, space.fingerprint)
            curves = tunings.curves_of_space(session, space.id, space.fingerprint)
        held = _Held(
            space.tuning_version,
            {tuning.modality: tuning.mean for tuning in means},
            {(space.id, own.modality): own.curve for own in curves},
        )
        self._held[space.id] = held
        return held
