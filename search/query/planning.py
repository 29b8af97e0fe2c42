"""Checks a query and plans its rankings: the space that is searched, the fusion of the parts, and the search depth."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from anyseek.model.modalities.reading.segmentation_forms import smooth_outlines
from anyseek.model.modalities.registry import resolve
from anyseek.model.seam import Embedder, EmbeddingSpace, Fusion, Regions
from anyseek.search.answers.results import MAX_EXPLAINED
from anyseek.search.catalogue.collections import Head, SpaceHead
from anyseek.search.errors import BadQuery, FingerprintMismatch, LimitExceeded, NotJoinable, SpaceNotFound
from anyseek.search.filters.tree import And, BadFilter, Exists, Filter, checked
from anyseek.search.query.query import Part, Query
from anyseek.search.query.words import words_of
from anyseek.search.settings import Limits
from anyseek.search.spaces.base import MIN_NORM

# The modality of an item when the model chooses the space for a query by example.
ITEM_MODALITY = "rgb"
# The tolerance of the length of a unit vector.
UNIT_TOLERANCE = 1e-6
# The first search depth for groups: this many items per hit, but at least a minimum.
_ITEMS_PER_GROUPED_HIT, _MIN_GROUPED_ITEMS = 4, 100
# Up to this many hits, rankings are fused at a fixed depth, so that the pages are pieces of one order. Beyond, they are
# fused at the depth of the most hits of a query.
_MAX_SHALLOW_HITS, _FUSION_DEPTH = 100, 1_000
_MAX_WORDS = 100


@dataclass(frozen=True)
class Plan:
    """Checked parts that become one query vector, with the fusion, the space and the filter of the search."""

    parts: tuple[Part, ...]
    space: SpaceHead
    fusion: Fusion
    where: Filter | None
    depth: int
    """the number of nearest items to retrieve"""
    is_condition: bool = False
    """whether it is a clear colour that items of the other rankings must have, too"""
    is_alone: bool = False
    """whether its ranking is the answer, and not added to others"""


def check_parts(query: Query, embedder: Embedder, limits: Limits) -> tuple[Part, ...]:
    """The parts of a query of an allowed size, with canonical names. Raises `BadQuery`, `LimitExceeded`."""
    check_sizes(query, limits)
    return tuple(
        replace(
            part,
            modality=part.modality and _canonical_modality(part.modality, embedder),
            value=smooth_outlines(part.value) if isinstance(part.value, Regions) else part.value,
        )
        for part in query.contents
    )


def plan_ranking(
    query: Query, parts: tuple[Part, ...], head: Head, embedder: Embedder, where: Filter | None, depth: int
) -> Plan:
    """The plan of one ranking, from all or some of a query's checked parts.

    Raises `BadQuery`, `NotJoinable`, `SpaceNotFound`, `FingerprintMismatch`.
    """
    fusion = _choose_fusion(query, parts, embedder)
    space = _choose_space(query, parts, head, embedder)
    _check_fingerprint(space, head, embedder)
    parts = tuple(_with_unit_vector(part, space) for part in parts)
    if fusion is Fusion.LATE:
        parts = _with_shared_weights(parts, embedder.spaces[space.name])
    return Plan(parts, space, fusion, where, depth)


def _with_unit_vector(part: Part, space: SpaceHead) -> Part:
    """The part with its vector, if any, normalised. Raises `BadQuery` for a vector of another space."""
    if part.vector is None:
        return part
    if part.vector.shape != (space.dimension,):
        raise BadQuery(
            f"the vector of a part has {part.vector.size} numbers, and those of space {space.name!r} have "
            f"{space.dimension}"
        )
    vector = part.vector.astype(np.float64)
    length = math.sqrt(vector @ vector)
    if not math.isfinite(length) or length <= MIN_NORM:
        raise BadQuery("the vector of a part has no direction; give finite numbers that are not all zero")
    if abs(length - 1) < UNIT_TOLERANCE:
        return part  # bitwise equal to the stored vector
    return replace(part, vector=(part.vector / length).astype(np.float32))


def _with_shared_weights(parts: tuple[Part, ...], space: EmbeddingSpace) -> tuple[Part, ...]:
    """The parts; positive weights are multiplied by the share of their modality among the positive parts.

    For pictures and items negative parts count, too: unwanted words take as much from them as wanted words add.
    """
    counted = [part for part in parts if part.weight]
    weights = {}
    for part in parts:
        is_picture = part.modality in (None, ITEM_MODALITY)
        others = [other.modality for other in counted if is_picture or other.weight > 0]
        weights[id(part)] = part.weight * (space.share(part.modality, others) if part.weight > 0 else 1)
    return tuple(
        part if weights[id(part)] == part.weight else replace(part, weight=weights[id(part)]) for part in parts
    )


def _canonical_modality(name: str, embedder: Embedder) -> str:
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


def _choose_fusion(query: Query, parts: Sequence[Part], embedder: Embedder) -> Fusion:
    """The requested fusion, else the model's default if the parts allow it."""
    obstacle = _joint_obstacle(parts)
    if query.fusion == "joint" and obstacle:
        raise NotJoinable(f"the parts of this query cannot be fused jointly: {obstacle}; use fusion late")
    if query.fusion is None:
        return Fusion.LATE if obstacle else embedder.fusion
    return Fusion(query.fusion)


