"""From the parts of queries to one unit vector a query: values through the model, items from the log."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
from sqlalchemy.orm import Session

from model.embedder import Embedder, EmbeddingSpace, FloatArray, Fusion, Sample
from search.catalogue import items, log
from search.catalogue.collections import Head, SpaceHead
from search.errors import AnyseekError, ItemNotFound, StoreCorrupt
from search.fusion import centre, fuse
from search.planning import Plan

# By number of the query in its batch, then by number of the part in its query; a joint query has the one vector of all
# its parts at 0.
ValueVectors = Mapping[int, Mapping[int, FloatArray]]
ItemVectors = Mapping[str, FloatArray | AnyseekError]


def embed_values(embedder: Embedder, plans: Mapping[int, Plan]) -> ValueVectors:
    """The centred vector of every joint query and of every part of others that is not an item, in one model pass."""
    asked = [(number, place, sample) for number, plan in plans.items() for place, sample in _samples(plan)]
    vectors: dict[int, dict[int, FloatArray]] = defaultdict(dict)
    if asked:
        spaces = sorted({plan.space.name for plan in plans.values()})
        embedded = embedder.embed([sample for _, _, sample in asked], spaces)
        for row, (number, place, sample) in enumerate(asked):
            space = embedder.spaces[plans[number].space.name]
            raw = embedded[space.name][row : row + 1]
            vectors[number][place] = centre_queries(space, list(sample.values), raw)[0]
    return vectors


def _samples(plan: Plan) -> Iterator[tuple[int, Sample]]:
    """What of a query goes through the model, by the place at which its vector belongs."""
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
    """The stored vectors of items in a space by key, and the reason in the place of each that is not to be had."""
    ids = items.ids_of_keys(session, head.id, keys)
    found: dict[int, FloatArray] = {}
    for page in log.latest_vectors(session, head.id, space.id, list(ids.values())):
        kept, vectors = page.of(space.fingerprint, space.dimension)
        found.update(zip(kept.tolist(), vectors, strict=True))
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
    """The query's unit vector (d,): `values` by part, `stored` raw items, centred here on the gallery's `mean`.

    Raises what `stored` has in the place of a vector, and `BadQuery` if the parts cancel each other out.
    """
    if plan.fusion is Fusion.JOINT:
        return fuse(values[0][np.newaxis], [1.0])
    rows = []
    for place, part in enumerate(plan.parts):
        if part.item is None:
            rows.append(values[place])
            continue
        vector = stored[part.item]
        if isinstance(vector, AnyseekError):
            raise vector
        rows.append(centre(vector[np.newaxis], mean)[0])
    return fuse(np.stack(rows), [part.weight for part in plan.parts])


def centre_queries(space: EmbeddingSpace, modalities: Sequence[str], vectors: FloatArray) -> FloatArray:
    """Unit rows of raw vectors (n, d) of queries, each made of these modalities together, centred in a space.

    A query is centred on the mean of its modalities' means: of each modality the one nearest to the query, since
    queries for drawings, photos and rooms lie around different ones. A modality without means counts as zero.
    """
    zero = np.zeros((1, space.dimension), np.float32)
    means = [_nearest(space.query_means.get(modality, zero), vectors) for modality in modalities]
    return centre(vectors, np.mean(means, axis=0, dtype=np.float32))


def _nearest(means: FloatArray, vectors: FloatArray) -> FloatArray:
    """Of means (k, d) the one nearest to each of vectors (n, d): (n, d)."""
    distances = (means**2).sum(axis=1) - 2 * vectors @ means.T
    nearest: FloatArray = means[distances.argmin(axis=1)]
    return nearest
