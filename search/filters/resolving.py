"""Filters as ids, kept for the next query: a filter costs a look at the catalogue only when something has changed."""

import threading
from collections import OrderedDict
from collections.abc import Iterable

from sqlalchemy.orm import Session

from search.catalogue import facets
from search.catalogue.collections import Head
from search.filters.tree import Filter
from search.types import IdArray

_MOST_KEPT = 32

_Key = tuple[int, int, Filter]  # collection, its last log entry, filter


class ResolvedFilters:
    """The newest resolved filters of all collections. Safe for many threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[_Key, IdArray] = OrderedDict()
        self._lock = threading.Lock()

    def resolve(self, session: Session, head: Head, filters: Iterable[Filter | None]) -> dict[Filter, IdArray]:
        """The ids for which each filter holds, ascending, as of `head`, which was read in `session`."""
        return {where: self._ids(session, head, where) for where in filters if where is not None}

    def _ids(self, session: Session, head: Head, where: Filter) -> IdArray:
        key = (head.id, head.last_seq, where)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found = facets.ids_where(session, head.id, where)
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return found
