"""Turns planned parts into one query vector: embeds, centres and fuses them.

Values go through the model, in one pass for a batch of queries; vectors of items are read from the log.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from anyseek.model.modalities.reading.budget import raise_if_abandoned
from anyseek.model.seam import Embedder, EmbeddingSpace, FloatArray, Fusion, Sample
from anyseek.search.catalogue import collections, items
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.catalogue.session import Database
from anyseek.search.errors import AnyseekError, BadQuery, FingerprintMismatch, ItemNotFound, StoreCorrupt
from anyseek.search.query.planning import Plan
from anyseek.search.spaces.base import MIN_NORM, centre, raw_vectors
from anyseek.search.telemetry.spans import time_model_pass

# The weight of a negative part relative to a positive one of equal weight. Chosen on emoji: see docs/querying.md.
NEGATIVE_PART_WEIGHT = 0.3

# The number of a query in its batch, and of a ranking in the query.
RankingKey = tuple[int, int]
Plans = Mapping[RankingKey, Plan]
# By the ranking, then by the number of its part; the single vector of a joint query is at 0.
ValueVectors = Mapping[RankingKey, Mapping[int, FloatArray]]
# By the collection, None for the one that is searched, and the key.
ItemKey = tuple[str | None, str]
ItemVectors = Mapping[ItemKey, FloatArray | AnyseekError]
# Means of queries that were fitted on a collection, by modality, and those by the id of the space.
TunedMeans = Mapping[str, FloatArray]
MeansBySpace = Mapping[int, TunedMeans]
NO_TUNED_MEANS: TunedMeans = {}


class QueryMeans:
    """Cache of the tuned query means, by modality, which were fitted on collections. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cached: dict[int, tuple[int, TunedMeans]] = {}  # version and means, by the id of the space

    def of_spaces(self, spaces: Collection[SpaceHead]) -> MeansBySpace:
        """The means by the id of the space, reloaded if they have changed."""
        return {space.id: self._get(space) for space in spaces if space.tuning_version}

    def forget(self) -> None:
        """Release what is cached of deleted collections."""
        self._cached = {}

    def _get(self, space: SpaceHead) -> TunedMeans:
        version, means = self._cached.get(space.id, (0, NO_TUNED_MEANS))  # once: `forget` may empty it at any moment
        if version == space.tuning_version:
            return means
        with self._database.read() as session:
            tunings = collections.tunings_of(session, space.id, space.fingerprint)
        means = {tuning.modality: tuning.mean for tuning in tunings}
        self._cached[space.id] = space.tuning_version, means
        return means


def embed_values(embedder: Embedder, plans: Plans, tuned_means: MeansBySpace) -> ValueVectors:
    """The centred vectors of joint queries, and of the parts of others that are not items, in one model pass.

    Spaces that know only some modalities are embedded separately, because they need no pass of the whole model.
    """
    vectors: dict[RankingKey, dict[int, FloatArray]] = defaultdict(dict)
    groups: dict[frozenset[str] | None, dict[RankingKey, Plan]] = defaultdict(dict)
    for number, plan in plans.items():
        groups[embedder.spaces[plan.space.name].modalities][number] = plan
    for group in groups.values():
        for number, rows in _embed(embedder, group, tuned_means).items():
            vectors[number].update(rows)
    return vectors


