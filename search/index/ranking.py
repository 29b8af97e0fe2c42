"""Exact order of equal scores, over any index that returns its nearest in whatever order."""

from collections.abc import Callable

import numpy as np

from model.embedder import FloatArray
from search.index.base import Neighbours

Find = Callable[[FloatArray, int], Neighbours]


def nearest(find: Find, vectors: FloatArray, k: int, count: int) -> Neighbours:
    """The best `min(k, count)` by score and then by id.

    `find(vectors, n)` returns `n` nearest of `count` held vectors, best first but equal scores in any order. So that
    ties at the last place are broken by id too, more are asked for until the last score is below the k-th.
    """
    k = min(k, count)
    if k == 0:
        return none_found(len(vectors))
    asked = min(k + 1, count)
    found = find(vectors, asked)
    while asked < count and bool(np.any(found.scores[:, -1] == found.scores[:, k - 1])):
        asked = min(2 * asked, count)
        found = find(vectors, asked)
    order = np.lexsort((found.ids, -found.scores), axis=1)[:, :k]
    return Neighbours(np.take_along_axis(found.ids, order, 1), np.take_along_axis(found.scores, order, 1))


def none_found(queries: int) -> Neighbours:
    return Neighbours(np.empty((queries, 0), np.int64), np.empty((queries, 0), np.float32))
