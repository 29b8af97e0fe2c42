"""The backend in this process: FAISS or NumPy over vectors in memory, with snapshots in the data directory.

Filters are resolved to ids and cached: the next query with a filter examines only items that have changed since.
"""

import logging
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sqlalchemy.orm import Session

from anyseek.search.catalogue import collections, facets, log
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.session import Database
from anyseek.search.filters.tree import Filter
from anyseek.search.settings import Index, Settings
from anyseek.search.spaces.local.candidates import Kind
from anyseek.search.spaces.local.faiss import FaissIndex
from anyseek.search.spaces.local.mirror import SnapshotMirror, StoredSnapshots
from anyseek.search.spaces.local.space import IndexFactory, LocalSpace
from anyseek.search.types import IdArray

logger = logging.getLogger(__name__)

_CACHE_SIZE = 32
# With more changes it is quicker to query all ids again: one statement examines 500 items in about a millisecond.
MAX_CHANGED = 20_000

_Key = tuple[int, Filter]  # collection and filter


class LocalBackend:
    """Opens spaces over indexes made by `make_index`, by default those of the settings."""

    def __init__(self, database: Database, settings: Settings, make_index: IndexFactory | None = None) -> None:
        self._database = database
        self._settings = settings
        self._make_index = make_index or _index_factory(settings.index)
        self._filters = FilterCache()
        self._stored = StoredSnapshots(settings.bucket) if settings.bucket else None

    @staticmethod
    def check(settings: Settings) -> str:
        """Raises `GpuMissing` if the settings ask for a GPU and there is none."""
        _index_factory(settings.index)(1)
        return f"FAISS, {settings.index.kind}, on the {settings.index.device.upper()} of this process"

    def open(self, head: Head, space: SpaceHead) -> LocalSpace:
        """Open a space; its `refresh` raises `GpuMissing` if the settings ask for a GPU and there is none."""
        folder = space_folder(self._settings, head.id, space.id)
        mirror = None if self._stored is None else SnapshotMirror(self._stored, folder)
        return LocalSpace(self._database, folder, head.id, space, self._make_index, self._filters.resolve, mirror)

    def clear_filter_cache(self) -> None:
        """Discard all resolved filters."""
        self._filters.clear()

    def remove_unknown(self) -> None:
        """Remove the snapshots of collections and spaces that are gone.

        Folders are listed first: a collection is in the catalogue before its folder is there.
        """
        collection_folders = _numeric_folders(self._settings.indexes)
        space_folders = [folder for parent in collection_folders for folder in _numeric_folders(parent)]
        stored = set() if self._stored is None else self._stored.space_ids()
        with self._database.read() as session:
            known, known_spaces = collections.ids(session), collections.space_ids(session)
        orphaned = [folder for folder in collection_folders if int(folder.name) not in known]
        orphaned += [folder for folder in space_folders if int(folder.name) not in known_spaces]
        for folder in orphaned:
            _remove(folder)
        if self._stored is not None:
            unknown = {ids for ids in stored if ids[0] not in known or ids[1] not in known_spaces}
            self._stored.remove(f"indexes/{collection_id}/{space_id}/" for collection_id, space_id in unknown)

    def close(self) -> None:
        """Do nothing: only memory is in use."""


def space_folder(settings: Settings, collection_id: int, space_id: int) -> Path:
    """The folder of a space's snapshots."""
    return settings.indexes / str(collection_id) / str(space_id)


def _index_factory(settings: Index) -> IndexFactory:
    if settings.device == "gpu":
        return partial(FaissIndex, kind=Kind.GPU)
    return partial(FaissIndex, kind=None if settings.kind == "auto" else Kind(settings.kind))


def _numeric_folders(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.name.isdigit()]


def _remove(folder: Path) -> None:
    """Remove a folder, or leave it for the next time if another process is using it."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        logger.warning("the unused index folder %s cannot be removed now: %s", folder, error)


class _CachedFilter(NamedTuple):
    """The `ids` that pass a filter at log entry `seq`, ascending."""

    seq: int
    ids: IdArray


class FilterCache:
    """LRU cache of resolved filters of all collections. Thread-safe."""

    def __init__(self) -> None:
        self._cached: OrderedDict[_Key, _CachedFilter] = OrderedDict()
        self._lock = threading.Lock()
        self._generation = 0

    def clear(self) -> None:
        """Discard all entries, and those that are being resolved now, because they may come from damaged data."""
        with self._lock:
            self._cached.clear()
            self._generation += 1

    def resolve(self, session: Session, head: Head, filters: Iterable[Filter]) -> dict[Filter, IdArray]:
        """The ids that pass each filter, ascending, in the state `head` of `session` or a later one."""
        return {where: self._ids_of(session, head, where) for where in filters}

    def _ids_of(self, session: Session, head: Head, where: Filter) -> IdArray:
        key = (head.id, where)
        with self._lock:
            cached, generation = self._cached.get(key), self._generation
        if cached is None or cached.seq < head.last_seq:
            cached = _CachedFilter(head.last_seq, _refresh_ids(session, head, where, cached))
        self._put(key, cached, generation)
        return cached.ids

    def _put(self, key: _Key, resolved: _CachedFilter, generation: int) -> None:
        with self._lock:
            if generation != self._generation:
                return
            newest = self._cached.get(key)
            if newest is None or newest.seq <= resolved.seq:
                self._cached[key] = resolved
            self._cached.move_to_end(key)
            while len(self._cached) > _CACHE_SIZE:
                self._cached.popitem(last=False)


def _refresh_ids(session: Session, head: Head, where: Filter, cached: _CachedFilter | None) -> IdArray:
    """The ids in the state `head`; if few items have changed since `cached`, only those are examined."""
    if cached is None or cached.seq < head.compacted_seq or head.last_seq - cached.seq > MAX_CHANGED:
        return facets.matching_ids(session, head.id, where)
    changed = np.array(sorted(log.items_after(session, head.id, cached.seq)), np.int64)
    unchanged, matching = _difference(cached.ids, changed), facets.matching_ids(session, head.id, where, changed)
    return np.insert(unchanged, np.searchsorted(unchanged, matching), matching)


def _difference(ids: IdArray, removed: IdArray) -> IdArray:
    """`ids` without `removed`, both ascending. `np.isin` takes five times as long for half a million `ids`."""
    places = np.searchsorted(ids, removed)
    in_range = places < len(ids)
    places = places[in_range]
    return np.delete(ids, places[ids[places] == removed[in_range]])
