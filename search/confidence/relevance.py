"""The probability that a hit is right: that the person who asked would say that it shows what was asked for.

It is stated for the kinds of query that a space has a curve for, since right hits of others cannot be told from wrong
ones well enough: names of things in `photo_global` (docs/querying.md). Each kind has two features:

* a name: how far the item's score lies above its scores with other names, in their standard deviations, and that of
  this number above its median in the collection. Items are centred on the space's prior here, so that a collection of
  rooms alone still shows rooms.
* a picture or an item: the score, and how far it stands out in the collection.

A logistic curve that was fitted to labelled photos makes a probability of them (`python -m benchmarks.relevance`).
"""

from collections.abc import Sequence

import numpy as np

from anyseek.model.seam import FloatArray, RelevanceCurve
from anyseek.search.confidence.score_samples import Float64Array, ScoreMoments, ScoreSample, score_moments
from anyseek.search.query.query import Part
from anyseek.search.query.words import is_name

PICTURE, NAME = "rgb", "caption"
_MAX_LOGIT = 30.0


def relevance_kind(parts: Sequence[Part]) -> str | None:
    """The kind of a query of these parts, which has a curve; None for all queries without a probability."""
    if len(parts) != 1 or parts[0].weight <= 0 or parts[0].vector is not None:
        return None
    part = parts[0]
    if part.modality == NAME and isinstance(part.value, str):
        return NAME if is_name(part.value) else None
    return PICTURE if part.item is not None or part.modality == PICTURE else None


def name_features(items: FloatArray, query: FloatArray, names: FloatArray, sample: ScoreSample) -> Float64Array:
    """The features (n, 2) of items (n, d) for the query (d,) by a name, beside typical `names` (m, d).

    All are centred, the items on the prior.
    """
    z = _z_of(items @ query, score_moments(items, names))
    others = _z_of(sample.by_prior @ query, sample.typical_scores[NAME])
    return np.stack([z, z - np.median(others)], axis=1)


def _z_of(scores: FloatArray, moments: ScoreMoments) -> Float64Array:
    means, deviations = moments
    z: Float64Array = ((scores - means) / deviations).astype(np.float64)
    return z


def probabilities(curve: RelevanceCurve, features: Float64Array) -> Float64Array:
    """The probability (n,) of each hit, best first, from its features (n, 2): non-increasing, in [0, 1]."""
    logits = np.clip(curve.offset + features @ np.array(curve.weights), -_MAX_LOGIT, _MAX_LOGIT)
    return isotonic_fit(1 / (1 + np.exp(-logits)))


def isotonic_fit(values: Float64Array) -> Float64Array:
    """The non-increasing sequence nearest to `values` (n,), by pool adjacent violators (isotonic regression)."""
    if (values[1:] <= values[:-1]).all():
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