def _joint_obstacle(parts: Sequence[Part]) -> str | None:
    """Why the parts cannot go through the encoder together; None if they can."""
    modalities: set[str | None] = set()
    for part in parts:
        if part.item is not None:
            return f"the item {part.item!r} is a stored vector, not content for the encoder"
        if part.vector is not None:
            return "a part is a vector, not content for the encoder"
        if part.modality in modalities:
            return f"there are two parts of {part.modality}, and the encoder takes one of each modality"
        modalities.add(part.modality)
        if part.weight <= 0:
            return f"{part.modality} has the weight {part.weight:g}, and only weights above 0 can be joined"
        if part.weight != parts[0].weight:
            return f"{part.modality} has another weight than {parts[0].modality}, and the encoder knows no weights"
    return None


def _choose_space(query: Query, parts: tuple[Part, ...], head: Head, embedder: Embedder) -> SpaceHead:
    if query.space is not None:
        head_space = named_space(query.space, head)
        space = embedder.spaces.get(head_space.name)
        for part in parts:
            if space is not None and space.modalities is not None and part.modality and not space.knows(part.modality):
                raise BadQuery(
                    f"the space {head_space.name!r} knows nothing of {part.modality}; it knows "
                    f"{', '.join(sorted(space.modalities))}; ask without a space, or name another"
                )
        return head_space
    spaces = {space.name: space for space in head.spaces}
    if any(part.vector is not None for part in parts) and len(spaces) > 1:
        raise BadQuery(f"a part is a vector; name the space that it belongs to: {', '.join(sorted(spaces))}")
    heaviest = max(parts, key=lambda part: abs(part.weight))  # the first of equals
    modality = heaviest.modality or ITEM_MODALITY
    if modality not in embedder.modalities:
        return head.spaces[0]
    name = default_space_among(spaces, modality, embedder, {part.modality for part in parts if part.modality})
    if name is None:
        raise _mismatch_error(head, embedder)
    return spaces[name]


def default_space_among(
    names: Collection[str], modality: str, embedder: Embedder, others: Collection[str] = ()
) -> str | None:
    """The default space for queries of `modality` among the spaces of a collection; None if it lacks them.

    A space that does not know all `others`, the modalities of the other parts, is replaced by its fallback space.
    """
    space = embedder.spaces.get(embedder.default_space(modality))
    while space is not None:
        if space.name in names and all(map(space.knows, others)):
            return space.name
        space = embedder.spaces.get(space.instead or "")
    return None


def home_space(modality: str, head: Head, embedder: Embedder) -> SpaceHead:
    """The default space of a collection for queries of `modality`.

    Raises `BadQuery` if the model does not take it, `FingerprintMismatch` if other weights made the space.
    """
    check_taken(modality, embedder)
    spaces = {space.name: space for space in head.spaces}
    name = default_space_among(spaces, modality, embedder)
    if name is None:
        raise _mismatch_error(head, embedder)
    _check_fingerprint(spaces[name], head, embedder)
    return spaces[name]


def named_space(name: str, head: Head) -> SpaceHead:
    """The space of a collection that has the name. Raises `SpaceNotFound`."""
    spaces = {space.name: space for space in head.spaces}
    if name not in spaces:
        raise SpaceNotFound(f"the collection {head.name!r} has no space {name!r}; it has {', '.join(sorted(spaces))}")
    return spaces[name]


def check_fingerprints(head: Head, embedder: Embedder) -> None:
    """Raises `FingerprintMismatch` unless the model made the vectors of all spaces that serve the collection."""
    for space in head.spaces:
        _check_fingerprint(space, head, embedder)


