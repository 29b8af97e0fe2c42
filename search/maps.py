"""Maps of collections: the items on the plane of their vectors' first two principal components."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from anyseek.model.seam import Embedder, FloatArray
from anyseek.search.catalogue import collections, facet_counts, facets, items
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.values import chunks
from anyseek.search.errors import BadInput
from anyseek.search.filters.tree import Exists, checked
from anyseek.search.kept import ResultCache
from anyseek.search.query.planning import ITEM_MODALITY, home_space, named_space
from anyseek.search.spaces.base import OpenSpace
from anyseek.search.types import GroupValue, IdArray

MOST_ITEMS = 20_000
_AT_ONCE = 1_000  # items whose vectors are read together
_KEPT = 8  # maps, and layouts, which those of one space in other colours share


@dataclass(frozen=True)
class MapRequest:
    """What to lay out: at most `limit` items, a sample by `seed` if there are more; None lets the model choose a space.

    `colour_by` is the path of an attribute whose values are wanted too.
    """

    space: str | None = None
    colour_by: str | None = None
    limit: int = 5_000
    seed: int = 0


@dataclass(frozen=True)
class MapPoint:
    """An item on a map, `x` and `y` from -1 to 1, and its first value of the attribute that was asked for."""

    key: str
    x: float
    y: float
    value: GroupValue | None = None


@dataclass(frozen=True)
class CollectionMap:
    """The places of items, in the order in which these were first put, of `items` in the whole collection.

    `left_out` counts items that were chosen for the map but have no sound vector in the space, or a damaged row.
    """

    places: tuple[MapPoint, ...]
    space: str
    items: int
    left_out: int


@dataclass(frozen=True)
class _Layout:
    """The ids of items, and their positions (n, 2)."""

    ids: IdArray
    positions: FloatArray
    items: int
    left_out: int


@dataclass(frozen=True)
class MapMaker:
    """Maker of maps that keeps the latest ones until their collection changes. Thread-safe."""

    database: Database
    embedder: Embedder
    live_space: OpenSpace
    _maps: ResultCache[tuple[int | str | None, ...], CollectionMap] = field(default_factory=lambda: ResultCache(_KEPT))
    _layouts: ResultCache[tuple[int, ...], _Layout] = field(default_factory=lambda: ResultCache(_KEPT))

    def make(self, head: Head, wanted: MapRequest) -> CollectionMap:
        """The map of a collection; that of an empty one has no places.

        Raises `SpaceNotFound`, `BadInput` for a limit out of range, or an attribute that no item has, and as
        `home_space` does if no space is named.
        """
        if not 1 <= wanted.limit <= MOST_ITEMS:
            raise BadInput(f"a map of {wanted.limit:,} items cannot be made; its limit is 1 to {MOST_ITEMS:,}")
        space = named_space(wanted.space, head) if wanted.space else home_space(ITEM_MODALITY, head, self.embedder)
        if wanted.colour_by is not None:
            self._check_attribute(head, wanted.colour_by)
        state = (head.id, space.id, head.last_seq, space.centre_version, wanted.limit, wanted.seed)
        return self._maps.get((*state, wanted.colour_by), lambda: self._make(head, space, wanted, state))

    def forget(self) -> None:
        """Drop all maps."""
        self._maps.forget()
        self._layouts.forget()

    def _make(self, head: Head, space: SpaceHead, wanted: MapRequest, state: tuple[int, ...]) -> CollectionMap:
        layout = self._layouts.get(state, lambda: self._lay_out(head, space, wanted))
        values = {} if wanted.colour_by is None else self._values(head, wanted.colour_by, layout.ids)
        keys, damaged = self._keys(layout.ids)
        places = tuple(
            MapPoint(keys[item_id], round(x, 4), round(y, 4), values.get(item_id))
            for item_id, (x, y) in zip(layout.ids.tolist(), layout.positions.tolist(), strict=True)
            if item_id in keys
        )
        return CollectionMap(places, space.name, layout.items, layout.left_out + damaged)

    def _check_attribute(self, head: Head, path: str) -> None:
        if path.startswith("@"):
            raise BadInput(f"a map cannot be coloured by {path!r}, which is no attribute; name one, such as album")
        with self.database.read() as session:
            absent = facet_counts.explain_absence(session, head.id, checked(Exists(path)))
        if absent:
            raise BadInput(f"a map cannot be coloured so: {absent}")

    def _lay_out(self, head: Head, space: SpaceHead, wanted: MapRequest) -> _Layout:
        with self.database.read() as session:
            ids = np.array(sorted(collections.item_ids(session, head.id)), np.int64)
        chosen = ids
        if len(ids) > wanted.limit:
            chosen = np.sort(np.random.default_rng(wanted.seed).choice(ids, wanted.limit, replace=False))
        live = self.live_space(head, space)
        live.refresh(head)
        held, vectors = [np.empty(0, np.int64)], [np.empty((0, space.dimension), np.float32)]
        for some in chunks(chosen.tolist(), _AT_ONCE):
            with live.open_view() as view:
                there, read = view.vectors(np.array(some, np.int64))
            held.append(there)
            vectors.append(read)
        found = np.concatenate(held)
        positions = project(np.concatenate(vectors))
        return _Layout(found, positions, len(ids), len(chosen) - len(found))

    def _keys(self, ids: IdArray) -> tuple[Mapping[int, str], int]:
        """The keys of items by id, and how many of these have damaged rows; those deleted meanwhile are left out."""
        keys: dict[int, str] = {}
        damaged = 0
        for some in chunks(ids.tolist(), _AT_ONCE):
            with self.database.read() as session:
                found = items.by_ids(session, some)
            keys.update((item.id, item.key) for item in found.values() if not item.damaged)
            damaged += sum(item.damaged for item in found.values())
        return keys, damaged

    def _values(self, head: Head, path: str, ids: IdArray) -> Mapping[int, GroupValue]:
        """The first value of each item at a path. Raises `BadInput` if none of the items has one."""
        values: dict[int, GroupValue] = {}
        for some in chunks(ids.tolist(), _AT_ONCE):
            with self.database.read() as session:
                found = facets.values_of(session, head.id, path, some)
            values.update((item_id, held[0]) for item_id, held in found.items())
        if not values and len(ids):
            raise BadInput(
                f"none of the {len(ids):,} items on the map has a value of {path!r}; for an object, name an attribute "
                f"inside it, such as {path}.name"
            )
        return values


def project(vectors: FloatArray) -> FloatArray:
    """Positions (n, 2), float32 from -1 to 1, of vectors (n, d) along their first two principal components.

    The larger extent fills the range. The member of a component that is largest in magnitude is positive, so equal
    vectors always have equal positions.
    """
    positions = np.zeros((len(vectors), 2), np.float32)
    if len(vectors) < 2:
        return positions
    moved = vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    _, directions = np.linalg.eigh((moved.T @ moved).astype(np.float64))  # ascending by variance
    kept = directions[:, ::-1][:, :2]
    kept = kept * np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])])
    positions[:, : kept.shape[1]] = moved @ kept.astype(np.float32)
    low, high = positions.min(axis=0), positions.max(axis=0)
    half = max(float((high - low).max()) / 2, 1e-12)
    framed: FloatArray = np.clip((positions - (low + high) / 2) / half, -1, 1).astype(np.float32)
    return framed
