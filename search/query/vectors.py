"""Turns planned parts into one vector: embeds, centres and fuses them.

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

# How much a negative part counts beside a positive one of the same weight. Chosen on emoji: see docs/querying.md.
PUSH = 0.3

# The number of a query in its batch, and of a ranking in the query.
Place = tuple[int, int]
# By the place of the ranking, then by the number of its part; the single vector of a joint query is at 0.
ValueVectors = Mapping[Place, Mapping[int, FloatArray]]
# By the collection, None for the one that is searched, and the key.
ItemPlace = tuple[str | None, str]
ItemVectors = Mapping[ItemPlace, FloatArray | AnyseekError]
# Means of queries that were fitted on a collection, by modality, and those by the id of the space.
Tuned = Mapping[str, FloatArray]
TunedSpaces = Mapping[int, Tuned]
NOT_TUNED: Tuned = {}


class QueryMeans:
    """Cache of the means of query vectors, by modality, that were fitted on collections themselves. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cached: dict[int, tuple[int, Tuned]] = {}  # version and means, by the id of the space

    def of_spaces(self, spaces: Collection[SpaceHead]) -> TunedSpaces:
        """The means by the id of the space, read again where they have changed."""
        return {space.id: self._get(space) for space in spaces if space.tuning_version}

    def forget(self) -> None:
        """Release what is cached of deleted collections."""
        self._cached = {}

    def _get(self, space: SpaceHead) -> Tuned:
        version, means = self._cached.get(space.id, (0, NOT_TUNED))  # once: `forget` may empty it at any moment
        if version == space.tuning_version:
            return means
        with self._database.read() as session:
            tunings = collections.tunings_of(session, space.id, space.fingerprint)
        means = {tuning.modality: tuning.mean for tuning in tunings}
        self._cached[space.id] = space.tuning_version, means
        return means


def embed_values(embedder: Embedder, plans: Mapping[Place, Plan], tuned: TunedSpaces) -> ValueVectors:
    """The centred vectors of joint queries, and of the parts of others that are not items, in one model pass.

    What is asked in a space that knows few modalities is embedded apart, as such a space needs no pass of the others.
    """
    vectors: dict[Place, dict[int, FloatArray]] = defaultdict(dict)
    alike: dict[frozenset[str] | None, dict[Place, Plan]] = defaultdict(dict)
    for number, plan in plans.items():
        alike[embedder.spaces[plan.space.name].modalities][number] = plan
    for group in alike.values():
        for number, of_query in _embedded(embedder, group, tuned).items():
            vectors[number].update(of_query)
    return vectors


def _embedded(embedder: Embedder, plans: Mapping[Place, Plan], tuned: TunedSpaces) -> ValueVectors:
    """The centred vectors of plans in one model pass.

    Samples of like modalities and length stand together, because models pad those of a batch to the longest.
    """
    asked = [(number, place, sample) for number, plan in plans.items() for place, sample in _samples(plan)]
    asked.sort(key=lambda part: _alike(part[2]))
    vectors: dict[Place, dict[int, FloatArray]] = defaultdict(dict)
    if asked:
        spaces = sorted({plan.space.name for plan in plans.values()})
        raise_if_abandoned()
        with time_model_pass(len(asked)):
            embedded = embedder.embed([sample for _, _, sample in asked], spaces)
        for row, (number, place, sample) in enumerate(asked):
            held = plans[number].space
            space, raw = embedder.spaces[held.name], embedded[held.name][row : row + 1]
            vectors[number][place] = centre_queries(space, list(sample.values), raw, tuned.get(held.id, {}))[0]
    for number, plan in plans.items():
        for place, part in enumerate(plan.parts):
            if part.vector is not None and part.modality is not None:
                space, means = embedder.spaces[plan.space.name], tuned.get(plan.space.id, {})
                centred = centre_queries(space, [part.modality], part.vector[np.newaxis], means)
                vectors[number][place] = centred[0]
    return vectors


def _alike(sample: Sample) -> tuple[list[str], int]:
    """The modalities of a sample, and the length of its texts."""
    return sorted(sample.values), sum(len(value) for value in sample.values.values() if isinstance(value, str))


def _samples(plan: Plan) -> Iterator[tuple[int, Sample]]:
    """The samples of a query that go through the model, by the place of their vector."""
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


def raw_item_vectors(session: Session, head: Head, space: SpaceHead, wanted: Collection[ItemPlace]) -> ItemVectors:
    """The stored vectors of items in a space; a missing vector is replaced by the error that explains it."""
    answers: dict[ItemPlace, FloatArray | AnyseekError] = {}
    for name in {name for name, _ in wanted}:
        keys = [key for held, key in wanted if held == name]
        try:
            other = head if name in (None, head.name) else collections.head(session, name or "")
            found = _of_keys(session, other, _same_space(space, head, other), keys)
        except AnyseekError as error:
            found = dict.fromkeys(keys, error)
        answers |= {(name, key): vector for key, vector in found.items()}
    return answers