def _check_fingerprint(space: SpaceHead, head: Head, embedder: Embedder) -> None:
    model_space = embedder.spaces.get(space.name)
    if model_space is None or model_space.fingerprint != space.fingerprint:
        raise _mismatch_error(head, embedder)


def _mismatch_error(head: Head, embedder: Embedder) -> FingerprintMismatch:
    if head.model == embedder.name:
        other = f"other weights of {head.model} than those loaded; use the weights it was made with"
    else:
        other = f"the model {head.model}, and {embedder.name} is loaded; use --model {head.model}"
    return FingerprintMismatch(
        f"the collection {head.name!r} was made with {other}, or make its vectors anew: "
        f"anyseek collections reembed {head.name} --model {embedder.name}"
    )


def check_sizes(query: Query, limits: Limits) -> None:
    """Raises `BadQuery` and `LimitExceeded`, and `BadFilter` for facets that no attribute can be.

    The bounds of single members are those of `Query`, and checked where it is read.
    """
    if not query.parts:
        raise BadQuery("the query has no parts; give at least one text, file, palette or item")
    if len(query.parts) > limits.parts:
        raise LimitExceeded(f"the query has {len(query.parts)} parts; the most is {limits.parts}")
    for part in query.words:
        _check_words(part)
    if query.reach > limits.hits:
        raise LimitExceeded(f"offset is {query.offset} and k is {query.k}; together they are at most {limits.hits}")
    if query.group_by is None and query.group_size != 1:
        raise BadQuery(f"group_size is {query.group_size}, but there are no groups; give group_by, too")
    if query.reach * query.group_size > limits.hits:
        raise LimitExceeded(f"offset and k together, times group_size, are at most {limits.hits} hits")
    hits = query.k * query.group_size
    if query.vectors and hits > limits.hits_with_vectors:
        raise LimitExceeded(f"{hits} hits are asked for; the most is {limits.hits_with_vectors} for hits with vectors")
    explained = query.explain + len(query.explain_keys)
    if explained > MAX_EXPLAINED:
        raise LimitExceeded(f"{explained} hits and items are to be explained; the most is {MAX_EXPLAINED}")
    _check_spaces(query)
    _check_facets(query)


def _check_words(part: Part) -> None:
    if not (math.isfinite(part.weight) and part.weight > 0):
        raise BadQuery(f"words have the weight {part.weight:g}; it is above 0, as words push nothing away")
    count = len(words_of(part.value))
    if count == 0:
        raise BadQuery(f"the words {part.value[:40]!r} hold no letter or digit")
    if count > _MAX_WORDS:
        raise LimitExceeded(f"{count} words are asked for at once; the most is {_MAX_WORDS}")


def _check_spaces(query: Query) -> None:
    if not query.spaces:
        return
    if query.space is not None:
        raise BadQuery("the query has a space and spaces; give one or the other")
    if len(set(query.spaces)) < len(query.spaces):
        raise BadQuery("the query has a space twice; name each once")
    if any(part.vector is not None for part in query.parts) and len(query.spaces) > 1:
        raise BadQuery("a part is a vector, which is of one space; ask in that space alone")
    if len(query.spaces) > 1 and not any(part.weight > 0 for part in query.parts):
        raise BadQuery("a query in several spaces needs a part with a weight above 0")


def _check_facets(query: Query) -> None:
    if len(set(query.facets)) < len(query.facets):
        raise BadQuery("the query has a facet twice; name each attribute once")
    for path in query.facets:
        if path.startswith("@"):
            raise BadQuery(f"a facet is {path[:40]!r}; it takes the path of an attribute, such as place.town")
        checked(Exists(path))


def filter_of(query: Query) -> Filter | None:
    """The filter of the items that can be hits; with groups only those that have the attribute. Raises `BadFilter`."""
    where = None if query.where is None else checked(query.where)
    if query.group_by is None:
        return where
    if query.group_by.startswith("@"):
        raise BadFilter(f"group_by is {query.group_by[:40]!r}; it takes the path of an attribute, such as place.town")
    has_value = checked(Exists(query.group_by))
    return has_value if where is None else And((where, has_value))


def search_depth(query: Query, rankings: int, limits: Limits) -> int:
    """The number of nearest items to retrieve first; a ranking with too few groups is searched deeper."""
    hits = query.reach * query.group_size
    if rankings > 1:
        return min(_FUSION_DEPTH, limits.hits) if hits <= _MAX_SHALLOW_HITS else limits.hits
    if query.group_by is None:
        return query.reach
    return max(_MIN_GROUPED_ITEMS, _ITEMS_PER_GROUPED_HIT * hits)
