"""Turns a query's parts into one vector: checks the parts, chooses the space that answers, and fuses their vectors.

Values go through the model, in one pass for a batch of queries; vectors of items are read from the log.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from model.modalities.registry import resolve
from model.modalities.rough_maps import rounded
from model.seam import Embedder, EmbeddingSpace, FloatArray, Fusion, Regions, Sample
from search.catalogue import items, log
from search.catalogue.collections import Head, SpaceHead
from search.errors import (
    AnyseekError,
    BadQuery,
    FingerprintMismatch,
    ItemNotFound,
    NotJoinable,
    SpaceNotFound,
    StoreCorrupt,
)
from search.filters.tree import Filter
from search.metrics import embedding
from search.query_limits import check_sizes
from search.settings import Limits
from search.spaces.base import NO_DIRECTION, centre
from search.types import Part, Query

# The modality that an item counts as when the model chooses the space for a query by example.
ITEMS_ARE = "rgb"
# A vector whose length is this near to 1 is a unit vector.
UNIT_TO = 1e-6
# How much a negative part counts beside a positive one of the same weight. Chosen on emoji: see docs/querying.md.
PUSH = 0.3

# The number of a query in its batch, and of a ranking in the query.
Place = tuple[int, int]
# By the place of the ranking, then by the number of its part; the single vector of a joint query is at 0.
ValueVectors = Mapping[Place, Mapping[int, FloatArray]]
ItemVectors = Mapping[str, FloatArray | AnyseekError]
# Means of queries that were fitted on a collection, by modality, and those by the id of the space.
Tuned = Mapping[str, FloatArray]
TunedSpaces = Mapping[int, Tuned]
NOT_TUNED: Tuned = {}


@dataclass(frozen=True)
class Plan:
    """Checked parts that become one vector: how, the space that answers, and which items can be found."""

    parts: tuple[Part, ...]
    space: SpaceHead
    fusion: Fusion
    where: Filter | None
    depth: int
    """how many of the nearest items to look at"""


def checked_parts(query: Query, embedder: Embedder, limits: Limits) -> tuple[Part, ...]:
    """The parts of a query of an allowed size, with canonical names. Raises `BadQuery`, `LimitExceeded`."""
    check_sizes(query, limits)
    return tuple(_checked(part, embedder) for part in query.parts)


def plan(
    query: Query, parts: tuple[Part, ...], head: Head, embedder: Embedder, where: Filter | None, depth: int
) -> Plan:
    """What becomes one vector: all of a query's checked parts, or some of them, as deep as `depth`.

    Raises `BadQuery`, `NotJoinable`, `SpaceNotFound`, `FingerprintMismatch`.
    """
    fusion = _fusion(query, parts, embedder)
    space = _space(query, parts, head, embedder)
    _check_space(space, head, embedder)
    parts = tuple(_fitted(part, space) for part in parts)
    return Plan(parts, space, fusion, where, depth)


def _checked(part: Part, embedder: Embedder) -> Part:
    if not math.isfinite(part.weight):
        raise BadQuery(f"the weight {part.weight} is not a finite number")
    if part.item is not None:
        if part.value is not None or part.modality is not None or part.vector is not None:
            raise BadQuery("a part is either an item's key or a modality with its content, not both")
        return part
    if part.vector is not None:
        if part.value is not None:
            raise BadQuery("a part is either a vector or content, not both")
        return part if part.modality is None else replace(part, modality=_modality(part.modality, embedder))
    if part.modality is None or part.value is None:
        raise BadQuery("a part needs a modality and its content, or the key of an item")
    value = rounded(part.value) if isinstance(part.value, Regions) else part.value
    return replace(part, modality=_modality(part.modality, embedder), value=value)


def _fitted(part: Part, space: SpaceHead) -> Part:
    """The part with its vector, if it has one, as a unit vector. Raises `BadQuery` for one of another space."""
    if part.vector is None:
        return part
    if part.vector.shape != (space.dimension,):
        raise BadQuery(
            f"the vector of a part has {part.vector.size} numbers, and those of space {space.name!r} have "
            f"{space.dimension}"
        )
    length = float(np.linalg.norm(part.vector.astype(np.float64)))
    if not math.isfinite(length) or length <= NO_DIRECTION:
        raise BadQuery("the vector of a part has no direction; give finite numbers that are not all zero")
    if abs(length - 1) < UNIT_TO:
        return part  # to the last bit as its item was stored
    return replace(part, vector=(part.vector / length).astype(np.float32))


def _modality(name: str, embedder: Embedder) -> str:
    try:
        canonical = resolve(name).name
    except KeyError:
        takes = ", ".join(sorted(embedder.modalities))
        raise BadQuery(f"{name!r} is not a modality; the model {embedder.name} takes {takes}") from None
    check_taken(canonical, embedder)
    return canonical


def check_taken(modality: str, embedder: Embedder) -> None:
    """Raises `BadQuery` if the model does not take a modality, given by its canonical name."""
    if modality not in embedder.modalities:
        takes = ", ".join(sorted(embedder.modalities))
        raise BadQuery(f"the model {embedder.name} does not take {modality}; it takes {takes}")


def _fusion(query: Query, parts: Sequence[Part], embedder: Embedder) -> Fusion:
    """The requested fusion, else the one that suits the model best, where the parts allow it."""
    obstacle = _not_joinable(parts)
    if query.fusion is Fusion.JOINT and obstacle:
        raise NotJoinable(f"the parts of this query cannot be fused jointly: {obstacle}; use fusion late")
    if query.fusion is None:
        return Fusion.LATE if obstacle else embedder.fusion
    return query.fusion


def _not_joinable(parts: Sequence[Part]) -> str | None:
    """Why the parts cannot go through the encoder together; None if they can."""
    modalities: set[str | None] = set()
    for part in parts:
        if part.item is not None:
            return f"the item {part.item!r} is a stored vector, not content for the encoder"
        if part.vector is not None:
            return "a part is a vector, not content for the encoder"
        if part.modality in modalities:
            return f"there are two parts of {part.modality}, and the encoder takes one of each modality"
        if part.weight <= 0:
            return f"{part.modality} has the weight {part.weight:g}, and only weights above 0 can be joined"
        if part.weight != parts[0].weight:
            return f"{part.modality} has another weight than {parts[0].modality}, and the encoder knows no weights"
        modalities.add(part.modality)
    return None


def _space(query: Query, parts: tuple[Part, ...], head: Head, embedder: Embedder) -> SpaceHead:
    spaces = {space.name: space for space in head.spaces}
    if query.space is not None:
        named = named_space(query.space, head)
        _check_known(named, parts, embedder)
        return named
    if any(part.vector is not None for part in parts) and len(spaces) > 1:
        raise BadQuery(f"a part is a vector; name the space that it belongs to: {', '.join(sorted(spaces))}")
    heaviest = max(parts, key=lambda part: abs(part.weight))  # the first of equals
    modality = heaviest.modality or ITEMS_ARE
    if modality not in embedder.modalities:
        return head.spaces[0]
    name = default_among(spaces, modality, embedder, {part.modality for part in parts if part.modality})
    if name is None:
        raise _mismatch(head, embedder)
    return spaces[name]


def default_among(held: Collection[str], modality: str, embedder: Embedder, others: Collection[str] = ()) -> str | None:
    """The space that suits queries of `modality` best among those that a collection has; None if it lacks them.

    A space that does not know one of the modalities `others`, which ask as well, is replaced by the one that stands in.
    """
    space = embedder.spaces.get(embedder.default_space(modality))
    while space is not None:
        if space.name in held and all(map(space.knows, others)):
            return space.name
        space = embedder.spaces.get(space.instead or "")
    return None


def _check_known(held: SpaceHead, parts: Sequence[Part], embedder: Embedder) -> None:
    """Raises `BadQuery` if the space cannot tell values of a part's modality apart."""
    space = embedder.spaces.get(held.name)
    for part in parts:
        if space is not None and space.modalities is not None and part.modality and not space.knows(part.modality):
            raise BadQuery(
                f"the space {held.name!r} knows nothing of {part.modality}; it knows "
                f"{', '.join(sorted(space.modalities))}; ask without a space, or name another"
            )


