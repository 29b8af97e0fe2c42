"""The two baselines that every row of a matrix compares the model with.

`encoders` needs no training: it renders every map as a picture, encodes it with the image encoder and centres each
side on its own mean; it compares captions with ConSE vectors. `ridge` is a linear map from the encoders' vectors of
the queries to those of the items.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from anyseek.model.seam import FloatArray
from anyseek.search.answers.ranks import IntArray
from anyseek.search.evaluation.encoder_vectors import SENTENCE, TEXT, VISUAL
from anyseek.search.evaluation.query_kinds import QueryKind, query_kinds
from anyseek.search.evaluation.reading import EncodedSet
from anyseek.search.evaluation.rows import Rows
from anyseek.search.spaces.base import centre

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


Sides = tuple[FloatArray, FloatArray]  # queries (n, d), items (m, d)
Fit = Callable[[FloatArray], FloatArray]  # what is wanted of the known (n, e) -> what belongs to the queries (q, e)


class Baselines:
    """The baselines' vectors for lines of the set `tested`; the ridge is fitted on `training` if given.

    Otherwise it is fitted on the tested set's own pairs in five folds, so no query is mapped by a fit that saw it.
    """

    def __init__(self, tested: EncodedSet, training: EncodedSet | None) -> None:
        self._tested, self._training = tested, training
        self._known = {line.name: line for line in query_kinds(training.aligned, training.rows)} if training else {}
        self._fit: tuple[tuple[str, bytes], Fit] | None = None

    def encoders(self, line: QueryKind, modality: str) -> Sides | None:
        """Return all queries of the line and the items of a gallery, to be compared by their dot products.

        Return None if the encoders do not encode one of them. The dot products of several parts add up; each part uses
        the encoder that it shares with the gallery.
        """
        rows = self._tested.rows
        if modality not in rows or not all(part in rows for part in line.parts):
            return None
        asked, items = [], []
        for part, kind in zip(line.parts, line.modalities, strict=True):
            name = SENTENCE if TEXT in (kind, modality) else VISUAL
            vectors, gallery = _vectors(rows[part], line, name), rows[modality].vectors[name]
            asked.append(centre(vectors, vectors.mean(axis=0)))
            items.append(centre(gallery, gallery.mean(axis=0)))
        return np.concatenate(asked, axis=1), np.concatenate(items, axis=1)

    def ridge(self, line: QueryKind, modality: str) -> Sides | None:
        """Return mapped queries, and items as in `encoders`; None as there, or if there are too few pairs to fit."""
        rows = self._tested.rows
        if modality not in rows or not all(part in rows for part in line.parts):
            return None
        asked, gallery = _features(rows, line), _whole(rows[modality])
        mapped = self._crossed(line, modality, asked) if self._training is None else self._mapped(line, modality, asked)
        if mapped is None:
            return None
        return centre(mapped, mapped.mean(axis=0)), centre(gallery, gallery.mean(axis=0))

    def _crossed(self, line: QueryKind, modality: str, asked: FloatArray) -> FloatArray | None:
        gallery = self._tested.rows[modality]
        queries, items = line.pairs(gallery, self._tested.labels)
        if len(np.unique(queries)) < FEWEST_PAIRS:
            return None
        fit = self._kept(line, queries, lambda: cross_fitted(asked, queries, line.own))
        return fit(_whole(gallery)[items])

    def _mapped(self, line: QueryKind, modality: str, asked: FloatArray) -> FloatArray | None:
        assert self._training is not None
        rows, known = self._training.rows, self._known.get(line.name)
        if known is None or modality not in rows:
            return None
        queries, items = known.pairs(rows[modality], self._training.labels)
        if len(queries) < FEWEST_PAIRS:
            return None
        fit = self._kept(line, queries, lambda: partial(fitted(_features(rows, known)[queries]), asked))
        return fit(_whole(rows[modality])[items])

    def _kept(self, line: QueryKind, queries: IntArray, fit: Callable[[], Fit]) -> Fit:
        """Return the fit on these rows of the line, computed once for all galleries with the same rows."""
        key = line.name, queries.tobytes()
        if self._fit is None or self._fit[0] != key:
            self._fit = key, fit()
        return self._fit[1]


def _vectors(rows: Rows, line: QueryKind, name: str) -> FloatArray:
    vectors: FloatArray = rows.vectors[name][rows.of(line.places)]
    return vectors


def _features(rows: Mapping[str, Rows], line: QueryKind) -> FloatArray:
    """The vectors of all parts of each query, side by side."""
    parts = [_whole(rows[part])[rows[part].of(line.places)] for part in line.parts]
    return np.concatenate(parts, axis=1)


def _whole(rows: Rows) -> FloatArray:
    """The encoder's own vectors: `visual`, and `sentence` for captions."""
    return rows.vectors[VISUAL] if VISUAL in rows.vectors else rows.vectors[SENTENCE]
