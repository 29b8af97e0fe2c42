"""How likely a hit is what was asked for: from its score beside those of a sample of its collection.

A cosine means little by itself: 0.1 is much for words and little for a picture. What says more is how far a score lies
above those that the same query has with other items, and above its own fifth best hit; and how much the query has in
common with the collection as a whole. Three numbers of this kind, on one scale for all kinds of query, go through a
logistic curve that was fitted on collections of photos (docs/querying.md).
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

SAMPLE = 512  # items that queries are compared with
FEWEST = 4  # other items, below which nothing can be said
PLACE = 5  # of the hit that others are compared with, so that four pictures of one thing do not hide each other
# Below this probability of the best hit, an answer to maps says that nothing good was found. Of other kinds right hits
# may have as low ones: where words fit many items, each of these has. So of words it is said only where they are
# foreign to the collection, but then earlier (by eye, on rooms and photos); of palettes, drawings, pictures never.
NOTHING_GOOD, _NOTHING_FOREIGN = 0.05, 0.13
_MAPS = frozenset({"depth", "normal", "semseg"})
_FOREIGN = -0.005  # how little a query has in common with the collection
_HIGHEST, _LOWEST = 30.0, -30.0  # of a logit
_STALE = 0.1  # share of a collection that may change in the log before another sample is drawn


Numbers = npt.NDArray[np.float64]
Of = Any  # a number, or one for each of some items: arrays and NumPy's own numbers are reckoned with alike


@dataclass(frozen=True)
class Curve:
    """A logit: `offset` + `surprise` z + `margin` (z - z of the fifth hit) + `belonging` b + `size` ln n.

    It is that of a hit's probability in a collection of n items. b is what the query has of what these have in common,
    and at most 0: what has more is no likelier.
    """

    offset: float
    surprise: float
    margin: float
    belonging: float
    size: float

    def logits(self, features: Numbers) -> Numbers:
        """Logits (n,) of hits with these z, z - z of the fifth, what is common and ln n (n, 4)."""
        numbers = np.array([self.surprise, self.margin, self.belonging, self.size])
        measured = features.copy()
        measured[:, 2] = np.minimum(0.0, features[:, 2])
        return np.asarray(self.offset + measured @ numbers)


class Sort(StrEnum):
    """Queries whose hits share a curve."""

    PICTURES = "pictures"  # pictures and items
    WORDS = "words"
    OTHERS = "others"  # drawings, maps, palettes, and combinations in one ranking
    SEVERAL = "several"  # rankings that are added


# Fitted by `python -m anyseek.search.evaluation.curves` of commit 3a57150.
_CURVES = {
    Sort.PICTURES: Curve(-6.063, 0.228, 1.823, 0.0, 0.0),
    Sort.WORDS: Curve(-4.240, 0.486, 0.911, 11.629, -0.103),
    Sort.OTHERS: Curve(-3.180, 0.606, 1.548, 10.825, -0.390),
    Sort.SEVERAL: Curve(-6.251, 0.664, 2.256, 10.758, 0.0),
}


def curve_of(sort: Sort) -> Curve:
    """The curve that ships."""
    return _CURVES[sort]


def sort_of(modalities: Collection[str], rankings: int = 1) -> Sort:
    """The sort of a query of parts of these modalities, an item counting as `rgb`, that so many rankings answer."""
    if rankings > 1:
        return Sort.SEVERAL
    of_sorts = {frozenset({"rgb"}): Sort.PICTURES, frozenset({"caption"}): Sort.WORDS}
    return of_sorts.get(frozenset(modalities), Sort.OTHERS)


@dataclass(frozen=True)
class Background:
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
class Standing:
    """How far the hits of a ranking stand out: `ids` (m,) with their z, float64 (m,).

    `lowest` is the z of what was not found, `fifth` that of the fifth best item of the sample, and
    `common` the product of the query and what the collection, of `count` items, has in common.
    """

    ids: IdArray
    surprises: Numbers
    lowest: float
    fifth: float
    common: float
    count: int


def background(
    ids: IdArray, raw: FloatArray, mean: FloatArray, prior: FloatArray, blocks: Sequence[int], count: int
) -> Background:
    """The background of `count` items from the raw vectors (n, d) of some, with the means of the space's gallery."""
    common: FloatArray = centre(raw, prior, blocks).mean(axis=0) if len(raw) else np.zeros_like(mean)
    return Background(ids, centre(raw, mean, blocks), mean, common, count)


