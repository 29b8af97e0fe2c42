"""Which row of an index holds an id."""

import numpy as np

from search.types import IdArray

# Changes are kept in a dictionary until there are so many; sorting a million ids then takes some 0.1 s.
RECENT = 65_536


class RowsById:
    """Rows of living ids: a sorted table, and a dictionary of what has changed since it was sorted."""

    def __init__(self, ids: IdArray, rows: IdArray) -> None:
        """`ids` (n,) distinct, in any order, and the row of each."""
        self._sort(ids, rows)

    def find(self, ids: IdArray) -> IdArray:
        """The row of each id, -1 where it is not held."""
        rows = np.full(len(ids), -1, np.int64)
        if len(self._ids):
            places = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
            there = self._ids[places] == ids
            rows[there] = self._rows[places[there]]
        if self._recent:
            changed = np.array([self._recent.get(item_id, -2) for item_id in ids.tolist()], np.int64)
            rows = np.where(changed == -2, rows, changed)
        return rows

    def put(self, ids: IdArray, rows: IdArray) -> None:
        """From now on `rows` hold `ids`; -1 for ids that are gone."""
        self._recent.update(zip(ids.tolist(), rows.tolist(), strict=True))
        if len(self._recent) > RECENT:
            self._merge()

    def _merge(self) -> None:
        ids = np.fromiter(self._recent.keys(), np.int64, len(self._recent))
        rows = np.fromiter(self._recent.values(), np.int64, len(self._recent))
        kept = ~np.isin(self._ids, ids, assume_unique=True)
        there = rows >= 0
        self._sort(np.concatenate([self._ids[kept], ids[there]]), np.concatenate([self._rows[kept], rows[there]]))

    def _sort(self, ids: IdArray, rows: IdArray) -> None:
        order = np.argsort(ids, kind="stable")
        self._ids, self._rows = ids[order], rows[order]
        self._recent: dict[int, int] = {}