def _embed(embedder: Embedder, plans: Plans, tuned_means: MeansBySpace) -> ValueVectors:
    """The centred vectors of plans in one model pass.

    Samples are sorted by modalities and length, because models pad a batch to its longest sample.
    """
    inputs = [(number, place, sample) for number, plan in plans.items() for place, sample in _samples(plan)]
    inputs.sort(key=lambda part: _padding_key(part[2]))
    vectors: dict[RankingKey, dict[int, FloatArray]] = defaultdict(dict)
    if inputs:
        spaces = sorted({plan.space.name for plan in plans.values()})
        raise_if_abandoned()
        with time_model_pass(len(inputs)):
            embedded = embedder.embed([sample for _, _, sample in inputs], spaces)
        for row, (number, place, sample) in enumerate(inputs):
            head = plans[number].space
            space, raw = embedder.spaces[head.name], embedded[head.name][row : row + 1]
            vectors[number][place] = centre_queries(space, list(sample.values), raw, tuned_means.get(head.id, {}))[0]
    for number, plan in plans.items():
        for place, part in enumerate(plan.parts):
            if part.vector is not None and part.modality is not None:
                space, means = embedder.spaces[plan.space.name], tuned_means.get(plan.space.id, {})
                centred = centre_queries(space, [part.modality], part.vector[np.newaxis], means)
                vectors[number][place] = centred[0]
    return vectors


def _padding_key(sample: Sample) -> tuple[list[str], int]:
    """The sort key of a sample: its modalities, and the length of its texts."""
    return sorted(sample.values), sum(len(value) for value in sample.values.values() if isinstance(value, str))


def _samples(plan: Plan) -> Iterator[tuple[int, Sample]]:
    """The samples of a query to embed, with the place of their vector."""
    values = [
        (place, part.modality, part.value)
        for place, part in enumerate(plan.parts)
        if part.modality is not None and part.value is not None
    ]
    if plan.fusion is Fusion.JOINT:
        yield 0, Sample({modality: value for _, modality, value in values})
        return
    for place, modality, value in values:
        yield place, Sample({modality: value})


def raw_item_vectors(session: Session, head: Head, space: SpaceHead, item_keys: Collection[ItemKey]) -> ItemVectors:
    """The stored vectors of items in a space; a missing vector is replaced by the error that explains it."""
    results: dict[ItemKey, FloatArray | AnyseekError] = {}
    for name in {name for name, _ in item_keys}:
        keys = [key for collection, key in item_keys if collection == name]
        try:
            other = head if name in (None, head.name) else collections.head(session, name or "")
            vectors = _vectors_of_keys(session, other, _same_space(space, head, other), keys)
        except AnyseekError as error:
            vectors = dict.fromkeys(keys, error)
        results |= {(name, key): vector for key, vector in vectors.items()}
    return results


def _same_space(space: SpaceHead, head: Head, other: Head) -> SpaceHead:
    """The space of another collection with comparable vectors. Raises `FingerprintMismatch`."""
    for candidate in other.spaces:
        if candidate.name == space.name and candidate.fingerprint == space.fingerprint:
            return candidate
    raise FingerprintMismatch(
        f"an item is of the collection {other.name!r}, whose vectors in the space {space.name!r} were made by other "
        f"weights than those of {head.name!r}, or not at all; ask with its picture instead"
    )


def _vectors_of_keys(
    session: Session, head: Head, space: SpaceHead, keys: Collection[str]
) -> dict[str, FloatArray | AnyseekError]:
    ids = items.ids_of_keys(session, head.id, keys)
    vectors = raw_vectors(session, head, space, list(ids.values()))
    results: dict[str, FloatArray | AnyseekError] = {}
    for key in keys:
        if key not in ids:
            results[key] = ItemNotFound(f"the collection {head.name!r} has no item {key!r}")
        elif ids[key] not in vectors:
            results[key] = StoreCorrupt(
                f"the item {key!r} has no usable vector in space {space.name!r}; run anyseek rebuild {head.name}"
            )
        else:
            results[key] = vectors[ids[key]]
    return results


