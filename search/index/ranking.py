"""Exact order of equal scores, over any index that returns its nearest in whatever order."""

from collections.abc import Callable

import numpy as np

from model.embedder import FloatArray
from search.index.base import Neighbours
from search.types import IdArray

Find = Callable[[FloatArray, int], Neighbours]


def nearest(find: Find, vectors: FloatArray, k: int, count: int | None = None) -> Neighbours:
    """The best `k` by score and then by id, fewer only when there are fewer.

    `find(vectors, n)` returns the `n` nearest, best first but equal scores in any order, and fewer only when there are
    fewer; `count` is how many there are, where that is known. So that ties at the last place are broken by id too, more
    are asked for until the last score is below the k-th.
    """
    most = count if count is not None else 1 << 31
    k = min(k, most)
    if k == 0:
        return none_found(len(vectors))
    asked = min(k + 1, most)
    found = find(vectors, asked)
    while found.ids.shape[1] == asked < most and _tied(found, k):
        asked = min(2 * asked, most)
        found = find(vectors, asked)
    return best(found.ids, found.scores, k)


def best(ids: IdArray, scores: FloatArray, k: int) -> Neighbours:
    """The best `k` of each row by score and then by id."""
    order = np.lexsort((ids, -scores), axis=1)[:, :k]
    return Neighbours(np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1))


def none_found(queries: int) -> Neighbours:
    return Neighbours(np.empty((queries, 0), np.int64), np.empty((queries, 0), np.float32))


def _tied(found: Neighbours, k: int) -> bool:
    """Whether others may score as the k-th does."""
    return bool(np.any(found.scores[:, -1] == found.scores[:, k - 1]))
