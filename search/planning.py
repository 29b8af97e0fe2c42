"""Understanding a query before anything is computed: are its parts sound, and in which space is it answered."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from model.embedder import Embedder
from model.modality import resolve
from search.catalogue.collections import Head, SpaceHead
from search.errors import BadQuery, FingerprintMismatch, LimitExceeded, SpaceNotFound
from search.filters.tree import Filter, checked
from search.settings import Limits
from search.types import Part, Query

# What an item is taken for when the model chooses the space of a query for items like it.
ITEMS_ARE = "rgb"


@dataclass(frozen=True)
class Plan:
    """A sound query: modalities by their canonical names, and the space that answers it."""

    parts: tuple[Part, ...]
    k: int
    space: SpaceHead
    where: Filter | None = None


def plan(query: Query, head: Head, embedder: Embedder, limits: Limits) -> Plan:
    """Raises `BadQuery`, `BadFilter`, `LimitExceeded`, `SpaceNotFound`, `FingerprintMismatch`."""
    _check_sizes(query, limits)
    parts = tuple(_checked(part, embedder) for part in query.parts)
    space = _space(query, parts, head, embedder)
    made_here = embedder.spaces.get(space.name)
    if made_here is None or made_here.fingerprint != space.fingerprint:
        raise _mismatch(head, embedder)
    return Plan(parts, query.k, space, None if query.where is None else checked(query.where))


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
    return FingerprintMismatch(
        f"the collection {head.name!r} was made with the model {head.model} of other weights than the loaded "
        f"{embedder.name}; use the model it was made with, or delete the collection and index it again"
    )