def fuse_parts(plan: Plan, values: Mapping[int, FloatArray], stored: ItemVectors, mean: FloatArray) -> FloatArray:
    """The query's unit vector (d,) from centred `values` by part, and from raw vectors of items (`stored`) and of parts
    without a modality, which are centred on the gallery's `mean`.

    Raises the error that `stored` has in place of a vector, and `BadQuery` if the parts cancel each other out.
    """
    if plan.fusion is Fusion.JOINT:
        return fuse(values[0][np.newaxis], [float(any(part.weight for part in plan.parts))])
    rows = []
    for place, part in enumerate(plan.parts):
        vector = part.vector if part.item is None else stored[part.collection, part.item]
        if place in values or vector is None:
            rows.append(values[place])
            continue
        if isinstance(vector, AnyseekError):
            raise vector
        rows.append(centre(vector[np.newaxis], mean, plan.space.blocks)[0])
    return fuse(np.stack(rows), [part.weight for part in plan.parts])


def fuse(vectors: FloatArray, weights: Sequence[float]) -> FloatArray:
    """The unit vector (d,) of unit rows (parts, d) by weight: the sum of the positive ones, less the negative ones.

    The part of a negative row along the sum is removed. The rest counts `NEGATIVE_PART_WEIGHT` of its weight relative
    to the positive weights, and all of them together are at most as long as the sum. So the vector always points more
    towards the sum than away: fruit minus banana is still fruit. Without a positive weight it points away from all.

    Raises `BadQuery` if the parts cancel each other out or all weights are zero.
    """
    if len(vectors) == 1 and weights[0] > 0:  # a shortcut for most queries
        return _normalise(vectors[0].astype(np.float64)).astype(np.float32)
    shares = np.asarray(weights, np.float64)
    largest = np.abs(shares).max()
    shares, rows = shares / largest if largest else shares, vectors.astype(np.float64)
    total, positive = _normalise(shares @ rows), shares > 0
    if positive.any() and not positive.all():
        wanted = _normalise(shares[positive] @ rows[positive])
        unwanted = -np.minimum(shares, 0) @ rows / shares[positive].sum()
        unwanted = NEGATIVE_PART_WEIGHT * (unwanted - max(0.0, float(unwanted @ wanted)) * wanted)
        total = _normalise(wanted - unwanted / max(1.0, float(np.linalg.norm(unwanted))))
    return total.astype(np.float32)


def _normalise(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    length = math.sqrt(vector @ vector)
    if length <= MIN_NORM:
        raise BadQuery(
            "the parts of this query cancel each other out, so there is nothing to search for; change a "
            "part or a weight"
        )
    unit: npt.NDArray[np.float64] = vector / length
    return unit


def centre_queries(
    space: EmbeddingSpace, modalities: Sequence[str], vectors: FloatArray, tuned_means: TunedMeans = NO_TUNED_MEANS
) -> FloatArray:
    """Unit rows of raw vectors (n, d) of queries, each made of these modalities together, centred in a space.

    A query is centred on the average of its modalities' means. Each modality contributes the mean nearest to the query,
    since queries for drawings, photos and rooms have different means; or the one in `tuned_means`, which was fitted on
    the collection itself. A modality without means counts as zero.
    """
    means = [
        np.broadcast_to(tuned_means[name], vectors.shape) if name in tuned_means else model_means(space, name, vectors)
        for name in modalities
    ]
    mean: FloatArray = means[0] if len(means) == 1 else np.mean(np.stack(means), axis=0, dtype=np.float32)
    return centre(vectors, mean, space.blocks)


def model_means(space: EmbeddingSpace, modality: str, vectors: FloatArray) -> FloatArray:
    """The model's own mean nearest to each query (n, d), zero where it has none: (n, d)."""
    return _nearest_means(space.query_means.get(modality, np.zeros((1, space.dimension), np.float32)), vectors)


def _nearest_means(means: FloatArray, vectors: FloatArray) -> FloatArray:
    """The mean nearest to each vector: means (k, d) and vectors (n, d) -> (n, d)."""
    if len(means) == 1:
        return np.broadcast_to(means[0], vectors.shape)
    distances = (means**2).sum(axis=1) - 2 * vectors @ means.T
    nearest: FloatArray = means[distances.argmin(axis=1)]
    return nearest
