"""Fit the curve of a collection's probabilities on the collection itself, and measure what that changes.

The curves that ship are of many collections together. How far right hits stand out differs between collections and
kinds of query, so queries for a collection's own items say how likely its hits are. Each is asked with its item there
and without it, as users ask for what is there and for what is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.seam import EmbeddingSpace, FloatArray
from anyseek.search.curve import Curve, Numbers
from anyseek.search.evaluation.calibration_error import calibration_error
from anyseek.search.evaluation.logistic import logistic, sigmoid
from anyseek.search.evaluation.measures import IntArray
from anyseek.search.probabilities import FEWEST as FEWEST_ITEMS
from anyseek.search.probabilities import Background, background, curve_of, features_of, sort_of, standing
from anyseek.search.query_means import FEWEST, Trial, centred_on_others
from anyseek.search.query_vectors import centre_queries

_SHRUNK_BY = 16  # queries that the curve that ships counts as
_FIRST = 10
_BEST = 5.0  # how much a best hit counts beside the others of the first ten: it is what answers are judged by
_RIDGE = 1e-3  # so that a fit has an end where all is told apart
_KEPT = (0.2, 0.8)  # of a picture's sides, in a query by a part of it
_USUAL = 2.0  # deviations below the mean of a collection's own captions, which one in fifty lies further off
_LEAST = 1e-6  # of a probability whose logarithm is taken


@dataclass(frozen=True)
class Judgement:
    """The expected calibration error of best hits, and the mean log loss of the first ten."""

    error_of_best: float
    loss: float


@dataclass(frozen=True)
class CurveTrial:
    """What a fitted curve changes for queries of one modality, each half of them measured by a curve of the other.

    `usual` is what nearly all these queries have in common with the collection, 0 where that was not asked.
    """

    space: str
    modality: str
    queries: int
    before: Judgement
    after: Judgement
    curve: Curve
    usual: float = 0.0

    @property
    def used(self) -> Curve | None:
        """The curve from now on: the fitted one if it helps, either with what is usual; None for the one that ships."""
        if not self.helps and not self.usual:
            return None
        return replace(self.curve if self.helps else curve_of(sort_of([self.modality])), usual=self.usual)

    @property
    def helps(self) -> bool:
        """Whether neither number is worse, and what stands out further is more likely."""
        rises, after = self.curve.surprise > 0, self.after
        return rises and after.error_of_best <= self.before.error_of_best and after.loss <= self.before.loss


@dataclass(frozen=True)
class FirstHits:
    """The first hits of queries, each asked twice.

    `features` (n, 4) are as `Curve` takes them, and `right` (n,) is 1 where a hit is. `best` bool (n,) tells the
    first of each answer, `asked` int64 (n,) the number of each one's query.
    """

    features: Numbers
    right: Numbers
    best: npt.NDArray[np.bool_]
    asked: IntArray

    def of(self, queries: npt.NDArray[np.bool_]) -> "FirstHits":
        """Those of some of the queries (m,)."""
        kept = queries[self.asked]
        return FirstHits(self.features[kept], self.right[kept], self.best[kept], self.asked[kept])


def judged(some: Sequence[tuple[FirstHits, Curve]]) -> Judgement:
    """All these hits together, each by its curve."""
    likely = np.concatenate([sigmoid(curve.logits(hits.features)) for hits, curve in some])
    right = np.concatenate([hits.right for hits, _ in some])
    best = np.concatenate([hits.best for hits, _ in some])
    clipped = likely.clip(_LEAST, 1 - _LEAST)
    losses = -(right * np.log(clipped) + (1 - right) * np.log1p(-clipped))
    return Judgement(calibration_error(likely[best], right[best]), float(losses.mean()))


def part_of(picture: ByteArray) -> ByteArray:
    """What a query by a part of a picture (h, w, 3) shows: its middle, 0.6 of each side."""
    (top, bottom), (left, right) = ([int(share * side) for share in _KEPT] for side in picture.shape[:2])
    return np.ascontiguousarray(picture[top:bottom, left:right])


def sample_of(space: EmbeddingSpace, pictures: FloatArray, mean: FloatArray) -> Background:
    """A gallery of raw vectors (m, d), to be centred on `mean` (d,), as the sample that queries are compared with."""
    ids = np.arange(len(pictures))
    return background(ids, pictures, mean, space.gallery_prior, space.blocks, len(ids))


def centred_as_used(space: EmbeddingSpace, modality: str, raw: FloatArray, tried: Trial | None) -> FloatArray:
    """Raw queries (n, d) as unit rows, centred as they are from now on: on a fitted mean, if one helps.

    Each half is centred on a mean that did not see it, as queries to come are.
    """
    if tried is not None and tried.helps:
        return centred_on_others(space, modality, raw)
    return centre_queries(space, [modality], raw)


def try_curve(
    space: str, modality: str, sample: Background, queries: FloatArray, rows: Sequence[int], things: IntArray
) -> CurveTrial | None:
    """Fit a curve to `queries`, centred unit (n, d), each of which should find the items like its row of `sample`.

    `things` int64 (m,) are equal for items of the sample that are equally right. None if there are too few queries or
    items to say anything.
    """
    if len(queries) < FEWEST or len(sample.ids) - 1 <= max(FEWEST_ITEMS, _FIRST):
        return None
    hits = first_hits(sample, queries, things[np.asarray(rows)], things)
    shipped = curve_of(sort_of([modality]))
    halves = np.arange(len(queries)) % 2 == 0
    parts = [(hits.of(held_out), fitted_curve(shipped, hits.of(~held_out))) for held_out in (halves, ~halves)]
    before, after = judged([(part, shipped) for part, _ in parts]), judged(parts)
    return CurveTrial(space, modality, len(queries), before, after, fitted_curve(shipped, hits))


def first_hits(sample: Background, queries: FloatArray, wanted: IntArray, things: IntArray) -> FirstHits:
    """The first ten hits of queries (n, d) for the `wanted` (n,) among `things` (m,), with these there and without."""
    features, right, asked = [], [], []
    for number, (query, thing) in enumerate(zip(queries, wanted.tolist(), strict=True)):
        scores, same = sample.vectors @ query, things == thing
        order = np.argsort(-scores, kind="stable")
        for found in (order[:_FIRST], order[~same[order]][:_FIRST]):
            stood = standing(sample, query, [(int(sample.ids[row]), float(scores[row])) for row in found])
            assert stood is not None, "else the sample is too small, which the caller excludes"
            features.append(features_of(stood, sample.ids[found].tolist()))
            right.append(same[found].astype(np.float64))
            asked.append(np.full(len(found), number))
    best = np.concatenate([np.arange(len(each)) == 0 for each in right])
    return FirstHits(np.concatenate(features), np.concatenate(right), best, np.concatenate(asked))


def usual_of(queries: FloatArray, common: FloatArray) -> float:
    """What nearly all `queries`, centred unit (n, d), have of what the collection has in `common` (d,), at least 0.

    Some collections are so uniform that what is said of their items has always something in common with them all. What
    has less is foreign there, and not only what points away from them.
    """
    shared = (queries @ common).astype(np.float64)
    return max(0.0, float(shared.mean() - _USUAL * shared.std()))


def fitted_curve(shipped: Curve, hits: FirstHits) -> Curve:
    """The shipped curve, stretched and moved to be nearest to these hits, of which the best count most.

    What it says of them itself counts as sixteen queries more.
    """
    given, queries = shipped.logits(hits.features), len(np.unique(hits.asked))
    targets = (queries * hits.right + _SHRUNK_BY * sigmoid(given)) / (queries + _SHRUNK_BY)
    columns, weights = np.column_stack([np.ones(len(given)), given]), np.where(hits.best, _BEST, 1.0)
    moved, longer = logistic(columns, targets, weights, np.full(2, _RIDGE), given).tolist()
    by = 1 + longer
    return Curve(
        shipped.offset * by + moved,
        shipped.surprise * by,
        shipped.margin * by,
        shipped.belonging * by,
        shipped.size * by,
    )