def named_space(name: str, head: Head) -> SpaceHead:
    """The space of a collection that has the name. Raises `SpaceNotFound`."""
    spaces = {space.name: space for space in head.spaces}
    if name not in spaces:
        raise SpaceNotFound(f"the collection {head.name!r} has no space {name!r}; it has {', '.join(sorted(spaces))}")
    return spaces[name]


def check_made_by(head: Head, embedder: Embedder) -> None:
    """Raises `FingerprintMismatch` unless the model made the vectors of all spaces that serve the collection."""
    for space in head.spaces:
        _check_space(space, head, embedder)


def _check_space(space: SpaceHead, head: Head, embedder: Embedder) -> None:
    made_here = embedder.spaces.get(space.name)
    if made_here is None or made_here.fingerprint != space.fingerprint:
        raise _mismatch(head, embedder)


def _mismatch(head: Head, embedder: Embedder) -> FingerprintMismatch:
    if head.model == embedder.name:
        other = f"other weights of {head.model} than those loaded; use the weights it was made with"
    else:
        other = f"the model {head.model}, and {embedder.name} is loaded; use --model {head.model}"
    return FingerprintMismatch(
        f"the collection {head.name!r} was made with {other}, or make its vectors anew: "
        f"anyseek collections reembed {head.name} --model {embedder.name}"
    )


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
        with embedding(len(asked)):
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


def raw_item_vectors(session: Session, head: Head, space: SpaceHead, keys: Collection[str]) -> ItemVectors:
    """The stored vectors of items in a space, by key; a missing vector is replaced by the error that explains it."""
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


def raw_vectors(session: Session, head: Head, space: SpaceHead, ids: Sequence[int]) -> dict[int, FloatArray]:
    """The sound ones of the stored vectors of items in a space, by id."""
    found: dict[int, FloatArray] = {}
    for page in log.latest_vectors(session, head.id, space.id, ids):
        kept, vectors = page.of(space.fingerprint, space.dimension)
        found.update(zip(kept.tolist(), vectors, strict=True))
    return found


def fuse_parts(plan: Plan, values: Mapping[int, FloatArray], stored: ItemVectors, mean: FloatArray) -> FloatArray:
    """The query's unit vector (d,): `values` by part, `stored` raw items, centred here on the gallery's `mean`, as are
    the parts' raw vectors that are of no modality.

    Raises the error that `stored` has in place of a vector, and `BadQuery` if the parts cancel each other out.
    """
    if plan.fusion is Fusion.JOINT:
        return fuse(values[0][np.newaxis], [1.0])
    rows = []
    for place, part in enumerate(plan.parts):
        vector = part.vector if part.item is None else stored[part.item]
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
    if length <= NO_DIRECTION:
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
