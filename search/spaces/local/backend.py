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
from anyseek.search.spaces.local.space import LocalSpace, MakeIndex
from anyseek.search.types import IdArray

logger = logging.getLogger(__name__)

_MOST_KEPT = 32
# With more changes it is quicker to query all ids again: one statement examines 500 items in about a millisecond.
MOST_CHANGED = 20_000

_Key = tuple[int, Filter]  # collection and filter


class LocalBackend:
    """Opens spaces over indexes made by `make_index`, by default those of the settings."""

    def __init__(self, database: Database, settings: Settings, make_index: MakeIndex | None = None) -> None:
        self._database = database
        self._settings = settings
        self._make_index = make_index or _index_of(settings.index)
        self._filters = ResolvedFilters()

    @staticmethod
    def check(settings: Settings) -> str:
        """Raises `GpuMissing` if the settings ask for a GPU and there is none."""
        _index_of(settings.index)(1)
        return f"FAISS, {settings.index.kind}, on the {settings.index.device.upper()} of this process"

    def open(self, head: Head, space: SpaceHead) -> LocalSpace:
        """Open a space; its `refresh` raises `GpuMissing` if the settings ask for a GPU and there is none."""
        folder = space_folder(self._settings, head.id, space.id)
        return LocalSpace(self._database, folder, head.id, space, self._make_index, self._filters.resolve)

    def forget_filters(self) -> None:
        """Resolve every filter anew."""
        self._filters.forget()

    def remove_unknown(self) -> None:
        """Remove the snapshots of collections and spaces that are gone.

        Folders are listed first: a collection is in the catalogue before its folder is there.
        """
        of_collections = _numbered(self._settings.indexes)
        of_spaces = [folder for parent in of_collections for folder in _numbered(parent)]
        with self._database.read() as session:
            known, known_spaces = collections.ids(session), collections.space_ids(session)
        gone = [folder for folder in of_collections if int(folder.name) not in known]
        gone += [folder for folder in of_spaces if int(folder.name) not in known_spaces]
        for folder in gone:
            _remove(folder)

    def close(self) -> None:
        """Do nothing: only memory is in use."""


def space_folder(settings: Settings, collection_id: int, space_id: int) -> Path:
    """The folder of a space's snapshots."""
    return settings.indexes / str(collection_id) / str(space_id)


def _index_of(settings: Index) -> MakeIndex:
    if settings.device == "gpu":
        return partial(FaissIndex, kind=Kind.GPU)
    return partial(FaissIndex, kind=None if settings.kind == "auto" else Kind(settings.kind))


def _numbered(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.name.isdigit()]


def _remove(folder: Path) -> None:
    """Remove a folder; if another process is using it now, leave it to the next time."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        logger.warning("the folder of indexes %s is not needed any more and is left: %s", folder, error)


class _Resolved(NamedTuple):
    """The `ids` that passed a filter as of log entry `seq`, ascending."""

    seq: int
    ids: IdArray


class ResolvedFilters:
    """The newest resolved filters of all collections. Safe for many threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[_Key, _Resolved] = OrderedDict()
        self._lock = threading.Lock()
        self._times_forgotten = 0

    def forget(self) -> None:
        """Resolve all filters anew, those too that are being resolved: what they went by was damaged."""
        with self._lock:
            self._kept.clear()
            self._times_forgotten += 1

    def resolve(self, session: Session, head: Head, filters: Iterable[Filter]) -> dict[Filter, IdArray]:
        """The ids for which each filter holds, ascending, as of `head`, which was read in `session`, or later."""
        return {where: self._ids(session, head, where) for where in filters}

    def _ids(self, session: Session, head: Head, where: Filter) -> IdArray:
        key = (head.id, where)
        with self._lock:
            held, times_forgotten = self._kept.get(key), self._times_forgotten
        if held is None or held.seq < head.last_seq:
            held = _Resolved(head.last_seq, _resolved_again(session, head, where, held))
        self._keep(key, held, times_forgotten)
        return held.ids

    def _keep(self, key: _Key, resolved: _Resolved, times_forgotten: int) -> None:
        with self._lock:
            if times_forgotten != self._times_forgotten:
                return
            newest = self._kept.get(key)
            if newest is None or newest.seq <= resolved.seq:
                self._kept[key] = resolved
            self._kept.move_to_end(key)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)


def _resolved_again(session: Session, head: Head, where: Filter, held: _Resolved | None) -> IdArray:
    """The ids as of `head`; if few items have changed since the cached ones, only those are examined."""
    if held is None or held.seq < head.compacted_seq or head.last_seq - held.seq > MOST_CHANGED:
        return facets.ids_where(session, head.id, where)
    changed = np.array(sorted(log.items_after(session, head.id, held.seq)), np.int64)
    kept, found = _without(held.ids, changed), facets.ids_where(session, head.id, where, changed)
    return np.insert(kept, np.searchsorted(kept, found), found)


def _without(ids: IdArray, some: IdArray) -> IdArray:
    """`ids` without `some`, both ascending. It searches only for `some`; `np.isin` takes five times as long for half a
    million `ids`.
    """
    places = np.searchsorted(ids, some)
    inside = places < len(ids)
    places = places[inside]
    return np.delete(ids, places[ids[places] == some[inside]])
