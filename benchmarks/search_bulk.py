"""Many new items into a collection, twice as fast as the product's way of writing them, to the same rows.

What the product takes its time for is what a collection holds already, and which of it changed; here all is new. Ids
and log numbers are counted on as the database would. `tests/benchmarks/test_search.py` holds both ways to one result.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from search.catalogue import collections, log
from search.catalogue.rows import to_bytes
from search.catalogue.tables import CollectionRow, FacetRow, ItemRow, LogRow
from search.filters.facets import facets_of
from search.types import Collection, NewItem, Space


def write_new(session: Session, collection: Collection, new_items: Sequence[NewItem]) -> None:
    """As `search.catalogue.items.write`, of keys that the collection does not have, without assets."""
    last_seq = collections.lock(session, collection)
    first_id = (session.scalar(select(func.max(ItemRow.id))) or 0) + 1
    numbered = list(enumerate(new_items, first_id))
    spaces = list(collection.spaces.values())
    entries = [(item_id, space, new) for item_id, new in numbered for space in spaces]
    tables: list[tuple[Any, list[dict[str, Any]]]] = [
        (ItemRow, [_item(collection.id, item_id, new) for item_id, new in numbered]),
        (FacetRow, [facet for item_id, new in numbered for facet in _facets(collection.id, item_id, new)]),
        (LogRow, [_entry(collection.id, seq, *entry) for seq, entry in enumerate(entries, last_seq + 1)]),
    ]
    for table, rows in tables:
        session.connection().execute(insert(table.__table__), rows)
    held = update(CollectionRow).where(CollectionRow.id == collection.id)
    session.execute(held.values(last_seq=last_seq + len(entries)))


def _item(collection_id: int, item_id: int, new: NewItem) -> dict[str, Any]:
    return {
        "id": item_id,
        "collection_id": collection_id,
        "key": new.key,
        "source_id": new.source_id,
        "content_hash": new.content_hash,
        "caption": new.caption,
        "attributes": dict(new.attributes),
        "sample_hash": new.sample_hash,
    }


def _facets(collection_id: int, item_id: int, new: NewItem) -> list[dict[str, Any]]:
    of_item = {"collection_id": collection_id, "item_id": item_id}
    return [of_item | vars(facet) for facet in facets_of(new.attributes)]


def _entry(collection_id: int, seq: int, item_id: int, space: Space, new: NewItem) -> dict[str, Any]:
    return {
        "collection_id": collection_id,
        "seq": seq,
        "kind": log.UPSERT,
        "item_id": item_id,
        "space_id": space.id,
        "fingerprint": space.fingerprint,
        "vector": to_bytes(new.vectors[space.name]),
        "revision": 1,
    }
