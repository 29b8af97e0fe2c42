"""The linear map that a model has to beat: ridge regression from the encoders' vectors of queries to those of items."""

import numpy as np

from model.embedder import FloatArray
from search.evaluation.measures import IntArray

FOLDS = 5
FEWEST_PAIRS = 20
_PENALTY = 0.3  # of the mean variance of the query's vectors
_SEED = 0


def ridge(known: FloatArray, wanted: FloatArray, asked: FloatArray) -> FloatArray:
    """Fit a linear map on pairs (n, d) -> (n, e) and apply it to `asked` (q, d): float32 (q, e), around zero."""
    mean = known.mean(axis=0)
    centred = known - mean
    penalty = _PENALTY * float(np.square(centred).sum()) / known.shape[1]
    weights = np.linalg.solve(
        centred.T @ centred + penalty * np.eye(known.shape[1]), centred.T @ (wanted - wanted.mean(axis=0))
    )
    mapped: FloatArray = ((asked - mean) @ weights).astype(np.float32)
    return mapped


def cross_fitted(known: FloatArray, wanted: FloatArray, asker: IntArray, asked: FloatArray) -> FloatArray:
    """Map each of `asked` (q, d) by a fit that has not seen it: float32 (q, e).

    `asker` int64 (n,) is the row of `asked` that each pair of `known` (n, d) and `wanted` (n, e) belongs to. The rows
    are dealt out to five folds, with a fixed seed; those of a fold are mapped by a fit on the pairs of the others.
    """
    fold_of = np.random.default_rng(_SEED).permutation(len(asked)) % FOLDS
    mapped = np.zeros((len(asked), wanted.shape[1]), np.float32)
    for fold in range(FOLDS):
        seen = fold_of[asker] != fold
        mapped[fold_of == fold] = ridge(known[seen], wanted[seen], asked[fold_of == fold])
    return mapped
