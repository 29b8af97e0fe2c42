"""What is read page by page costs by the page, not by all that is still to come."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from anyseek.search.catalogue import item_rows, items, listing, log, sources
from anyseek.search.catalogue.tables import ItemRow
from anyseek.search.types import Collection
from tests.search.gallery import Things

PAGE, FEW, MANY = 10, 60, 600

Pages = Callable[[Session, Collection, int], object]


def vectors(session: Session, collection: Collection, _source_id: int) -> object:
    return next(log.latest_vectors(session, collection.id, collection.spaces["looks"].id, page=PAGE))


def changes(session: Session, collection: Collection, _source_id: int) -> object:
    return log.entries_after(session, collection.id, 0, PAGE, collection.spaces["looks"].id)


def ids(session: Session, collection: Collection, _source_id: int) -> object:
    return items.ids_after(session, collection.id, 0, PAGE)


def by_key(session: Session, collection: Collection, _source_id: int) -> object:
    return listing.page(session, collection, listing.Order.KEY, None, PAGE)


def of_source(session: Session, _collection: Collection, source_id: int) -> object:
    return next(items.keys_of_source(session, source_id, PAGE))


def stamps_of_keys(session: Session, collection: Collection, source_id: int) -> object:
    return item_rows.stamps_of_keys(session, collection, source_id, [f"{number:06}" for number in range(PAGE)])


def steps(session: Session, done: Callable[[], object]) -> int:
    """How many instructions of SQLite's virtual machine something takes."""
    counted = itertools.count()
    connection: Any = session.connection().connection.driver_connection
    connection.set_progress_handler(lambda: next(counted) < 0, 1)
    done()
    connection.set_progress_handler(None, 0)
    return next(counted)


@pytest.mark.parametrize("first_page", [vectors, changes, ids, by_key, of_source, stamps_of_keys])
def test_a_page_of_a_large_collection_takes_as_many_steps_as_one_of_a_small_one(
    things: Things, first_page: Pages
) -> None:
    with things.database.write() as session:
        source_id = sources.ensure(session, things.collection, Path("/photos"))

    def steps_with(count: int) -> int:
        new = [replace(things.new(f"{number:06}"), source_id=source_id) for number in range(count)]
        things.write(new)
        with things.database.read() as session:
            return steps(session, lambda: first_page(session, things.collection, source_id))

    few = steps_with(FEW)
    assert steps_with(MANY) < 2 * few


def test_filling_in_checksums_costs_by_the_item(things: Things, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an upgrade does it. Where each page was looked for among all items, a million took hours."""
    monkeypatch.setattr(item_rows, "CHUNK", PAGE)

    def steps_with(count: int) -> float:
        new = [things.new(f"{number:06}") for number in range(count)]
        with things.database.write() as session:
            items.write(session, things.collection, new)
            session.execute(update(ItemRow).values(checksum=None))
        with things.database.write() as session:
            return steps(session, lambda: item_rows.fill_checksums(session, things.collection.id)) / count

    few = steps_with(FEW)
    assert steps_with(MANY) < 2 * few
