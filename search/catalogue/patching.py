"""Changing what an item says of itself and leaving its vectors alone: a merge patch of attributes (RFC 7396)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session

from anyseek.search.catalogue import collections, items, log
from anyseek.search.catalogue.log import NewEntry
from anyseek.search.errors import ItemChanged
from anyseek.search.types import Attributes, Collection, Item

Versions = frozenset[str]
ANY_VERSION = "*"


def merged(held: Attributes, patch: Attributes) -> dict[str, Any]:
    """`held` with the members of `patch`: null removes one, an object is merged, everything else replaces."""
    result = dict(held)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            before = result.get(name)
            result[name] = merged(before if isinstance(before, Mapping) else {}, value)
        else:
            result[name] = value
    return result


def change_attributes(
    session: Session,
    collection: Collection,
    key: str,
    change: Callable[[Attributes], Attributes],
    versions: Versions | None = None,
) -> Item:
    """Give the item `key` what `change` makes of its attributes; nothing is written if they stay as they are.

    Raises `ItemNotFound`, `ItemChanged` if the item is none of `versions`, `StoreCorrupt` for a damaged item,
    `BadInput` for attributes that are not JSON, `CollectionNotFound`, and what `change` raises.
    """
    last_seq = collections.lock(session, collection)
    held = items.get(session, collection, key)
    check_version(held, key, versions)
    attributes = items.stored_attributes(key, change(held.attributes))
    if attributes == held.attributes:
        return held
    changed = replace(held, attributes=attributes, revision=held.revision + 1)
    items.store(session, collection.id, [changed])
    log.append(session, collection.id, last_seq, [NewEntry(log.PAYLOAD, changed.id, changed.revision)])
    return changed


def check_unchanged(session: Session, collection: Collection, key: str, versions: Versions | None) -> None:
    """Keep others from changing the item `key` until the commit. Raises `ItemChanged` if it is none of `versions`."""
    if versions is None:
        return
    collections.lock(session, collection)
    check_version(items.by_keys(session, collection, [key]).get(key), key, versions)


def check_version(held: Item | None, key: str, versions: Versions | None) -> None:
    """Raises `ItemChanged` if an item that is there, or None, is none of `versions`; None allows all."""
    if versions is None or (held is not None and (ANY_VERSION in versions or held.version in versions)):
        return
    now = "there is no such item" if held is None else f"it is now {held.version}"
    raise ItemChanged(f"the item {key!r} has changed since you read it: {now}; read it again")
