"""Filters resolved to ids and cached: the next query with a filter examines only items that have changed since."""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from sqlalchemy.orm import Session

from anyseek.search.catalogue import facets, log
from anyseek.search.catalogue.collections import Head
from anyseek.search.filters.tree import Filter
from anyseek.search.types import IdArray

_MOST_KEPT = 32
# With more changes it is quicker to query all ids again: one statement examines 500 items in about a millisecond.
MOST_CHANGED = 20_000

_Key = tuple[int, Filter]  # collection and filter


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
