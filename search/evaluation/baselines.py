"""The two baselines that every row of a matrix compares the model with.

`encoders` needs no training: it renders every map as a picture, encodes it with the image encoder and centres each
side on its own mean; it compares captions with ConSE vectors. `ridge` is a linear map from the encoders' vectors of
the queries to those of the items.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from anyseek.model.seam import FloatArray
from anyseek.search.evaluation.encoder_vectors import SENTENCE, TEXT, VISUAL
from anyseek.search.evaluation.measures import IntArray
from anyseek.search.evaluation.query_kinds import QueryKind, query_kinds
from anyseek.search.evaluation.reading import EncodedSet
from anyseek.search.evaluation.ridge import FEWEST_PAIRS, cross_fitted, fitted
from anyseek.search.evaluation.rows import Rows
from anyseek.search.spaces.base import centre

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
