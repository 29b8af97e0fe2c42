"""Fits the query mean of a collection on the collection itself, and measures the change of recall.

The model's own means come from queries for other collections. If a collection's queries have another mean, centring on
it finds far more (docs/transfer.md). Vectors are raw, one per row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anyseek.model.seam import EmbeddingSpace, FloatArray
from anyseek.search.answers.ranks import IntArray, ranks
from anyseek.search.query.vectors import centre_queries, model_means

MIN_QUERIES = 20  # queries of a kind: with fewer, a held-out half says nothing
_PRIOR_COUNT = 8  # queries that the model's own mean weighs
_TOP = 10


@dataclass(frozen=True)
class Recall:
    """Recall at 10 and at 1: the shares of queries whose item is among the first ten, or the first."""

    at_10: float
    at_1: float


@dataclass(frozen=True)
class Trial:
    """Recall of the queries of one modality before and after fitting a mean, by two-fold cross-validation."""

    space: str
    modality: str
    queries: int
    before: Recall
    after: Recall
    mean: FloatArray

    @property
    def helps(self) -> bool:
        """Whether recall at 10 rises, or stays and recall at 1 is not lower."""
        return (self.after.at_10, self.after.at_1) >= (self.before.at_10, self.before.at_1)


def try_mean(
    space: EmbeddingSpace, modality: str, queries: FloatArray, gallery: FloatArray, rows: Sequence[int]
) -> Trial:
    """Fit a mean to `queries` raw (n, d), each of which should find its row in `gallery`, centred unit (m, d)."""
    right_rows = np.asarray(rows)
    own = ranks(centre_queries(space, [modality], queries), gallery, right_rows)
    fitted = ranks(centre_cross_fitted(space, modality, queries), gallery, right_rows)
    mean = fit_mean(space, modality, queries)
    return Trial(space.name, modality, len(queries), _recall_of(own), _recall_of(fitted), mean)


def centre_cross_fitted(space: EmbeddingSpace, modality: str, queries: FloatArray) -> FloatArray:
    """Raw queries (n, d) as unit rows, each half centred on a mean that was fitted to the other half."""
    halves, rows = np.arange(len(queries)) % 2 == 0, np.empty_like(queries)
    for held_out in (halves, ~halves):
        mean = fit_mean(space, modality, queries[~held_out])
        rows[held_out] = centre_queries(space, [modality], queries[held_out], {modality: mean})
    return rows


def fit_mean(space: EmbeddingSpace, modality: str, queries: FloatArray) -> FloatArray:
    """The mean of raw queries (n, d), shrunk to the model's own mean, which counts as eight queries: float32 (d,)."""
    own = model_means(space, modality, queries).mean(axis=0)
    mean: FloatArray = ((queries.sum(axis=0) + _PRIOR_COUNT * own) / (len(queries) + _PRIOR_COUNT)).astype(np.float32)
    return mean


def _recall_of(ranks_found: IntArray) -> Recall:
    return Recall(float((ranks_found <= _TOP).mean()), float((ranks_found == 1).mean()))
