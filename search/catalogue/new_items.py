"""What must hold of items before they are written."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from model.embedder import FloatArray
from search.catalogue.collections import SpaceState
from search.catalogue.tables import SpaceRow
from search.errors import BadInput, FingerprintMismatch
from search.types import Attributes, Collection, NewItem, Space

KEY_CHARACTERS = 1_000
UNIT_TOLERANCE = 1e-3


def check(session: Session, collection: Collection, new_items: Sequence[NewItem]) -> None:
    """Raises `BadInput` or `FingerprintMismatch`; see `items.write`."""
    _check_spaces(session, collection)
    seen: set[str] = set()
    for new in new_items:
        _check_key(new.key)
        if new.key in seen:
            raise BadInput(f"the key {new.key!r} appears twice among the items written at once; give each key once")
        seen.add(new.key)
        if new.caption is not None and not _is_storable(new.caption):
            raise BadInput(f"the caption of {new.key!r} has a NUL or an unpaired surrogate; captions are Unicode text")
        stored_attributes(new.key, new.attributes)
        _check_vectors(collection, new)


def stored_attributes(key: str, attributes: Attributes) -> dict[str, Any]:
    """The attributes as they come back from the catalogue. Raises `BadInput` if they are not JSON."""
    try:
        # As UTF-8, which half of a surrogate pair has no place in: it could be stored, but never be sent.
        stored: dict[str, Any] = json.loads(json.dumps(dict(attributes), allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError) as error:
        raise BadInput(f"the attributes of {key!r} are not JSON: {error}") from error
    return stored


def _check_spaces(session: Session, collection: Collection) -> None:
    serving = (SpaceRow.collection_id == collection.id, SpaceRow.state == SpaceState.SERVING)
    rows = session.execute(select(SpaceRow.id, SpaceRow.fingerprint).where(*serving))
    if {row.id: row.fingerprint for row in rows} != {s.id: s.fingerprint for s in collection.spaces.values()}:
        raise FingerprintMismatch(
            f"the spaces of collection {collection.name!r} have changed since these vectors were made; make them again"
        )


def _check_key(key: str) -> None:
    if not 1 <= len(key) <= KEY_CHARACTERS or not _is_storable(key):
        raise BadInput(
            f"{key[:80]!r} cannot be a key: take 1 to {KEY_CHARACTERS} characters of Unicode text without NUL"
        )


def _is_storable(text: str) -> bool:
    """Neither a NUL nor half of a surrogate pair (as in names of files that are not UTF-8)."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _check_vectors(collection: Collection, new: NewItem) -> None:
    if new.vectors.keys() != collection.spaces.keys():
        raise BadInput(
            f"the item {new.key!r} has vectors for {sorted(new.vectors)}, but the collection {collection.name!r} has "
            f"the spaces {sorted(collection.spaces)}; give one for each"
        )
    for name, vector in new.vectors.items():
        _check_vector(new.key, collection.spaces[name], vector)


def fits(space: Space, vector: FloatArray) -> bool:
    """Whether it has the dimension of the space and the length 1, which no NaN has."""
    return vector.shape == (space.dimension,) and abs(float(np.linalg.norm(vector)) - 1) <= UNIT_TOLERANCE


def _check_vector(key: str, space: Space, vector: FloatArray) -> None:
    if not fits(space, vector):
        raise BadInput(
            f"the vector of {key!r} in space {space.name!r} has shape {vector.shape} and length "
            f"{np.linalg.norm(vector):.3g}; it takes shape ({space.dimension},) and length 1"
        )
