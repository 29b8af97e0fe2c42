"""The linear map that a model has to beat: a ridge regression from the encoders' query vectors to item vectors."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anyseek.model.seam import FloatArray
from anyseek.search.evaluation.measures import IntArray

DoubleArray = npt.NDArray[np.float64]
FOLDS = 5
FEWEST_PAIRS = 20
_PENALTY = 0.3  # of the mean variance of the query's vectors
_SEED = 0


@dataclass(frozen=True)
class Ridge:
    """A regression on known vectors, whose targets are given later: one fit serves many galleries.

    `centred` float64 (n, d) is the known vectors minus their `mean` (d,). `inverse` is the inverse of their penalised
    products, (n, n) or (d, d), whichever is smaller.
    """

    centred: DoubleArray
    mean: FloatArray
    inverse: DoubleArray

    def __call__(self, asked: FloatArray, wanted: FloatArray) -> FloatArray:
        """Map `asked` (q, d), given the targets `wanted` (n, e) of the known vectors: float32 (q, e), around zero."""
        targets = wanted - wanted.mean(axis=0)
        if len(self.inverse) == len(self.centred):
            weights = self.centred.T @ (self.inverse @ targets)
        else:
            weights = self.inverse @ (self.centred.T @ targets)
        mapped: FloatArray = ((asked - self.mean) @ weights).astype(np.float32)
        return mapped


def fitted(known: FloatArray) -> Ridge:
    """Fit a linear map from known vectors (n, d)."""
    mean: FloatArray = known.mean(axis=0)
    centred = (known - mean).astype(np.float64)
    count, width = centred.shape
    products = centred @ centred.T if count < width else centred.T @ centred
    penalty = _PENALTY * float(np.square(centred).sum()) / width
    return Ridge(centred, mean, np.linalg.inv(products + penalty * np.eye(len(products))))


@dataclass(frozen=True)
class CrossRidge:
    """Maps each of `asked` by a fit that has not seen it.

    The rows of `asked` are assigned to five folds with a fixed seed; rows that ask for the same item share a fold. The
    rows of a fold are mapped by a fit on the pairs of the other folds. `asker` int64 (n,) is the row of `asked` that
    each pair belongs to.
    """

    asked: FloatArray
    asker: IntArray
    fold_of: IntArray
    fits: tuple[Ridge, ...]

    def __call__(self, wanted: FloatArray) -> FloatArray:
        """Map `asked`, given the targets `wanted` (n, e) of the pairs: float32 (q, e), around zero."""
        mapped = np.zeros((len(self.asked), wanted.shape[1]), np.float32)
        for fold, fit in enumerate(self.fits):
            own = self.fold_of == fold
            mapped[own] = fit(self.asked[own], wanted[self.fold_of[self.asker] != fold])
        return mapped


def cross_fitted(asked: FloatArray, asker: IntArray, own: IntArray | None = None) -> CrossRidge:
    """Make five fits on the pairs' rows of `asked` (q, d).

    `own` int64 (q,) is the number of the item that each row asks for, so a photo is not tested after another of its
    captions was seen. Without it, or where it is negative, each row asks for an item of its own.
    """
    alone = np.arange(len(asked))
    things = alone if own is None else np.where(own < 0, own.max(initial=0) + 1 + alone, own)
    _, thing = np.unique(things, return_inverse=True)
    fold_of = (np.random.default_rng(_SEED).permutation(int(thing.max(initial=-1)) + 1) % FOLDS)[thing]
    known = asked[asker]
    fits = tuple(fitted(known[fold_of[asker] != fold]) for fold in range(FOLDS))
    return CrossRidge(asked, asker, fold_of, fits)
