"""The probability that a hit is relevant, from its score and the scores of a sample of its collection.

A cosine means little by itself: 0.1 is high for a caption and low for a picture. More informative are how far a score
lies above those of other items for the same query, and above the fifth best hit, and how much the query has in common
with the collection as a whole. These features, on one scale for all kinds of query, go through a logistic curve that
was fitted on collections of photos (docs/querying.md).
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from anyseek.model.seam import EmbeddingSpace, FloatArray
from anyseek.search.catalogue import listing
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.session import Database
from anyseek.search.spaces.base import centre, isin_sorted, raw_vectors
from anyseek.search.types import IdArray

SAMPLE_SIZE = 512  # items that queries are compared with
MIN_OTHERS = 4  # with fewer other items there is no probability
MARGIN_RANK = 5  # the rank that hits are compared with, so that four pictures of one thing do not lower each other
# Below this probability of the best hit, an answer to a map notes that nothing good was found. Right hits of other
# kinds may have as low ones, such as captions that fit many items. So captions have a threshold, a higher one, only if
# they are foreign to the collection (chosen by eye, on rooms and photos); palettes, drawings and pictures have none.
NOTHING_GOOD, _NOTHING_FOREIGN = 0.05, 0.13
_MAPS = frozenset({"depth", "normal", "semseg"})
_FOREIGN_BELOW = -0.005  # how little a query has in common with the collection
_MAX_LOGIT, _MIN_LOGIT = 30.0, -30.0
_STALE_SHARE = 0.1  # share of a collection that may change in the log before another sample is drawn


Float64Array = npt.NDArray[np.float64]
NumberOrArray = Any  # a NumPy scalar, or an array with a number for each item


@dataclass(frozen=True)
class Curve:
    """A logit: `offset` + `surprise` z + `margin` (z - z of the fifth hit) + `belonging` b + `size` ln n.

    It is the logit of a hit's probability in a collection of n items. b is the query's product with what the items have
    in common, at most 0: a higher one makes no hit likelier.
    """

    offset: float
    surprise: float
    margin: float
    belonging: float
    size: float

    def logits(self, features: Float64Array) -> Float64Array:
        """Logits (n,) of hits with the features z, z - z of the fifth, b and ln n (n, 4)."""
        numbers = np.array([self.surprise, self.margin, self.belonging, self.size])
        measured = features.copy()
        measured[:, 2] = np.minimum(0.0, features[:, 2])
        return np.asarray(self.offset + measured @ numbers)


class CurveKind(StrEnum):
    """Queries whose hits share a curve."""

    PICTURES = "pictures"  # pictures and items
    WORDS = "words"
    OTHERS = "others"  # drawings, maps, palettes, and combinations in one ranking
    SEVERAL = "several"  # rankings that are added


# Fitted by `python -m anyseek.search.evaluation.curves` of commit 3a57150.
_CURVES = {
    CurveKind.PICTURES: Curve(-6.063, 0.228, 1.823, 0.0, 0.0),
    CurveKind.WORDS: Curve(-4.240, 0.486, 0.911, 11.629, -0.103),
    CurveKind.OTHERS: Curve(-3.180, 0.606, 1.548, 10.825, -0.390),
    CurveKind.SEVERAL: Curve(-6.251, 0.664, 2.256, 10.758, 0.0),
}


def curve_of(kind: CurveKind) -> Curve:
    """The fitted curve of a kind."""
    return _CURVES[kind]


def curve_kind_of(modalities: Collection[str], rankings: int = 1) -> CurveKind:
    """The kind of a query that has parts of these modalities, `rgb` for an item, in a number of rankings."""
    if rankings > 1:
        return CurveKind.SEVERAL
    kinds = {frozenset({"rgb"}): CurveKind.PICTURES, frozenset({"caption"}): CurveKind.WORDS}
    return kinds.get(frozenset(modalities), CurveKind.OTHERS)


@dataclass(frozen=True)
class ScoreSample:
    """A sample of a space's items, centred as they are searched: `ids` (n,) ascending, `vectors` unit rows (n, d).

    They are centred on `mean` (d,). `common` (d,) is the mean of the same vectors centred on the space's prior instead
    of the collection's own mean: what the items have in common that other collections lack. `count` is the number of
    items it was drawn from.
    """

    ids: IdArray
    vectors: FloatArray
    mean: FloatArray
    common: FloatArray
    count: int


@dataclass(frozen=True)
class ZScores:
    """Standard scores of the hits of a ranking among other items: `ids` (m,) with `z` float64 (m,).

    `lowest` is the z of items that are not in the ranking, `fifth` the z of the fifth best item of the sample, and
    `common` the product of the query with what the items of the collection, `count` of them, have in common.
    """

    ids: IdArray
    z: Float64Array
    lowest: float
    fifth: float
    common: float
    count: int


def score_sample(
    ids: IdArray, raw: FloatArray, mean: FloatArray, prior: FloatArray, blocks: Sequence[int], count: int
) -> ScoreSample:
    """The sample of `count` items from the raw vectors (n, d) of some, with the space's own mean and its prior."""
    common: FloatArray = centre(raw, prior, blocks).mean(axis=0) if len(raw) else np.zeros_like(mean)
    return ScoreSample(ids, centre(raw, mean, blocks), mean, common, count)


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
        sample = score_sample(np.array(ids, np.int64), raw, mean, space.gallery_prior, held.blocks, count)
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


