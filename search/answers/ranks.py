"""Ranks of the right answers among cosines, by which recall is counted."""

import numpy as np
import numpy.typing as npt

from anyseek.model.seam import FloatArray

IntArray = npt.NDArray[np.int64]
Cosines = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

NO_ITEM = -1  # the own item of a query that has none


def ranks(queries: FloatArray, gallery: FloatArray, right: IntArray) -> IntArray:
    """Return the rank (from 1) of row `right[i]` of `gallery` for query i: unit rows (q, d), (g, d), (q,) -> (q,).

    Ties count against the query.
    """
    return first_ranks(queries @ gallery.T, right, np.zeros((len(queries), len(gallery)), np.bool_))


def first_ranks(cosines: Cosines, own: IntArray, shared: BoolArray) -> IntArray:
    """Return the rank (from 1) of the own item, else of the first item that shares a label; 0 if there is neither."""
    right = np.where(own[:, None] == NO_ITEM, shared, np.arange(cosines.shape[1]) == own[:, None])
    best = np.where(right, cosines, -np.inf).max(axis=1, initial=-np.inf)
    before = ((cosines >= best[:, None]) & ~right).sum(axis=1)
    found: IntArray = np.where(right.any(axis=1), before + 1, 0).astype(np.int64)
    return found
