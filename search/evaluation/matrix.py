"""The recall matrix: every kind of query against every kind of item, in every space, compared with the encoders alone.

The baseline needs no trained model: it renders every map as a picture, encodes it with the image encoder and centres
both sides on the items' mean, as a service can; captions are compared with ConSE vectors.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anyseek.model.data.aligned import AlignedSet
from anyseek.model.errors import UnsupportedModality
from anyseek.model.seam import Embedder, EmbeddingSpace, FloatArray, Fusion
from anyseek.search.errors import BadQuery, NotAligned
from anyseek.search.evaluation.measures import Scores, score
from anyseek.search.evaluation.query_kinds import QueryKind, query_kinds
from anyseek.search.evaluation.vectors import SENTENCE, TEXT, VISUAL, Encoders, Progress, SetVectors, read_set
from anyseek.search.query.vectors import centre_queries, fuse
from anyseek.search.spaces.base import centre
from anyseek.search.upkeep.snapshots import MIN_CENTRE_VECTORS


@dataclass(frozen=True)
class Row:
    """One kind of query in one gallery of one space.

    `gallery` is the only modality of the items. `default` is True in the space that the service uses.
    `contains_gallery` is True if the query has the same file, or one of the files, that the item is indexed by.
    `encoders` is None if the encoders cannot encode one of the sides.
    """

    query: str
    modalities: tuple[str, ...]
    gallery: str
    space: str
    default: bool
    contains_gallery: bool
    model: Scores
    encoders: Scores | None


@dataclass(frozen=True)
class Matrix:
    """All rows of one set of `things` things.

    `left_out` says by modality why it has no row or fewer things, `unreadable` says which things were left out and
    why, `notes` say what else was left out.
    """

    name: str
    things: int
    rows: tuple[Row, ...]
    left_out: Mapping[str, str]
    unreadable: tuple[str, ...]
    notes: tuple[str, ...]


def recall_matrix(
    embedder: Embedder, aligned: AlignedSet, spaces: Sequence[str], encoders: Encoders | None, progress: Progress
) -> Matrix:
    """Measure a set in some spaces of a model, and with the encoders alone if they are given.

    Raises `NotAligned` if there is nothing to compare, `UnsupportedModality` if the model supports none of the set's
    modalities.
    """
    vectors = read_set(embedder, spaces, encoders, aligned, progress)
    _check_comparable(vectors, embedder)
    rows: list[Row] = []
    for kind in query_kinds(aligned, vectors.queries):
        progress(f"{aligned.name}: asking {kind.name}")
        for gallery in vectors.items:
            rows += _rows(embedder, spaces, vectors, kind, gallery)
    return Matrix(aligned.name, len(aligned.keys), tuple(rows), vectors.left_out, vectors.unreadable, aligned.notes)


def _check_comparable(vectors: SetVectors, embedder: Embedder) -> None:
    aligned, modalities = vectors.aligned, sorted(vectors.items)
    takes = ", ".join(sorted(embedder.modalities))
    if not modalities and vectors.left_out:
        raise UnsupportedModality(
            f"{aligned.name} has {', '.join(vectors.left_out)}, but the model {embedder.name} takes none of them; "
            f"it takes {takes}"
        )
    if not modalities:
        reasons = "; ".join(vectors.unreadable[:3])
        raise NotAligned(f"nothing of {aligned.name} could be read: {reasons or 'it is empty'}")
    if len(modalities) == 1 and not aligned.labels and vectors.queries.keys() == vectors.items.keys():
        raise NotAligned(
            f"{aligned.name} has {modalities[0]} as the only modality that the model {embedder.name} takes ({takes}); "
            "a recall matrix compares at least two modalities"
        )


def _rows(
    embedder: Embedder, spaces: Sequence[str], vectors: SetVectors, kind: QueryKind, gallery: str
) -> Iterator[Row]:
    """Yield a row for each space that knows the query and the items; none if no query has a right item."""
    items = vectors.items[gallery]
    selected, answers = kind.answers(items, vectors.labels, gallery)
    if not len(selected):
        return
    default_space = embedder.default_space(kind.modalities[0])
    default = default_space if default_space in spaces else spaces[0]
    baseline = _encoders_alone(vectors, kind, gallery)
    for name in spaces:
        space = embedder.spaces[name]
        if all(map(space.knows, (*kind.modalities, gallery))):
            queries = _centred_queries(embedder, space, vectors, kind)[selected]
            found = score(queries, _centred_items(items.vectors[name], space), answers)
            if found is not None:
                own = answers.own_is_query
                yield Row(kind.name, kind.modalities, gallery, name, name == default, own, found, baseline)


def _centred_queries(embedder: Embedder, space: EmbeddingSpace, vectors: SetVectors, kind: QueryKind) -> FloatArray:
    """Centre and fuse queries as the search engine does."""
    if len(kind.parts) > 1 and embedder.fusion is Fusion.JOINT:
        joint = vectors.joint[kind.name]
        return centre_queries(space, kind.modalities, joint.vectors[space.name][joint.rows_of(kind.places)])
    parts = []
    for name, modality in zip(kind.parts, kind.modalities, strict=True):
        rows = vectors.queries[name]
        parts.append(centre_queries(space, [modality], rows.vectors[space.name][rows.rows_of(kind.places)]))
    if len(parts) == 1:
        return parts[0]
    shares = [space.share(modality, kind.modalities) for modality in kind.modalities]
    fused = np.zeros_like(parts[0])
    for row, query in enumerate(np.stack(parts, axis=1)):
        try:
            fused[row] = fuse(query, shares)
        except BadQuery:  # parts that cancel each other out find nothing
            continue
    return fused


def _centred_items(vectors: FloatArray, space: EmbeddingSpace) -> FloatArray:
    """Centre items as a collection does: on their own mean if there are enough, else on the space's prior."""
    enough = len(vectors) >= MIN_CENTRE_VECTORS and space.gallery_prior.any()
    return centre(vectors, vectors.mean(axis=0) if enough else space.gallery_prior, space.blocks)


def _encoders_alone(vectors: SetVectors, kind: QueryKind, gallery: str) -> Scores | None:
    """Compare the encoders' vectors; cosines of several parts add up. None if a side is not encoded."""
    rows = vectors.encoded
    if gallery not in rows or not all(part in rows for part in kind.parts):
        return None
    queries, items = [], []
    for part, modality in zip(kind.parts, kind.modalities, strict=True):
        encoder = SENTENCE if TEXT in (modality, gallery) else VISUAL
        part_queries = rows[part].vectors[encoder][rows[part].rows_of(kind.places)]
        part_items = rows[gallery].vectors[encoder]
        mean = part_items.mean(axis=0)
        queries.append(centre(part_queries, mean))
        items.append(centre(part_items, mean))
    selected, answers = kind.answers(rows[gallery], vectors.labels, gallery)
    return score(np.concatenate(queries, axis=1)[selected], np.concatenate(items, axis=1), answers)