def z_scores(sample: ScoreSample, query: FloatArray, ids: IdArray, scores: Float64Array) -> ZScores | None:
    """Standard scores of the hits of a unit query (d,), `ids` (n,) with float64 `scores` (n,); None if the sample is
    too small.

    An item is compared with the others of the sample: t = (score - mean) / (deviation √(1 + 1/n)), and z has the same
    tail probability as t (Wallace 1959), so that small collections give moderate z.
    """
    if len(sample.ids) - 1 < MIN_OTHERS:
        return None
    sample_scores = (sample.vectors @ query).astype(np.float64)
    count, total, squares = len(sample_scores), sample_scores.sum(), sample_scores @ sample_scores
    in_sample = isin_sorted(ids, sample.ids)
    if in_sample.any():
        z = _z_of(scores, count - in_sample, total - in_sample * scores, squares - in_sample * scores * scores)
    else:
        z = _z_of(scores, count, total, squares)
    # The fifth best of the sample also has the fifth highest z, because z rises with the score.
    place = count - min(MARGIN_RANK, count)
    fifth = np.partition(sample_scores, place)[place]
    return ZScores(
        ids,
        z,
        float(z.min(initial=0.0)),
        float(_z_of(fifth, count - 1, total - fifth, squares - fifth * fifth)),
        float(sample.common @ query),
        max(sample.count, count),
    )


def _z_of(scores: NumberOrArray, n: NumberOrArray, total: NumberOrArray, squares: NumberOrArray) -> Float64Array:
    """z of scores (m,) among `n` others with sum `total` and sum of `squares`: numbers, or arrays (m,)."""
    mean, free = total / n, n - 1
    variance = np.maximum((squares - n * (mean * mean)) / free, 1e-12)
    t = (scores - mean) / np.sqrt(variance * (1 + 1 / n))
    z: Float64Array = np.sign(t) * np.sqrt(free * np.log1p(t * t / free)) * (8 * free + 1) / (8 * free + 3)
    return z


def z_scores_of_words(ids: IdArray, ranks: IdArray, count: int) -> ZScores:
    """Standard scores of items that hold the words of a query, `ids` (n,) with their `ranks`, among `count` items."""
    normal, count = NormalDist(), max(count, len(ids) + 1)
    z = np.array([-normal.inv_cdf((rank - 0.5) / count) for rank in ranks.tolist()], np.float64)
    lowest = -normal.inv_cdf((len(ids) + count) / 2 / count)
    return ZScores(ids, z, lowest, lowest, 0.0, count)


def combine_scores(rankings: Sequence[ZScores], weights: Sequence[float]) -> ZScores:
    """The combined z of several rankings: the weighted sum over the root of the squared weights (Stouffer).

    A ranking with a negative weight only lowers: z below 0 count as 0 in it.
    """
    if len(rankings) == 1:
        return rankings[0]
    ids = np.unique(np.concatenate([scores.ids for scores in rankings]))
    total, lowest, fifth = np.zeros(len(ids)), 0.0, -np.inf
    length = float(np.sqrt(np.square(weights).sum()))
    for scores, weight in zip(rankings, weights, strict=True):
        z = np.full(len(ids), scores.lowest)
        z[np.searchsorted(ids, scores.ids)] = scores.z
        total += weight / length * (z if weight > 0 else np.maximum(z, 0))
        lowest += weight / length * scores.lowest if weight > 0 else 0.0
        fifth = max(fifth, weight / length * scores.fifth if weight > 0 else fifth)
    wanted = [(weight, min(0.0, scores.common)) for scores, weight in zip(rankings, weights, strict=True) if weight > 0]
    common = sum(weight * z for weight, z in wanted) / sum(weight for weight, _ in wanted)
    return ZScores(ids, total, lowest, fifth, common, max(scores.count for scores in rankings))


def nothing_good_threshold(scored: ZScores, modalities: Collection[str]) -> float:
    """The probability of the best hit below which a query of these modalities notes that nothing good was found."""
    if curve_kind_of(modalities) is CurveKind.WORDS:
        return _NOTHING_FOREIGN if scored.common < _FOREIGN_BELOW else 0.0
    return NOTHING_GOOD if _MAPS.issuperset(modalities) else 0.0


def hit_probabilities(scored: ZScores, order: Sequence[int], curve: Curve) -> list[float]:
    """The probability of each hit in the order of an answer, in [0, 1] and non-increasing."""
    if not order:
        return []
    logits = curve.logits(features_of(scored, order))
    fitted: list[float] = isotonic_fit(1 / (1 + np.exp(-np.clip(logits, _MIN_LOGIT, _MAX_LOGIT)))).tolist()
    return fitted


def features_of(scored: ZScores, order: Sequence[int]) -> Float64Array:
    """The features of a `Curve` for each of the items in the order of an answer: (n, 4)."""
    by_id = dict(zip(scored.ids.tolist(), scored.z.tolist(), strict=True))
    z = np.array([by_id.get(item_id, scored.lowest) for item_id in order], np.float64)
    fifth = scored.fifth if len(order) < MARGIN_RANK else max(scored.fifth, float(np.sort(z)[-MARGIN_RANK]))
    features = np.empty((len(order), 4))
    features[:, 0], features[:, 1] = z, z - fifth
    features[:, 2], features[:, 3] = scored.common, math.log(scored.count)
    return features


def isotonic_fit(values: Float64Array) -> Float64Array:
    """The non-increasing sequence nearest to `values` (n,), by pool adjacent violators (isotonic regression)."""
    if (values[1:] <= values[:-1]).all():  # usual for one ranking, unless its items are in the sample
        return values
    means: list[float] = []
    sizes: list[int] = []
    for value in values.tolist():
        means.append(value)
        sizes.append(1)
        while len(means) > 1 and means[-2] < means[-1]:
            size = sizes[-2] + sizes[-1]
            means[-2:] = [(means[-2] * sizes[-2] + means[-1] * sizes[-1]) / size]
            sizes[-2:] = [size]
    return np.repeat(np.array(means), sizes)
