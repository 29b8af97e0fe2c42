"""Inputs whose content another key of the collection has already, and what a job does with them."""

from collections.abc import Mapping

from sqlalchemy.orm import Session

from indexer.errors import DuplicateContent
from search.catalogue import collections, duplicates
from search.catalogue.ledger import DUPLICATE, Lease, Settled
from search.types import Collection, NewItem, OnDuplicate


def settled_duplicates(
    session: Session, collection: Collection, on_duplicate: OnDuplicate, new_items: Mapping[Lease, NewItem]
) -> list[Settled]:
    """Those of `new_items` that are not to be written, as they are settled; none where duplicates are linked.

    Takes the collection's lock, so that of two keys that come at once one is the first.
    """
    if on_duplicate is OnDuplicate.LINK or not new_items:
        return []
    collections.lock(session, collection)
    twins = duplicates.twins(session, collection, list(new_items.values()))
    outcome = DUPLICATE if on_duplicate is OnDuplicate.SKIP else None
    return [
        Settled(lease, outcome, f"{lease.uri} has the same content as {twins[lease.key]!r}", DuplicateContent.code)
        for lease in new_items
        if lease.key in twins
    ]
