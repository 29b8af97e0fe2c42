"""What needs no training, or a linear map only: the two columns that stand beside the model's in every row.

`encoders`: every map rendered as a picture and put through the image encoder, each side centred on its own mean;
captions against ConSE vectors. `ridge`: a linear map from the encoders' vectors of the queries to those of the items.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from model.embedder import FloatArray
from search.evaluation.asked import Asked, lines_of
from search.evaluation.encoder_vectors import SENTENCE, TEXT, VISUAL
from search.evaluation.measures import IntArray
from search.evaluation.reading import EncodedSet
from search.evaluation.ridge import FEWEST_PAIRS, cross_fitted, fitted
from search.evaluation.rows import Rows
from search.fusion import centre

Sides = tuple[FloatArray, FloatArray]  # queries (n, d), items (m, d)
Fit = Callable[[FloatArray], FloatArray]  # what is wanted of the known (n, e) -> what belongs to the queries (q, e)


class Baselines:
    """The baselines' vectors for lines of the set `tested`; the ridge is fitted on `training` if there is one.

    Without, it is fitted on the tested set's own pairs in five folds, so that no query is mapped by a fit that saw it.
    """

    def __init__(self, tested: EncodedSet, training: EncodedSet | None) -> None:
        self._tested, self._training = tested, training
        self._known = {line.name: line for line in lines_of(training.aligned, training.rows)} if training else {}
        self._fit: tuple[tuple[str, bytes], Fit] | None = None

    def encoders(self, line: Asked, modality: str) -> Sides | None:
        """Queries of all of the line and the items of a gallery, to be compared by their dot products; None: no look.

        Several parts add up, each in the encoder that it shares with the gallery.
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

    def ridge(self, line: Asked, modality: str) -> Sides | None:
        """Mapped queries and items as `encoders` has them; None where there is no look or too few pairs to fit."""
        rows = self._tested.rows
        if modality not in rows or not all(part in rows for part in line.parts):
            return None
        asked, gallery = _features(rows, line), _whole(rows[modality])
        mapped = self._crossed(line, modality, asked) if self._training is None else self._mapped(line, modality, asked)
        if mapped is None:
            return None
        return centre(mapped, mapped.mean(axis=0)), centre(gallery, gallery.mean(axis=0))

    def _crossed(self, line: Asked, modality: str, asked: FloatArray) -> FloatArray | None:
        gallery = self._tested.rows[modality]
        queries, items = line.pairs(gallery, self._tested.labels)
        if len(np.unique(queries)) < FEWEST_PAIRS:
            return None
        fit = self._kept(line, queries, lambda: cross_fitted(asked, queries))
        return fit(_whole(gallery)[items])

    def _mapped(self, line: Asked, modality: str, asked: FloatArray) -> FloatArray | None:
        assert self._training is not None
        rows, known = self._training.rows, self._known.get(line.name)
        if known is None or modality not in rows:
            return None
        queries, items = known.pairs(rows[modality], self._training.labels)
        if len(queries) < FEWEST_PAIRS:
            return None
        fit = self._kept(line, queries, lambda: partial(fitted(_features(rows, known)[queries]), asked))
        return fit(_whole(rows[modality])[items])

    def _kept(self, line: Asked, queries: IntArray, fit: Callable[[], Fit]) -> Fit:
        """The fit on these rows of the line, made once for all galleries that have the same."""
        key = line.name, queries.tobytes()
        if self._fit is None or self._fit[0] != key:
            self._fit = key, fit()
        return self._fit[1]


def _vectors(rows: Rows, line: Asked, name: str) -> FloatArray:
    vectors: FloatArray = rows.vectors[name][rows.of(line.places)]
    return vectors


def _features(rows: Mapping[str, Rows], line: Asked) -> FloatArray:
    """The vectors of all parts of each query, side by side."""
    parts = [_whole(rows[part])[rows[part].of(line.places)] for part in line.parts]
    return np.concatenate(parts, axis=1)


def _whole(rows: Rows) -> FloatArray:
    """The encoder's own vectors: `visual`, and `sentence` for captions."""
    return rows.vectors[VISUAL] if VISUAL in rows.vectors else rows.vectors[SENTENCE]
