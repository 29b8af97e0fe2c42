"""Standard scores of hits among a sample of their collection, on one scale for all kinds of query."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from anyseek.model.seam import EmbeddingSpace, FloatArray
from anyseek.search.catalogue import listing
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.session import Database
from anyseek.search.spaces.base import centre, isin_sorted, raw_vectors
from anyseek.search.types import IdArray

SAMPLE_SIZE = 512  # items that queries are compared with
MIN_OTHERS = 4  # with fewer other items there are no standard scores
_MIN_DEVIATION = 1e-6
_STALE_SHARE = 0.1  # share of a collection that may change in the log before another sample is drawn

Float64Array = npt.NDArray[np.float64]
ScoreMoments = tuple[FloatArray, FloatArray]  # means and standard deviations
NumberOrArray = Any  # a NumPy scalar, or an array with a number for each item


@dataclass(frozen=True)
class ScoreSample:
    """A sample of a space's items: `ids` (n,) ascending, and unit rows (n, d) of their vectors.

    `vectors` are centred on the collection's `mean` (d,), as they are searched, `by_prior` on the space's prior, as
    they would be in any other collection. `count` is the number of items it was drawn from. `typical_scores` are the
    means and deviations (n,) of the scores of `by_prior` with typical queries, by modality.
    """

    ids: IdArray
    vectors: FloatArray
    by_prior: FloatArray
    mean: FloatArray
    count: int
    typical_scores: Mapping[str, ScoreMoments] = field(default_factory=dict)


def score_moments(items: FloatArray, queries: FloatArray) -> ScoreMoments:
    """The means and the standard deviations of the scores of unit items (n, d) with queries (m, d)."""
    scores = items @ queries.T
    return scores.mean(axis=1), np.maximum(scores.std(axis=1), _MIN_DEVIATION)


def score_sample(ids: IdArray, raw: FloatArray, mean: FloatArray, space: EmbeddingSpace, count: int) -> ScoreSample:
    """The sample of `count` items from the raw vectors (n, d) of some, with the mean (d,) of the collection."""
    vectors, by_prior = (centre(raw, each, space.blocks) for each in (mean, space.gallery_prior))
    typical = {modality: score_moments(by_prior, queries) for modality, queries in space.typical_queries.items()}
    return ScoreSample(ids, vectors, by_prior, mean, count, typical)


def prior_centred(session: Session, head: Head, space: SpaceHead, prior: FloatArray, ids: IdArray) -> FloatArray:
    """Unit rows (n, d) of the stored vectors of items (n,), centred on a space's prior; damaged ones count as zero."""
    vectors = raw_vectors(session, head, space, ids.tolist())
    nothing = np.zeros(space.dimension, np.float32)
    return centre(np.stack([vectors.get(item_id, nothing) for item_id in ids.tolist()]), prior, space.blocks)


@dataclass(frozen=True)
class _CachedSample:
    collection: int
    seq: int
    sample: ScoreSample

    def is_fresh(self, head: Head, mean: FloatArray) -> bool:
        if head.last_seq - self.seq > _STALE_SHARE * self.sample.count:
            return False
        return self.sample.mean is mean or np.array_equal(self.sample.mean, mean)  # mostly it is the very same


class ScoreSamples:
    """Cache of the samples of all spaces that are queried. Thread-safe: two threads may draw the same sample."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cached: dict[int, _CachedSample] = {}  # by the id of the space

    def get(self, head: Head, held: SpaceHead, space: EmbeddingSpace, mean: FloatArray, count: int) -> ScoreSample:
        """The sample of a space with `count` items, centred on the mean (d,) of its live space."""
        cached = self._cached.get(held.id)
        if cached is not None and cached.is_fresh(head, mean):
            return cached.sample
        with self._database.read() as session:
            ids = listing.spaced_ids(session, head.id, count, SAMPLE_SIZE)
            vectors = raw_vectors(session, head, held, ids)
        ids = sorted(vectors)
        raw = np.stack([vectors[item_id] for item_id in ids]) if ids else np.zeros((0, len(mean)), np.float32)
        sample = score_sample(np.array(ids, np.int64), raw, mean, space, count)
        self._put(head, held, _CachedSample(head.id, head.last_seq, sample))
        return sample

    def _put(self, head: Head, space: SpaceHead, cached: _CachedSample) -> None:
        """Cache a sample, and release the samples of spaces that the collection no longer has."""
        present = {each.id for each in head.spaces} | {space.id}
        kept = {key: each for key, each in self._cached.items() if each.collection != head.id or key in present}
        self._cached = {**kept, space.id: cached}

    def forget(self) -> None:
        """Release what is cached of deleted collections."""
        self._cached = {}


def z_scores(sample: ScoreSample, query: FloatArray, ids: IdArray, scores: Float64Array) -> Float64Array | None:
    """Standard scores (n,) of the hits of a unit query (d,), `ids` (n,) with float64 `scores` (n,); None if the sample
    is too small.

    An item is compared with the others of the sample: t = (score - mean) / (deviation √(1 + 1/n)), and z has the same
    tail probability as t (Wallace 1959), so that small collections give moderate z.
    """
    if len(sample.ids) - 1 < MIN_OTHERS:
        return None
    sample_scores = (sample.vectors @ query).astype(np.float64)
    count, total, squares = len(sample_scores), sample_scores.sum(), sample_scores @ sample_scores
    in_sample = isin_sorted(ids, sample.ids)
    if not in_sample.any():
        return _z_of(scores, count, total, squares)
    return _z_of(scores, count - in_sample, total - in_sample * scores, squares - in_sample * scores * scores)


def _z_of(scores: NumberOrArray, n: NumberOrArray, total: NumberOrArray, squares: NumberOrArray) -> Float64Array:
    """z of scores (m,) among `n` others with sum `total` and sum of `squares`: numbers, or arrays (m,)."""
    mean, free = total / n, n - 1
    variance = np.maximum((squares - n * (mean * mean)) / free, 1e-12)
    t = (scores - mean) / np.sqrt(variance * (1 + 1 / n))
    z: Float64Array = np.sign(t) * np.sqrt(free * np.log1p(t * t / free)) * (8 * free + 1) / (8 * free + 3)
    return z


def z_of_ranks(ranks: IdArray, count: int) -> Float64Array:
    """Standard scores (n,) of items at `ranks` (n,) of `count` items, as if their scores were normally distributed."""
    normal, count = NormalDist(), max(count, len(ranks) + 1)
    return np.array([-normal.inv_cdf((rank - 0.5) / count) for rank in ranks.tolist()], np.float64)