@dataclass(frozen=True)
class _Drawn:
    collection: int
    seq: int
    sample: Background

    def is_fresh(self, head: Head, mean: FloatArray) -> bool:
        if head.last_seq - self.seq > _STALE * self.sample.count:
            return False
        return self.sample.mean is mean or np.array_equal(self.sample.mean, mean)  # mostly it is the very same


class Backgrounds:
    """Cache of the samples of all spaces that are queried. Thread-safe: two threads may draw the same sample."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cached: dict[int, _Drawn] = {}  # by the id of the space

    def get(self, head: Head, stored: SpaceHead, space: EmbeddingSpace, mean: FloatArray, count: int) -> Background:
        """The sample of a space with `count` items, centred on `mean` (d,), on which its live space is centred."""
        cached = self._cached.get(stored.id)
        if cached is not None and cached.is_fresh(head, mean):
            return cached.sample
        with self._database.read() as session:
            ids = listing.spread_ids(session, head.id, count, SAMPLE)
            vectors = raw_vectors(session, head, stored, ids)
        sound = sorted(vectors)
        raw = np.stack([vectors[item_id] for item_id in sound]) if sound else np.zeros((0, len(mean)), np.float32)
        sample = background(np.array(sound, np.int64), raw, mean, space.gallery_prior, stored.blocks, count)
        self._put(head, stored, _Drawn(head.id, head.last_seq, sample))
        return sample

    def _put(self, head: Head, space: SpaceHead, drawn: _Drawn) -> None:
        """Cache a sample, and release those of spaces that the collection no longer has."""
        present = {each.id for each in head.spaces} | {space.id}
        kept = {key: each for key, each in self._cached.items() if each.collection != head.id or key in present}
        self._cached = {**kept, space.id: drawn}

    def forget(self) -> None:
        """Release what is cached of deleted collections."""
        self._cached = {}


def standing(sample: Background, query: FloatArray, ids: IdArray, scores: Numbers) -> Standing | None:
    """Standard scores of the hits of a unit query (d,), `ids` (n,) with float64 `scores` (n,); None if the sample is
    too small to say.

    An item is compared with the others of the sample: t = (score - mean) / (deviation √(1 + 1/n)), and z is as unlikely
    as that t (Wallace 1959), so that small collections are not trusted too much.
    """
    if len(sample.ids) - 1 < FEWEST:
        return None
    usual = (sample.vectors @ query).astype(np.float64)
    count, total, squares = len(usual), usual.sum(), usual @ usual
    inside = isin_sorted(ids, sample.ids)
    if inside.any():
        surprises = _surprises(scores, count - inside, total - inside * scores, squares - inside * scores * scores)
    else:
        surprises = _surprises(scores, count, total, squares)
    # Of the sample only the fifth best counts, which is the fifth most surprising: z rises with the score.
    place = count - min(PLACE, count)
    fifth = np.partition(usual, place)[place]
    return Standing(
        ids,
        surprises,
        float(surprises.min(initial=0.0)),
        float(_surprises(fifth, count - 1, total - fifth, squares - fifth * fifth)),
        float(sample.common @ query),
        max(sample.count, count),
    )


def _surprises(scores: Of, n: Of, total: Of, squares: Of) -> Numbers:
    """z of scores (m,) among `n` others with this sum and this sum of squares; each (m,) where they differ."""
    mean, free = total / n, n - 1
    variance = np.maximum((squares - n * (mean * mean)) / free, 1e-12)
    t = (scores - mean) / np.sqrt(variance * (1 + 1 / n))
    surprises: Numbers = np.sign(t) * np.sqrt(free * np.log1p(t * t / free)) * (8 * free + 1) / (8 * free + 3)
    return surprises


def standing_of_words(ids: IdArray, ranks: IdArray, count: int) -> Standing:
    """Standard scores of items that hold the words of a query, `ids` (n,) with their `ranks`, among `count` items."""
    normal, count = NormalDist(), max(count, len(ids) + 1)
    surprises = np.array([-normal.inv_cdf((rank - 0.5) / count) for rank in ranks.tolist()], np.float64)
    lowest = -normal.inv_cdf((len(ids) + count) / 2 / count)
    return Standing(ids, surprises, lowest, lowest, 0.0, count)


def together(standings: Sequence[Standing], weights: Sequence[float]) -> Standing:
    """Several rankings as one: their z are added by weight and divided by the root of the squared weights (Stouffer).

    What a ranking with a negative weight finds is lowered by how far it stands out there, and nothing is raised.
    """
    if len(standings) == 1:
        return standings[0]
    ids = np.unique(np.concatenate([each.ids for each in standings]))
    total, lowest, fifth = np.zeros(len(ids)), 0.0, -np.inf
    length = float(np.sqrt(np.square(weights).sum()))
    for each, weight in zip(standings, weights, strict=True):
        own = np.full(len(ids), each.lowest)
        own[np.searchsorted(ids, each.ids)] = each.surprises
        total += weight / length * (own if weight > 0 else np.maximum(own, 0))
        lowest += weight / length * each.lowest if weight > 0 else 0.0
        fifth = max(fifth, weight / length * each.fifth if weight > 0 else fifth)
    wanted = [(weight, min(0.0, each.common)) for each, weight in zip(standings, weights, strict=True) if weight > 0]
    common = sum(weight * own for weight, own in wanted) / sum(weight for weight, _ in wanted)
    return Standing(ids, total, lowest, fifth, common, max(each.count for each in standings))


def nothing_good_below(stood: Standing, modalities: Collection[str]) -> float:
    """The probability of the best hit below which a query of these modalities found nothing good."""
    if sort_of(modalities) is Sort.WORDS:
        return _NOTHING_FOREIGN if stood.common < _FOREIGN else 0.0
    return NOTHING_GOOD if _MAPS.issuperset(modalities) else 0.0


def probabilities(stood: Standing, order: Sequence[int], curve: Curve) -> list[float]:
    """The probability of each hit in the order of a query's answer, in [0, 1] and never rising."""
    if not order:
        return []
    logits = curve.logits(features_of(stood, order))
    likely: list[float] = falling(1 / (1 + np.exp(-np.clip(logits, _LOWEST, _HIGHEST)))).tolist()
    return likely


def features_of(stood: Standing, order: Sequence[int]) -> Numbers:
    """What a `Curve` takes of each of the items in the order of an answer: (n, 4)."""
    z = dict(zip(stood.ids.tolist(), stood.surprises.tolist(), strict=True))
    surprises = np.array([z.get(item_id, stood.lowest) for item_id in order], np.float64)
    fifth = stood.fifth if len(order) < PLACE else max(stood.fifth, float(np.sort(surprises)[-PLACE]))
    features = np.empty((len(order), 4))
    features[:, 0], features[:, 1] = surprises, surprises - fifth
    features[:, 2], features[:, 3] = stood.common, math.log(stood.count)
    return features


def falling(values: Numbers) -> Numbers:
    """The sequence nearest to `values` (n,) that never rises (pool adjacent violators): neighbours share their mean."""
    if (values[1:] <= values[:-1]).all():  # as those of one ranking do, unless its items are in the sample
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
