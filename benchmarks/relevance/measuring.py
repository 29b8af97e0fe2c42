"""Hits of queries whose right answers are known, with their features, and logistic curves fitted to them.

Galleries are a source's photos: all of them, random parts, and the photos of seven classes alone, since the share of
right photos is what changes most from one collection to another. By names as many queries ask for what is there as for
what is not. All sources count the same, and all galleries of a source.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from anyseek.model.seam import EmbeddingSpace, FloatArray, RelevanceCurve
from anyseek.search.answers.ranks import NO_ITEM
from anyseek.search.confidence.relevance import NAME, name_features, probabilities
from anyseek.search.confidence.score_samples import SAMPLE_SIZE, Float64Array, score_sample, z_scores
from anyseek.search.evaluation.measures import average_precisions
from anyseek.search.query.hubs import corrected
from anyseek.search.query.vectors import centre_queries
from anyseek.search.spaces.base import centre
from anyseek.search.upkeep.snapshots import MIN_CENTRE_VECTORS
from benchmarks.relevance.galleries import LabelledSource, Labels, Vectors

HITS, _FIRST = 10, 5  # of an answer
TYPICAL = 256  # queries of a modality that are stored
_SIZES, _CLASS_SUBSETS, _CLASSES = (300, 100, 30), 4, 7
_NAMES, _PICTURES = 40, 60  # the most queries of a gallery
_REGULARISATION = 1e-5
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Judged:
    """Hits (n, HITS) of n queries: `features` (n, HITS, 2) and `right`. `present` (n,): whether a right item exists.

    `weights` (n,) are those of the queries, `sources` (n,) the names of their sources.
    """

    features: Float64Array
    right: BoolArray
    present: BoolArray
    weights: Float64Array
    sources: npt.NDArray[np.str_]

    def probabilities(self, curve: RelevanceCurve) -> Float64Array:
        """The probabilities (n, HITS) of all hits, as an answer states them."""
        return np.stack([probabilities(curve, features) for features in self.features])


def joined(parts: Sequence[Judged]) -> Judged:
    columns = ([getattr(part, name) for part in parts] for name in Judged.__dataclass_fields__)
    return Judged(*map(np.concatenate, columns))


def typical(queries: FloatArray, without: Sequence[bool] | BoolArray | None = None) -> FloatArray:
    """At most `TYPICAL` of centred queries (n, d), without those of a mask (n,)."""
    kept = queries if without is None else queries[~np.asarray(without)]
    return kept[np.random.default_rng(0).permutation(len(kept))[:TYPICAL]]


def galleries_of(source: LabelledSource, generator: np.random.Generator) -> Iterator[Vectors]:
    """Yield all items of a source, random parts of them, and the items of seven classes."""
    everything, names = source.gallery, source.names
    yield everything
    for size in _SIZES:
        if size < len(everything.labels):
            yield everything.of(generator.permutation(len(everything.labels))[:size])
    for _ in range(_CLASS_SUBSETS):
        chosen = set(generator.permutation(names)[:_CLASSES].tolist())
        places = [place for place, labels in enumerate(everything.labels) if labels & chosen]
        if len(places) > HITS:
            yield everything.of(places)


def judged_names(
    space: EmbeddingSpace, source: LabelledSource, names: Sequence[str], queries: FloatArray, seed: int
) -> Judged:
    """Names (n,) with their centred queries (n, d), asked in the galleries of a source."""
    generator, parts = np.random.default_rng(seed), []
    for gallery in galleries_of(source, generator):
        shown = frozenset().union(*gallery.labels)
        own = [place for place, name in enumerate(names) if name in shown]
        absent = [
            place for place, name in enumerate(names) if not any(name in label or label in name for label in shown)
        ]
        for places, is_present in ((own, True), (absent, False)):
            asked = generator.permutation(places)[:_NAMES].astype(int)
            labels = [frozenset({names[place]}) for place in asked]
            found = _first_hits(space, gallery, NAME, queries[asked], labels)
            parts.append(_judged(*found, is_present, weight=0.5, source=source.name))
    return joined(parts)


def judged_queries(space: EmbeddingSpace, source: LabelledSource, asking: Vectors, modality: str, seed: int) -> Judged:
    """Raw queries of a modality, such as pictures, asked in the galleries of a source."""
    generator, parts = np.random.default_rng(seed), []
    centred = centre_queries(space, [modality], asking.rows)
    for gallery in galleries_of(source, generator):
        shown = frozenset().union(*gallery.labels)
        places = [place for place, labels in enumerate(asking.labels) if labels & shown]
        asked = generator.permutation(places)[:_PICTURES].astype(int)
        found = _first_hits(space, gallery, modality, centred[asked], [asking.labels[place] for place in asked])
        parts.append(_judged(*found, True, weight=1.0, source=source.name))
    return joined(parts)


def _judged(features: Float64Array, right: BoolArray, is_present: bool, weight: float, source: str) -> Judged:
    """The hits of n queries, which share a weight."""
    count = len(right)
    weights = np.full(count, weight / max(1, count))
    return Judged(features, right, np.full(count, is_present), weights, np.full(count, source))


def _first_hits(
    space: EmbeddingSpace, gallery: Vectors, modality: str, queries: FloatArray, wanted: Labels
) -> tuple[Float64Array, BoolArray]:
    """The features (n, HITS, 2) of the first hits of centred queries (n, d), and which are right (n, HITS).

    Both are as in a collection of this gallery.
    """
    count = len(gallery.labels)
    mean = gallery.rows.mean(axis=0) if count >= MIN_CENTRE_VECTORS else space.gallery_prior
    ids = np.sort(np.random.default_rng(0).permutation(count)[:SAMPLE_SIZE])
    sample = score_sample(ids, gallery.rows[ids], mean, space, count)
    items, by_prior = (centre(gallery.rows, each, space.blocks) for each in (mean, space.gallery_prior))
    features, right = np.zeros((len(queries), HITS, 2)), np.zeros((len(queries), HITS), np.bool_)
    scores = ranking_scores(space, modality, items, queries)
    for row, query in enumerate(queries):
        hits = np.argsort(-scores[row], kind="stable")[:HITS]
        if modality != NAME:
            z = z_scores(sample, query, hits, scores[row, hits])
            assert z is not None, "a gallery has more than four items"
            features[row] = np.stack([scores[row, hits], z], axis=1)
        else:
            features[row] = name_features(by_prior[hits], query, space.typical_queries[NAME], sample)
        right[row] = [bool(gallery.labels[hit] & wanted[row]) for hit in hits]
    return features, right


def ranking_scores(space: EmbeddingSpace, modality: str, items: FloatArray, queries: FloatArray) -> Float64Array:
    """The scores (m, n) of centred items (n, d) for centred queries (m, d), as the engine ranks them."""
    return corrected(queries @ items.T, items, space.typical_queries.get(modality)).astype(np.float64)


def hub_quality(space: EmbeddingSpace, modality: str, gallery: Vectors, asking: Vectors) -> dict[str, float]:
    """Mean average precision, and the share of first tens with the commonest item, with hubs corrected and without.

    `asking` are centred queries. Those without a right item in the gallery are left out.
    """
    shown = frozenset().union(*gallery.labels)
    asking = asking.of([place for place, labels in enumerate(asking.labels) if labels & shown])
    right = np.array([[bool(labels & wanted) for labels in gallery.labels] for wanted in asking.labels])
    items = centre(gallery.rows, gallery.rows.mean(axis=0), space.blocks)
    plain = replace(space, typical_queries={})
    quality: dict[str, float] = {}
    for name, each in (("plain", plain), ("corrected", space)):
        scores = ranking_scores(each, modality, items, asking.rows)
        first = np.argsort(-scores, axis=1, kind="stable")[:, :HITS]
        precision = average_precisions(scores, np.full(len(scores), NO_ITEM), right, own_is_query=False)
        quality[f"map_{name}"] = round(float(precision.mean()), 3)
        quality[f"commonest_{name}"] = round(float(np.bincount(first.ravel()).max() / len(first)), 3)
    return quality


def fit_curve(judged: Judged) -> RelevanceCurve:
    """The logistic curve of most likelihood, by Newton's method; each source has the same weight.

    The threshold for "nothing good" is the one of `nothing_good_threshold`.
    """
    features, right, weights = _hits(judged)
    inputs = np.column_stack([features, np.ones(len(right))])
    values = np.zeros(3)
    for _ in range(50):
        expected = 1 / (1 + np.exp(-np.clip(inputs @ values, -30, 30)))
        curvature = (inputs * (weights * expected * (1 - expected))[:, np.newaxis]).T @ inputs
        gradient = inputs.T @ (weights * (expected - right)) + _REGULARISATION * values
        values -= np.linalg.solve(curvature + _REGULARISATION * np.eye(3), gradient)
    curve = RelevanceCurve(float(values[2]), (float(values[0]), float(values[1])), 0.0)
    return RelevanceCurve(curve.offset, curve.weights, nothing_good_threshold(judged.probabilities(curve), judged))


def _hits(judged: Judged) -> tuple[Float64Array, Float64Array, Float64Array]:
    """All hits in a row: features (m, 2), whether they are right, and weights that add up to 1."""
    weights = np.repeat(judged.weights, HITS)
    by_source = np.repeat(judged.sources, HITS)
    for name in np.unique(by_source):
        weights[by_source == name] /= weights[by_source == name].sum()
    return judged.features.reshape(-1, 2), judged.right.reshape(-1).astype(np.float64), weights / weights.sum()


def nothing_good_threshold(stated: Float64Array, judged: Judged, wrongly: float = 0.02) -> float:
    """The probability that the best hits of all but a share `wrongly` of the answers with a right hit reach."""
    good = judged.right[:, :_FIRST].any(axis=1)
    return float(np.quantile(stated[good, 0], wrongly, method="lower")) if good.any() else 0.0


def report(stated: Float64Array, thresholds: Float64Array, judged: Judged) -> dict[str, object]:
    """Measures of stated probabilities (n, HITS); deciles hold a tenth of the weight each.

    `thresholds` (n,) are those of "nothing good" for each query.
    """
    _, right, weights = _hits(judged)
    flat = stated.reshape(-1)
    order = np.argsort(flat, kind="stable")
    tenth = np.minimum((np.cumsum(weights[order]) * 10).astype(int), 9)
    deciles = []
    for number in range(10):
        rows = order[tenth == number]
        mean, share = (float(np.average(values[rows], weights=weights[rows])) for values in (flat, right))
        deciles.append({"hits": len(rows), "stated": round(mean, 3), "right": round(share, 3)})
    good, told = judged.right[:, :_FIRST].any(axis=1), stated[:, 0] < thresholds
    return {
        "queries": len(stated),
        "hits": len(flat),
        "auroc": round(auroc(flat, right > 0), 3),
        "by_source": {str(name): _source_report(stated, judged, name) for name in np.unique(judged.sources)},
        "deciles": deciles,
        **{f"stated_{least}": _share_right(flat >= least, right, weights) for least in (0.5, 0.8)},
        "nothing_good_wrongly": round(float(told[good].mean()), 3),
        "nothing_good_absent": round(float(told[~judged.present].mean()), 3) if not judged.present.all() else None,
    }


def _source_report(stated: Float64Array, judged: Judged, name: str) -> dict[str, float]:
    rows = judged.sources == name
    right = judged.right[rows].reshape(-1)
    values = stated[rows].reshape(-1)
    return {
        "auroc": round(auroc(values, right), 3),
        "stated": round(float(values.mean()), 3),
        "right": round(float(right.mean()), 3),
    }


def _share_right(mask: BoolArray, right: Float64Array, weights: Float64Array) -> dict[str, object]:
    share = round(float(np.average(right[mask], weights=weights[mask])), 3) if mask.any() else None
    return {"hits": int(mask.sum()), "right": share}


def auroc(values: Float64Array, right: BoolArray) -> float:
    """The chance that a right hit has a higher value than a wrong one; ties count half."""
    order = np.sort(values[~right])
    below, upto = (np.searchsorted(order, values[right], side) for side in ("left", "right"))
    return float((below + upto).mean() / 2 / max(1, len(order)))
