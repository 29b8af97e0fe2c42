"""Understanding a query before anything is computed: are its parts sound, in which space is it answered, and how do its
parts become one vector.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from model.embedder import Embedder, Fusion
from model.modality import resolve
from search.catalogue.collections import Head, SpaceHead
from search.errors import BadQuery, FingerprintMismatch, LimitExceeded, NotJoinable, SpaceNotFound
from search.filters.tree import Filter, checked
from search.settings import Limits
from search.types import Part, Query

# What an item is taken for when the model chooses the space of a query for items like it.
ITEMS_ARE = "rgb"


@dataclass(frozen=True)
class Plan:
    """A sound query: modalities by their canonical names, the space that answers it, how parts become one vector."""

    parts: tuple[Part, ...]
    k: int
    space: SpaceHead
    fusion: Fusion
    where: Filter | None = None


def plan(query: Query, head: Head, embedder: Embedder, limits: Limits) -> Plan:
    """Raises `BadQuery`, `BadFilter`, `NotJoinable`, `LimitExceeded`, `SpaceNotFound`, `FingerprintMismatch`."""
    _check_sizes(query, limits)
    parts = tuple(_checked(part, embedder) for part in query.parts)
    fusion = _fusion(query, parts, embedder)
    space = _space(query, parts, head, embedder)
    made_here = embedder.spaces.get(space.name)
    if made_here is None or made_here.fingerprint != space.fingerprint:
        raise _mismatch(head, embedder)
    return Plan(parts, query.k, space, fusion, None if query.where is None else checked(query.where))


def _check_sizes(query: Query, limits: Limits) -> None:
    if not query.parts:
        raise BadQuery("the query has no parts; give at least one text, file, palette or item")
    if len(query.parts) > limits.parts:
        raise LimitExceeded(f"the query has {len(query.parts)} parts; the most is {limits.parts}")
    if query.k < 1:
        raise BadQuery(f"k is {query.k}; it is the number of hits wanted, from 1 to {limits.hits}")
    if query.k > limits.hits:
        raise LimitExceeded(f"k is {query.k}; the most is {limits.hits}")


def _checked(part: Part, embedder: Embedder) -> Part:
    if not math.isfinite(part.weight):
        raise BadQuery(f"the weight {part.weight} is not a finite number")
    if part.item is not None:
        if part.value is not None or part.modality is not None:
            raise BadQuery("a part is either an item's key or a modality with its content, not both")
        return part
    if part.modality is None or part.value is None:
        raise BadQuery("a part needs a modality and its content, or the key of an item")
    return replace(part, modality=_modality(part.modality, embedder))


def _modality(name: str, embedder: Embedder) -> str:
    try:
        canonical = resolve(name).name
    except KeyError:
        takes = ", ".join(sorted(embedder.modalities))
        raise BadQuery(f"there is no modality {name!r}; the model {embedder.name} takes {takes}") from None
    check_taken(canonical, embedder)
    return canonical


def check_taken(modality: str, embedder: Embedder) -> None:
    """Raises `BadQuery` if the model does not take a modality, given by its canonical name."""
    if modality not in embedder.modalities:
        takes = ", ".join(sorted(embedder.modalities))
        raise BadQuery(f"the model {embedder.name} does not take {modality}; it takes {takes}")


def _fusion(query: Query, parts: Sequence[Part], embedder: Embedder) -> Fusion:
    """What was asked for; else what the model does best with, where the parts allow it."""
    obstacle = _not_joinable(parts)
    if query.fusion is Fusion.JOINT and obstacle:
        raise NotJoinable(f"the parts of this query cannot be fused jointly: {obstacle}; ask with fusion late")
    if query.fusion is None:
        return Fusion.LATE if obstacle else embedder.fusion
    return query.fusion


def _not_joinable(parts: Sequence[Part]) -> str | None:
    """Why the parts cannot go through the encoder together; None if they can."""
    modalities: set[str | None] = set()
    for part in parts:
        if part.item is not None:
            return f"the item {part.item!r} is a stored vector, not content for the encoder"
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
        return _named(query.space, spaces, head)
    heaviest = max(parts, key=lambda part: abs(part.weight))  # the first of equals
    modality = heaviest.modality or ITEMS_ARE
    if modality not in embedder.modalities:
        return head.spaces[0]
    name = embedder.default_space(modality)
    if name not in spaces:
        raise _mismatch(head, embedder)
    return spaces[name]


def _named(name: str, spaces: Mapping[str, SpaceHead], head: Head) -> SpaceHead:
    if name not in spaces:
        raise SpaceNotFound(f"the collection {head.name!r} has no space {name!r}; it has {', '.join(sorted(spaces))}")
    return spaces[name]


def _mismatch(head: Head, embedder: Embedder) -> FingerprintMismatch:
    if head.model == embedder.name:
        other = f"other weights of {head.model} than those loaded; use the weights it was made with"
    else:
        other = f"the model {head.model}, and {embedder.name} is loaded; use --model {head.model}"
    return FingerprintMismatch(
        f"the collection {head.name!r} was made with {other}, or make its vectors anew: "
        f"anyseek collections reembed {head.name} --model {embedder.name}"
    )
