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
from anyseek.search.query.planning import ITEM_MODALITY, home_space, named_space
from anyseek.search.result_cache import ResultCache
from anyseek.search.spaces.base import OpenSpace
from anyseek.search.types import GroupValue, IdArray

MAX_ITEMS = 20_000
_BATCH = 1_000  # items read together
_CACHED = 8  # cached maps, and cached layouts, which maps of one space in other colours share


@dataclass(frozen=True)
class MapRequest:
    """A map to make of at most `limit` items, sampled with `seed` if there are more; `space` None: the model chooses.

    `colour_by` is the path of an attribute whose values the map includes.
    """

    space: str | None = None
    colour_by: str | None = None
    limit: int = 5_000
    seed: int = 0


@dataclass(frozen=True)
class MapPoint:
    """An item on a map, `x` and `y` from -1 to 1, and its first value of the requested attribute."""

    key: str
    x: float
    y: float
    value: GroupValue | None = None


@dataclass(frozen=True)
class CollectionMap:
    """The points of a sample, in order of insertion, of the collection's `items` items.

    `left_out` counts sampled items without a sound vector in the space or with a damaged row.
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
    """Makes maps and caches the latest until their collection changes. Thread-safe."""

    database: Database
    embedder: Embedder
    live_space: OpenSpace
    _maps: ResultCache[tuple[int | str | None, ...], CollectionMap] = field(
        default_factory=lambda: ResultCache(_CACHED)
    )
    _layouts: ResultCache[tuple[int, ...], _Layout] = field(default_factory=lambda: ResultCache(_CACHED))

    def make(self, head: Head, request: MapRequest) -> CollectionMap:
        """The map of a collection, without points if the collection is empty.

        Raises `SpaceNotFound`, `BadInput` for a limit out of range or an attribute that no item has, and, without a
        space, what `home_space` raises.
        """
        if not 1 <= request.limit <= MAX_ITEMS:
            raise BadInput(f"a map of {request.limit:,} items cannot be made; its limit is 1 to {MAX_ITEMS:,}")
        space = named_space(request.space, head) if request.space else home_space(ITEM_MODALITY, head, self.embedder)
        if request.colour_by is not None:
            self._check_attribute(head, request.colour_by)
        state = (head.id, space.id, head.last_seq, space.centre_version, request.limit, request.seed)
        return self._maps.get((*state, request.colour_by), lambda: self._make(head, space, request, state))

    def forget(self) -> None:
        """Drop all maps."""
        self._maps.forget()
        self._layouts.forget()

    def _make(self, head: Head, space: SpaceHead, request: MapRequest, state: tuple[int, ...]) -> CollectionMap:
        layout = self._layouts.get(state, lambda: self._lay_out(head, space, request))
        values = {} if request.colour_by is None else self._values(head, request.colour_by, layout.ids)
        keys, damaged = self._keys(layout.ids)
        points = tuple(
            MapPoint(keys[item_id], round(x, 4), round(y, 4), values.get(item_id))
            for item_id, (x, y) in zip(layout.ids.tolist(), layout.positions.tolist(), strict=True)
            if item_id in keys
        )
        return CollectionMap(points, space.name, layout.items, layout.left_out + damaged)

    def _check_attribute(self, head: Head, path: str) -> None:
        if path.startswith("@"):
            raise BadInput(f"a map cannot be coloured by {path!r}, which is not an attribute; name one, such as album")
        with self.database.read() as session:
            absent = facet_counts.explain_absence(session, head.id, checked(Exists(path)))
        if absent:
            raise BadInput(f"a map cannot be coloured by {path!r}: {absent}")

    def _lay_out(self, head: Head, space: SpaceHead, request: MapRequest) -> _Layout:
        with self.database.read() as session:
            ids = np.array(sorted(collections.item_ids(session, head.id)), np.int64)
        sample = ids
        if len(ids) > request.limit:
            sample = np.sort(np.random.default_rng(request.seed).choice(ids, request.limit, replace=False))
        live = self.live_space(head, space)
        live.refresh(head)
        id_batches, vector_batches = [np.empty(0, np.int64)], [np.empty((0, space.dimension), np.float32)]
        for batch in chunks(sample.tolist(), _BATCH):
            with live.open_view() as view:
                found_ids, batch_vectors = view.vectors(np.array(batch, np.int64))
            id_batches.append(found_ids)
            vector_batches.append(batch_vectors)
        sound_ids = np.concatenate(id_batches)
        positions = project(np.concatenate(vector_batches))
        return _Layout(sound_ids, positions, len(ids), len(sample) - len(sound_ids))

    def _keys(self, ids: IdArray) -> tuple[Mapping[int, str], int]:
        """The keys of items by id, without items deleted in the meantime, and the number of damaged rows."""
        keys: dict[int, str] = {}
        damaged = 0
        for batch in chunks(ids.tolist(), _BATCH):
            with self.database.read() as session:
                by_id = items.by_ids(session, batch)
            keys.update((item.id, item.key) for item in by_id.values() if not item.damaged)
            damaged += sum(item.damaged for item in by_id.values())
        return keys, damaged

    def _values(self, head: Head, path: str, ids: IdArray) -> Mapping[int, GroupValue]:
        """The first value of each item at a path. Raises `BadInput` if no item has one."""
        values: dict[int, GroupValue] = {}
        for batch in chunks(ids.tolist(), _BATCH):
            with self.database.read() as session:
                lists = facets.values_of(session, head.id, path, batch)
            values.update((item_id, item_values[0]) for item_id, item_values in lists.items())
        if not values and len(ids):
            raise BadInput(
                f"none of the {len(ids):,} items on the map has a value of {path!r}; for an object, name an attribute "
                f"inside it, such as {path}.name"
            )
        return values


def project(vectors: FloatArray) -> FloatArray:
    """Positions (n, 2), float32 from -1 to 1, of vectors (n, d) along their first two principal components.

    The larger extent fills the range. The element of a component with the largest magnitude is made positive, so equal
    vectors always get equal positions.
    """
    positions = np.zeros((len(vectors), 2), np.float32)
    if len(vectors) < 2:
        return positions
    centred = vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    _, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64))  # ascending by variance
    axes = directions[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    positions[:, : axes.shape[1]] = centred @ axes.astype(np.float32)
    low, high = positions.min(axis=0), positions.max(axis=0)
    half = max(float((high - low).max()) / 2, 1e-12)
    scaled: FloatArray = np.clip((positions - (low + high) / 2) / half, -1, 1).astype(np.float32)
    return scaled
