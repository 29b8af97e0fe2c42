"""The audit log has a row for each change that was committed, and for no other; old ones are removed."""

from dataclasses import replace
from datetime import timedelta, timezone

import pytest
from sqlalchemy import update

from anyseek.search.actor import Actor, acting_as
from anyseek.search.catalogue import audit, collections
from anyseek.search.catalogue.audit import Entry, EntryFilter
from anyseek.search.catalogue.session import Database
from anyseek.search.catalogue.tables import AuditRow
from anyseek.search.catalogue.values import now
from anyseek.search.types import Collection
from tests.search.gallery import WordsEmbedder, make_collection

EVERYTHING = EntryFilter()


def listed(
    database: Database, wanted: EntryFilter = EVERYTHING, before: int | None = None, limit: int = 100
) -> list[Entry]:
    with database.read() as session:
        return audit.list_page(session, wanted, before, limit)


def note(database: Database, action: str, target: str | None = None) -> None:
    with database.write() as session:
        audit.record(session, action, "things", target)


def test_a_change_is_told_with_its_caller(database: Database, embedder: WordsEmbedder) -> None:
    with acting_as(Actor("key:alice", "10.0.0.7", "abc")):
        make_collection(database, embedder)
    (entry,) = listed(database)
    assert (entry.who, entry.address, entry.request_id) == ("key:alice", "10.0.0.7", "abc")
    assert (entry.action, entry.collection, entry.target) == ("collection.create", "things", None)
    assert abs(entry.at - now()) < timedelta(minutes=5)


def test_what_is_rolled_back_is_not_told(database: Database, collection: Collection) -> None:
    before = listed(database)
    with database.write() as session:
        collections.delete(session, collection.name)
        session.rollback()
    assert listed(database) == before


def test_it_outlives_the_collection(database: Database, collection: Collection) -> None:
    with database.write() as session:
        collections.delete(session, collection.name)
    assert [entry.action for entry in listed(database)] == ["collection.delete", "collection.create"]


def test_it_is_asked_by_who_what_where_and_when(database: Database) -> None:
    for who, action in (("key:a", "item.put"), ("key:b", "item.delete"), ("key:a", "items"), ("key:a", "key.create")):
        with acting_as(Actor(who)):
            note(database, action)

    def actions(**wanted: object) -> list[str]:
        return [entry.action for entry in listed(database, replace(EVERYTHING, **wanted))]

    assert actions(who="key:a") == ["key.create", "items", "item.put"]
    assert actions(action="item") == ["item.delete", "item.put"]
    assert actions(action="item.put") == ["item.put"]
    assert actions(action="%") == []
    assert actions(collection="things", who="key:b") == ["item.delete"]
    assert actions(collection="others") == []
    moment = listed(database)[1].at.astimezone(timezone(timedelta(hours=5)))
    assert actions(since=moment) == ["key.create", "items"]
    assert actions(until=moment) == ["item.delete", "item.put"]


def test_pages_follow_each_other(database: Database) -> None:
    for number in range(5):
        note(database, "item.put", str(number))
    first = listed(database, limit=2)
    second = listed(database, before=first[-1].id, limit=2)
    assert [entry.target for entry in (*first, *second)] == ["4", "3", "2", "1"]


def test_old_entries_and_those_beyond_the_most_are_removed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_PRUNE_BATCH", 2)
    assert audit.prune(database, 1, 10) == 0
    for number in range(10):
        note(database, "item.put", str(number))
    with database.write() as session:
        old = now() - timedelta(days=2)
        session.execute(update(AuditRow).where(AuditRow.target.in_(["0", "1", "2"])).values(at=old))
    assert audit.prune(database, 0, 100) == 0, "0 days: for ever"
    assert audit.prune(database, 1, 100) == 3
    assert [entry.target for entry in listed(database)] == list("9876543")
    assert audit.prune(database, 1, 5) == 2
    assert [entry.target for entry in listed(database)] == list("98765")
    assert audit.prune(database, 1, 5) == 0


def test_an_endless_address_is_cut(database: Database) -> None:
    with acting_as(Actor("key:a", "1" * 100_000)):
        note(database, "item.put")
    (entry,) = listed(database)
    assert entry.address == "1" * audit.MAX_ADDRESS_LENGTH