def _same_space(space: SpaceHead, head: Head, other: Head) -> SpaceHead:
    """The space of another collection whose vectors are of the same kind. Raises `FingerprintMismatch`."""
    for held in other.spaces:
        if held.name == space.name and held.fingerprint == space.fingerprint:
            return held
    raise FingerprintMismatch(
        f"an item is of the collection {other.name!r}, whose vectors in the space {space.name!r} were made by other "
        f"weights than those of {head.name!r}, or not at all; ask with its picture instead"
    )


def _of_keys(
    session: Session, head: Head, space: SpaceHead, keys: Collection[str]
) -> dict[str, FloatArray | AnyseekError]:
    ids = items.ids_of_keys(session, head.id, keys)
    found = raw_vectors(session, head, space, list(ids.values()))
    answers: dict[str, FloatArray | AnyseekError] = {}
    for key in keys:
        if key not in ids:
            answers[key] = ItemNotFound(f"the collection {head.name!r} has no item {key!r}")
        elif ids[key] not in found:
            answers[key] = StoreCorrupt(
                f"the item {key!r} has no usable vector in space {space.name!r}; run anyseek rebuild {head.name}"
            )
        else:
            answers[key] = found[ids[key]]
    return answers


def fuse_parts(plan: Plan, values: Mapping[int, FloatArray], stored: ItemVectors, mean: FloatArray) -> FloatArray:
    """The query's unit vector (d,): `values` by part, `stored` raw items, centred here on the gallery's `mean`, as are
    the parts' raw vectors that are of no modality.

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
    """The unit vector (d,) of unit rows (parts, d) by weight: the sum of those above 0, less what the others say else.

    A negative row loses what it shares with the sum, counts `PUSH` of its weight relative to the weights above 0, and
    all of them together are at most as long as the sum. So the vector always points more towards the sum than away:
    fruit minus banana is still fruit. Without a weight above 0 it points away from the others.

    Raises `BadQuery` if the parts cancel each other out or all weights are zero.
    """
    if len(vectors) == 1 and weights[0] > 0:  # as most queries have it, and nothing has to be weighed
        return _direction(vectors[0].astype(np.float64)).astype(np.float32)
    shares = np.asarray(weights, np.float64)
    largest = np.abs(shares).max()
    shares, rows = shares / largest if largest else shares, vectors.astype(np.float64)
    total, positive = _direction(shares @ rows), shares > 0
    if positive.any() and not positive.all():
        wanted = _direction(shares[positive] @ rows[positive])
        unwanted = -np.minimum(shares, 0) @ rows / shares[positive].sum()
        unwanted = PUSH * (unwanted - max(0.0, float(unwanted @ wanted)) * wanted)
        total = _direction(wanted - unwanted / max(1.0, float(np.linalg.norm(unwanted))))
    return total.astype(np.float32)


def _direction(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    length = math.sqrt(vector @ vector)
    if length <= MIN_NORM:
        raise BadQuery(
            "the parts of this query cancel each other out, so there is nothing to search for; change a "
            "part or a weight"
        )
    unit: npt.NDArray[np.float64] = vector / length
    return unit


def centre_queries(
    space: EmbeddingSpace, modalities: Sequence[str], vectors: FloatArray, tuned: Tuned = NOT_TUNED
) -> FloatArray:
    """Unit rows of raw vectors (n, d) of queries, each made of these modalities together, centred in a space.

    A query is centred on the average of its modalities' means. Each modality contributes the mean nearest to the query,
    since queries for drawings, photos and rooms lie around different means; or the one in `tuned`, which was fitted on
    the collection itself. A modality without means counts as zero.
    """
    means = [
        np.broadcast_to(tuned[modality], vectors.shape) if modality in tuned else own_means(space, modality, vectors)
        for modality in modalities
    ]
    mean: FloatArray = means[0] if len(means) == 1 else np.mean(np.stack(means), axis=0, dtype=np.float32)
    return centre(vectors, mean, space.blocks)


def own_means(space: EmbeddingSpace, modality: str, vectors: FloatArray) -> FloatArray:
    """The model's own mean nearest to each query (n, d), zero where it has none: (n, d)."""
    return _nearest(space.query_means.get(modality, np.zeros((1, space.dimension), np.float32)), vectors)


def _nearest(means: FloatArray, vectors: FloatArray) -> FloatArray:
    """The mean nearest to each vector: means (k, d) and vectors (n, d) -> (n, d)."""
    if len(means) == 1:
        return np.broadcast_to(means[0], vectors.shape)
    distances = (means**2).sum(axis=1) - 2 * vectors @ means.T
    nearest: FloatArray = means[distances.argmin(axis=1)]
    return nearest
